package reconcile

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/ipam"
)

// fromAnotherReplica tells whether a Service shows an address that was not
// decided here, although a controller of ours wrote it: its condition speaks of
// that very address. That happens when a leader that had been paused wakes up
// in the middle of a write. Whatever was written first stands; that, and the
// versions that writes are bound to, makes two controllers agree.
func (r *Reconciler) fromAnotherReplica(rec *record) bool {
	if rec.unsure || r.inFlight[rec.key] {
		return false
	}
	addresses := shown(rec.object)
	decidedHere := func(a netip.Addr) bool { return slices.Contains(r.books.Holders(a), rec.key) }
	if len(addresses) == 0 || !slices.ContainsFunc(addresses, func(a netip.Addr) bool { return !decidedHere(a) }) {
		return false
	}
	return saysItHolds(rec.object, addresses)
}

// saysItHolds tells whether a controller of ours wrote that the Service has
// these addresses.
func saysItHolds(svc *corev1.Service, addresses []netip.Addr) bool {
	said, pool := conditionOf(svc, v1beta1.ConditionAllocated), svc.Annotations[v1beta1.AnnotationAllocatedPool]
	return said != nil && pool != "" && strings.Contains(said.Message, holds(ipam.Assignment{Addresses: addresses, Pool: pool}))
}

// heed books what another replica wrote. Where that is booked here for a
// younger Service, the younger one is decided anew.
func (r *Reconciler) heed(rec *record) {
	addresses := shown(rec.object)
	rec.untried = untriedOf(rec.object)
	request, _ := config.ParseService(rec.object)
	pool := rec.object.Annotations[v1beta1.AnnotationAllocatedPool]
	// Each round may take one address from a younger holder, who then is leaving
	// it; what was taken in the last round is adopted in one more.
	for rejected := r.books.Readopt(request, addresses, pool); r.evict(rec, rejected); {
		rejected = r.books.Readopt(request, addresses, pool)
	}
	r.Log.Warn("another controller wrote a Service", "service", rec.key, "shows", join(addresses))
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
