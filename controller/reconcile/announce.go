package reconcile

import (
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/controller/reports"
)

const (
	// reportsEvery is how often the Speakers' reports are read at most.
	reportsEvery = 2 * time.Second
	// graceNew is how long an address may be new before nobody announcing it is
	// worth saying.
	graceNew = 10 * time.Second
	// graceMoved is how long nobody must have announced an address before that is
	// said: an address that moves is told of by two Speakers, in any order.
	graceMoved = 3 * time.Second
	// sameNodesFor is how long the same nodes must have announced an address before
	// a condition names them that says the same but for that: Speakers report one
	// after the other, and each restarts now and then.
	sameNodesFor = 10 * time.Second
	// announcedAtOnce is how many Services are written in one tick because of
	// reports: a failover that moves thousands of addresses does not become
	// thousands of writes at once.
	announcedAtOnce = 25
)

// announced is the state of bringing the conditions Announced up to date.
type announced struct {
	reports reports.Reports
	// changed says that the reports are to be read again, but not before nextAt.
	changed bool
	nextAt  time.Time
	// outdated are the Services whose condition is to be brought up to date.
	outdated []string
}

// updateAnnounced brings the conditions Announced up to date, a few at a time and
// only while nothing else is to be written.
func (r *Reconciler) updateAnnounced(now time.Time) {
	p := &r.announced
	if p.changed && len(p.outdated) == 0 && !now.Before(p.nextAt) {
		p.nextAt = now.Add(reportsEvery)
		ready, known := r.Configuration.ReadySpeakers()
		p.changed = p.reports.Read(r.Configuration.Speakers(), known && ready == 0, now)
		r.Metrics.multipleOwners.Set(float64(p.reports.Contested()))
		if p.reports.Speakers() > 0 {
			r.updateQuarantine(now) // and move away while the reports are fresh
			p.outdated = r.outdated()
		}
	}
	if r.queue.Busy() {
		return
	}
	for n := 0; n < announcedAtOnce && len(p.outdated) > 0; n++ {
		key := p.outdated[0]
		p.outdated = p.outdated[1:]
		if rec := r.records[key]; rec != nil {
			if c := r.announcedCondition(rec); c != nil {
				rec.announced = c
				r.decide(rec)
			}
		}
	}
}

// outdated returns the Services whose condition differs from the reports, in
// order.
func (r *Reconciler) outdated() []string {
	var keys []string
	for key, rec := range r.records {
		if c := r.announcedCondition(rec); c != nil && !sameCondition(rec.object.announced, c) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// announcedCondition is what the reports say about a Service whose addresses are
// written; nil while that is nothing, or while it is too soon to say.
func (r *Reconciler) announcedCondition(rec *record) *metav1.Condition {
	addresses := rec.settledAddresses()
	if len(addresses) == 0 {
		return nil
	}
	v, proven := r.announced.reports.Verdict(addresses)
	switch {
	case !proven:
		return nil
	case !v.Missing:
		rec.missingSince = time.Time{}
	case rec.withinGracePeriod(r.Now()):
		r.announced.changed = true // look again
		return nil
	}
	before, now := rec.object.announced, rec.object.condition(v1beta1.ConditionAnnounced, v.Status, v.Reason, v.Message, r.Now())
	if before != nil && before.Status == now.Status && before.Reason == now.Reason && before.Message != now.Message &&
		r.Now().Sub(v.Since) < sameNodesFor {
		r.announced.changed = true // look again
		return nil
	}
	return now
}

// settledAddresses are a Service's addresses, once they are written.
func (rec *record) settledAddresses() []netip.Addr {
	s := rec.object
	if rec.phase.doing != idle || rec.yieldedTo != "" || !s.served || s.pool == "" || !kube.Shows(s.Service, s.shown) {
		return nil
	}
	return s.shown
}

// withinGracePeriod reports whether it may be a moment between two reports in which
// nobody says that it announces a Service's addresses.
func (rec *record) withinGracePeriod(now time.Time) bool {
	before, given := rec.object.announced, rec.object.allocated
	switch {
	case before == nil:
		return given != nil && now.Sub(given.LastTransitionTime.Time) < graceNew
	case before.Status != metav1.ConditionTrue:
		return false
	case rec.missingSince.IsZero():
		rec.missingSince = now
	}
	return now.Sub(rec.missingSince) < graceMoved
}

// stillAnnounced is the condition to write along with these addresses: the one last
// concluded, as long as they are those that it is about.
func (rec *record) stillAnnounced(addresses []netip.Addr) *metav1.Condition {
	switch {
	case len(addresses) == 0 || !kube.Shows(rec.object.Service, addresses):
		rec.announced = nil
	case rec.announced == nil || sameCondition(rec.announced, rec.object.announced):
		rec.announced = rec.object.announced
	}
	return rec.announced
}
