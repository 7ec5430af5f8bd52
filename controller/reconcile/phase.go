package reconcile

import (
	"context"
	"errors"
	"strings"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/controller/queue"
	"github.com/baliza-lb/baliza/controller/status"
)

// phase is what the loop is doing about a record. It goes
//
//	from idle to writing       where the Service is not as it is wanted,
//	from writing to idle       when it was written, and is as it is wanted,
//	from writing to verifying  when it is not known what became of the request,
//	from any to verifying      where what the cache shows, or does not, proves nothing,
//	from verifying to idle     when it was read; then all is decided anew,
//
// and in this file alone. Whether the request that a phase takes is ready, waits for
// its time or is in flight, the [queue.Queue] knows: it has the key of each record
// that is not idle. While a request is in flight nothing is concluded: its result is,
// and then all is decided anew.
type phase struct {
	doing
	// want is what is to be written, while writing.
	want *desired
}

type doing int

const (
	idle doing = iota
	writing
	// verifying reads the Service before anything is concluded from its state.
	verifying
)

// propose makes a Service as it is wanted: by a write, at once, or after a while if
// the same was written before and did not last; or by none.
func (r *Reconciler) propose(rec *record, d *desired) {
	if !r.options.WithoutProgress {
		d.progress = status.Progress(d.allocated, d.announced)
	}
	switch {
	case rec.phase.doing == verifying:
		r.queue.Add(rec.key) // if a request about an earlier Service of the name took its place
	case r.queue.InFlight(rec.key):
	case d.clean && !r.ours(rec) || !d.clean && len(rec.object.differences(d)) == 0:
		rec.phase = phase{}
		r.queue.Drop(rec.key)
		if d.clean {
			r.allocator.Release(rec.key)
			return
		}
		r.allocator.Settled(rec.key, rec.object.shown)
	default:
		rec.phase = phase{writing, d}
		if until := rec.written.until(d.content(rec.written.note)); until.After(r.Now()) {
			r.queue.Wait(rec.key, until)
			return
		}
		r.queue.Hurry(rec.key)
	}
}

// verify has a Service read before anything is concluded about it.
func (r *Reconciler) verify(rec *record) {
	rec.phase = phase{doing: verifying}
	r.queue.Add(rec.key)
}

// dispatch starts queued requests, as many as may be in flight.
func (r *Reconciler) dispatch(ctx context.Context) {
	for ctx.Err() == nil {
		key, found := r.queue.Next()
		if !found {
			return
		}
		rec := r.records[key]
		if rec == nil || rec.phase.doing == idle {
			r.queue.Done(key)
			continue
		}
		timeout := writeTimeout
		if r.queue.Attempts(key) == 0 {
			timeout = firstTimeout
		}
		job := r.reading(rec.object.Service)
		if rec.phase.doing == writing {
			job = r.writing(rec)
		}
		go func() {
			bounded, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			r.results <- job(bounded)
		}()
	}
}

// finish takes in the result of a request. Its error ends the loop.
func (r *Reconciler) finish(done result) error {
	task := r.queue.Done(done.key)
	r.allocator.Advance(r.Now())
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
		r.observe(rec, done)
	case done.err == nil:
		repeats = r.succeeded(rec, done)
	case errors.As(done.err, &conflict):
		rec.ended(writing)
		r.yield(rec, conflict.Managers)
	case errors.Is(done.err, kube.ErrStale) && done.read && (done.object == nil || done.object.ResourceVersion != done.before.ResourceVersion):
		r.observe(rec, done)
	default:
		r.failed(rec, task, done)
	}
	return repeats
}

// ended makes a record idle whose request was of that phase. One that has to be
// verified since is not done by a write.
func (rec *record) ended(was doing) {
	if rec.phase.doing == was {
		rec.phase = phase{}
	}
}

// succeeded takes in what was written; it reports whether that had been undone.
func (r *Reconciler) succeeded(rec *record, done result) bool {
	rec.ended(writing)
	repeats := rec.written.add(done.wrote.content(rec.written.note), r.Now())
	if repeats {
		r.undone(rec, done)
	}
	r.recordTransition(done.before, done.object, done.wrote)
	if !older(done.object, rec.object) {
		rec.object = r.parse(done.object)
	}
	r.announced.changed = true
	r.decide(rec)
	r.statuses.Changed()
	return repeats
}

// undone says, in the log and in the end in the condition, that what was
// written has been undone before it was written again.
func (r *Reconciler) undone(rec *record, done result) {
	parts := strings.Join(r.parse(done.before).differences(done.wrote), ", ")
	switch rec.written.again {
	case 1:
		r.Log.Warn("what was written to a Service is undone by another writer: repeating it ever more slowly", "service", rec.key, "changed", parts)
	case undoneOften:
		rec.written.note = "; another writer keeps changing " + parts + ", which is written again ever more slowly"
	}
}

// observe takes a state that was read past the cache.
func (r *Reconciler) observe(rec *record, done result) {
	rec.phase = phase{}
	svc := done.object
	switch {
	case svc == nil:
		r.forget(rec.key)
	case svc.UID != rec.object.UID:
		r.forget(rec.key)
		fresh := r.admit(svc)
		fresh.unseen = true
		r.adopt(fresh)
		r.decide(fresh)
	default:
		if !older(svc, rec.object) { // the cache may have been faster
			rec.object = r.parse(svc)
		}
		r.decide(rec)
	}
}

// failed plans the next attempt after a request whose outcome is not known.
func (r *Reconciler) failed(rec *record, t *queue.Task, done result) {
	if !errors.Is(done.err, errNotLeading) { // nothing was sent then
		rec.phase = phase{doing: verifying}
	}
	wait := r.queue.Retry(t, r.Now())
	if errors.Is(done.err, context.Canceled) || errors.Is(done.err, errNotLeading) {
		return
	}
	r.Log.Warn("write failed", "service", rec.key, "error", done.err, "attempt", t.Attempts+1, "retry_in", wait)
}

// readsOne has the Service read, of those about which nothing is being done, that
// was changed last: where the API server has an older state of it than it had, time
// ran backwards, and the caches would stay silent about whatever happens.
func (r *Reconciler) readsOne() {
	var newest *record
	for _, rec := range r.records {
		if rec.phase.doing == idle && (newest == nil || older(newest.object, rec.object)) {
			newest = rec
		}
	}
	if newest != nil {
		r.verify(newest)
	}
}
