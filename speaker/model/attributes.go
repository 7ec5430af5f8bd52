package model

import (
	"cmp"
	"encoding/binary"
	"iter"
	"slices"
)

// Optional is a number that may be absent; the zero Optional is.
type Optional struct {
	Value uint32
	Set   bool
}

// Some is a number that is there.
func Some(value uint32) Optional { return Optional{value, true} }

// Attributes is what goes with a prefix in BGP. It is one comparable value: two
// that are equal by == are the same to a router, so an attribute that is added
// here is neither forgotten in a comparison nor in a key.
type Attributes struct {
	// LocalPref is for peers of our own AS.
	LocalPref, MED Optional
	// Prepend is how often our AS number is put in front once more, 0 or more.
	Prepend          int
	Communities      Communities
	LargeCommunities LargeCommunities
	// Bandwidth of the link behind us in bytes a second, by which a router
	// weighs next hops; zero means that none is told.
	Bandwidth uint64
	// TransitiveBandwidth tells it in the transitive form (0x0004), which routers
	// do not take off between autonomous systems (RFC 4360 section 6).
	TransitiveBandwidth bool
}

// Communities are a set of standard communities (RFC 1997), in a canonical form
// so that it can be compared.
type Communities struct{ packed string }

const sizeStandard, sizeLarge = 4, 12

// CommunitiesOf makes a set of numbers in any order.
func CommunitiesOf(numbers ...uint32) Communities {
	sorted := slices.Compact(slices.Sorted(slices.Values(numbers)))
	var packed []byte
	for _, n := range sorted {
		packed = binary.BigEndian.AppendUint32(packed, n)
	}
	return Communities{string(packed)}
}

// Len is how many there are.
func (c Communities) Len() int { return len(c.packed) / sizeStandard }

// All yields them in ascending order.
func (c Communities) All() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for at := 0; at < len(c.packed); at += sizeStandard {
			if !yield(number(c.packed, at)) {
				return
			}
		}
	}
}

// LargeCommunities are a set of large communities (RFC 8092), likewise.
type LargeCommunities struct{ packed string }

// LargeCommunitiesOf makes a set of triples in any order.
func LargeCommunitiesOf(triples ...[3]uint32) LargeCommunities {
	compare := func(a, b [3]uint32) int {
		return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]), cmp.Compare(a[2], b[2]))
	}
	sorted := slices.Compact(slices.SortedFunc(slices.Values(triples), compare))
	var packed []byte
	for _, t := range sorted {
		for _, n := range t {
			packed = binary.BigEndian.AppendUint32(packed, n)
		}
	}
	return LargeCommunities{string(packed)}
}

// Len is how many there are.
func (c LargeCommunities) Len() int { return len(c.packed) / sizeLarge }

// All yields them in ascending order.
func (c LargeCommunities) All() iter.Seq[[3]uint32] {
	return func(yield func([3]uint32) bool) {
		for at := 0; at < len(c.packed); at += sizeLarge {
			if !yield([3]uint32{number(c.packed, at), number(c.packed, at+4), number(c.packed, at+8)}) { //nolint:mnd // three of four bytes
				return
			}
		}
	}
}

func number(packed string, at int) uint32 {
	return uint32(packed[at])<<24 | uint32(packed[at+1])<<16 | uint32(packed[at+2])<<8 | uint32(packed[at+3])
}
