package reconcile

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/ipam"
)

// served tells whether the Service is to have what it asks for.
func (r *Reconciler) served(svc *corev1.Service) bool {
	return svc.DeletionTimestamp == nil && config.Wanted(svc, r.options.ServeClassless)
}

// adopt books what a Service shows. Of a Service that is not served only what
// we gave it is booked, until it has been taken back.
func (r *Reconciler) adopt(rec *record) {
	svc := rec.object
	addresses := shown(svc)
	served := r.served(svc)
	if len(addresses) == 0 || !served && !saysItHolds(svc, addresses) {
		return
	}
	if c := conditionOf(svc, v1beta1.ConditionAllocated); c != nil && c.Reason == string(v1beta1.ReasonWriteConflict) {
		rec.yielded = c.Message
		r.bookForeign(rec)
		return
	}
	givenBy, _ := config.Annotation(svc, v1beta1.AnnotationAllocatedPool)
	request, _ := config.ParseService(svc)
	for _, rejected := range r.books.Adopt(request, addresses, givenBy) {
		r.Log.Warn("a shown address cannot stay", "service", rec.key, "address", rejected.Address,
			"reason", rejected.Reason, "message", rejected.Message)
	}
}

// decide finds out what should be said about a Service, and queues the write
// if that is not what is observed.
func (r *Reconciler) decide(rec *record) {
	if !r.served(rec.object) {
		r.retire(rec)
		return
	}
	if rec.yielded != "" && len(rec.object.Status.LoadBalancer.Ingress) == 0 {
		rec.yielded = ""
		r.books.Release(rec.key)
	}
	if rec.yielded != "" {
		delete(r.pending, rec.key)
		if !r.bookForeign(rec) {
			r.pending[rec.key] = rec // as soon as it is free
		}
		r.setReason(rec, v1beta1.ReasonWriteConflict)
		r.propose(rec, &desired{allocated: r.condition(rec, v1beta1.ConditionAllocated, false, v1beta1.ReasonWriteConflict, rec.yielded)})
		return
	}
	given, refusal, warnings := r.ask(rec)
	reason, message := verdict(given, refusal, warnings)
	allocated := refusal == nil || refusal.Reason == v1beta1.ReasonPartlyAllocated
	if refusal == nil {
		delete(r.pending, rec.key)
	} else {
		r.pending[rec.key] = rec
	}
	r.setReason(rec, reason)
	announced := r.announcement(rec, given.Addresses)
	r.propose(rec, &desired{
		addresses: given.Addresses, pool: given.Pool, untried: rec.stillUntried(announced),
		allocated: r.condition(rec, v1beta1.ConditionAllocated, allocated, reason, message),
		announced: announced,
	})
}

// takeUp books what the Service shows, where the books do not say so: nothing is
// booked, another provider wrote it, or another replica. That comes before
// anything is given to anyone.
func (r *Reconciler) takeUp(rec *record) {
	switch {
	case rec.yielded != "" && r.served(rec.object):
		r.bookForeign(rec)
	case !r.books.Known(rec.key):
		r.adopt(rec)
	case r.fromAnotherReplica(rec):
		r.heed(rec)
	}
}

// ask puts the Service's request to the books.
func (r *Reconciler) ask(rec *record) (ipam.Assignment, *ipam.Refusal, []config.Problem) {
	r.takeUp(rec)
	request, problems := config.ParseService(rec.object)
	for _, p := range problems {
		if p.Reason == v1beta1.ReasonInvalidRequest {
			kept := r.books.Keep(request)
			rec.noteGiven(kept.Addresses, kept.Addresses)
			return kept, ipam.Malformed(p), nil
		}
	}
	before := r.books.Holding(rec.key).Addresses
	given, refusal := r.books.Assign(request, r.Cluster.NamespaceLabels(request.Namespace), r.Now())
	rec.noteGiven(before, given.Addresses)
	return given, refusal, problems
}

// bookForeign books what another provider made a Service show: where that is
// of a pool of ours, nobody else may be given it. It reports whether all that is
// ours to book is booked.
func (r *Reconciler) bookForeign(rec *record) bool {
	request, _ := config.ParseService(rec.object)
	rejected := r.books.Readopt(request, shown(rec.object), "")
	return !slices.ContainsFunc(rejected, func(one ipam.Rejection) bool { return one.Reason == v1beta1.ReasonAddressInUse })
}

// verdict puts the outcome into a reason and a sentence.
func verdict(given ipam.Assignment, refusal *ipam.Refusal, warnings []config.Problem) (v1beta1.Reason, string) {
	has := ""
	if len(given.Addresses) > 0 {
		has = holds(given)
	}
	var reason v1beta1.Reason
	var message string
	switch {
	case refusal == nil:
		reason, message = v1beta1.ReasonAllocated, has
	case has == "":
		reason, message = refusal.Reason, refusal.Message
	case refusal.Reason == v1beta1.ReasonPartlyAllocated:
		reason, message = refusal.Reason, has+"; the other family is not available: "+refusal.Message
	default:
		reason, message = refusal.Reason, "keeps "+has+"; what it asks for is not available: "+refusal.Message
	}
	parts := []string{message}
	for _, w := range warnings {
		parts = append(parts, string(w.Reason)+": "+w.Message)
	}
	return reason, strings.Join(parts, "; ")
}

// holds is how a condition says what a Service has.
func holds(given ipam.Assignment) string { return join(given.Addresses) + " from pool " + given.Pool }

func join(addresses []netip.Addr) string {
	texts := make([]string, 0, len(addresses))
	for _, a := range addresses {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ", ")
}

// condition makes one of our conditions; it keeps the time of the last
// transition while the status stays.
func (r *Reconciler) condition(rec *record, kind string, status bool, reason v1beta1.Reason, message string) *metav1.Condition {
	c := &metav1.Condition{
		Type: kind, Status: metav1.ConditionFalse, Reason: string(reason), Message: clipMessage(message),
		ObservedGeneration: rec.object.Generation, LastTransitionTime: metav1.NewTime(r.Now()),
	}
	if status {
		c.Status = metav1.ConditionTrue
	}
	if before := conditionOf(rec.object, kind); before != nil && before.Status == c.Status {
		c.LastTransitionTime = before.LastTransitionTime
	}
	return c
}

// retire takes everything back from a Service that is not served, if it has
// something of ours. A Service that we have nothing to do with is not touched.
func (r *Reconciler) retire(rec *record) {
	delete(r.pending, rec.key)
	r.setReason(rec, "")
	if rec.yielded != "" {
		r.books.Release(rec.key) // what it shows is another's, not to be taken back
		rec.yielded = ""
	}
	r.books.GiveUp(rec.key, netip.Addr{})
	if rec.unsure || r.inFlight[rec.key] || r.ours(rec) {
		r.propose(rec, &desired{clean: true})
		return
	}
	rec.want = nil
	r.books.Release(rec.key)
}

// ours tells whether a Service that is not served still carries something of
// ours. The finalizer alone is not a sign of us.
func (r *Reconciler) ours(rec *record) bool {
	if marked(rec.object) {
		return true
	}
	if !r.books.Known(rec.key) {
		return false
	}
	return slices.Contains(rec.object.Finalizers, v1beta1.Finalizer) || r.showsOurs(rec)
}

// showsOurs reports whether the Service shows an address that is booked for it,
// be it that it is leaving it.
func (r *Reconciler) showsOurs(rec *record) bool {
	return slices.ContainsFunc(shown(rec.object), func(a netip.Addr) bool { return slices.Contains(r.books.Holders(a), rec.key) })
}

// fulfilled tells whether the observed Service is as it should be.
func (r *Reconciler) fulfilled(rec *record, d *desired) bool {
	svc := rec.object
	if d.clean {
		return !r.ours(rec)
	}
	if !sameMetadata(svc, d) ||
		!sameCondition(conditionOf(svc, v1beta1.ConditionAllocated), d.allocated) ||
		!sameCondition(conditionOf(svc, v1beta1.ConditionAnnounced), d.announced) {
		return false
	}
	if len(d.addresses) > 0 {
		return kube.Shows(svc, d.addresses)
	}
	return rec.yielded != "" || !r.mustVanish(rec)
}

// mustVanish tells whether a Service that is to have nothing shows an address
// that is booked: for another, or for itself until it is gone. Anything else
// that it shows is left until there is something to put in its place.
func (r *Reconciler) mustVanish(rec *record) bool {
	return slices.ContainsFunc(shown(rec.object), func(a netip.Addr) bool { return len(r.books.Holders(a)) > 0 })
}

// propose sets what is wanted of a Service and queues the write it takes.
func (r *Reconciler) propose(rec *record, d *desired) {
	if rec.unsure || r.inFlight[rec.key] {
		rec.want = d
		r.enqueue(rec)
		return
	}
	if r.fulfilled(rec, d) {
		rec.want, rec.attempts, rec.force = nil, 0, false
		if d.clean {
			r.books.Release(rec.key)
			return
		}
		r.books.Settled(rec.key, shown(rec.object))
		return
	}
	rec.want = d
	r.enqueue(rec)
}
