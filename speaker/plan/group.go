package plan

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/baliza-lb/baliza/config"
)

// group is a set of advertisements that some addresses have in common which are in
// the same subnets, and what follows from it for the candidates, whatever the
// address: thousands of addresses cost one look at each node.
type group struct {
	advertisements []*config.L2Advertisement
	// sample is one of them.
	sample netip.Addr
	// What is true of each candidate, by its index: an advertisement selects
	// it; one that does means an interface that it has, of the best that anybody
	// has; and nothing else stands against it but what depends on the Service.
	selected, linked, member []bool
	// best is the fitness of the interfaces that count.
	best fitness
	// preference of each candidate, by its index; nil if nobody is preferred.
	preference []int
	// perClient says that all advertisements divide the clients, of which there is
	// one at least; patience is the shortest failback delay of them.
	perClient bool
	patience  time.Duration
	// answerPing says that one advertisement wants ping answered.
	answerPing bool
	// nodes are the members, by name. The node that the plan is for is among
	// them only if it is alive.
	nodes []*candidate
	// fields are what is left of them without those that are unable, by whom that
	// is.
	fields map[string]*field
	// What is worked out once it is asked for: what hasInterface says of this
	// node, and where it announces.
	lacking string
	place   *place
}

// field is some of a group's members, by name.
type field struct {
	nodes []*candidate
	// preferred are those of nodes that are preferred the most.
	preferred []*candidate
	// addresses are how many they come into question for.
	addresses int
	// What sharers returns, once it was asked for.
	names    []string
	together string
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
// address, which is in the subnets of that key.
func (g *groups) of(address netip.Addr, s *Service, subnets []byte) *group {
	all := g.planner.view.Config
	g.found = selecting(all, all.L2Advertisements, address, s, g.found[:0])
	return g.made(address, subnets)
}

// together returns the group of all advertisements of an address.
func (g *groups) together(address netip.Addr, claims []claim, subnets []byte) *group {
	one := claims[0].group
	if !slices.ContainsFunc(claims, func(on claim) bool { return on.group != one }) {
		return one
	}
	g.found = g.found[:0]
	for i := range claims {
		g.found = append(g.found, claims[i].advertisements...)
	}
	slices.SortFunc(g.found, func(a, b *config.L2Advertisement) int { return cmp.Compare(g.index[a], g.index[b]) })
	g.found = slices.Compact(g.found)
	return g.made(address, subnets)
}

// made returns the group of the advertisements in found.
func (g *groups) made(address netip.Addr, subnets []byte) *group {
	g.set = g.set[:0]
	for _, a := range g.found {
		g.set = binary.BigEndian.AppendUint32(g.set, uint32(g.index[a]))
	}
	if len(g.found) > 0 {
		g.set = append(g.set, subnets...)
	}
	one := g.bySet[string(g.set)]
	if one == nil {
		one = g.planner.group(slices.Clone(g.found), address)
		g.bySet[string(g.set)] = one
	}
	return one
}

func (p *planner) group(advertisements []*config.L2Advertisement, address netip.Addr) *group {
	count := len(p.candidates) + 1
	g := &group{
		advertisements: advertisements, sample: address, perClient: len(advertisements) > 0, patience: config.FailbackNever,
		selected: make([]bool, count), linked: make([]bool, count), member: make([]bool, count), fields: map[string]*field{},
	}
	prefers := false
	for _, a := range advertisements {
		g.perClient, g.patience = g.perClient && a.PerClient, min(g.patience, a.Failback)
		g.answerPing = g.answerPing || a.AnswerPing
		prefers = prefers || a.Prefers()
	}
	if prefers {
		g.preference = make([]int, count)
	}
	fit := make([]fitness, count)
	for i := range p.candidates {
		fit[i] = g.look(&p.candidates[i])
		if p.candidates[i].Excluded == "" {
			g.best = max(g.best, fit[i])
		}
	}
	fit[p.self.index] = g.look(&p.self)
	for i := range fit {
		g.linked[i] = fit[i] != unfit && fit[i] >= g.best
	}
	for i := range p.candidates {
		if g.member[i] = g.linked[i] && p.candidates[i].Excluded == ""; g.member[i] {
			g.nodes = append(g.nodes, &p.candidates[i])
		}
	}
	g.member[p.self.index] = g.linked[p.self.index] && p.self.Excluded == ""
	return g
}

// look notes what the advertisements say of a candidate, and returns the fitness
// of its best interface.
func (g *group) look(c *candidate) fitness {
	best := unfit
	for _, a := range g.advertisements {
		if !a.SelectsNode(c.Labels) {
			continue
		}
		g.selected[c.index] = true
		best = max(best, c.fitness(a, g.sample))
		if g.preference != nil {
			g.preference[c.index] += a.Preference(c.Labels)
		}
	}
	return best
}

// without returns the members that are left without those that are unable, or all
// if none is.
func (p *planner) without(unable []string, g *group) *field {
	key := strings.Join(unable, " ")
	if f := g.fields[key]; f != nil {
		return f
	}
	f := &field{nodes: g.nodes}
	if len(unable) > 0 {
		f.nodes = slices.DeleteFunc(slices.Clone(g.nodes), func(one *candidate) bool { return slices.Contains(unable, one.name) })
	}
	if len(f.nodes) == 0 {
		f.nodes = g.nodes
	}
	f.preferred = p.foremost(f.nodes, g)
	g.fields[key] = f
	return f
}

// field returns one of some nodes that a single address needs.
func (p *planner) field(nodes []*candidate, g *group) *field {
	if len(p.fields) == cap(p.fields) {
		const many = 256
		p.fields = make([]field, 0, many)
	}
	p.fields = append(p.fields, field{nodes: nodes, preferred: p.foremost(nodes, g)})
	return &p.fields[len(p.fields)-1]
}

// foremost returns those of some that are preferred the most.
func (p *planner) foremost(of []*candidate, g *group) []*candidate {
	if g.preference == nil {
		return of
	}
	return p.most(of, math.MinInt, func(one *candidate) int { return g.preference[one.index] })
}

// most returns those of some that have the most of something, if it is as much as
// the least that counts.
func (p *planner) most(of []*candidate, least int, has func(*candidate) int) []*candidate {
	begin := len(p.lists)
	for _, one := range of {
		count := has(one)
		if count > least {
			least, p.lists = count, p.lists[:begin]
		}
		if count == least {
			p.lists = append(p.lists, one)
		}
	}
	return p.lists[begin:len(p.lists):len(p.lists)]
}

// has reports whether a candidate is among a field's nodes.
func (f *field) has(one *candidate) bool {
	_, found := slices.BinarySearchFunc(f.nodes, one, byIndex)
	return found
}

// sharers returns the names of those that share an address, and puts that into
// words.
func (f *field) sharers() (names []string, together string) {
	if f.together == "" && len(f.nodes) > 0 {
		for _, one := range f.nodes {
			f.names = append(f.names, one.name)
		}
		f.together = "announced per client, by " + strings.Join(f.names, ", ")
	}
	return f.names, f.together
}
