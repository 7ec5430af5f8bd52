package sim

import (
	"math/bits"
	"net/netip"
)

// interest is which hosts may want a broadcast that names an address: those that
// want one are among them. So a broadcast costs nothing for the thousand others.
type interest map[netip.Addr][]uint64

// word is how many hosts one number has room for.
const word = 64

// add notes a host.
func (i interest) add(a netip.Addr, h *Host) {
	place := h.number - 1
	set := i[a]
	for len(set) <= place/word {
		set = append(set, 0)
	}
	set[place/word] |= 1 << (place % word)
	i[a] = set
}

// remove takes one off that wants nothing which names the address.
func (i interest) remove(a netip.Addr, h *Host) {
	if place := h.number - 1; place/word < len(i[a]) {
		i[a][place/word] &^= 1 << (place % word)
	}
}

// interested calls do with those of two addresses, in the order of their numbers.
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
			do(w.nodes[at*word+bits.TrailingZeros64(set)])
		}
	}
}
