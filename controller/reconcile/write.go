package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/controller/queue"
)

const (
	// firstTimeout bounds the first attempt to write, writeTimeout every other
	// request.
	firstTimeout = 5 * time.Second
	writeTimeout = 15 * time.Second
)

// result is what came of one request about a Service.
type result struct {
	key   string
	wrote *desired
	// before is the object as it was known when the request was made. The cache
	// may show what was written before its result is here.
	before *corev1.Service
	// object as it is now; nil when there is no such Service, unless read is
	// false: then nothing is known.
	object *corev1.Service
	read   bool
	err    error
}

// errNotLeading says that a write was held back.
var errNotLeading = errors.New("not leading")

// errTimeRanBackwards says that the API server has an older state of an object
// than it had before. Nothing that was learned since is worth anything.
var errTimeRanBackwards = errors.New(
	"the API server has an older state than it had before, as when etcd was restored from a backup: the process must start anew")

func timeRanBackwards(before, now *corev1.Service) error {
	return fmt.Errorf("the Service %s/%s has resourceVersion %s, and had %s: %w",
		now.Namespace, now.Name, now.ResourceVersion, before.ResourceVersion, errTimeRanBackwards)
}

// dispatch starts queued requests, as many as may be in flight.
func (r *Reconciler) dispatch(ctx context.Context) {
	for ctx.Err() == nil {
		key, found := r.queue.Next()
		if !found {
			return
		}
		rec := r.records[key]
		if rec == nil || rec.want == nil && !rec.unsure {
			r.queue.Done(key)
			continue
		}
		timeout := writeTimeout
		if r.queue.Attempts(key) == 0 {
			timeout = firstTimeout
		}
		job := r.writing(rec)
		if rec.unsure {
			job = r.reading(rec.object.Service)
		}
		go func() {
			bounded, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			r.results <- job(bounded)
		}()
	}
}

// writing returns a job that writes and, when that fails for a reason that
// leaves the object's state open, reads.
func (r *Reconciler) writing(rec *record) func(context.Context) result {
	if rec.want == nil {
		return nil
	}
	want, write, key := rec.want, r.request(rec), rec.key
	before, read := rec.object.Service, r.reading(rec.object.Service)
	return func(ctx context.Context) result {
		done := result{key: key, wrote: want, before: before}
		if !r.Leading() {
			done.err = errNotLeading
			return done
		}
		done.object, done.err = r.write(ctx, write)
		done.read = done.err == nil
		if errors.Is(done.err, kube.ErrStale) {
			now := read(ctx)
			done.object, done.read = now.object, now.read
		}
		return done
	}
}

// write writes over what was written by hand, though it was to yield.
func (r *Reconciler) write(ctx context.Context, w kube.ServiceWrite) (*corev1.Service, error) {
	svc, err := r.Writer.Write(ctx, w)
	var conflict *kube.FieldConflict
	if errors.As(err, &conflict) && !slices.ContainsFunc(conflict.Managers, func(m string) bool { return !byHand(m) }) {
		w.Yield = false
		return r.Writer.Write(ctx, w)
	}
	return svc, err
}

// reading returns a job that only reads.
func (r *Reconciler) reading(svc *corev1.Service) func(context.Context) result {
	return func(ctx context.Context) result {
		object, err := r.Writer.Get(ctx, svc.Namespace, svc.Name)
		return result{key: svc.Namespace + "/" + svc.Name, before: svc, object: object, read: err == nil, err: err}
	}
}

// finish takes in the result of a request. Its error ends the loop.
func (r *Reconciler) finish(done result) error {
	task := r.queue.Done(done.key)
	r.books.Advance(r.Now())
	rec := r.records[done.key]
	if rec == nil || task == nil {
		return nil
	}
	if done.read && done.object != nil && done.object.UID == done.before.UID && older(done.object, done.before) {
		return timeRanBackwards(done.before, done.object)
	}
	r.Metrics.wrote(done, r.outcome(rec, task, done))
	return nil
}

// outcome takes in what came of a request; it reports whether what was written
// had been undone.
func (r *Reconciler) outcome(rec *record, task *queue.Task, done result) (repeats bool) {
	var conflict *kube.FieldConflict
	switch {
	case rec.object.UID != done.before.UID:
		r.decide(rec) // another Service of the same name came meanwhile
	case done.err == nil && done.wrote == nil:
		r.observe(rec, done.object)
	case done.err == nil:
		repeats = r.succeeded(rec, done)
	case errors.As(done.err, &conflict):
		r.conflicted(rec, conflict.Managers)
	case errors.Is(done.err, kube.ErrStale) && done.read && (done.object == nil || done.object.ResourceVersion != done.before.ResourceVersion):
		r.observe(rec, done.object)
	default:
		r.failed(rec, task, done)
	}
	return repeats
}

// succeeded takes in what was written; it reports whether that had been undone.
func (r *Reconciler) succeeded(rec *record, done result) bool {
	repeats := rec.written.add(done.wrote.content(rec.written.note), r.Now())
	if repeats {
		r.undone(rec, done)
	}
	r.tell(done.before, done.object, done.wrote)
	if !older(done.object, rec.object.Service) {
		rec.object = r.parse(done.object)
	}
	r.reports.changed = true
	r.decide(rec)
	r.statuses.changed = true
	return repeats
}

// undone says, in the log and in the end in the condition, that what was
// written has been undone before it was written again.
func (r *Reconciler) undone(rec *record, done result) {
	parts := strings.Join(r.parse(done.before).differences(done.wrote), ", ")
	switch rec.written.again {
	case 1:
		r.Log.Warn("a write to a Service is reverted by another writer; backing off", "service", rec.key, "changed", parts)
	case undoneOften:
		rec.written.note = "; another writer keeps changing " + parts + ", which is written again ever more slowly"
	}
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
		if !older(svc, rec.object.Service) { // the cache may have been faster
			rec.object = r.parse(svc)
		}
		r.decide(rec)
	}
}

// failed plans the next try of a write whose outcome is not known.
func (r *Reconciler) failed(rec *record, t *queue.Task, done result) {
	rec.unsure = rec.unsure || !errors.Is(done.err, errNotLeading)
	wait := r.queue.Retry(t, r.Now())
	if errors.Is(done.err, context.Canceled) || errors.Is(done.err, errNotLeading) {
		return
	}
	r.Log.Warn("write failed", "service", rec.key, "error", done.err, "attempt", t.Attempts+1, "retry_in", wait)
}
