package plan

import (
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/config"
)

// contest is one address and who may own it.
type contest struct {
	address  netip.Addr
	holdings []holding
	claims   []claim
	// rivals are those that can own the address for the most of its Services
	// and are preferred the most.
	rivals []*candidate
	owner  *candidate
	// sharers are those that can own it, by name, where its clients are divided:
	// then it has no rivals and no owner.
	sharers []*candidate
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
	begin := len(p.claims)
	for _, h := range holdings {
		s := &h.service.Service
		p.claims = append(p.claims, claim{s, s.of(address), p.groups.of(address, s)})
	}
	c.claims = p.claims[begin:len(p.claims):len(p.claims)]
	able := p.able(&c)
	if c.perClient() {
		c.sharers = able // candidates are sorted by name
		return c
	}
	present := p.byName[p.view.Owners[address]]
	if present == nil || !slices.Contains(able, present) {
		c.rivals = p.preferred(able, &c)
		return c
	}
	c.owner = present
	if delay := patience(&c); delay < config.FailbackNever {
		// Whoever is back for long enough comes before a present owner that is
		// less preferred, or equally and has the lower weight. Loads do not
		// count: an address that goes back must go where it was.
		mature := slices.DeleteFunc(slices.Clone(able), func(one *candidate) bool { return one != present && p.view.AliveFor[one.name] < delay })
		c.owner = highest(p.preferred(mature, &c), address, anyone)
	}
	return c
}

// able returns those that can own the address for the most of its Services, by
// name. The list may be shared.
func (p *planner) able(c *contest) (able []*candidate) {
	if len(c.claims) == 1 && !c.claims[0].service.Local {
		if !c.claims[0].endpoints.Any {
			return nil
		}
		return c.claims[0].nodes
	}
	most := 0
	for i := range p.candidates {
		serves := 0
		for j := range c.claims {
			if c.claims[j].allows(&p.candidates[i]) {
				serves++
			}
		}
		if serves == 0 || serves < most {
			continue
		}
		if serves > most {
			most, able = serves, able[:0]
		}
		able = append(able, &p.candidates[i])
	}
	return able
}

// perClient reports whether the clients of the address are divided: only if all
// its advertisements want that.
func (c *contest) perClient() bool {
	wanted := false
	for i := range c.claims {
		for _, a := range c.claims[i].advertisements {
			if !a.PerClient {
				return false
			}
			wanted = true
		}
	}
	return wanted
}

// patience is the shortest failback delay of the advertisements.
func patience(c *contest) time.Duration {
	delay := config.FailbackNever
	for i := range c.claims {
		for _, a := range c.claims[i].advertisements {
			delay = min(delay, a.Failback)
		}
	}
	return delay
}

// preferred returns those with the highest sum of preferences.
func (p *planner) preferred(able []*candidate, c *contest) []*candidate {
	var preferring []*config.L2Advertisement
	for i := range c.claims {
		for _, a := range c.claims[i].advertisements {
			if a.Prefers() && !slices.Contains(preferring, a) {
				preferring = append(preferring, a)
			}
		}
	}
	if len(preferring) == 0 {
		return able
	}
	var best []*candidate
	most := -1
	for _, one := range able {
		sum := 0
		for _, a := range preferring {
			if a.SelectsNode(one.Labels) {
				sum += a.Preference(one.Labels)
			}
		}
		if sum > most {
			most, best = sum, nil
		}
		if sum == most {
			best = append(best, one)
		}
	}
	return best
}

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
	fair := spare + addresses*fairNumerator/(fairDenominator*max(1, included))
	for i := range all {
		c := &all[i]
		if c.owner != nil || len(c.rivals) == 0 {
			continue
		}
		// What goes back goes to where chance alone would put it.
		if patience(c) == config.FailbackNever {
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
		if !may(one) {
			continue
		}
		if w := weight(one.seed, halves); best == nil || w > most {
			best, most = one, w
		}
	}
	return best
}
