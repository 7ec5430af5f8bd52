package reconcile

import (
	"github.com/google/btree"
)

// waitList is the Services that wait for an address, the oldest first: they are
// asked again in that order, and must not be sorted for each that is freed.
type waitList struct{ tree *btree.BTreeG[*record] }

func newWaitList() waitList {
	return waitList{btree.NewG(32, func(a, b *record) bool { return byAge(a, b) < 0 })}
}

func (w waitList) add(rec *record)    { w.tree.ReplaceOrInsert(rec) }
func (w waitList) remove(rec *record) { w.tree.Delete(rec) }
func (w waitList) len() int           { return w.tree.Len() }

// all are those that wait now.
func (w waitList) all() []*record {
	all := make([]*record, 0, w.tree.Len())
	w.tree.Ascend(func(rec *record) bool {
		all = append(all, rec)
		return true
	})
	return all
}

// wakePending asks those again who wait for an address, when something
// happened that may let them in.
func (r *Reconciler) wakePending() {
	generation := r.allocator.Generation()
	if generation == r.woken {
		return
	}
	r.woken = generation
	r.allocator.Wake()
	var named, others []*record
	unallocated := make(map[*record]bool)
	for _, rec := range r.pending.all() { // what is shown comes before what is given
		if r.showsUnallocated(rec) {
			unallocated[rec] = true
			r.adopt(rec)
		}
		if len(rec.object.request.Addresses) > 0 {
			named = append(named, rec)
		} else {
			others = append(others, rec)
		}
	}
	for _, rec := range named { // and what is named before what is any
		if unallocated[rec] || r.allocator.MayGain(rec.object.request) {
			r.decide(rec)
		}
	}
	for _, rec := range others {
		if !unallocated[rec] && !r.allocator.MayGain(rec.object.request) {
			continue
		}
		r.decide(rec)
		if len(unallocated) == 0 && !r.allocator.MayAnyGain() {
			break // it was taken
		}
	}
}

// showsUnallocated reports whether a Service that waits shows what is not allocated
// to it: whoever has that must let it go.
func (r *Reconciler) showsUnallocated(rec *record) bool {
	return rec.yieldedTo != "" || rec.object.shows() && !r.showsOnlyOurs(rec)
}
