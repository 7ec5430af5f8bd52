package main

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/link"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/node"
)

// seenLinks is what was last seen of the interfaces.
type seenLinks struct {
	snapshot *link.Snapshot
	all      []model.Interface // those of snapshot
	relevant []model.Interface
	local    map[netip.Addr]string // of snapshot
	acted    map[netip.Addr]string // local of relevant
	gateways link.Gateways
}

// model returns what the machine looks at.
func (s *seenLinks) model(snapshot *link.Snapshot) []model.Interface {
	if s.snapshot == snapshot {
		return s.all
	}
	s.snapshot, s.all = snapshot, make([]model.Interface, 0, len(snapshot.Interfaces))
	for _, i := range snapshot.Interfaces {
		s.all = append(s.all, model.Interface{
			Name: i.Name, Index: i.Index, MAC: model.MACOf(i.MAC), Epoch: i.Epoch, Addrs: i.Addrs,
			Usable: i.Usable, Suitable: i.Suitable, Why: i.Why,
		})
	}
	s.local = node.LocalAddresses(s.all)
	return s.all
}

// changed reports whether anything changed about the interfaces that matter, the
// node's own addresses, or the default routes.
func (s *seenLinks) changed(snapshot *link.Snapshot, of *config.Snapshot) bool {
	relevant := node.Relevant(s.model(snapshot), of)
	same := node.SameLinks(relevant, s.relevant) && s.gateways == snapshot.Gateways && maps.Equal(s.local, s.acted)
	s.relevant, s.gateways, s.acted = relevant, snapshot.Gateways, s.local
	return !same
}

// usable are the interfaces that can be announced on.
func usable(snapshot *link.Snapshot) (all []l2.Interface) {
	for _, i := range snapshot.Interfaces {
		if i.Usable {
			all = append(all, toL2(i))
		}
	}
	return all
}

func toL2(i link.Interface) l2.Interface {
	return l2.Interface{Name: i.Name, Index: i.Index, MAC: slices.Clone(i.MAC), Epoch: i.Epoch}
}

// neighborRequests are those for lost speakers, on the interfaces that share a subnet
// with them: after a partition their heartbeats wait in a kernel that asks for
// the neighbor once a second.
func neighborRequests(lost []netip.Addr, snapshot *link.Snapshot) (all []l2.NeighborRequest) {
	for _, at := range lost {
		for _, i := range snapshot.Interfaces {
			for _, p := range i.Addrs {
				if i.Usable && p.Bits() < p.Addr().BitLen() && p.Masked().Contains(at) && p.Addr() != at {
					all = append(all, l2.NeighborRequest{On: toL2(i), Source: p.Addr(), Target: at})
				}
			}
		}
	}
	return all
}
