package plan

import (
	"net/netip"
	"slices"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// selecting appends to found the advertisements that select one of a Service's
// addresses.
func (b *bgpPlanner) selecting(h holding, found []*config.BGPAdvertisement) []*config.BGPAdvertisement {
	s := &h.service.Service
	if h.kind == ofLoadBalancer {
		return selecting(b.view.Config, b.view.Config.BGPAdvertisements, h.address, s, found)
	}
	for _, a := range b.view.Config.BGPAdvertisements {
		wanted := h.kind == ofCluster && a.ClusterIPs || h.kind == external && a.ExternalIPs
		if wanted && a.SelectsService(s.Labels) {
			found = append(found, a)
		}
	}
	return found
}

// others decides about what is announced by opt-in.
func (b *bgpPlanner) others() []OtherDecision {
	var all []OtherDecision
	for holdings := range b.view.Services.othersByAddress() {
		address := holdings[0].address
		d := b.decide(address, holdings)
		if d.Reason != v1beta1.ReasonNoAdvertisement {
			all = append(all, OtherDecision{netip.PrefixFrom(address, address.BitLen()), d})
		}
	}
	return append(all, b.podRanges()...)
}

// podRanges decides about this node's. A node that is taken out of load balancing
// keeps its pods, and nobody else has a path to them: only one that cannot serve
// withdraws them.
func (b *bgpPlanner) podRanges() []OtherDecision {
	here := slices.DeleteFunc(slices.Clone(b.view.Config.BGPAdvertisements), func(a *config.BGPAdvertisement) bool {
		return !a.PodCIDRs || !b.here[a]
	})
	if len(here) == 0 {
		return nil
	}
	if len(b.self.PodCIDRs) == 0 {
		return []OtherDecision{{BGPDecision: BGPDecision{
			Reason: v1beta1.ReasonNoPodCIDR, Message: "podCIDRs are to be announced, and this node has none in its spec",
		}}}
	}
	var all []OtherDecision
	for _, prefix := range b.self.PodCIDRs {
		all = append(all, OtherDecision{prefix, b.podRange(prefix, here)})
	}
	return all
}

func (b *bgpPlanner) podRange(prefix netip.Prefix, here []*config.BGPAdvertisement) BGPDecision {
	d := BGPDecision{Address: prefix.Addr()}
	if b.self.Unusable {
		d.Reason, d.Message = v1beta1.ReasonNodeExcluded, b.self.Excluded
		return d
	}
	b.hearing, b.unsaid = b.hearing[:0], ""
	for _, a := range here {
		for _, p := range b.peers {
			if p.hears(a, prefix.Addr()) {
				b.add(p, a, prefix, Route{LocalPref: a.LocalPref, MED: a.MED, Prepend: a.Prepend, Communities: a.Communities})
			}
		}
	}
	d.Peers = b.told()
	switch {
	case len(d.Peers) > 0:
		d.Reason, d.Message = v1beta1.ReasonAnnounced, "announced by this node"
	case b.unsaid != "":
		d.Reason, d.Message = b.unsaid, unsaidMessage(b.unsaid)
	default:
		d.Reason, d.Message = v1beta1.ReasonNoPeer, "no BGPPeer of this node is told of the pod range: none is selected, or none carries its family"
	}
	return d
}
