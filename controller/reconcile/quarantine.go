package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// An address that another host has is kept from Services that do not name it,
// and a Service that was given it is given another, but only if no node ever
// announced it for that Service: whatever was in use may be in name servers and
// firewalls, and stays. All that is known of a quarantine is in the status of
// the pool, so that the next leader goes on with it.
//
// The speakers' reports are trusted no further than that. One that reports
// conflicts everywhere, because its node was broken into, can keep
// mostQuarantined addresses from each pool, can move a Service mostMoves times
// in one quarantine, and cannot touch one that another node announces.
const (
	// quarantineFor is how long an address stays in quarantine after the last
	// report: once it is taken from its Service, nobody probes for it.
	quarantineFor = 10 * time.Minute
	// mostQuarantined addresses of one pool, as many as its status has room for.
	mostQuarantined = 16
	// mostMoves of one Service to which addresses in quarantine testify.
	mostMoves = 3
	// confirmedAfter is how long a conflict must have been reported, with
	// nobody announcing the address, before it is acted on: the owner, if it
	// is another, needs a moment to say so.
	confirmedAfter = 2 * time.Second
)

// conflict is what living speakers say about another host's address.
type conflict struct {
	mac string
	// first says that nobody knows of an earlier use.
	first bool
}

// quarantine is an address in quarantine.
type quarantine struct {
	mac   string
	since time.Time
	// until is zero while the conflict is reported.
	until time.Time
	moved []string
	// first says that the present reports know of no earlier use.
	first bool
}

// readConflicts notes what one speaker says about other hosts.
func (p *reports) readConflicts(s *v1beta1.Speaker) {
	for _, one := range s.Status.Conflicts {
		a, err := config.ParseAddress(one.Address)
		if err != nil {
			continue
		}
		known, again := p.conflicts[a]
		first := one.Found == v1beta1.FoundAtFirstUse && (!again || known.first)
		p.conflicts[a] = conflict{mac: cmp.Or(one.MAC, known.mac), first: first}
	}
}

// quarantineReported brings the quarantines in line with the reports.
func (r *Reconciler) quarantineReported(now time.Time) {
	p := &r.reports
	suspected := make(map[netip.Addr]time.Time)
	for a, reported := range p.conflicts {
		q := r.quarantines[a]
		switch {
		case len(p.owners[a]) > 0:
		case q != nil:
			if !q.until.IsZero() || q.mac != reported.mac {
				r.statuses.changed = true
			}
			q.mac, q.until, q.first = reported.mac, time.Time{}, reported.first
		case len(r.books.Holders(a)) > 0 && r.quarantinesOf(r.snapshot.PoolOf(a)) < mostQuarantined:
			since, known := r.suspected[a]
			if !known {
				since = now
			}
			if suspected[a] = since; now.Sub(since) < confirmedAfter {
				p.changed = true // look again
				continue
			}
			delete(suspected, a)
			r.beginQuarantine(a, &quarantine{mac: reported.mac, since: now, first: reported.first})
			r.Log.Warn("address in quarantine: another host has it", "address", a, "mac", reported.mac)
		}
	}
	r.suspected = suspected
	for a, q := range r.quarantines {
		switch _, reported := p.conflicts[a]; {
		case len(p.owners[a]) > 0:
			r.endQuarantine(a) // it is used, so the other host is gone
		case !reported && q.until.IsZero():
			q.until, q.first = now.Add(quarantineFor), false
			r.statuses.changed = true
		}
	}
}

func (r *Reconciler) beginQuarantine(a netip.Addr, q *quarantine) {
	r.quarantines[a] = q
	r.books.Quarantine(a)
	r.statuses.changed = true
}

func (r *Reconciler) endQuarantine(a netip.Addr) {
	delete(r.quarantines, a)
	r.books.EndQuarantine(a)
	r.statuses.changed = true
	r.Log.Info("the quarantine of an address is over", "address", a)
}

// endQuarantines ends those that are over.
func (r *Reconciler) endQuarantines(now time.Time) {
	for a, q := range r.quarantines {
		if !q.until.IsZero() && !now.Before(q.until) {
			r.endQuarantine(a)
		}
	}
}

// quarantinesOf counts those of a pool; without a pool there can be none.
func (r *Reconciler) quarantinesOf(p *config.Pool) int {
	if p == nil {
		return mostQuarantined
	}
	count := 0
	for a := range r.quarantines {
		if r.snapshot.PoolOf(a) == p {
			count++
		}
	}
	return count
}

// resumeQuarantines takes over what the pools say that an earlier leader knew.
// Where the conflict was reported to the last the time begins anew.
func (r *Reconciler) resumeQuarantines(pools []*v1beta1.IPAddressPool) {
	for _, object := range pools {
		for _, known := range object.Status.Quarantined {
			a, err := config.ParseAddress(known.Address)
			if err != nil {
				continue
			}
			until := r.Now().Add(quarantineFor)
			if known.Until != nil && known.Until.Time.Before(until) {
				until = known.Until.Time
			}
			r.beginQuarantine(a, &quarantine{mac: known.MAC, since: known.Since.Time, until: until, moved: slices.Clone(known.ReassignedServices)})
		}
	}
}

// quarantined is what the status of a pool says.
func (r *Reconciler) quarantined(pool string) []v1beta1.QuarantinedAddress {
	var all []v1beta1.QuarantinedAddress
	for a, q := range r.quarantines {
		if p := r.snapshot.PoolOf(a); p == nil || p.Name != pool || len(all) == mostQuarantined {
			continue
		}
		one := v1beta1.QuarantinedAddress{Address: a.String(), MAC: q.mac, Since: metav1.NewTime(q.since).Rfc3339Copy(), ReassignedServices: q.moved}
		if !q.until.IsZero() {
			until := metav1.NewTime(q.until).Rfc3339Copy()
			one.Until = &until
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(x, y v1beta1.QuarantinedAddress) int { return strings.Compare(x.Address, y.Address) })
	return all
}

// moveAway gives the Services that were given another host's address another, as
// far as that is allowed and there is one.
func (r *Reconciler) moveAway() {
	for _, a := range slices.SortedFunc(maps.Keys(r.quarantines), netip.Addr.Compare) {
		q := r.quarantines[a]
		if !q.first || !q.until.IsZero() {
			continue
		}
		holders := r.books.Holders(a)
		if slices.ContainsFunc(holders, func(key string) bool { return !r.mayMove(r.records[key], a) }) {
			continue
		}
		for _, key := range holders {
			r.move(r.records[key], a, q)
		}
	}
}

// mayMove reports whether a Service may be taken off an address: it was given it,
// without having named it, and no node has announced it.
func (r *Reconciler) mayMove(rec *record, a netip.Addr) bool {
	if rec == nil || !slices.Contains(r.settledAddresses(rec), a) || !slices.Contains(rec.unannounced, a) {
		return false
	}
	if rec.object.malformed != nil {
		return false
	}
	moves := 0
	for _, q := range r.quarantines {
		if slices.Contains(q.moved, rec.key) {
			moves++
		}
	}
	return moves < mostMoves && !slices.Contains(rec.object.request.Addresses, a)
}

// move takes a Service off an address if another can be had.
func (r *Reconciler) move(rec *record, a netip.Addr, q *quarantine) {
	before := r.books.Holding(rec.key).Addresses
	given, moved := r.books.Move(rec.object.request, r.Cluster.NamespaceLabels(rec.object.Namespace), a, r.Now())
	if !moved {
		r.reports.changed = true // try again
		return
	}
	rec.noteGiven(before, given.Addresses)
	if len(q.moved) < mostQuarantined {
		q.moved = append(slices.Clone(q.moved), rec.key)
	}
	r.statuses.changed = true
	message := fmt.Sprintf("%s is in use on the network by %s and was not announced yet: %s instead", a, q.mac, holds(given))
	r.Log.Warn("a Service is given another address", "service", rec.key, "address", a, "mac", q.mac, "has", join(given.Addresses))
	r.record(event{rec.object.Service, true, v1beta1.ReasonAddressConflict, "Move", message})
	r.decide(rec)
}
