package reconcile

import (
	"slices"

	"github.com/baliza-lb/baliza/controller/ipam"
)

// fromAnotherReplica reports whether a Service shows an address that was not
// decided here, although a controller of ours wrote it. That happens when a
// leader that had been paused wakes up in the middle of a write, which nothing
// fences: until it is seen, two Services may show one address. Whatever was
// written first stands; that, and the versions that writes are bound to, makes
// two controllers agree.
func (r *Reconciler) fromAnotherReplica(rec *record) bool {
	if rec.unsure || r.queue.InFlight(rec.key) || !rec.object.givenByUs() {
		return false
	}
	for _, a := range rec.object.shown {
		if !slices.Contains(r.books.Holders(a), rec.key) {
			return true
		}
	}
	return false
}

// adoptFromReplica books what another replica wrote. Where that is booked here
// for a younger Service, the younger one is decided anew.
func (r *Reconciler) adoptFromReplica(rec *record) {
	s := rec.object
	rec.untried = s.untried
	// Each round may take one address from a younger holder, who then is leaving
	// it; what was taken in the last round is adopted in one more.
	for rejected := r.books.AdoptOnly(s.request, s.shown, s.pool); r.evict(rec, rejected); {
		rejected = r.books.AdoptOnly(s.request, s.shown, s.pool)
	}
	r.Log.Warn("another controller wrote a Service", "service", rec.key, "shows", join(s.shown))
}

// evict has holders that are younger than the Service leave the addresses that
// were rejected; it reports whether there were such. They keep the others, and
// these stay booked for them, too, while the API shows that.
func (r *Reconciler) evict(rec *record, rejected []ipam.Rejection) bool {
	evicted := false
	for _, one := range rejected {
		for _, key := range r.books.Holders(one.Address) {
			if other := r.records[key]; other != nil && other != rec && byAge(rec, other) < 0 {
				r.books.GiveUp(key, one.Address)
				r.again(key)
				evicted = true
			}
		}
	}
	return evicted
}
