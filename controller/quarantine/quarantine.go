package quarantine

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/reports"
)

const (
	// Lasts is how long an address stays in quarantine after the last report: once
	// it is taken from its Service, nobody probes for it.
	Lasts = 10 * time.Minute
	// PerPool is how many addresses of one pool, as many as its status has room
	// for.
	PerPool = 16
	// ConfirmedAfter is how long a conflict must have been reported, with nobody
	// announcing the address, before it is acted on: the owner, if it is another,
	// needs a moment to say so.
	ConfirmedAfter = 2 * time.Second
	// mostMoves of one Service to which addresses in quarantine testify.
	mostMoves = 3
)

// List is the addresses in quarantine. Use [New].
type List struct {
	entries map[netip.Addr]*entry
	// suspected is since when a conflict is reported of others.
	suspected map[netip.Addr]time.Time
}

// entry is an address in quarantine.
type entry struct {
	mac   string
	since time.Time
	// until is zero while the conflict is reported.
	until time.Time
	// moved are the Services that were given another address instead.
	moved []string
	// firstUse says that the present reports know of no earlier use of it.
	firstUse bool
}

// Change is what a call changed.
type Change struct {
	// Began and Ended are the addresses whose quarantine did, in order.
	Began, Ended []netip.Addr
	// Status says that the status of a pool has something else to say.
	Status bool
	// Again says that Update is to be called again, though no report changes.
	Again bool
}

// New makes an empty List.
func New() *List { return &List{entries: make(map[netip.Addr]*entry)} }

// Resume takes over what the pools say that an earlier leader knew. Where the
// conflict was reported to the last, the time begins anew.
func (l *List) Resume(pools []*v1beta1.IPAddressPool, now time.Time) (c Change) {
	for _, pool := range pools {
		for _, known := range pool.Status.Quarantined {
			a, err := config.ParseAddress(known.Address)
			if err != nil {
				continue
			}
			until := now.Add(Lasts)
			if known.Until != nil && known.Until.Time.Before(until) {
				until = known.Until.Time
			}
			l.begin(&c, a, &entry{mac: known.MAC, since: known.Since.Time, until: until, moved: slices.Clone(known.ReassignedServices)})
		}
	}
	return c
}

// Update brings the list in line with the reports. held reports whether a Service
// has an address: no other is worth a place.
func (l *List) Update(r *reports.Reports, snapshot *config.Snapshot, held func(netip.Addr) bool, now time.Time) (c Change) {
	suspected := make(map[netip.Addr]time.Time)
	conflicts := maps.Collect(r.Conflicts())
	for _, a := range sorted(conflicts) {
		reported, e := conflicts[a], l.entries[a]
		switch {
		case r.Announced(a):
		case e != nil:
			c.Status = c.Status || !e.until.IsZero() || e.mac != reported.MAC
			e.mac, e.until, e.firstUse = reported.MAC, time.Time{}, reported.FirstUse
		case held(a) && l.count(snapshot, snapshot.PoolOf(a)) < PerPool:
			since, known := l.suspected[a]
			if !known {
				since = now
			}
			if now.Sub(since) < ConfirmedAfter {
				suspected[a], c.Again = since, true
				continue
			}
			l.begin(&c, a, &entry{mac: reported.MAC, since: now, firstUse: reported.FirstUse})
		}
	}
	l.suspected = suspected
	for _, a := range sorted(l.entries) {
		switch e := l.entries[a]; {
		case r.Announced(a):
			l.end(&c, a) // it is used, so the other host is gone
		case !r.Conflicting(a) && e.until.IsZero():
			e.until, e.firstUse, c.Status = now.Add(Lasts), false, true
		}
	}
	return c
}

// Expire ends what is over.
func (l *List) Expire(now time.Time) (c Change) {
	for _, a := range sorted(l.entries) {
		if until := l.entries[a].until; !until.IsZero() && !now.Before(until) {
			l.end(&c, a)
		}
	}
	return c
}

func (l *List) begin(c *Change, a netip.Addr, e *entry) {
	l.entries[a] = e
	c.Began, c.Status = append(c.Began, a), true
}

func (l *List) end(c *Change, a netip.Addr) {
	delete(l.entries, a)
	c.Ended, c.Status = append(c.Ended, a), true
}

// count counts those of a pool; without a pool there can be none.
func (l *List) count(snapshot *config.Snapshot, pool *config.Pool) int {
	if pool == nil {
		return PerPool
	}
	count := 0
	for a := range l.entries {
		if snapshot.PoolOf(a) == pool {
			count++
		}
	}
	return count
}

// ToLeave are the addresses, in order, that Services which never used them are to
// leave.
func (l *List) ToLeave() []netip.Addr {
	return slices.DeleteFunc(sorted(l.entries), func(a netip.Addr) bool {
		return !l.entries[a].firstUse || !l.entries[a].until.IsZero()
	})
}

// MAC is that of the host that has an address in quarantine, or empty.
func (l *List) MAC(a netip.Addr) string {
	if e := l.entries[a]; e != nil {
		return e.mac
	}
	return ""
}

// MayMove reports whether a Service was not moved too often.
func (l *List) MayMove(key string) bool {
	moves := 0
	for _, e := range l.entries {
		if slices.Contains(e.moved, key) {
			moves++
		}
	}
	return moves < mostMoves
}

// Moved notes that a Service was given another address instead.
func (l *List) Moved(a netip.Addr, key string) {
	if e := l.entries[a]; e != nil && len(e.moved) < PerPool {
		e.moved = append(slices.Clone(e.moved), key) // the status shares what was
	}
}

// Of is what the status of a pool says.
func (l *List) Of(snapshot *config.Snapshot, pool string) []v1beta1.QuarantinedAddress {
	var all []v1beta1.QuarantinedAddress
	for _, a := range sorted(l.entries) {
		if p := snapshot.PoolOf(a); p == nil || p.Name != pool || len(all) == PerPool {
			continue
		}
		e := l.entries[a]
		one := v1beta1.QuarantinedAddress{Address: a.String(), MAC: e.mac, Since: metav1.NewTime(e.since).Rfc3339Copy(), ReassignedServices: e.moved}
		if !e.until.IsZero() {
			until := metav1.NewTime(e.until).Rfc3339Copy()
			one.Until = &until
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(x, y v1beta1.QuarantinedAddress) int { return strings.Compare(x.Address, y.Address) })
	return all
}

func sorted[T any](byAddress map[netip.Addr]T) []netip.Addr {
	return slices.SortedFunc(maps.Keys(byAddress), netip.Addr.Compare)
}
