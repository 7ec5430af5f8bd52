package bgp

import (
	mathbits "math/bits"
	"net/netip"
	"slices"
	"unique"

	"github.com/baliza-lb/baliza/speaker/model"
)

// Attributes are model.Attributes that were made once: comparing two is
// comparing two pointers.
type Attributes = unique.Handle[model.Attributes]

// AttributesOf makes them.
func AttributesOf(a model.Attributes) Attributes { return unique.Make(a) }

// Route is a path to a prefix. Routes can be compared with ==.
type Route struct {
	Prefix     netip.Prefix
	Attributes Attributes
}

// Paths are one Route for each prefix, in the order of netip.Prefix.Compare.
// They may be shared; nobody changes them.
type Paths []Route

// Covers reports whether a prefix among the paths has the address in it.
func (p Paths) Covers(a netip.Addr) bool {
	for bits := a.BitLen(); bits >= 0; {
		prefix, err := a.Prefix(bits)
		if err != nil {
			return false
		}
		at, found := slices.BinarySearchFunc(p, prefix, func(r Route, prefix netip.Prefix) int { return r.Prefix.Compare(prefix) })
		if found {
			return true
		}
		if at == 0 || familyOf(p[at-1].Prefix.Addr()) != familyOf(a) {
			return false
		}
		p = p[:at]
		before := p[at-1].Prefix
		if before.Contains(a) {
			return true
		}
		// Whatever has a in it comes before, and has that one in it, too: it is
		// no longer than what they have in common.
		bits = min(bits-1, commonBits(before.Addr(), a))
	}
	return false
}

// commonBits is how many bits two addresses of one family begin with alike.
func commonBits(a, b netip.Addr) int {
	x, y := a.AsSlice(), b.AsSlice()
	for i := range x {
		if x[i] != y[i] {
			const byteBits = 8
			return i*byteBits + mathbits.LeadingZeros8(x[i]^y[i])
		}
	}
	return a.BitLen()
}

// same reports whether they are one and the same list.
func (p Paths) same(o Paths) bool {
	return len(p) == len(o) && (len(p) == 0 || &p[0] == &o[0])
}

// compare calls changed for each route that is not in before as it is in p,
// and gone for each prefix of before that p lacks.
func (p Paths) compare(before Paths, changed func(Route), gone func(netip.Prefix)) {
	for len(p) > 0 || len(before) > 0 {
		order := 0
		switch {
		case len(p) == 0:
			order = 1
		case len(before) == 0:
			order = -1
		case p[0].Prefix != before[0].Prefix:
			order = p[0].Prefix.Compare(before[0].Prefix)
		}
		if order > 0 {
			gone(before[0].Prefix)
			before = before[1:]
			continue
		}
		if order < 0 || p[0] != before[0] {
			changed(p[0])
		}
		if order == 0 {
			before = before[1:]
		}
		p = p[1:]
	}
}

// family of addresses that a session may carry: unicast, of IPv4 or IPv6.
type family int

const (
	familyIPv4 family = iota
	familyIPv6
)

func families() [2]family { return [...]family{familyIPv4, familyIPv6} }

func (f family) String() string {
	if f == familyIPv4 {
		return "IPv4"
	}
	return "IPv6"
}

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return familyIPv4
	}
	return familyIPv6
}

// familySet has what is true of each family.
type familySet [2]bool

// split parts a list by family.
func (p Paths) split() [2]Paths {
	at := slices.IndexFunc(p, func(r Route) bool { return r.Prefix.Addr().Is6() })
	if at < 0 {
		at = len(p)
	}
	return [...]Paths{p[:at], p[at:]}
}
