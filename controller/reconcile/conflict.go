package reconcile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// truce is how long takeovers are remembered.
	truce = 10 * time.Minute
	// mostTakeovers within a truce, be they of different values.
	mostTakeovers = 4
)

// takeovers are the foreign values of a Service's ingress that were replaced,
// within one truce.
type takeovers struct {
	since  time.Time
	values []string
}

// allow tells whether one more value may be replaced, and notes it. A value
// that comes again is somebody's decision and not an accident.
func (t *takeovers) allow(value string, now time.Time) bool {
	if now.Sub(t.since) > truce {
		*t = takeovers{since: now}
	}
	if slices.Contains(t.values, value) || len(t.values) >= mostTakeovers {
		return false
	}
	t.values = append(t.values, value)
	return true
}

// providers are the field managers of other load-balancer providers: what they
// own is theirs, and is never taken over. Whoever does not name a manager has the
// name of its program, so MetalLB is "controller", PureLB "allocator".
func providers() []string {
	return []string{
		"controller", "metallb-controller", "kube-vip", "kube-vip-cloud-provider", "allocator", "purelb-allocator",
		"cilium-operator", "cilium-operator-generic", "cilium-agent", "openelb-manager", "porter-manager", "kube-loxilb", "k3s", "rke2",
		cloudController,
	}
}

// cloudController is the name of the cloud providers' programs; most put their
// own and a hyphen before it.
const cloudController = "cloud-controller-manager"

func isProvider(managers []string) bool {
	return slices.ContainsFunc(managers, func(manager string) bool {
		return slices.Contains(providers(), manager) || strings.HasSuffix(manager, "-"+cloudController)
	})
}

// conflicted reacts to addresses that other managers own: it takes the status
// over, or yields.
func (r *Reconciler) conflicted(rec *record, managers []string) {
	if rec.want == nil {
		return
	}
	value := foreignValue(rec.object)
	if !isProvider(managers) && rec.takeovers.allow(value, r.Now()) {
		rec.force = true
		r.Log.Warn("taking over the status of a Service", "service", rec.key, "from", managers, "value", value)
		r.enqueue(rec)
		return
	}
	rec.yielded = fmt.Sprintf("%s writes this Service's load-balancer status (%s): it is left alone until that is empty",
		strings.Join(managers, ", "), value)
	r.Log.Warn("another provider writes a Service", "service", rec.key, "managers", managers, "value", value)
	r.books.Release(rec.key)
	r.decide(rec)
}

// emptiedAgain holds a write back when somebody keeps emptying the status: an
// empty status is never yielded to, only filled again more slowly.
func (r *Reconciler) emptiedAgain(rec *record) bool {
	now := r.Now()
	fills := rec.want != nil && len(rec.want.addresses) > 0 && len(rec.object.Status.LoadBalancer.Ingress) == 0
	switch {
	case !fills || !rec.filled || rec.unsure:
		return false
	case rec.refillAt.IsZero() && rec.refills.allow("", now):
		return false
	case rec.refillAt.IsZero():
		r.Log.Warn("somebody empties the status of a Service again and again", "service", rec.key, "filled_in", retryMost)
		rec.refillAt = now.Add(retryMost)
	case !now.Before(rec.refillAt):
		rec.refillAt = time.Time{}
		return false
	}
	rec.retryAt = rec.refillAt
	r.retries[rec.key] = rec
	return true
}

// showsOnlyOurs tells whether everything that the Service shows is booked for
// it, be it that it is leaving it.
func (r *Reconciler) showsOnlyOurs(rec *record) bool {
	ingress := rec.object.Status.LoadBalancer.Ingress
	addresses := shown(rec.object)
	if len(addresses) == 0 || len(addresses) != len(ingress) {
		return false
	}
	return !slices.ContainsFunc(addresses, func(a netip.Addr) bool { return !slices.Contains(r.books.Holders(a), rec.key) })
}

// foreignValue is what a Service's ingress says, in one line.
func foreignValue(svc *corev1.Service) string {
	parts := make([]string, 0, len(svc.Status.LoadBalancer.Ingress))
	for _, entry := range svc.Status.LoadBalancer.Ingress {
		parts = append(parts, entry.IP+entry.Hostname)
	}
	return strings.Join(parts, ", ")
}
