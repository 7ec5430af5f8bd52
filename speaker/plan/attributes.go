package plan

import (
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
)

// PodBandwidth is the bandwidth that one ready pod stands for, in bytes a second;
// only ratios matter to a router.
const PodBandwidth = 125_000_000

// Shape tells cheaply that two routes surely have the same path: most come
// from the same advertisements.
type Shape struct {
	localPref, med  *uint32
	communities     *config.CommunityValue
	count           int
	prepend, weight int
	transitive      bool
}

// Shape of a route.
func (r *Route) Shape() Shape {
	s := Shape{localPref: r.LocalPref, med: r.MED, count: len(r.Communities), prepend: r.Prepend, weight: r.Weight, transitive: r.Transitive}
	if s.count > 0 {
		s.communities = &r.Communities[0]
	}
	return s
}

// Attributes are what goes with the route in BGP.
func (r *Route) Attributes() model.Attributes {
	a := model.Attributes{
		LocalPref: optional(r.LocalPref), MED: optional(r.MED), Prepend: r.Prepend, Bandwidth: uint64(r.Weight) * PodBandwidth,
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
