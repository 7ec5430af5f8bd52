package reconcile

import (
	"context"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/config"
)

// pass takes in what changed and queues the writes that follow from it.
func (r *Reconciler) pass(ctx context.Context, n news) {
	started := r.Now()
	r.books.Advance(started)
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
	if n.speakers {
		r.reports.changed = true
	}
	r.statuses.changed = true
	r.dispatch(ctx)
	if everyone {
		r.writeStatuses(ctx)
	}
	r.Metrics.duration.Observe(r.Now().Sub(started).Seconds())
}

// tick does what has come due.
func (r *Reconciler) tick(ctx context.Context) {
	now := r.Now()
	r.books.Advance(now) // rests that are over wake whoever waits
	r.queue.Due(now)
	r.lookAgain(now)
	r.endQuarantines(now)
	r.foldReports(now)
	r.dispatch(ctx)
	r.sendEvents()
	r.writeStatuses(ctx)
}

// lookAgain has every Service looked at once in a while without cause, as the
// cache shows it. And it reads one that it knows well: where the API server has
// an older state of it than it had, time ran backwards, and the caches would
// stay silent about whatever happens.
func (r *Reconciler) lookAgain(now time.Time) {
	if now.After(r.fullAt) {
		r.fullAt = now.Add(fullEvery)
		for key := range r.records {
			r.again(key)
		}
	}
	if now.Before(r.probeAt) {
		return
	}
	r.probeAt = now.Add(probeEvery)
	var newest *record
	for _, rec := range r.records {
		if newest == nil || older(newest.object.Service, rec.object.Service) {
			newest = rec
		}
	}
	if newest != nil && !newest.unsure {
		newest.unsure = true
		r.queue.Add(newest.key)
	}
}

// again has a Service looked at in the next pass.
func (r *Reconciler) again(key string) { r.inbox.add(kube.KindService, key) }

// configure reads the operator's objects; it tells whether they mean
// something new.
func (r *Reconciler) configure() bool {
	objects := config.Objects{
		Pools: r.Configuration.Pools(), L2Advertisements: r.Configuration.L2Advertisements(), Namespace: r.options.Namespace,
	}
	sortByName(objects.Pools)
	sortByName(objects.L2Advertisements)
	objects.BGP, objects.InUse = r.bgpObjects(), r.inUse()
	defer func() { r.objects = objects }()
	if samePlan(r.objects.Pools, objects.Pools) && samePlan(r.objects.L2Advertisements, objects.L2Advertisements) &&
		sameBGP(&r.objects.BGP, &objects.BGP) && slices.Equal(r.objects.InUse, objects.InUse) {
		return false
	}
	r.snapshot, r.problems = config.Build(objects)
	r.books.SetSnapshot(r.snapshot)
	return true
}

// inUse are the addresses that the cluster itself has: as its objects say, and,
// where no Service has them, as the speakers see them on nodes and beside them.
func (r *Reconciler) inUse() []config.InUse {
	var found []config.InUse
	for _, one := range r.Configuration.InUse() {
		found = append(found, config.InUse{Range: config.Prefixed(one.Prefix), By: one.By})
	}
	for _, s := range r.Configuration.Speakers() {
		for _, local := range s.Status.LocalAddresses {
			if a, err := config.ParseAddress(local); err == nil && len(r.books.Holders(a)) == 0 {
				found = append(found, config.InUse{Range: config.Range{First: a, Last: a}, By: "node " + s.Name})
			}
		}
	}
	return config.SortInUse(found)
}

func sortByName[T metav1.Object](objects []T) {
	slices.SortFunc(objects, func(a, b T) int { return strings.Compare(a.GetName(), b.GetName()) })
}

// samePlan compares lists of objects in everything but status and version.
func samePlan[T metav1.Object](a, b []T) bool {
	return slices.EqualFunc(a, b, func(x, y T) bool {
		return x.GetUID() == y.GetUID() && x.GetName() == y.GetName() &&
			reflect.DeepEqual(x.GetLabels(), y.GetLabels()) && reflect.DeepEqual(specOf(x), specOf(y))
	})
}

func specOf(object any) any {
	return reflect.ValueOf(object).Elem().FieldByName("Spec").Interface()
}

// refresh takes a Service's state from the cache into its record. The record
// is nil when there is nothing to decide.
func (r *Reconciler) refresh(key string) (rec *record, isNew bool) {
	namespace, name, _ := strings.Cut(key, "/")
	svc := r.Cluster.Service(namespace, name)
	rec = r.records[key]
	if svc != nil && rec != nil && svc.UID == rec.object.UID {
		rec.ahead = false
	}
	switch {
	case svc == nil && rec != nil && rec.ahead:
		// What the cache no longer shows is an earlier Service of that name: the
		// watch has yet to show this one.
		rec.unsure = true
		r.queue.Add(key)
		return nil, false
	case svc == nil:
		r.forget(key)
		return nil, false
	case rec == nil:
		return r.admit(svc), true
	case rec.object.UID != svc.UID && !older(svc, rec.object.Service):
		r.forget(key) // deleted and made again: nothing is inherited
		return r.admit(svc), true
	case older(svc, rec.object.Service):
		return nil, false
	}
	rec.object = r.parse(svc)
	return rec, false
}

// admit makes the record of a Service.
func (r *Reconciler) admit(svc *corev1.Service) *record {
	s := r.parse(svc)
	rec := &record{key: s.key, object: s, untried: s.untried}
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
	r.books.Release(key)
}

// takeIn adopts what Services new to the loop show, and decides for them and
// for those that changed: the oldest first throughout.
func (r *Reconciler) takeIn(fresh, changed []*record) {
	slices.SortFunc(fresh, byAge)
	for _, rec := range fresh {
		r.adopt(rec)
	}
	all := slices.Concat(fresh, changed)
	slices.SortFunc(all, byAge)
	for _, rec := range changed {
		if rec.object.served {
			r.books.UpdateSharing(rec.object.request)
			r.takeUp(rec)
		}
	}
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
	return r.books.Known(rec.key) || len(rec.object.request.Addresses) > 0
}

// mayHaveAgain reports whether a Service that has no address, as one that was
// restored, can have one again that it had: before who takes whatever is free.
func (r *Reconciler) mayHaveAgain(rec *record) bool {
	return slices.ContainsFunc(rec.object.request.Preferred, func(a netip.Addr) bool { return len(r.books.Holders(a)) == 0 })
}

// decideAll decides for all, the oldest Service first.
func (r *Reconciler) decideAll() {
	for _, rec := range slices.SortedFunc(maps.Values(r.records), byAge) {
		r.decide(rec)
	}
}
