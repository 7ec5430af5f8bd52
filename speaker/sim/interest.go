package sim

import (
	"math/bits"
	"net/netip"
)

// interest is which hosts may want a broadcast that names an address: those that
// want one are among them. So a broadcast costs nothing for the thousand others.
type interest map[netip.Addr][]uint64

// add notes a host.
func (i interest) add(a netip.Addr, h *Host) {
	place := h.number - 1
	set := i[a]
	for len(set) <= place/64 {
		set = append(set, 0)
	}
	set[place/64] |= 1 << (place % 64)
	i[a] = set
}

// remove takes one off that wants nothing which names the address.
func (i interest) remove(a netip.Addr, h *Host) {
	if place := h.number - 1; place/64 < len(i[a]) {
		i[a][place/64] &^= 1 << (place % 64)
	}
}

// each calls do with those of two addresses, in the order of their numbers.
func (w *World) interested(a, b netip.Addr, do func(*Host)) {
	one, other := w.interest[a], w.interest[b]
	if len(one) < len(other) {
		one, other = other, one
	}
	for at, set := range one {
		if at < len(other) {
			set |= other[at]
		}
		for ; set != 0; set &= set - 1 {
			do(w.nodes[at*64+bits.TrailingZeros64(set)])
		}
	}
}
