package plan

import (
	"encoding/binary"
	"net/netip"

	"github.com/baliza-lb/baliza/config"
)

// group is a set of advertisements that some addresses have in common, and what
// follows from it for the candidates, whatever the address: thousands of
// addresses cost one look at each node.
type group struct {
	advertisements []*config.L2Advertisement
	// What is true of each candidate, by its index: an advertisement selects
	// it; one that does wants an interface that it has; and nothing else stands
	// against it but what depends on the Service.
	selected, linked, member []bool
	// nodes are the members, by name. The node that the plan is for is among
	// them only if it is alive.
	nodes []*candidate
	// lacking is what hasInterface says of this node, once it was asked.
	lacking string
}

// groups are those of one plan.
type groups struct {
	planner *planner
	bySet   map[string]*group
	index   map[*config.L2Advertisement]int
	// found and set are scratch.
	found []*config.L2Advertisement
	set   []byte
}

// of returns the group of the advertisements that select a Service and its
// address.
func (g *groups) of(address netip.Addr, s *Service) *group {
	all := g.planner.view.Config
	g.found, g.set = selecting(all, all.L2Advertisements, address, s, g.found[:0]), g.set[:0]
	for _, a := range g.found {
		g.set = binary.BigEndian.AppendUint32(g.set, uint32(g.index[a]))
	}
	one := g.bySet[string(g.set)]
	if one == nil {
		one = g.planner.group(append([]*config.L2Advertisement(nil), g.found...))
		g.bySet[string(g.set)] = one
	}
	return one
}

func (p *planner) group(advertisements []*config.L2Advertisement) *group {
	count := len(p.candidates) + 1
	g := &group{advertisements: advertisements, selected: make([]bool, count), linked: make([]bool, count), member: make([]bool, count)}
	look := func(c *candidate) {
		for _, a := range advertisements {
			if a.SelectsNode(c.Labels) {
				g.selected[c.index] = true
				g.linked[c.index] = g.linked[c.index] || p.hasLink(c.name, a)
			}
		}
		g.member[c.index] = g.linked[c.index] && c.Excluded == ""
	}
	for i := range p.candidates {
		look(&p.candidates[i])
		if g.member[i] {
			g.nodes = append(g.nodes, &p.candidates[i])
		}
	}
	look(&p.self)
	return g
}
