package reconcile

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/api/kube"
)

// pass takes in what changed and queues the writes that follow from it.
func (r *Reconciler) pass(ctx context.Context, n news) {
	started := r.Now()
	r.allocator.Advance(started)
	everyone := n.config && r.configure()
	var fresh, changed []*record
	for key := range n.services {
		rec, isNew := r.refresh(key)
		switch {
		case rec == nil:
		case isNew:
			fresh = append(fresh, rec)
		default:
			changed = append(changed, rec)
		}
	}
	if len(n.namespaces) > 0 {
		for _, rec := range r.pending.all() {
			if n.namespaces[rec.object.Namespace] && !n.services[rec.key] {
				changed = append(changed, rec)
			}
		}
	}
	r.takeIn(fresh, changed)
	if everyone {
		r.decideAll()
	}
	r.wakePending()
	r.announced.changed = r.announced.changed || n.speakers
	r.statuses.Changed()
	r.dispatch(ctx)
	if everyone {
		r.writeStatuses(ctx)
	}
	r.Metrics.duration.Observe(r.Now().Sub(started).Seconds())
}

// tick does what has come due.
func (r *Reconciler) tick(ctx context.Context) {
	now := r.Now()
	r.allocator.Advance(now) // rests that are over wake whoever waits
	resting := r.allocator.Resting(mostResting)
	r.resting.Store(&resting)
	r.queue.Due(now)
	r.lookAgain(now)
	r.quarantineChanged(r.quarantine.Expire(now))
	r.updateAnnounced(now)
	r.dispatch(ctx)
	r.sendEvents()
	r.writeStatuses(ctx)
}

// lookAgain has every Service looked at once in a while without cause, as the
// cache shows it, and one that is known well read past the cache.
func (r *Reconciler) lookAgain(now time.Time) {
	if now.After(r.fullAt) {
		r.fullAt = now.Add(fullEvery)
		for key := range r.records {
			r.again(key)
		}
	}
	if !now.Before(r.probeAt) {
		r.probeAt = now.Add(probeEvery)
		r.readsOne()
	}
}

// again has a Service looked at in the next pass.
func (r *Reconciler) again(key string) { r.inbox.add(kube.KindService, key) }

// refresh takes a Service's state from the cache into its record. The record
// is nil when there is nothing to decide.
func (r *Reconciler) refresh(key string) (rec *record, isNew bool) {
	namespace, name, _ := strings.Cut(key, "/")
	svc := r.Cluster.Service(namespace, name)
	rec = r.records[key]
	if svc != nil && rec != nil && svc.UID == rec.object.UID {
		rec.unseen = false
	}
	switch {
	case svc == nil && rec != nil && rec.unseen:
		// What the cache no longer shows is an earlier Service of that name: the
		// watch has yet to show this one.
		r.verify(rec)
		return nil, false
	case svc == nil:
		r.forget(key)
		return nil, false
	case rec == nil:
		return r.admit(svc), true
	case rec.object.UID != svc.UID && !older(svc, rec.object):
		r.forget(key) // deleted and made again: nothing is inherited
		return r.admit(svc), true
	case older(svc, rec.object):
		return nil, false
	}
	rec.object = r.parse(svc)
	return rec, false
}

// admit makes the record of a Service.
func (r *Reconciler) admit(svc *corev1.Service) *record {
	s := r.parse(svc)
	rec := &record{key: s.key, object: s, unannounced: s.unannounced}
	r.records[rec.key] = rec
	return rec
}

// forget drops a Service that is gone, and frees what it had.
func (r *Reconciler) forget(key string) {
	rec := r.records[key]
	if rec == nil {
		return
	}
	r.setReason(rec, "")
	r.pending.remove(rec)
	r.queue.Drop(key)
	delete(r.records, key)
	r.allocator.Release(key)
}

// takeIn adopts what Services new to the loop show, and decides for them and
// for those that changed: the oldest first throughout, but for who leaves an address
// that may no longer be shared. Of two that both changed that is the younger.
func (r *Reconciler) takeIn(fresh, changed []*record) {
	slices.SortFunc(fresh, byAge)
	for _, rec := range fresh {
		r.adopt(rec)
	}
	slices.SortFunc(changed, byAge)
	served := slices.DeleteFunc(slices.Clone(changed), func(rec *record) bool { return !rec.object.served })
	for _, rec := range served { // all, so that two that change their key together stay together
		r.allocator.UpdateSharing(rec.object.request)
	}
	for _, rec := range slices.Backward(served) {
		if rec.yieldedTo == "" {
			r.allocator.Retain(rec.object.request)
		}
	}
	for _, rec := range served {
		r.adopt(rec)
	}
	all := slices.Concat(fresh, changed)
	slices.SortFunc(all, byAge)
	for _, comes := range []func(*record) bool{r.namesOrHas, r.mayHaveAgain} {
		var later []*record
		for _, rec := range all {
			if comes(rec) {
				r.decide(rec)
			} else {
				later = append(later, rec)
			}
		}
		all = later
	}
	for _, rec := range all {
		r.decide(rec)
	}
}

// namesOrHas reports whether a Service has an address or names one: it is decided
// before the others of one pass.
func (r *Reconciler) namesOrHas(rec *record) bool {
	return r.allocator.Known(rec.key) || len(rec.object.request.Addresses) > 0
}

// mayHaveAgain reports whether a Service that has no address, as one that was
// restored, can have one again that it had: before who takes whatever is free.
func (r *Reconciler) mayHaveAgain(rec *record) bool {
	return slices.ContainsFunc(rec.object.request.Preferred, func(a netip.Addr) bool { return !r.allocator.Taken(a) })
}

// decideAll decides for all, the oldest Service first.
func (r *Reconciler) decideAll() {
	for _, rec := range slices.SortedFunc(maps.Values(r.records), byAge) {
		r.decide(rec)
	}
}
