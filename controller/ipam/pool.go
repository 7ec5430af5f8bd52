package ipam

import (
	"math/big"
	"net/netip"
	"slices"
	"strings"

	"github.com/baliza-lb/baliza/config"
)

// pool is a pool of the snapshot with what is free of it.
type pool struct {
	*config.Pool
	free [families]*space
	// capacity counts what the spec covers, free or not.
	capacity [families]*big.Int
	// inside counts what Services hold of that.
	inside [families]int64
}

func newPool(p *config.Pool) *pool {
	made := &pool{Pool: p}
	for f := range families {
		made.free[f] = newSpace(f, p.AvoidBuggyIPs)
		made.capacity[f] = new(big.Int)
	}
	for _, r := range joined(p.Ranges) {
		f := familyOf(r.First)
		for _, left := range subtract(r, p.Excluded) {
			made.free[f].add(left)
			made.capacity[f].Add(made.capacity[f], usable(left, p.AvoidBuggyIPs))
		}
	}
	return made
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

// has tells whether the pool's spec covers an address of the family at all.
func (p *pool) has(f family) bool { return p.capacity[f].Sign() > 0 }

// Counters are the exact figures of one pool.
type Counters struct {
	// AssignedIPv4 and AssignedIPv6 are addresses that Services hold, those
	// that the spec no longer covers included.
	AssignedIPv4, AssignedIPv6 int64
	// AvailableIPv4 and AvailableIPv6 are addresses that can still be given:
	// none of a frozen pool.
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
		c.AssignedIPv4, c.AssignedIPv6 = p.inside[ipv4], p.inside[ipv6]
		if !p.Frozen {
			c.AvailableIPv4.Sub(p.capacity[ipv4], big.NewInt(p.inside[ipv4]))
			c.AvailableIPv6.Sub(p.capacity[ipv6], big.NewInt(p.inside[ipv6]))
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
