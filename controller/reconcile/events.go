package reconcile

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// eventsAtOnce is how many events are sent in one tick. Each is a request that
// would compete with the writes of addresses.
const eventsAtOnce = 50

// event is one to be sent about a Service.
type event struct {
	object  *corev1.Service
	warning bool
	reason  v1beta1.Reason
	action  string
	note    string
}

// waitingEvents are those that wait until no write does: of each Service the
// last. They are lost with the process; the conditions say the same.
type waitingEvents struct {
	order []string
	last  map[string]event
}

// record sends an event, at once when there is nothing more urgent to do.
func (r *Reconciler) record(e event) {
	u := &r.events
	if !r.queue.Busy() && len(u.order) == 0 {
		r.send(e)
		return
	}
	key := config.ServiceKey(e.object)
	if _, waits := u.last[key]; !waits {
		u.order = append(u.order, key)
	}
	u.last[key] = e
}

// sendEvents sends some of the events that wait.
func (r *Reconciler) sendEvents() {
	u := &r.events
	for n := 0; n < eventsAtOnce && len(u.order) > 0 && !r.queue.Busy(); n++ {
		key := u.order[0]
		u.order = u.order[1:]
		r.send(u.last[key])
		delete(u.last, key)
	}
}

func (r *Reconciler) send(e event) {
	r.Recorder.ServiceEvent(e.object, e.warning, e.reason, e.action, e.note)
}

// recordTransition records one event about a Service whose condition changed.
func (r *Reconciler) recordTransition(before, after *corev1.Service, d *desired) {
	switch {
	case d.clean:
		if had := r.parse(before).shown; len(had) > 0 && after.DeletionTimestamp == nil {
			r.record(event{after, false, v1beta1.ReasonReleased, "Release", join(had) + " was taken back"})
		}
	case d.allocated != nil && !sameCondition(conditionOf(before, v1beta1.ConditionAllocated), d.allocated):
		warning := d.allocated.Status != metav1.ConditionTrue || d.allocated.Reason == string(v1beta1.ReasonUsedByCluster)
		r.record(event{after, warning, v1beta1.Reason(d.allocated.Reason), "Allocate", d.allocated.Message})
	case d.announced != nil && d.announced.Reason == string(v1beta1.ReasonMultipleOwners) &&
		!sameCondition(conditionOf(before, v1beta1.ConditionAnnounced), d.announced):
		r.record(event{after, true, v1beta1.ReasonMultipleOwners, "Announce", d.announced.Message})
	}
}
