package metallb

import "github.com/baliza-lb/baliza/config"

// Defaults are what does something else where nothing is set, of the kinds that there
// are. The name is *, for it is about all objects of the kind.
func (o *Objects) Defaults() []Finding {
	var all []Finding
	note := func(there int, kind, field, message string) {
		if there > 0 {
			all = append(all, Finding{Differs, kind, "*", field, message})
		}
	}
	pools, l2, peers := len(o.Pools), len(o.L2Advertisements), len(o.BGPPeers)
	note(pools, config.KindPool, "spec.addresses",
		"what a pool no longer has stays with the Services that have it, where MetalLB gives them another; "+
			"addresses of nodes, pods, cluster IPs and the API server are not given")
	note(pools, config.KindPool, "spec.reuseDelay",
		"a freed address rests for a minute before another namespace gets it (0s: at once, as MetalLB does)")
	note(l2, config.KindL2Advertisement, "spec.failback",
		"an address stays where it is when another node returns (Immediate: it moves, as MetalLB does)")
	note(l2, config.KindL2Advertisement, "spec.interfaces",
		"where none is named, those without an address on a subnet are left out, and those of containers")
	note(peers, config.KindBGPPeer, "spec.connectTime",
		"a router that refuses is tried again every second, not ever more seldom up to two minutes")
	SortFindings(all)
	return all
}
