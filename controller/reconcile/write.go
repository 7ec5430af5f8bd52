package reconcile

import (
	"context"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/kube"
)

const (
	// writeTimeout bounds one request.
	writeTimeout = 15 * time.Second
	// retryFirst and retryMost bound the wait after a failed write.
	retryFirst = 250 * time.Millisecond
	retryMost  = time.Minute
)

// result is what came of one write.
type result struct {
	key   string
	uid   types.UID
	wrote *desired
	// before is the object that the write was decided on. The cache may show
	// what was written before its result is here.
	before *corev1.Service
	// object as it is now; nil when there is no such Service, unless read is
	// false: then nothing is known.
	object *corev1.Service
	read   bool
	err    error
}

// errNotLeading says that a write was held back.
var errNotLeading = errors.New("not leading")

func (r *Reconciler) enqueue(rec *record) {
	if rec.queued || r.inFlight[rec.key] || r.retries[rec.key] == rec {
		return
	}
	rec.queued = true
	r.queue = append(r.queue, rec.key)
}

// dispatch starts queued writes, as many as may be in flight.
func (r *Reconciler) dispatch(ctx context.Context) {
	for len(r.queue) > 0 && len(r.inFlight) < r.options.Parallel && ctx.Err() == nil {
		key := r.queue[0]
		r.queue = r.queue[1:]
		rec := r.records[key]
		if rec == nil || !rec.queued {
			continue
		}
		rec.queued = false
		if rec.want == nil && !rec.unsure || r.inFlight[key] {
			continue
		}
		if r.emptiedAgain(rec) {
			continue
		}
		r.inFlight[key] = true
		var job func(context.Context) result
		if rec.unsure {
			job = r.reading(rec.object)
		} else {
			job = r.writing(rec)
		}
		go func() {
			bounded, cancel := context.WithTimeout(ctx, writeTimeout)
			defer cancel()
			r.results <- job(bounded)
		}()
	}
}

// writing returns a job that writes and, when that fails for a reason that
// leaves the object's state open, reads.
func (r *Reconciler) writing(rec *record) func(context.Context) result {
	want, write, uid, key := rec.want, r.request(rec), rec.object.UID, rec.key
	before, read := rec.object, r.reading(rec.object)
	return func(ctx context.Context) result {
		done := result{key: key, uid: uid, wrote: want, before: before}
		if !r.Leading() {
			done.err = errNotLeading
			return done
		}
		done.object, done.err = r.Writer.Write(ctx, write)
		done.read = done.err == nil
		if errors.Is(done.err, kube.ErrStale) {
			now := read(ctx)
			done.object, done.read = now.object, now.read
		}
		return done
	}
}

// request is what makes the Service as it is wanted.
func (r *Reconciler) request(rec *record) kube.ServiceWrite {
	d := rec.want
	w := kube.ServiceWrite{
		Before: rec.object, Addresses: d.addresses, Pool: d.pool, Untried: d.untried, Conditions: d.conditions(),
	}
	replaces := false
	switch {
	case d.clean:
		w.Vanish = r.showsOurs(rec)
	case len(d.addresses) > 0:
		replaces = !kube.Shows(rec.object, d.addresses)
	default:
		w.Vanish = rec.yielded == "" && r.mustVanish(rec)
		replaces = w.Vanish
	}
	w.Yield = replaces && !rec.force && len(rec.object.Status.LoadBalancer.Ingress) > 0 && !r.showsOnlyOurs(rec)
	return w
}

// retryDue queues the writes whose wait is over.
func (r *Reconciler) retryDue(now time.Time) {
	var due []*record
	for key, rec := range r.retries {
		if !rec.retryAt.After(now) {
			delete(r.retries, key)
			due = append(due, rec)
		}
	}
	slices.SortFunc(due, byAge)
	for _, rec := range due {
		r.enqueue(rec)
	}
}

// reading returns a job that only reads.
func (r *Reconciler) reading(svc *corev1.Service) func(context.Context) result {
	namespace, name, uid := svc.Namespace, svc.Name, svc.UID
	return func(ctx context.Context) result {
		object, err := r.Writer.Get(ctx, namespace, name)
		return result{key: namespace + "/" + name, uid: uid, object: object, read: err == nil, err: err}
	}
}

// finish takes in the result of a write.
func (r *Reconciler) finish(done result) {
	delete(r.inFlight, done.key)
	r.Metrics.wrote(done.err)
	r.books.Advance(r.Now())
	rec := r.records[done.key]
	if rec == nil {
		return
	}
	if rec.object.UID != done.uid {
		r.decide(rec) // another Service of the same name came meanwhile
		return
	}
	var conflict *kube.FieldConflict
	switch {
	case done.err == nil:
		r.succeeded(rec, done)
	case errors.As(done.err, &conflict):
		r.conflicted(rec, conflict.Managers)
	case errors.Is(done.err, kube.ErrStale) && done.read:
		r.observe(rec, done.object)
	default:
		r.failed(rec, done)
	}
}

func (r *Reconciler) succeeded(rec *record, done result) {
	if done.wrote == nil {
		r.observe(rec, done.object)
		return
	}
	rec.attempts = 0
	rec.force, rec.filled = false, rec.filled || len(done.wrote.addresses) > 0
	r.tell(done.before, done.object, done.wrote)
	if !older(done.object, rec.object) {
		rec.object = done.object
	}
	r.reports.changed = true
	r.decide(rec)
	r.statuses.changed = true
}

// observe takes a state that was read past the cache.
func (r *Reconciler) observe(rec *record, svc *corev1.Service) {
	rec.unsure = false
	switch {
	case svc == nil:
		r.forget(rec.key)
	case svc.UID != rec.object.UID:
		r.forget(rec.key)
		fresh := r.admit(svc)
		fresh.ahead = true
		r.adopt(fresh)
		r.decide(fresh)
	default:
		if !older(svc, rec.object) {
			rec.object = svc
		}
		r.decide(rec)
	}
}

// failed plans the next try of a write whose outcome is not known.
func (r *Reconciler) failed(rec *record, done result) {
	rec.unsure = rec.unsure || !errors.Is(done.err, errNotLeading)
	wait := min(retryFirst<<min(rec.attempts, 10), retryMost)
	rec.attempts++
	rec.retryAt = r.Now().Add(wait)
	r.retries[rec.key] = rec
	if errors.Is(done.err, context.Canceled) || errors.Is(done.err, errNotLeading) {
		return
	}
	r.Log.Warn("write failed", "service", rec.key, "error", done.err, "attempt", rec.attempts, "retry_in", wait)
}
