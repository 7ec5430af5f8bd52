package reconcile

import (
	"maps"
	"slices"

	"github.com/google/btree"
)

// waitList is the Services that wait for an address, the oldest first: they are
// asked again in that order, and must be neither sorted nor looked at for each that
// is freed.
type waitList struct {
	// named are those that name addresses, and others the rest.
	named, others *btree.BTreeG[*record]
	// unallocated are those of both that show what is not allocated to them.
	unallocated map[*record]bool
}

// atATime is how many that wait are looked at before it is seen whether anything is
// left for the others.
const atATime = 64

func newWaitList() waitList {
	tree := func() *btree.BTreeG[*record] {
		return btree.NewG(32, func(a, b *record) bool { return byAge(a, b) < 0 })
	}
	return waitList{tree(), tree(), make(map[*record]bool)}
}

// add has a Service wait, as it is now.
func (w waitList) add(rec *record, unallocated bool) {
	w.remove(rec)
	if unallocated {
		w.unallocated[rec] = true
	}
	if len(rec.object.request.Addresses) > 0 {
		w.named.ReplaceOrInsert(rec)
	} else {
		w.others.ReplaceOrInsert(rec)
	}
}

func (w waitList) remove(rec *record) {
	w.named.Delete(rec)
	w.others.Delete(rec)
	delete(w.unallocated, rec)
}

func (w waitList) len() int { return w.named.Len() + w.others.Len() }

// all are those that wait now, those that name addresses first.
func (w waitList) all() []*record {
	return append(after(w.named, nil, w.named.Len()), after(w.others, nil, w.others.Len())...)
}

// after are up to n of a tree that come after a record, or the first.
func after(tree *btree.BTreeG[*record], rec *record, n int) []*record {
	some := make([]*record, 0, min(n, tree.Len()))
	take := func(one *record) bool {
		if one != rec && len(some) < n {
			some = append(some, one)
		}
		return len(some) < n
	}
	if rec == nil {
		tree.Ascend(take)
	} else {
		tree.AscendGreaterOrEqual(rec, take)
	}
	return some
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
	unallocated := maps.Clone(r.pending.unallocated)
	for _, rec := range slices.SortedFunc(maps.Keys(unallocated), byAge) { // what is shown comes before what is given
		r.adopt(rec)
	}
	ask := func(some []*record) {
		for _, rec := range some {
			if unallocated[rec] || r.allocator.MayGain(rec.object.request) {
				delete(unallocated, rec)
				r.decide(rec)
			}
		}
	}
	ask(after(r.pending.named, nil, r.pending.named.Len())) // and what is named before what is any
	for some := after(r.pending.others, nil, atATime); len(some) > 0; some = after(r.pending.others, some[len(some)-1], atATime) {
		ask(some)
		if len(unallocated) == 0 && !r.allocator.MayAnyGain() {
			break // it was taken
		}
	}
}

// showsUnallocated reports whether a Service that waits shows what is not allocated
// to it: whoever has that must let it go. Only a decision about the Service changes
// that.
func (r *Reconciler) showsUnallocated(rec *record) bool {
	return rec.yieldedTo != "" || rec.object.shows() && !r.showsOnlyOurs(rec)
}
