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
	generation := r.books.Generation()
	if generation == r.woken {
		return
	}
	r.woken = generation
	r.books.Wake()
	all := r.pending.all()
	unbooked := make(map[*record]bool)
	for _, rec := range all { // what is shown comes before what is given
		if r.showsUnbooked(rec) {
			unbooked[rec] = true
			r.takeUp(rec)
		}
	}
	for _, named := range []bool{true, false} { // and what is named before what is any
		for _, rec := range all {
			if len(rec.object.request.Addresses) > 0 == named && (unbooked[rec] || r.books.MayGain(rec.object.request)) {
				r.decide(rec)
			}
		}
	}
}

// showsUnbooked reports whether a Service that waits shows what is not booked for
// it: whoever has that must let it go.
func (r *Reconciler) showsUnbooked(rec *record) bool {
	return rec.yielded || rec.object.shows() && !r.showsOnlyOurs(rec)
}
