package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/baliza-lb/baliza/config"
)

// contest is one address and who may own it.
type contest struct {
	address  netip.Addr
	holdings []holding
	claims   []claim
	// all is the group of the advertisements of all claims, and able are those
	// that can own the address for the most of its Services.
	all  *group
	able *field
	// rivals are those of able that come first.
	rivals []*candidate
	owner  *candidate
	// yielded says that owner owns the address whatever the rules say.
	yielded bool
	// shared says that its clients are divided among able: then it has no rivals
	// and no owner.
	shared bool
}

// Of equally good nodes the highest random weight decides, but nobody takes an
// address who has more than this share of the mean already. Without it a node
// may have a quarter more than the mean by chance.
const (
	fairNumerator, fairDenominator = 6, 5
	// spare addresses are no injustice: with few, chance decides alone.
	spare = 2
)

// contest gathers who may own an address, and lets the present owner stay if
// it may.
func (p *planner) contest(holdings []holding) contest {
	address := holdings[0].address
	c := contest{address: address, holdings: holdings}
	p.key = p.subnets.appendKey(p.key[:0], address)
	begin := len(p.claims)
	for _, h := range holdings {
		s := &h.service.Service
		p.claims = append(p.claims, claim{s, s.of(address), p.groups.of(address, s, p.key)})
	}
	c.claims = p.claims[begin:len(p.claims):len(p.claims)]
	c.all = p.groups.together(address, c.claims, p.key)
	c.able = p.able(&c)
	present := p.byName[p.view.Owners[address]]
	switch {
	case c.all.perClient:
		c.shared = true
	case p.successor(&c, present) != nil:
		c.owner = p.successor(&c, present)
	case p.yields(address, present):
		c.owner, c.yielded = present, true
	case present == nil || !c.able.has(present):
		if c.owner = p.named(&c); c.owner == nil {
			c.rivals = p.busiest(c.able.preferred, &c)
		}
	case c.all.patience == config.FailbackNever:
		c.owner = present
	default:
		c.owner = p.failedBack(&c, present)
	}
	if c.owner != nil || len(c.rivals) > 0 {
		c.able.addresses++
	}
	return c
}

// successor is whom the owner of an address, if it still owns it, hands it to; nil
// if it does not, or that one cannot take it.
func (p *planner) successor(c *contest, present *candidate) *candidate {
	handing, told := p.view.Successions[c.address]
	next := p.byName[handing.To]
	if !told || next == nil || !c.able.has(next) || present != nil && present.name != handing.By && present != next {
		return nil
	}
	return next
}

// named is the node that the Services of an address prefer by name, the first of
// them that names one that can own it; nil if none does.
func (p *planner) named(c *contest) *candidate {
	for i := range c.claims {
		name := c.claims[i].service.PreferredNode
		if name == "" {
			continue
		}
		if one := p.byName[name]; one != nil && c.able.has(one) {
			return one
		}
	}
	return nil
}

// yields reports whether this node leaves an address to its present owner whatever
// the rules say of that one: it has let it go to it. An owner that says itself that
// it is unable does not count.
func (p *planner) yields(address netip.Addr, present *candidate) bool {
	return present != nil && present.name != p.view.Self && p.view.Yielded[address] && !slices.Contains(p.view.Unable[address], present.name)
}

// failedBack returns who owns the address that has a present owner: whoever is
// back for long enough comes before one that is less preferred, or equally and
// has the lower weight. Loads do not count: an address that goes back must go
// where it was.
func (p *planner) failedBack(c *contest, present *candidate) *candidate {
	mature := func(one *candidate) bool { return one == present || one.aliveFor >= c.all.patience }
	if one := p.named(c); one != nil && mature(one) {
		return one
	}
	if best := highest(c.able.preferred, c.address, mature); best != nil {
		return best
	}
	those := slices.DeleteFunc(slices.Clone(c.able.nodes), func(one *candidate) bool { return !mature(one) })
	return highest(p.foremost(those, c.all), c.address, anyone)
}

// busiest returns those of equals that have the most of the usable endpoints that
// only the owner's node sends traffic to: the clients see more of them. What fails
// back goes where it belongs, whoever has how many at the moment.
func (p *planner) busiest(of []*candidate, c *contest) []*candidate {
	if c.all.patience != config.FailbackNever || len(of) < 2 || !slices.ContainsFunc(c.claims, claim.confined) {
		return of
	}
	return p.most(of, 0, func(one *candidate) (pods int) {
		for i := range c.claims {
			if on := &c.claims[i]; on.confined() && on.allows(one) {
				pods += on.endpoints.Counts[one.name]
			}
		}
		return pods
	})
}

// able returns those that can own the address for the most of its Services, of
// those that have not said that they are unable if there are such.
func (p *planner) able(c *contest) *field {
	unable := p.view.Unable[c.address]
	served := slices.ContainsFunc(c.claims, func(on claim) bool { return on.endpoints.Any })
	alike := !slices.ContainsFunc(c.claims, func(on claim) bool { return on.group != c.all || on.confined() })
	switch {
	case !served:
		return &p.nobody
	case alike:
		return p.without(unable, c.all)
	}
	nodes := p.serving(c, unable)
	if len(nodes) == 0 && len(unable) > 0 {
		nodes = p.serving(c, nil)
	}
	return p.field(nodes, c.all)
}

// serving returns those that can own the address for the most of its Services, by
// name, without those that are unable.
func (p *planner) serving(c *contest, unable []string) []*candidate {
	return p.most(p.near(c), 1, func(one *candidate) (services int) {
		for i := range c.claims {
			if c.claims[i].allows(one) {
				services++
			}
		}
		if services > 0 && slices.Contains(unable, one.name) {
			return 0
		}
		return services
	})
}

// near returns those that come into question by their endpoints, by name. The list
// is good until it is asked for again.
func (p *planner) near(c *contest) []*candidate {
	p.nearby = p.nearby[:0]
	for i := range c.claims {
		on := &c.claims[i]
		if on.endpoints.Any && !on.confined() {
			return p.everyone
		}
		for name := range on.endpoints.Nodes {
			if one := p.byName[name]; one != nil {
				p.nearby = append(p.nearby, one)
			}
		}
	}
	slices.SortFunc(p.nearby, byIndex)
	p.nearby = slices.Compact(p.nearby)
	return p.nearby
}

func byIndex(a, b *candidate) int { return cmp.Compare(a.index, b.index) }

// settle gives an owner to the addresses that have none, in their order, so
// that all that share a view agree.
func (p *planner) settle(all []contest) {
	loads, addresses := make([]int, len(p.candidates)), 0
	for i := range all {
		if all[i].owner != nil {
			loads[all[i].owner.index]++
		}
		if all[i].owner != nil || len(all[i].rivals) > 0 {
			addresses++
		}
	}
	included := 0
	for i := range p.candidates {
		if p.candidates[i].Excluded == "" {
			included++
		}
	}
	fairOf := func(addresses, nodes int) int { return spare + addresses*fairNumerator/(fairDenominator*max(1, nodes)) }
	overall := fairOf(addresses, included)
	for i := range all {
		c := &all[i]
		if c.owner != nil || len(c.rivals) == 0 {
			continue
		}
		// What goes back goes to where chance alone would put it.
		if c.all.patience == config.FailbackNever {
			// Some nodes alone can have what the others cannot.
			fair := max(overall, fairOf(c.able.addresses, len(c.able.preferred)))
			c.owner = highest(c.rivals, c.address, func(one *candidate) bool { return loads[one.index] < fair })
		}
		if c.owner == nil {
			c.owner = highest(c.rivals, c.address, anyone)
		}
		loads[c.owner.index]++
	}
}

func anyone(*candidate) bool { return true }

// highest returns the candidate with the highest weight for an address of those
// that may have it, or nil.
func highest(among []*candidate, address netip.Addr, may func(*candidate) bool) *candidate {
	var best *candidate
	var most uint64
	halves := halvesOf(address)
	for _, one := range among {
		if w := weight(one.seed, halves); (best == nil || w > most) && may(one) {
			best, most = one, w
		}
	}
	return best
}
