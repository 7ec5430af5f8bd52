package plan

import (
	"net/netip"
	"slices"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// bgpClaim is a Service on an address, with the advertisements that select
// both.
type bgpClaim struct {
	service        *Service
	endpoints      *Endpoints
	address        netip.Addr
	kind           addressKind
	advertisements []*config.BGPAdvertisement
}

// local reports whether only the endpoints of this node get the traffic of the
// address that comes to it.
func (on *bgpClaim) local() bool {
	if on.kind == ofCluster {
		return on.service.InternalLocal
	}
	return on.service.Local
}

// bgpPolicy is one rule that this node must keep to announce an address.
type bgpPolicy func(b *bgpPlanner, on *bgpClaim) (reason v1beta1.Reason, message string, violated bool)

// bgpPolicies returns the chain.
func bgpPolicies() [7]bgpPolicy {
	return [...]bgpPolicy{bgpAdvertised, bgpNotLocal, bgpServed, bgpStays, bgpSelected, bgpServedHere, bgpHeard}
}

func (b *bgpPlanner) refuse(on *bgpClaim) *refusal {
	for stage, rule := range bgpPolicies() {
		if reason, message, violated := rule(b, on); violated {
			return &refusal{stage, reason, message}
		}
	}
	return nil
}

func bgpAdvertised(_ *bgpPlanner, on *bgpClaim) (v1beta1.Reason, string, bool) {
	return v1beta1.ReasonNoAdvertisement, "no BGPAdvertisement selects the address's pool and the Service", len(on.advertisements) == 0
}

// bgpNotLocal: a router that was told of one of the node's own addresses would send
// its own traffic elsewhere. External IPs often are those, and are meant.
func bgpNotLocal(b *bgpPlanner, on *bgpClaim) (v1beta1.Reason, string, bool) {
	name, local := b.view.Local[on.address]
	return v1beta1.ReasonLocalAddress, LocalAddress(name), local && on.kind == ofLoadBalancer
}

// LocalAddress says that the node has an address on an interface of its own.
func LocalAddress(on string) string {
	return "the address is this node's own, on interface " + on + ": take it off, or out of the pool"
}

func bgpServed(_ *bgpPlanner, on *bgpClaim) (v1beta1.Reason, string, bool) {
	return v1beta1.ReasonNoEndpoint, "the Service has no usable endpoint of the address's family", !on.endpoints.Any
}

// bgpStays: a node that is excluded goes on, as the last choice, for as long
// as it is being drained.
func bgpStays(b *bgpPlanner, _ *bgpClaim) (v1beta1.Reason, string, bool) {
	message := b.self.Excluded
	if message == "" {
		message = "the speaker of this node is about to end"
	}
	return v1beta1.ReasonNodeExcluded, message, b.view.Drain == Withdrawn
}

func bgpSelected(b *bgpPlanner, on *bgpClaim) (v1beta1.Reason, string, bool) {
	selected := slices.ContainsFunc(on.advertisements, func(a *config.BGPAdvertisement) bool { return b.here[a] })
	return v1beta1.ReasonNodeNotSelected, "no BGPAdvertisement of the address selects this node", !selected
}

func bgpServedHere(b *bgpPlanner, on *bgpClaim) (v1beta1.Reason, string, bool) {
	allowed := !on.local() || on.endpoints.Nodes[b.view.Self] || len(on.endpoints.Nodes) == 0 && on.endpoints.Unknown
	message := "externalTrafficPolicy is Local and this node has no usable endpoint"
	if on.kind == ofCluster {
		message = "internalTrafficPolicy is Local and this node has no usable endpoint"
	}
	return v1beta1.ReasonNoLocalEndpoint, message, !allowed
}

func bgpHeard(b *bgpPlanner, on *bgpClaim) (v1beta1.Reason, string, bool) {
	heard := slices.ContainsFunc(on.advertisements, func(a *config.BGPAdvertisement) bool {
		return b.here[a] && slices.ContainsFunc(b.peers, func(p *told) bool { return p.hears(a, on.address) })
	})
	return v1beta1.ReasonNoPeer, "no BGPPeer of this node is told of the address: none is selected, or none carries its family", !heard
}
