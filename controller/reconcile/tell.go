package reconcile

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

const (
	// eventsAtOnce is how many events go out in one tick: an address matters
	// more than the news of it, and the API server has one pair of hands.
	eventsAtOnce = 50
	// mostEvents wait; beyond that the oldest are dropped.
	mostEvents = 20000
)

// event is one to be recorded.
type event struct {
	svc          *corev1.Service
	warning      bool
	reason       v1beta1.Reason
	action, note string
}

// tell notes one event about a Service whose condition changed.
func (r *Reconciler) tell(before, after *corev1.Service, d *desired) {
	switch {
	case d.clean:
		if had := shown(before); len(had) > 0 && after.DeletionTimestamp == nil {
			r.untold = append(r.untold, event{after, false, v1beta1.ReasonReleased, "Release", join(had) + " was taken back"})
		}
	case d.allocated != nil && !sameCondition(conditionOf(before, v1beta1.ConditionAllocated), d.allocated):
		warning := d.allocated.Status != metav1.ConditionTrue
		r.untold = append(r.untold, event{after, warning, v1beta1.Reason(d.allocated.Reason), "Allocate", d.allocated.Message})
	}
	if excess := len(r.untold) - mostEvents; excess > 0 {
		r.untold = r.untold[excess:]
	}
}

// tellSome records events while no Service waits for its write.
func (r *Reconciler) tellSome() {
	if len(r.queue) > 0 {
		return
	}
	for _, e := range r.untold[:min(len(r.untold), eventsAtOnce)] {
		r.Recorder.ServiceEvent(e.svc, e.warning, e.reason, e.action, e.note)
	}
	if r.untold = r.untold[min(len(r.untold), eventsAtOnce):]; len(r.untold) == 0 {
		r.untold = nil
	}
}
