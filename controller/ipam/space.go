package ipam

import (
	"math/big"
	"net/netip"

	"github.com/google/btree"

	"github.com/baliza-lb/baliza/config"
)

// space is the set of free addresses of one family of one pool, as disjoint
// intervals that do not touch, in the order of their last addresses. The
// interval with the lowest addresses is the leftmost of the tree, and taking
// its first address changes nothing about the order.
type space struct {
	tree   *btree.BTreeG[interval]
	family family
	// avoidBuggy drops buggy addresses when they come up, instead of cutting
	// a large pool into pieces of 254 from the start.
	avoidBuggy bool
}

// interval is a run of free addresses, both ends included.
type interval struct {
	first, last number
}

// degree of the tree: a node fills a few cache lines.
const degree = 32

func newSpace(f family, avoidBuggy bool) *space {
	less := func(a, b interval) bool { return a.last.less(b.last) }
	return &space{tree: btree.NewG(degree, less), family: f, avoidBuggy: avoidBuggy}
}

// add makes a run of addresses free that touches no free address yet.
func (s *space) add(r config.Range) {
	s.tree.ReplaceOrInsert(interval{numberOf(r.First), numberOf(r.Last)})
}

// lowest returns the lowest free address and leaves it free.
func (s *space) lowest() (netip.Addr, bool) {
	for {
		i, found := s.tree.Min()
		if !found {
			return netip.Addr{}, false
		}
		a := i.first.address(s.family)
		if !s.avoidBuggy || !config.Buggy(a) {
			return a, true
		}
		s.cut(i, i.first)
	}
}

// at returns the first interval that does not end before n.
func (s *space) at(n number) (found interval, exists bool) {
	s.tree.AscendGreaterOrEqual(interval{last: n}, func(i interval) bool {
		found, exists = i, true
		return false
	})
	return found, exists
}

// take makes an address taken; it reports whether the address was free.
func (s *space) take(a netip.Addr) bool {
	n := numberOf(a)
	i, found := s.at(n)
	if !found || n.less(i.first) {
		return false
	}
	s.cut(i, n)
	return true
}

// cut removes one address from an interval that has it.
func (s *space) cut(i interval, n number) {
	if n == i.last {
		s.tree.Delete(i)
	} else {
		s.tree.ReplaceOrInsert(interval{n.next(), i.last})
	}
	if n != i.first {
		s.tree.ReplaceOrInsert(interval{i.first, n.previous()})
	}
}

// give makes a taken address free, and joins it to its neighbours.
func (s *space) give(a netip.Addr) {
	n := numberOf(a)
	merged := interval{n, n}
	above, found := s.at(n)
	if found && !n.less(above.first) {
		return // it is free already
	}
	if found && above.first == n.next() {
		merged.last = above.last
	}
	if n != (number{}) {
		if below, found := s.tree.Get(interval{last: n.previous()}); found {
			s.tree.Delete(below)
			merged.first = below.first
		}
	}
	s.tree.ReplaceOrInsert(merged)
}

// subtract returns what is left of a range without the excluded ones, which
// are in the order of their first addresses and may overlap.
func subtract(r config.Range, excluded []config.Range) []config.Range {
	var left []config.Range
	first := r.First
	for _, e := range excluded {
		if !e.Overlaps(r) || e.Last.Less(first) {
			continue
		}
		if first.Less(e.First) {
			left = append(left, config.Range{First: first, Last: e.First.Prev()})
		}
		if first = e.Last.Next(); !first.IsValid() || r.Last.Less(first) {
			return left
		}
	}
	return append(left, config.Range{First: first, Last: r.Last})
}

// usable is the number of addresses in a range, less the buggy ones where
// those are avoided.
func usable(r config.Range, avoidBuggy bool) *big.Int {
	size := r.Size()
	if !avoidBuggy {
		return size
	}
	if !r.First.Is4() {
		first, last := numberOf(r.First), numberOf(r.Last)
		networks := new(big.Int).Sub(new(big.Int).SetUint64(last.high), new(big.Int).SetUint64(first.high))
		if first.low == 0 {
			networks.Add(networks, big.NewInt(1))
		}
		return size.Sub(size, networks)
	}
	buggy := buggyUpTo(r.Last) - buggyUpTo(r.First)
	if config.Buggy(r.First) {
		buggy++
	}
	return size.Sub(size, big.NewInt(buggy))
}

// buggyUpTo counts the buggy IPv4 addresses from 0.0.0.0 to a.
func buggyUpTo(a netip.Addr) int64 {
	b := a.As4()
	blocks := int64(b[0])<<16 | int64(b[1])<<8 | int64(b[2])
	count := 2*blocks + 1
	if b[3] == 255 {
		count++
	}
	return count
}
