package ipam

import (
	"math/big"
	"net/netip"
)

// Usage is what the addresses of one IP family of a pool are used for: each that the spec
// covers is counted once.
type Usage struct {
	// Assigned are those that Services hold, Quarantined those that nobody holds and that
	// another host answers for.
	Assigned, Quarantined int64
	// Reserved are those that are set aside and that nobody holds, Free the rest, those
	// that rest included.
	Reserved, Free *big.Int
}

// Usage returns that of a pool, which is all zero if there is no such pool.
func (m *IPAM) Usage(name string, isIPv6 bool) Usage {
	u := Usage{Reserved: new(big.Int), Free: new(big.Int)}
	p := m.pools[name]
	if p == nil {
		return u
	}
	f := ipv4
	if isIPv6 {
		f = ipv6
	}
	for _, one := range p.parts() {
		u.Assigned += one.inside[f]
		u.Quarantined += one.aside[f]
		rest := one.available(f)
		rest.Sub(rest, big.NewInt(one.aside[f]))
		if one.reservation == nil {
			u.Free.Add(u.Free, rest)
		} else {
			u.Reserved.Add(u.Reserved, rest)
		}
	}
	return u
}

// Resting are addresses in their cool-down, in any order, at most so many.
func (m *IPAM) Resting(most int) []netip.Addr {
	var found []netip.Addr
	for _, p := range m.order {
		for _, one := range p.parts() {
			for f := range families {
				from := cooling{at: m.now.UnixNano() - int64(p.ReuseDelay) + 1}
				one.cooldowns[f].queue.AscendGreaterOrEqual(from, func(r cooling) bool {
					if len(found) == most {
						return false
					}
					found = append(found, r.address(f))
					return true
				})
			}
		}
	}
	return found
}
