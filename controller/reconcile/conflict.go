package reconcile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Others may write the status of a Service, too. Where it names a class of ours
// it is ours, and what they write is written over, ever more slowly. Where it
// names none, it belongs to whoever serves it: what a person or a restored
// backup wrote is replaced, and every other program is yielded to at once.

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

// conflicted reacts to addresses that other managers own.
func (r *Reconciler) conflicted(rec *record, managers []string) {
	rec.yielded, rec.others = true, strings.Join(managers, ", ")
	r.Log.Warn("another program writes a Service's load-balancer status: leaving it alone", "service", rec.key, "managers", managers,
		"shows", ingressText(rec.object.Service))
	r.books.Release(rec.key)
	r.decide(rec)
}

// leaveAlone says that another provider writes a Service, and books what that
// one made it show, where it is of a pool of ours.
func (r *Reconciler) leaveAlone(rec *record) {
	r.pending.remove(rec)
	if !r.bookForeign(rec) {
		r.pending.add(rec) // as soon as it is free
	}
	r.setReason(rec, v1beta1.ReasonWriteConflict)
	said := rec.object.allocated
	if rec.others != "" || !rec.object.leftAlone() {
		said = rec.object.condition(v1beta1.ConditionAllocated, false, v1beta1.ReasonWriteConflict,
			fmt.Sprintf("%s writes this Service's load-balancer status (%s): it is left alone until that is empty",
				cmp.Or(rec.others, "another program"), ingressText(rec.object.Service)), r.Now())
	}
	r.propose(rec, &desired{allocated: said})
}

// showsOnlyOurs reports whether everything that the Service shows is booked for
// it, be it that it is leaving it, and is written as we write it.
func (r *Reconciler) showsOnlyOurs(rec *record) bool {
	for _, entry := range rec.object.Status.LoadBalancer.Ingress {
		if entry.Hostname != "" || len(entry.Ports) > 0 || entry.IPMode != nil && *entry.IPMode != corev1.LoadBalancerIPModeVIP {
			return false
		}
	}
	return len(rec.object.shown) == len(rec.object.Status.LoadBalancer.Ingress) &&
		!slices.ContainsFunc(rec.object.shown, func(a netip.Addr) bool { return !slices.Contains(r.books.Holders(a), rec.key) })
}

// ingressText is what a Service's ingress says, in one line.
func ingressText(svc *corev1.Service) string {
	parts := make([]string, 0, len(svc.Status.LoadBalancer.Ingress))
	for _, entry := range svc.Status.LoadBalancer.Ingress {
		parts = append(parts, entry.IP+entry.Hostname)
	}
	return strings.Join(parts, ", ")
}
