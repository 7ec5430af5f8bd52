package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/api/kube"
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

// request is what makes the Service as it is wanted. Where it does not ask for us,
// addresses that others own are not replaced without asking whose they are.
func (r *Reconciler) request(rec *record) kube.ServiceWrite {
	d, s := rec.phase.want, rec.object
	replaces := len(d.addresses) > 0 && !kube.Shows(s.Service, d.addresses) || d.vanish && !d.clean
	return kube.ServiceWrite{
		Before: s.Service, Addresses: d.addresses, Pool: d.pool, Unannounced: d.unannounced,
		Conditions: d.conditions(), Progress: d.progress, Vanish: d.vanish,
		Yield: replaces && !s.asksForUs && s.shows() && !r.showsOnlyOurs(rec),
	}
}

// writing returns a job that writes and, when that fails for a reason that
// leaves the object's state open, reads.
func (r *Reconciler) writing(rec *record) func(context.Context) result {
	want, write, key := rec.phase.want, r.request(rec), rec.key
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
