package main

import (
	"net/netip"
	"slices"

	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/link"
	"github.com/baliza-lb/baliza/speaker/members"
)

// noteLinks tells whether anything changed about the interfaces that matter,
// or the default routes.
func (s *speaker) noteLinks(snapshot *link.Snapshot) bool {
	usable := s.matter(snapshot)
	same := slices.EqualFunc(usable, s.usable, func(a, b link.Interface) bool {
		return a.Name == b.Name && a.Index == b.Index && a.Epoch == b.Epoch && a.Suitable == b.Suitable
	})
	same = same && s.gateways == snapshot.Gateways
	s.usable, s.gateways = usable, snapshot.Gateways
	return !same
}

// matter returns the usable interfaces that are suitable or that an
// advertisement names. The others are the node's ends of its pods' cables, of
// which there may be hundreds and a new one any moment.
func (s *speaker) matter(snapshot *link.Snapshot) []link.Interface {
	named := s.named()
	var all []link.Interface
	for _, i := range snapshot.Interfaces {
		if i.Usable && (i.Suitable || named[i.Name]) {
			all = append(all, i)
		}
	}
	return all
}

// named are the interfaces that advertisements name.
func (s *speaker) named() map[string]bool {
	named := map[string]bool{}
	for _, a := range s.config.L2Advertisements {
		for _, name := range a.Interfaces {
			named[name] = true
		}
	}
	return named
}

// whereabouts are what the other speakers must know of our interfaces: their
// MACs and, for each name that an advertisement may mean, whether it can be
// announced on (see plan.View.Links).
func (s *speaker) whereabouts(snapshot *link.Snapshot) (macs []members.Station, links map[string]bool) {
	links = map[string]bool{"": false}
	for name := range s.named() {
		links[name] = false
	}
	for _, i := range s.matter(snapshot) {
		macs = append(macs, members.Station(i.MAC))
		if i.Suitable {
			links[""] = true
		}
		if _, named := links[i.Name]; named {
			links[i.Name] = true
		}
	}
	return macs, links
}

// questions are those for lost speakers, on the interfaces that share a subnet
// with them: after a partition their heartbeats wait in a kernel that asks for
// the neighbour once a second.
func questions(lost []netip.Addr, snapshot *link.Snapshot) (all []l2.Question) {
	for _, at := range lost {
		for _, i := range snapshot.Interfaces {
			for _, p := range i.Addrs {
				if i.Usable && p.Bits() < p.Addr().BitLen() && p.Masked().Contains(at) && p.Addr() != at {
					all = append(all, l2.Question{On: toL2(i), Source: p.Addr(), Target: at})
				}
			}
		}
	}
	return all
}
