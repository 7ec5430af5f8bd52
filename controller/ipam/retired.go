package ipam

import (
	"github.com/google/btree"
)

// retired are free addresses that somebody had before, with the time since
// when they are free and who had them. Under LowestFree they go back to the
// space when their rest is over; under LeastRecentlyUsed they stay here, since
// they are given in the order of that time.
type retired struct {
	queue *btree.BTreeG[retiree]
	// byNamespace has the same, for the namespace that may have an address
	// back at once, in the order in which it is given them.
	byNamespace map[string]*btree.BTreeG[retiree]
	all         map[number]retiree
	less        btree.LessFunc[retiree]
}

// retiree is one free address that somebody had before.
type retiree struct {
	number
	// at is since when it is free, in nanoseconds of Unix time.
	at        int64
	namespace string
}

// before orders by the time, then by the address.
func (r retiree) before(o retiree) bool {
	return r.at < o.at || r.at == o.at && r.less(o.number)
}

func newRetired(byTime bool) *retired {
	s := &retired{
		queue:       btree.NewG(degree, retiree.before),
		byNamespace: make(map[string]*btree.BTreeG[retiree]),
		all:         make(map[number]retiree),
		less:        func(a, b retiree) bool { return a.less(b.number) },
	}
	if byTime {
		s.less = retiree.before
	}
	return s
}

func (s *retired) empty() bool { return len(s.all) == 0 }

func (s *retired) add(r retiree) {
	s.remove(r.number)
	s.all[r.number] = r
	s.queue.ReplaceOrInsert(r)
	if s.byNamespace[r.namespace] == nil {
		s.byNamespace[r.namespace] = btree.NewG(degree, s.less)
	}
	s.byNamespace[r.namespace].ReplaceOrInsert(r)
}

// remove reports whether the address was there.
func (s *retired) remove(n number) bool {
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
func (s *retired) oldest() (retiree, bool) { return s.queue.Min() }

// next is the first address, by time, that became free after a time.
func (s *retired) next(after int64) (found retiree, exists bool) {
	s.queue.AscendGreaterOrEqual(retiree{at: after + 1}, func(r retiree) bool {
		found, exists = r, true
		return false
	})
	return found, exists
}

// own is the address that a namespace would have back.
func (s *retired) own(namespace string) (number, bool) {
	mine := s.byNamespace[namespace]
	if mine == nil {
		return number{}, false
	}
	r, found := mine.Min()
	return r.number, found
}
