package reconcile

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// auditor judges what a controller does by the objects alone: it knows nothing
// of the loop and its books.
type auditor struct {
	// late says that writes of a controller that is gone still arrive, which
	// nothing fences: then only what is so at rest counts.
	late bool
	// edited are the Services that their user, or another program, changed
	// since they last got an address: these may move.
	edited map[string]bool
	shown  map[string]string
	wrong  []string
	writes int
}

func newAuditor() *auditor {
	return &auditor{edited: make(map[string]bool), shown: make(map[string]string)}
}

// The names that are ours, spelled out: a rename must be seen here.
func ourFinalizers() []string {
	return []string{"baliza.io/address"}
}

func ourAnnotations() []string {
	return []string{"baliza.io/allocated-from-pool", "baliza.io/allocated-addresses", "baliza.io/unannounced-addresses"}
}

func ourConditions() []string {
	return []string{"baliza.io/Allocated", "baliza.io/Announced", "Reconciling", "Stalled"}
}

func (a *auditor) say(format string, args ...any) {
	a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
}

// changed hears of each change of a Service.
func (a *auditor) changed(by string, before, after *corev1.Service) {
	object := after
	if object == nil {
		object = before
	}
	key := config.ServiceKey(object)
	now := ""
	if after != nil {
		now = strings.Join(ingress(after), ",")
	}
	if by != kube.FieldManager {
		a.edited[key] = true
		a.shown[key] = now
		return
	}
	a.writes++
	if after != nil && !equalJSON(withoutOurs(before), withoutOurs(after)) {
		a.say("what is another's was changed in %s", key)
	}
	if had := a.shown[key]; had != "" && now != had && !a.edited[key] && !a.late && !asked(after, had, now) && !a.neighborEdited(key, had) {
		a.say("%s moved from %q to %q unasked", key, had, now)
	}
	if now != "" && a.shown[key] != now {
		a.edited[key] = false
	}
	a.shown[key] = now
}

// neighborEdited reports whether one who shared the address was changed: of two
// that may no longer share, a new controller cannot know which changed.
func (a *auditor) neighborEdited(key, address string) bool {
	for other, shows := range a.shown {
		if other != key && shows == address && a.edited[other] {
			return true
		}
	}
	return false
}

// asked reports whether a Service moved to where it had asked to be for long.
func asked(svc *corev1.Service, had, now string) bool {
	if svc == nil {
		return true
	}
	if named := svc.Annotations["baliza.io/addresses"]; named != "" {
		return named == now && named != had
	}
	switch svc.Annotations["baliza.io/pool"] {
	case "lan":
		return !slices.Contains(worldPool(), had)
	case "dmz":
		return slices.Contains(worldPool(), had)
	}
	return false
}

// twice says which Services show one address though they may not share it.
func (a *auditor) twice(services []*corev1.Service, atRest bool) {
	for i, x := range services {
		for _, y := range services[i+1:] {
			if !atRest && (a.late || a.edited[config.ServiceKey(x)] || a.edited[config.ServiceKey(y)]) {
				continue
			}
			for _, one := range ingress(x) {
				ours := slices.Contains(worldPool(), one) || one == namedAddress
				if slices.Contains(ingress(y), one) && ours && !mayShare(x, y) && judged(x) && judged(y) {
					a.say("%s and %s both show %s", x.Name, y.Name, one)
				}
			}
		}
	}
}

// judged leaves out what others wrote to a Service that is not served, or that
// is left alone.
func judged(svc *corev1.Service) bool {
	if slices.ContainsFunc(svc.ManagedFields, func(e metav1.ManagedFieldsEntry) bool { return e.Manager == kube.FieldManager }) {
		return true
	}
	said := conditionOf(svc, "baliza.io/Allocated")
	return svc.Spec.Type == corev1.ServiceTypeLoadBalancer && svc.DeletionTimestamp == nil &&
		(said == nil || said.Reason != string(v1beta1.ReasonWriteConflict))
}

func mayShare(x, y *corev1.Service) bool {
	key := x.Annotations["baliza.io/sharing-key"]
	return key != "" && key == y.Annotations["baliza.io/sharing-key"] && x.Spec.Ports[0].Port != y.Spec.Ports[0].Port
}

// atRest says what must not be when nothing is left to do.
func (a *auditor) atRest(services []*corev1.Service, pools []string) {
	a.twice(services, true)
	taken := make(map[string]bool)
	for _, svc := range services {
		for _, one := range ingress(svc) {
			taken[one] = true
		}
	}
	for _, svc := range services {
		switch {
		case svc.Spec.Type != corev1.ServiceTypeLoadBalancer || svc.DeletionTimestamp != nil:
			a.nothingOfOurs(svc)
		default:
			a.served(svc, taken, pools)
		}
	}
}

func (a *auditor) nothingOfOurs(svc *corev1.Service) {
	if !equalJSON(svc.Finalizers, withoutOurs(svc).Finalizers) || !equalJSON(svc.Status.Conditions, withoutOurs(svc).Status.Conditions) {
		a.say("%s is not served and has %v %v", svc.Name, svc.Finalizers, svc.Status.Conditions)
	}
	if svc.DeletionTimestamp != nil && len(svc.Finalizers) == 0 {
		a.say("%s is not gone", svc.Name)
	}
}

// served says what is wrong with a Service that is to have an address.
func (a *auditor) served(svc *corev1.Service, taken map[string]bool, pool []string) {
	said := conditionOf(svc, "baliza.io/Allocated")
	shows := ingress(svc)
	if said == nil {
		a.say("%s says nothing", svc.Name)
		return
	}
	holds := slices.ContainsFunc(svc.Finalizers, func(f string) bool { return slices.Contains(ourFinalizers(), f) })
	asks := svc.Annotations["baliza.io/addresses"]
	switch reason := v1beta1.Reason(said.Reason); {
	case reason == v1beta1.ReasonWriteConflict:
	case reason == v1beta1.ReasonAllocated:
		if len(shows) != 1 || !strings.Contains(said.Message, shows[0]) || asks != "" && shows[0] != asks || !holds {
			a.say("%s is Allocated, shows %v, asks for %q: %s", svc.Name, shows, asks, said.Message)
		}
	case reason == v1beta1.ReasonPoolExhausted && len(shows) == 0 && asks == "" && svc.Annotations["baliza.io/pool"] != "dmz":
		for _, one := range pool {
			if !taken[one] {
				a.say("%s waits, and nobody has %s", svc.Name, one)
			}
		}
	case reason == v1beta1.ReasonAddressInUse:
		if !taken[asks] {
			a.say("%s waits for %s, which nobody has", svc.Name, asks)
		}
	}
}
