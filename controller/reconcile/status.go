package reconcile

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

const (
	// statusEvery is how often the status of one object is written at most.
	// The first change in that time is written at once.
	statusEvery = time.Second
	// statusSettles is how long the cache may take to show what was written.
	// After that it counts: a request that had timed out can still arrive.
	// While that does not help the time doubles, up to some minutes.
	statusSettles = 5 * time.Second
	mostDoublings = 6
)

// mostOutside is how many addresses status.outsideSpec names.
const mostOutside = 100

// statuses is the state of writing the operator's objects' status.
type statuses struct {
	// changed says that counters or problems may have changed, and due when
	// something is to be written that had to wait; zero is never.
	changed bool
	due     time.Time
	// known is what was last written, by the object's identity.
	known map[types.UID]*writtenStatus
	// busy receives, from the goroutine that writes, what failed.
	busy chan []statusFailure
	// pools that have figures in the metrics.
	pools map[string]bool
}

// writtenStatus is what is known of one object's status.
type writtenStatus struct {
	// status as last written, or as first observed.
	status any
	at     time.Time
	// unsure says that the write failed: it may have arrived all the same.
	// failures counts how often that was so, one time after the other, and
	// failure is the error that was logged last.
	unsure   bool
	failures int
	failure  string
	// again counts writes after which the object was seen to say otherwise.
	again int
}

// statusFailure is a write that failed, and why; no error is none to speak of.
type statusFailure struct {
	statusWrite
	err error
}

// statusWrite is one write to come.
type statusWrite struct {
	uid types.UID
	// object is its kind and name.
	object string
	status any
	do     func(context.Context) error
}

// wait lets the writing goroutine end.
func (s *statuses) wait() {
	if s.busy != nil {
		<-s.busy
	}
}

// writeStatuses writes what differs, one batch at a time, beside the loop.
func (r *Reconciler) writeStatuses(ctx context.Context) {
	s := &r.statuses
	if s.busy != nil {
		select {
		case failed := <-s.busy:
			s.busy = nil
			for _, one := range failed {
				r.statusFailed(one)
			}
		default:
			return
		}
	}
	isDue := !s.due.IsZero() && !r.Now().Before(s.due)
	if !s.changed && !isDue || ctx.Err() != nil {
		return
	}
	s.changed, s.due = false, time.Time{}
	writes := r.statusWrites()
	if len(writes) == 0 {
		return
	}
	s.busy = make(chan []statusFailure, 1)
	go func(busy chan<- []statusFailure) {
		var failed []statusFailure
		for _, w := range writes {
			bounded, cancel := context.WithTimeout(ctx, writeTimeout)
			err := errNotLeading
			if r.Leading() {
				err = w.do(bounded)
			}
			cancel()
			if err != nil {
				failed = append(failed, statusFailure{w, err})
			}
		}
		busy <- failed
	}(s.busy)
}

// statusFailed has a write repeated that failed, and says so once for each
// object and error: a custom resource definition that is older than the program
// refuses every write, for one.
func (r *Reconciler) statusFailed(one statusFailure) {
	s := &r.statuses
	k := s.known[one.uid]
	if k == nil {
		return
	}
	k.unsure, s.changed = true, true
	if errors.Is(one.err, errNotLeading) || errors.Is(one.err, context.Canceled) {
		return
	}
	k.failures++
	r.Metrics.statusFailures.Inc()
	if text := one.err.Error(); k.failure != text {
		k.failure = text
		r.Log.Warn("status update failed; backing off", "object", one.object, "error", one.err)
	}
}

// needs reports whether a status is to be written now, and notes that it is; else
// it notes when it will be due.
func (s *statuses) needs(now time.Time, uid types.UID, observed, status any) bool {
	k := s.known[uid]
	if k == nil {
		k = &writtenStatus{status: observed}
		s.known[uid] = k
	}
	contradicted := !equality.Semantic.DeepEqual(observed, status)
	if !contradicted {
		k.again = 0
		if !k.unsure {
			k.failures, k.failure = 0, ""
		}
	}
	changed := k.unsure || !equality.Semantic.DeepEqual(k.status, status)
	wait := statusEvery
	switch {
	case k.unsure:
		wait <<= min(k.failures, mostDoublings)
	case changed:
	case contradicted:
		wait = statusSettles << min(k.again, mostDoublings)
	default:
		return false
	}
	if at := k.at.Add(wait); now.Before(at) {
		if s.due.IsZero() || at.Before(s.due) {
			s.due = at
		}
		return false
	}
	if !changed {
		k.again++
	}
	k.status, k.at, k.unsure = status, now, false
	return true
}

// statusWrites compares what should be said about each object with what is.
func (r *Reconciler) statusWrites() []statusWrite {
	s, now := &r.statuses, r.Now()
	exist := make(map[types.UID]bool, len(s.known))
	defer func() { maps.DeleteFunc(s.known, func(uid types.UID, _ *writtenStatus) bool { return !exist[uid] }) }()
	var writes []statusWrite
	add := func(uid types.UID, object string, observed, status any, do func(context.Context) error) {
		exist[uid] = true
		if s.needs(now, uid, observed, status) {
			writes = append(writes, statusWrite{uid, object, status, do})
		}
	}
	pools := make(map[string]bool)
	for _, object := range r.objects.Pools {
		pools[object.Name] = true
		status := r.poolStatus(object)
		add(object.UID, config.KindPool+" "+object.Name, object.Status, status, func(ctx context.Context) error {
			return r.StatusWriter.ApplyPool(ctx, object.Name, status)
		})
	}
	for _, object := range r.objects.L2Advertisements {
		status := v1beta1.L2AdvertisementStatus{Conditions: []metav1.Condition{
			r.ready(config.KindL2Advertisement, object.ObjectMeta, object.Status.Conditions, v1beta1.ReasonValid),
		}}
		add(object.UID, config.KindL2Advertisement+" "+object.Name, object.Status, status, func(ctx context.Context) error {
			return r.StatusWriter.ApplyL2Advertisement(ctx, object.Name, status)
		})
	}
	r.eachBGP(func(kind string, object metav1.Object, conditions []metav1.Condition) {
		uid := object.GetUID()
		status := []metav1.Condition{r.ready(kind, metaOf(object), conditions, v1beta1.ReasonValid)}
		add(uid, kind+" "+object.GetName(), conditions, status, func(ctx context.Context) error {
			return r.StatusWriter.ApplyBGP(ctx, object, status)
		})
	})
	for name := range s.pools {
		if !pools[name] {
			r.Metrics.forgetPool(name)
		}
	}
	s.pools = pools
	return writes
}

func (r *Reconciler) poolStatus(object *v1beta1.IPAddressPool) v1beta1.IPAddressPoolStatus {
	c := r.books.Counters(object.Name)
	r.Metrics.pool(object.Name, c)
	fine := v1beta1.ReasonValid
	if len(c.OutsideSpec) > 0 {
		fine = v1beta1.ReasonInUseOutsideSpec
	}
	return v1beta1.IPAddressPoolStatus{
		AssignedIPv4: c.AssignedIPv4, AssignedIPv6: c.AssignedIPv6,
		AvailableIPv4: c.AvailableIPv4.String(), AvailableIPv6: c.AvailableIPv6.String(),
		OutsideSpec: clip(c.OutsideSpec), Quarantined: r.quarantined(object.Name),
		Conditions: []metav1.Condition{r.ready(config.KindPool, object.ObjectMeta, object.Status.Conditions, fine)},
	}
}

// lineLimit is the schema's limit for one entry of status.outsideSpec.
const lineLimit = 400

func clip(lines []string) []string {
	lines = lines[:min(len(lines), mostOutside)]
	for i, line := range lines {
		if len(line) > lineLimit {
			lines[i] = line[:lineLimit-3] + "..."
		}
	}
	return lines
}

// messageLimit is the API's limit for a condition's message, here in bytes.
const messageLimit = 32768

// clipMessage shortens a message to the limit without cutting a character in
// two: what the API server would mend in it would be written again indefinitely.
func clipMessage(message string) string {
	if len(message) <= messageLimit {
		return message
	}
	return strings.ToValidUTF8(message[:messageLimit-len("...")], "") + "..."
}

// ready is the Ready condition of an object: True with the reason fine unless
// there are problems.
func (r *Reconciler) ready(kind string, meta metav1.ObjectMeta, before []metav1.Condition, fine v1beta1.Reason) metav1.Condition {
	c := metav1.Condition{
		Type: v1beta1.ConditionReady, Status: metav1.ConditionTrue, Reason: string(fine), Message: sentence(fine),
		ObservedGeneration: meta.Generation, LastTransitionTime: metav1.NewTime(r.Now()).Rfc3339Copy(),
	}
	var messages []string
	for _, p := range r.problems {
		if p.Kind != kind || p.Name != meta.Name {
			continue
		}
		if len(messages) == 0 {
			c.Status, c.Reason = metav1.ConditionFalse, string(p.Reason)
		}
		messages = append(messages, p.Field+": "+p.Message)
	}
	if len(messages) > 0 {
		c.Message = clipMessage(strings.Join(messages, "; "))
	}
	for _, old := range r.lastConditions(meta.UID, before) {
		if old.Type == c.Type && old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
	}
	return c
}

// lastConditions are those last written, or observed if nothing was.
func (r *Reconciler) lastConditions(uid types.UID, observed []metav1.Condition) []metav1.Condition {
	known := r.statuses.known[uid]
	if known == nil {
		return observed
	}
	switch status := known.status.(type) {
	case v1beta1.IPAddressPoolStatus:
		return status.Conditions
	case v1beta1.L2AdvertisementStatus:
		return status.Conditions
	case []metav1.Condition:
		return status
	}
	return observed
}

func sentence(reason v1beta1.Reason) string {
	if reason == v1beta1.ReasonInUseOutsideSpec {
		return "Services hold addresses that the spec no longer covers: see status.outsideSpec"
	}
	return "the spec is used as it stands"
}
