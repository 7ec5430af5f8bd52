package ipam

import (
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/baliza-lb/baliza/config"
)

// pool is a pool of the snapshot with what is free of it.
type pool struct {
	*config.Pool
	// part is what nobody has reserved; open is the same, as a list.
	part
	open     []*part
	reserved []*part
	// held counts the addresses that the Services of a namespace have and are
	// not leaving.
	held map[string]int64
}

func newPool(p *config.Pool) *pool {
	ranges := joined(p.Ranges)
	made := &pool{Pool: p, held: make(map[string]int64)}
	for i := range p.Reservations {
		reservation := &p.Reservations[i]
		one := newPart(p, reservation, common(ranges, reservation.Ranges))
		made.reserved = append(made.reserved, &one)
		ranges = without(ranges, reservation.Ranges)
	}
	made.part = newPart(p, nil, ranges)
	made.open = []*part{&made.part}
	return made
}

// common returns what two lists of disjoint ranges have in common.
func common(a, b []config.Range) []config.Range {
	var out []config.Range
	for _, r := range a {
		for _, o := range b {
			if r.Overlaps(o) {
				out = append(out, config.Range{First: later(r.First, o.First), Last: earlier(r.Last, o.Last)})
			}
		}
	}
	return out
}

func later(a, b netip.Addr) netip.Addr {
	if a.Less(b) {
		return b
	}
	return a
}

func earlier(a, b netip.Addr) netip.Addr {
	if a.Less(b) {
		return a
	}
	return b
}

// without returns what is left of disjoint ranges without others, which are in
// address order.
func without(ranges, others []config.Range) []config.Range {
	var out []config.Range
	for _, r := range ranges {
		out = append(out, subtract(r, others)...)
	}
	return out
}

// joined makes one range of those that touch.
func joined(ranges []config.PoolRange) []config.Range {
	var out []config.Range
	for _, r := range ranges {
		if n := len(out); n > 0 && out[n-1].Last.Next() == r.First {
			out[n-1].Last = r.Last
			continue
		}
		out = append(out, r.Range)
	}
	return out
}

// has reports whether the pool's spec covers an address of the family at all.
func (p *pool) has(f family) bool {
	return slices.ContainsFunc(p.parts(), func(one *part) bool { return one.capacity[f].Sign() > 0 })
}

// parts yields all parts of the pool.
func (p *pool) parts() []*part { return slices.Concat(p.open, p.reserved) }

// giveBack makes an address free that the Services of a namespace had; it
// reports whether it has to cool down before others may have it.
func (p *pool) giveBack(a netip.Addr, namespace string, now time.Time) (rests bool) {
	f := familyOf(a)
	one := p.partOf(a)
	one.inside[f]--
	if p.ReuseDelay == 0 && !p.LeastRecentlyUsed {
		one.free[f].give(a)
		return false
	}
	one.cooldowns[f].add(cooling{numberOf(a), now.UnixNano(), namespace})
	return true
}

// Counters are the exact figures of one pool.
type Counters struct {
	// AssignedIPv4 and AssignedIPv6 are addresses that Services hold, those
	// that the spec no longer covers included.
	AssignedIPv4, AssignedIPv6 int64
	// AvailableIPv4 and AvailableIPv6 are addresses that can still be given:
	// none of a frozen pool, nor those reserved for nobody or in quarantine.
	AvailableIPv4, AvailableIPv6 *big.Int
	// OutsideSpec are assigned addresses that no pool covers, each followed by
	// the Services that hold it, in the order of the addresses.
	OutsideSpec []string
}

// Counters returns the figures of a pool, which may be gone from the snapshot
// while Services still hold its addresses.
func (m *IPAM) Counters(name string) Counters {
	c := Counters{AvailableIPv4: new(big.Int), AvailableIPv6: new(big.Int)}
	if p := m.pools[name]; p != nil {
		for _, one := range p.parts() {
			c.AssignedIPv4 += one.inside[ipv4]
			c.AssignedIPv6 += one.inside[ipv6]
			if p.Frozen || one.reservation != nil && one.reservation.Namespace == "" {
				continue
			}
			for f, sum := range map[family]*big.Int{ipv4: c.AvailableIPv4, ipv6: c.AvailableIPv6} {
				sum.Add(sum, one.available(f))
				sum.Sub(sum, big.NewInt(one.aside[f]))
			}
		}
	}
	addresses := make([]netip.Addr, 0, len(m.outside[name]))
	for a := range m.outside[name] {
		addresses = append(addresses, a)
		if a.Is4() {
			c.AssignedIPv4++
		} else {
			c.AssignedIPv6++
		}
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	for _, a := range addresses {
		c.OutsideSpec = append(c.OutsideSpec, a.String()+" "+strings.Join(m.Holders(a), " "))
	}
	return c
}

// Holders returns the keys of the Services that hold an address, in order.
func (m *IPAM) Holders(a netip.Addr) []string {
	t := m.taken[a]
	if t == nil {
		return nil
	}
	keys := make([]string, 0, 1+len(t.others))
	for h := range t.holders() {
		keys = append(keys, h.key)
	}
	slices.Sort(keys)
	return keys
}

// Holds reports whether an address is taken by a Service, be it that it is leaving
// it.
func (m *IPAM) Holds(key string, a netip.Addr) bool {
	h := m.holdings[key]
	return h != nil && h.has(a)
}

// Taken reports whether any Service has the address, or is leaving it.
func (m *IPAM) Taken(a netip.Addr) bool { return m.taken[a] != nil }
