package reconcile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/ipam"
)

// What a Service shows is allocated to it before anything is given to anyone,
// whoever wrote it: an earlier leader, another replica, or another provider.
//
// Others may write the status of a Service, too. Where it asks for us, by its class
// or by an annotation of ours, it is ours, and what they write is written over, ever
// more slowly. Where it does not, it belongs to whoever serves it: what a person or
// a restored backup wrote is replaced, and every other program is yielded to at once.

// adopt allocates what the Service shows, where the allocator does not say so:
// nothing is allocated yet, another provider wrote it, or another replica.
func (r *Reconciler) adopt(rec *record) {
	switch {
	case rec.yieldedTo != "":
		r.adoptForeign(rec)
	case !r.allocator.Known(rec.key):
		r.adoptFirst(rec)
	case r.fromAnotherReplica(rec):
		r.adoptFromReplica(rec)
	}
}

// adoptFirst allocates what a Service shows of which nothing is known. Of one that
// is not served only what we gave it counts, until it has been taken back.
func (r *Reconciler) adoptFirst(rec *record) {
	s := rec.object
	if len(s.shown) == 0 || !s.served && !s.givenByUs() {
		return
	}
	if s.served && !s.asksForUs && s.leftAlone() {
		rec.yieldedTo = anotherProgram
		r.adoptForeign(rec)
		return
	}
	givenBy, _ := config.Annotation(s.Service, v1beta1.AnnotationAllocatedPool)
	for _, rejected := range r.allocator.Adopt(s.request, s.shown, givenBy) {
		if rec.warned == rejected.Address.String() {
			continue
		}
		rec.warned = rejected.Address.String()
		r.Log.Warn("a shown address cannot stay", "service", rec.key, "address", rejected.Address,
			"reason", rejected.Reason, "message", rejected.Message)
	}
}

// adoptForeign allocates what another provider made a Service show: where that is
// of a pool of ours, nobody else may be given it. It reports whether all that is
// ours to allocate is.
func (r *Reconciler) adoptForeign(rec *record) bool {
	rejected := r.allocator.AdoptOnly(rec.object.request, rec.object.shown, "")
	return !slices.ContainsFunc(rejected, func(one ipam.Rejection) bool { return one.Reason == v1beta1.ReasonAddressInUse })
}

// fromAnotherReplica reports whether a Service shows an address that was not
// decided here, although a controller of ours wrote it. That happens when a
// leader that had been paused wakes up in the middle of a write, which nothing
// fences: until it is seen, two Services may show one address. Whatever was
// written first stands; that, and the versions that writes are bound to, makes
// two controllers agree.
func (r *Reconciler) fromAnotherReplica(rec *record) bool {
	if rec.phase.doing == verifying || r.queue.InFlight(rec.key) || !rec.object.givenByUs() {
		return false
	}
	return !r.holdsAll(rec, rec.object.shown)
}

// adoptFromReplica allocates what another replica wrote. Where that is allocated
// here to younger Services, they leave it and are decided anew: that address alone,
// and it stays theirs, too, as long as the API shows that.
func (r *Reconciler) adoptFromReplica(rec *record) {
	s := rec.object
	rec.unannounced = s.unannounced
	for again := true; again; { // what was taken in one round is adopted in the next
		again = false
		for _, rejected := range r.allocator.AdoptOnly(s.request, s.shown, s.pool) {
			for _, key := range r.allocator.Holders(rejected.Address) {
				if other := r.records[key]; other != nil && other != rec && byAge(rec, other) < 0 {
					r.allocator.GiveUp(key, rejected.Address)
					r.again(key)
					again = true
				}
			}
		}
	}
	r.Log.Warn("another controller wrote a Service", "service", rec.key, "shows", join(s.shown))
}

// anotherProgram is whom a Service was left to by an earlier leader, which alone
// knew the name.
const anotherProgram = "another program"

// byHand reports whether a field manager is a person's tool, or one that brings
// back what was saved, rather than a program that serves Services.
func byHand(manager string) bool {
	switch manager {
	case "", "before-first-apply", "oc", "k9s", "curl":
		return true
	}
	tool, _, _ := strings.Cut(manager, "-")
	return tool == "kubectl" || tool == "velero"
}

// yield leaves a Service to the managers of its addresses.
func (r *Reconciler) yield(rec *record, managers []string) {
	rec.yieldedTo = strings.Join(managers, ", ")
	r.Log.Warn("another program writes a Service's load-balancer status: leaving it alone", "service", rec.key, "managers", managers,
		"shows", ingressText(rec.object.Service))
	r.allocator.Release(rec.key)
	r.decide(rec)
}

// unyield ends that; what the Service shows is not ours to take back.
func (r *Reconciler) unyield(rec *record) {
	if rec.yieldedTo != "" {
		rec.yieldedTo = ""
		r.allocator.Release(rec.key)
	}
}

// leaveAlone says that another provider writes a Service, and allocates what that
// one made it show, where it is of a pool of ours.
func (r *Reconciler) leaveAlone(rec *record) {
	r.pending.remove(rec)
	if !r.adoptForeign(rec) {
		r.pending.add(rec, true) // as soon as it is free
	}
	r.setReason(rec, v1beta1.ReasonWriteConflict)
	said := rec.object.allocated
	if rec.yieldedTo != anotherProgram || !rec.object.leftAlone() {
		said = rec.object.condition(v1beta1.ConditionAllocated, metav1.ConditionFalse, v1beta1.ReasonWriteConflict, fmt.Sprintf(
			"%s writes this Service's load-balancer status (%s): it is left alone until that is empty, "+
				"or until the annotation %s or %s asks for an address",
			rec.yieldedTo, ingressText(rec.object.Service), v1beta1.AnnotationPool, v1beta1.AnnotationAddresses), r.Now())
	}
	r.propose(rec, &desired{allocated: said})
}

// holdsAll reports whether all these addresses are allocated to the Service, be it
// that it is leaving them.
func (r *Reconciler) holdsAll(rec *record, addresses []netip.Addr) bool {
	return !slices.ContainsFunc(addresses, func(a netip.Addr) bool { return !r.allocator.Holds(rec.key, a) })
}

// showsOurs reports whether the Service shows an address that is allocated to it,
// be it that it is leaving it.
func (r *Reconciler) showsOurs(rec *record) bool {
	return slices.ContainsFunc(rec.object.shown, func(a netip.Addr) bool { return r.allocator.Holds(rec.key, a) })
}

// showsOnlyOurs reports whether everything that the Service shows is allocated to
// it, and is written as we write it.
func (r *Reconciler) showsOnlyOurs(rec *record) bool {
	for _, entry := range rec.object.Status.LoadBalancer.Ingress {
		if entry.Hostname != "" || len(entry.Ports) > 0 || entry.IPMode != nil && *entry.IPMode != corev1.LoadBalancerIPModeVIP {
			return false
		}
	}
	return len(rec.object.shown) == len(rec.object.Status.LoadBalancer.Ingress) && r.holdsAll(rec, rec.object.shown)
}

// mustVanish reports whether a Service that is to have nothing shows an address
// that is allocated: to another, or to itself until it is gone. Anything else
// that it shows is left until there is something to put in its place.
func (r *Reconciler) mustVanish(rec *record) bool {
	return slices.ContainsFunc(rec.object.shown, r.allocator.Taken)
}

// ours reports whether a Service that is not served still has something of ours.
func (r *Reconciler) ours(rec *record) bool { return rec.object.carriesOurs() || r.showsOurs(rec) }

// ingressText is what a Service's ingress says, in one line.
func ingressText(svc *corev1.Service) string {
	parts := make([]string, 0, len(svc.Status.LoadBalancer.Ingress))
	for _, entry := range svc.Status.LoadBalancer.Ingress {
		parts = append(parts, entry.IP+entry.Hostname)
	}
	return strings.Join(parts, ", ")
}
