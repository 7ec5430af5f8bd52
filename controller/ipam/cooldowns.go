package ipam

import (
	"github.com/google/btree"
)

// cooldowns are free addresses that somebody had before, with the time since
// when they are free and who had them. Under LowestFree they go back to the
// space when their cool-down is over; under LeastRecentlyUsed they stay here, since
// they are given in the order of that time.
type cooldowns struct {
	queue *btree.BTreeG[cooling]
	// byNamespace has the same, for the namespace that may have an address
	// back at once, in the order in which it is given them.
	byNamespace map[string]*btree.BTreeG[cooling]
	all         map[number]cooling
	less        btree.LessFunc[cooling]
}

// cooling is one free address that somebody had before.
type cooling struct {
	number
	// at is since when it is free, in nanoseconds of Unix time.
	at        int64
	namespace string
}

// before orders by the time, then by the address.
func (r cooling) before(o cooling) bool {
	return r.at < o.at || r.at == o.at && r.less(o.number)
}

func newCooldowns(byTime bool) *cooldowns {
	s := &cooldowns{
		queue:       btree.NewG(degree, cooling.before),
		byNamespace: make(map[string]*btree.BTreeG[cooling]),
		all:         make(map[number]cooling),
		less:        func(a, b cooling) bool { return a.less(b.number) },
	}
	if byTime {
		s.less = cooling.before
	}
	return s
}

func (s *cooldowns) empty() bool { return len(s.all) == 0 }

func (s *cooldowns) add(r cooling) {
	s.remove(r.number)
	s.all[r.number] = r
	s.queue.ReplaceOrInsert(r)
	if s.byNamespace[r.namespace] == nil {
		s.byNamespace[r.namespace] = btree.NewG(degree, s.less)
	}
	s.byNamespace[r.namespace].ReplaceOrInsert(r)
}

// remove reports whether the address was there.
func (s *cooldowns) remove(n number) bool {
	r, found := s.all[n]
	if !found {
		return false
	}
	delete(s.all, n)
	s.queue.Delete(r)
	mine := s.byNamespace[r.namespace]
	mine.Delete(r)
	if mine.Len() == 0 {
		delete(s.byNamespace, r.namespace)
	}
	return true
}

// oldest is the address that is free longest.
func (s *cooldowns) oldest() (cooling, bool) { return s.queue.Min() }

// next is the first address, by time, that became free after a time.
func (s *cooldowns) next(after int64) (found cooling, exists bool) {
	s.queue.AscendGreaterOrEqual(cooling{at: after + 1}, func(r cooling) bool {
		found, exists = r, true
		return false
	})
	return found, exists
}

// own is the address that a namespace would have back.
func (s *cooldowns) own(namespace string) (number, bool) {
	mine := s.byNamespace[namespace]
	if mine == nil {
		return number{}, false
	}
	r, found := mine.Min()
	return r.number, found
}
