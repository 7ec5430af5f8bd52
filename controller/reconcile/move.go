package reconcile

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/controller/quarantine"
)

// A Service that was given an address that another host has is given another, but
// only if no node ever announced it for that Service: whatever was in use may be in
// name servers and firewalls, and stays.

// updateQuarantine brings the quarantine in line with the reports, and gives the
// Services that were given what is in it another address, as far as that is allowed
// and there is one.
func (r *Reconciler) updateQuarantine(now time.Time) {
	r.quarantineChanged(r.quarantine.Update(&r.announced.reports, r.snapshot, r.allocator.Taken, now))
	for _, a := range r.quarantine.ToLeave() {
		holders := r.allocator.Holders(a)
		if slices.ContainsFunc(holders, func(key string) bool { return !r.mayMove(r.records[key], a) }) {
			continue // those who share it leave it together
		}
		for _, key := range holders {
			r.move(r.records[key], a)
		}
	}
}

// quarantineChanged has the allocator know of a change, and the pools say it.
func (r *Reconciler) quarantineChanged(c quarantine.Change) {
	for _, a := range c.Began {
		r.allocator.Quarantine(a)
		r.Log.Warn("address in quarantine: another host has it", "address", a, "mac", r.quarantine.MAC(a))
	}
	for _, a := range c.Ended {
		r.allocator.EndQuarantine(a)
		r.Log.Info("the quarantine of an address is over", "address", a)
	}
	if c.Status {
		r.statuses.Changed()
	}
	r.announced.changed = r.announced.changed || c.Again
}

// mayMove reports whether a Service may be taken off an address: it was given it,
// without having named it, and no node has announced it.
func (r *Reconciler) mayMove(rec *record, a netip.Addr) bool {
	return rec != nil && rec.object.malformed == nil && slices.Contains(rec.settledAddresses(), a) && slices.Contains(rec.unannounced, a) &&
		!slices.Contains(rec.object.request.Addresses, a) && r.quarantine.MayMove(rec.key)
}

// move takes a Service off an address if another can be had.
func (r *Reconciler) move(rec *record, a netip.Addr) {
	before := r.allocator.Holding(rec.key).Addresses
	given, moved := r.allocator.Move(rec.object.request, r.Cluster.NamespaceLabels(rec.object.Namespace), a, r.Now())
	if !moved {
		r.announced.changed = true // try again
		return
	}
	rec.noteGiven(before, given.Addresses)
	r.quarantine.Moved(a, rec.key)
	r.statuses.Changed()
	mac := r.quarantine.MAC(a)
	r.Log.Warn("a Service is given another address", "service", rec.key, "address", a, "mac", mac, "has", join(given.Addresses))
	r.record(event{
		rec.object.Service, true, v1beta1.ReasonAddressConflict, "Move",
		fmt.Sprintf("%s is in use on the network by %s and was not announced yet: %s instead", a, mac, holds(given)),
	})
	r.decide(rec)
}
