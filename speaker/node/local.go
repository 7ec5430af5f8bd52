package node

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/baliza-lb/baliza/speaker/model"
)

// maxLocal is a limit of the Speaker object (see api/v1beta1).
const maxLocal = 16

// LocalAddresses are the unicast addresses that this node has on its interfaces,
// and on which; the kernel answers for them. Were one announced for a Service, by
// this node or another, the node would be cut off from the network (T03).
// Link-local ones are left out, which no pool has, and so is what kube-proxy in
// IPVS mode, or kube-router, puts on an interface of its own: every Service's.
func LocalAddresses(on []model.Interface) map[netip.Addr]string {
	local := map[netip.Addr]string{}
	for i := range on {
		if name := on[i].Name; name != "kube-ipvs0" && name != "kube-dummy-if" {
			for _, p := range on[i].Addrs {
				if p.Addr().IsGlobalUnicast() {
					local[p.Addr()] = name
				}
			}
		}
	}
	return local
}

// isOwn reports whether the address of the decision at a place is one of this
// node's own. It is never held then, whoever is to own it: the kernel answers.
func (n *Node) isOwn(in *Input, place int, owner string) bool {
	d := &n.step.made.Decisions[place]
	if _, own := in.Local[d.Address]; !own {
		return false
	}
	n.conflicts.rest(d.Address, owner)
	if d.Announce {
		n.step.fates[place] = ownAddress
	}
	return true
}

// localOfPools are those of this node's addresses, and of its gateways, that a
// pool would give, in order: the controller is told of them.
func localOfPools(in *Input) []string {
	all := maps.Clone(in.Local)
	for _, gateway := range []netip.Addr{in.Gateways.IPv4, in.Gateways.IPv6} {
		if gateway.IsValid() && all != nil {
			all[gateway] = ""
		}
	}
	var texts []string
	for _, a := range slices.SortedFunc(maps.Keys(all), netip.Addr.Compare) {
		if len(texts) < maxLocal && in.Cluster.Config.PoolOf(a) != nil {
			texts = append(texts, a.String())
		}
	}
	return texts
}
