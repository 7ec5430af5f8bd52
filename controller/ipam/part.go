package ipam

import (
	"math/big"
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/config"
)

// part is a set of a pool's addresses with what is free of them: those of one
// reservation, or all that nobody has reserved.
type part struct {
	// reservation is nil for what nobody has reserved.
	reservation *config.Reservation
	// free addresses that need no cool-down.
	free [families]*space
	// cooldowns are the other free ones: see [cooldowns].
	cooldowns [families]*cooldowns
	// capacity counts what the spec covers, free or not.
	capacity [families]*big.Int
	// inside counts what Services hold of that.
	inside [families]int64
	// aside counts what nobody holds of that and is in quarantine.
	aside [families]int64
}

func newPart(p *config.Pool, reservation *config.Reservation, ranges []config.Range) part {
	made := part{reservation: reservation}
	for f := range families {
		made.free[f] = newSpace(f, p.AvoidBuggyIPs)
		made.cooldowns[f] = newCooldowns(p.LeastRecentlyUsed)
		made.capacity[f] = new(big.Int)
	}
	for _, r := range ranges {
		f := familyOf(r.First)
		for _, left := range subtract(r, p.Excluded) {
			made.free[f].add(left)
			made.capacity[f].Add(made.capacity[f], usable(left, p.AvoidBuggyIPs))
		}
	}
	return made
}

// admits reports whether the Service may have addresses of the part.
func (p *part) admits(q *ask) bool {
	return p.reservation == nil || p.reservation.Admits(q.Namespace, q.Key)
}

// available counts the addresses that are free.
func (p *part) available(f family) *big.Int {
	return new(big.Int).Sub(p.capacity[f], big.NewInt(p.inside[f]))
}

// book makes an address taken.
func (p *part) book(a netip.Addr) {
	f := familyOf(a)
	p.inside[f]++
	if !p.cooldowns[f].remove(numberOf(a)) {
		p.free[f].take(a)
	}
}

// parts of the pool that the Service may have addresses of, in the order in
// which it is given them: its own reservations, those of its namespace, the
// rest.
func (p *pool) partsFor(q *ask) []*part {
	if len(p.reserved) == 0 {
		return p.open
	}
	var own, shared []*part
	for _, one := range p.reserved {
		switch {
		case !one.admits(q):
		case one.reservation.Service != "":
			own = append(own, one)
		default:
			shared = append(shared, one)
		}
	}
	return slices.Concat(own, shared, p.open)
}

// partOf returns the part that a covered address is in.
func (p *pool) partOf(a netip.Addr) *part {
	for _, one := range p.reserved {
		if slices.ContainsFunc(one.reservation.Ranges, func(r config.Range) bool { return r.Contains(a) }) {
			return one
		}
	}
	return p.open[0]
}

// withheld reports whether the pool has free addresses that the Service may not
// have because they are reserved.
func (p *pool) withheld(q *ask, f family) bool {
	return slices.ContainsFunc(p.reserved, func(one *part) bool { return !one.admits(q) && one.available(f).Sign() > 0 })
}

// choose picks a free address for a Service. One that cools down from the use of
// another namespace is the last resort, and then the one that has cooled down longest.
func (p *pool) choose(q *ask, f family, now time.Time) (netip.Addr, bool) {
	parts := p.partsFor(q)
	for _, one := range parts {
		if a, found := p.ready(one, q.Namespace, f, now); found {
			return a, true
		}
	}
	var best cooling
	for _, one := range parts {
		if r, found := one.cooldowns[f].oldest(); found && (best == (cooling{}) || r.before(best)) {
			best = r
		}
	}
	return best.address(f), best != (cooling{})
}

// ready picks a free address of one part that does not cool down, or does so only for
// others.
func (p *pool) ready(one *part, namespace string, f family, now time.Time) (netip.Addr, bool) {
	lowest, found := one.free[f].lowest()
	cooldowns := one.cooldowns[f]
	if cooldowns.empty() || found && p.LeastRecentlyUsed {
		return lowest, found
	}
	if p.LeastRecentlyUsed {
		if r, exists := cooldowns.oldest(); exists && !p.inCooldown(r, now) {
			return r.address(f), true
		}
	}
	if n, exists := cooldowns.own(namespace); exists && (!found || n.less(numberOf(lowest))) {
		return n.address(f), true
	}
	return lowest, found
}

// inCooldown reports whether the cool-down of a freed address is not over.
func (p *pool) inCooldown(r cooling, now time.Time) bool {
	return now.UnixNano()-r.at < int64(p.ReuseDelay)
}
