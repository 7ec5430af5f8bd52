package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

const (
	// catchUp is how long the caches may lag behind the first full read.
	catchUp = 30 * time.Second
	// readAgain is after how many rounds of waiting for the caches it is read again
	// whether what they lack still exists.
	readAgain = 20
)

// begin reads everything, adopts all that is shown and decides for all.
func (r *Reconciler) begin(ctx context.Context) error {
	started := r.Now()
	services, err := r.readServices(ctx)
	if err != nil {
		return err
	}
	if err := r.awaitPools(ctx); err != nil {
		return err
	}
	r.configure()
	r.quarantineChanged(r.quarantine.Resume(r.objects.Pools, r.Now()))
	fresh := make([]*record, 0, len(services))
	for _, svc := range services {
		fresh = append(fresh, r.admit(svc))
	}
	r.takeIn(fresh, nil)
	r.fullAt, r.probeAt = r.Now().Add(fullEvery), r.Now().Add(probeEvery)
	r.Metrics.duration.Observe(r.Now().Sub(started).Seconds())
	r.Log.Info("initial sync complete", "services", len(services), "pools", len(r.snapshot.Pools),
		"pending", r.pending.len(), "writes", r.queue.Len(), "took", r.Now().Sub(started))
	// Reports that changed while nobody led were news to nobody.
	r.announced.changed = true
	r.statuses.Changed()
	r.dispatch(ctx)
	r.writeStatuses(ctx)
	return nil
}

// await waits until a cache lags behind in no object, so that a late event cannot
// take the loop back in time. lagging counts those in which it does.
func await(ctx context.Context, kind string, lagging func(ctx context.Context, round int) (int, error)) error {
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	for round := 0; ; round++ {
		count, err := lagging(ctx, round)
		if err != nil || count == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d %ss are newer in the API server than in the cache after %s: %w", count, kind, catchUp, ctx.Err())
		case <-time.After(defaultSettle):
		}
	}
}

// readServices reads all Services past the cache, and waits until that shows every
// one at least as new as it was read. It returns those that still exist, as the
// cache shows them.
func (r *Reconciler) readServices(ctx context.Context) (current []*corev1.Service, err error) {
	left, err := r.Cluster.ReadServices(ctx)
	if err != nil {
		return nil, err
	}
	err = await(ctx, "Service", func(ctx context.Context, round int) (int, error) {
		if round > 0 && round%readAgain == 0 {
			left = slices.DeleteFunc(left, func(svc *corev1.Service) bool { return r.isGone(ctx, svc) })
		}
		var still []*corev1.Service
		for _, svc := range left {
			cached := r.Cluster.Service(svc.Namespace, svc.Name)
			if cached == nil || older(cached, svc) {
				still = append(still, svc)
				continue
			}
			if err := r.fromTheFuture(ctx, svc, cached); err != nil {
				return 0, err
			}
			current = append(current, cached)
		}
		left = still
		return len(left), nil
	})
	return current, err
}

// awaitPools waits until the cache shows every pool as it is: an address that the
// operator has just excluded is not given by a new leader.
func (r *Reconciler) awaitPools(ctx context.Context) error {
	var pools []*v1beta1.IPAddressPool
	return await(ctx, "IPAddressPool", func(ctx context.Context, round int) (lagging int, err error) {
		if round%readAgain == 0 {
			if pools, err = r.Cluster.ReadPools(ctx); err != nil {
				return 0, err
			}
		}
		live := make(map[types.UID]*v1beta1.IPAddressPool, len(pools))
		for _, p := range pools {
			live[p.UID] = p
		}
		for _, cached := range r.Configuration.Pools() {
			if p := live[cached.UID]; p == nil || older(cached, p) {
				lagging++
			}
			delete(live, cached.UID)
		}
		return lagging + len(live), nil
	})
}

// fromTheFuture returns an error if the cache has a state that the API server
// does not have yet. That the cache is newer than what was read a moment before
// is no proof: what is read now must be as new.
func (r *Reconciler) fromTheFuture(ctx context.Context, read, cached *corev1.Service) error {
	if !older(read, cached) {
		return nil
	}
	live, err := r.Writer.Get(ctx, cached.Namespace, cached.Name)
	if err == nil && live != nil && live.UID == cached.UID && older(live, cached) {
		return timeRanBackwards(cached, live)
	}
	return err
}

// isGone reports whether a Service that was read exists no more.
func (r *Reconciler) isGone(ctx context.Context, svc *corev1.Service) bool {
	live, err := r.Writer.Get(ctx, svc.Namespace, svc.Name)
	return err == nil && (live == nil || live.UID != svc.UID)
}
