package main

import (
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/bgp"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// capacity is the bandwidth that one ready pod stands for, in bytes a second;
// only ratios matter to a router.
const capacity = 125_000_000

// translated translates a list of routes.
func (r *routes) translated(routes []plan.Route, now map[shape]bgp.Attributes, lists map[*plan.Route]bgp.Paths) bgp.Paths {
	if len(routes) == 0 {
		return bgp.Paths{}
	}
	first := &routes[0]
	if lists[first] == nil {
		lists[first] = r.lists[first]
	}
	if len(lists[first]) != len(routes) {
		all := make(bgp.Paths, 0, len(routes))
		for i := range routes {
			all = append(all, bgp.Route{Prefix: routes[i].Prefix, Attributes: r.attributesOf(&routes[i], now)})
		}
		lists[first] = all
	}
	return lists[first]
}

// attributesOf translates a route's. Most routes come from the same
// advertisements, in this pass and the last.
func (r *routes) attributesOf(route *plan.Route, now map[shape]bgp.Attributes) bgp.Attributes {
	s := shapeOf(route)
	made, ok := now[s]
	if !ok {
		if made, ok = r.attributes[s]; !ok {
			made = bgp.AttributesOf(toAttributes(route))
		}
		now[s] = made
	}
	return made
}

// shape tells cheaply that two routes surely have the same path: most come
// from the same advertisements.
type shape struct {
	localPref, med  *uint32
	communities     *config.CommunityValue
	count           int
	prepend, weight int
	transitive      bool
}

func shapeOf(r *plan.Route) shape {
	s := shape{localPref: r.LocalPref, med: r.MED, count: len(r.Communities), prepend: r.Prepend, weight: r.Weight, transitive: r.Transitive}
	if s.count > 0 {
		s.communities = &r.Communities[0]
	}
	return s
}

func toAttributes(r *plan.Route) model.Attributes {
	a := model.Attributes{
		LocalPref: optional(r.LocalPref), MED: optional(r.MED), Prepend: r.Prepend, Bandwidth: uint64(r.Weight) * capacity,
		TransitiveBandwidth: r.Transitive,
	}
	var standard []uint32
	var large [][3]uint32
	for _, c := range r.Communities {
		if c.Large {
			large = append(large, [3]uint32{c.A, c.B, c.C})
		} else {
			standard = append(standard, c.B<<16|c.C)
		}
	}
	a.Communities, a.LargeCommunities = model.CommunitiesOf(standard...), model.LargeCommunitiesOf(large...)
	return a
}

func optional(n *uint32) model.Optional {
	if n == nil {
		return model.Optional{}
	}
	return model.Some(*n)
}
