package ipam

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Advance moves the time of the books on; it never goes back. Addresses whose
// rest is over by then are free for everyone, and the Generation changes if
// there are such.
func (m *IPAM) Advance(now time.Time) {
	if !now.After(m.now) {
		return
	}
	before := m.now
	m.now = now
	if m.wakeAt.IsZero() || now.Before(m.wakeAt) {
		return
	}
	m.wakeAt = time.Time{}
	for _, p := range m.order {
		for _, one := range p.parts() {
			for f := range families {
				m.endRests(p, one, f, before)
			}
		}
	}
}

// restsUntil notes when a rest is over.
func (m *IPAM) restsUntil(t time.Time) {
	if m.wakeAt.IsZero() || t.Before(m.wakeAt) {
		m.wakeAt = t
	}
}

// endRests ends the rests of one part that are over and notes when the next
// one is.
func (m *IPAM) endRests(p *pool, one *part, f family, before time.Time) {
	rested := one.rested[f]
	for !p.LeastRecentlyUsed {
		r, found := rested.oldest()
		if !found || p.resting(r, m.now) {
			break
		}
		rested.remove(r.number)
		one.free[f].give(r.address(f))
		m.noteFree(p, f)
	}
	if next, found := rested.next(m.now.UnixNano() - int64(p.ReuseDelay)); found {
		m.restsUntil(time.Unix(0, next.at).Add(p.ReuseDelay))
	}
	if first, found := rested.next(before.UnixNano() - int64(p.ReuseDelay)); found && !p.resting(first, m.now) {
		m.noteFree(p, f)
	}
}

// carryRests keeps the rests of the pools that were in use so far, as far as
// the present ones cover the addresses.
func (m *IPAM) carryRests(before []*pool) {
	m.wakeAt = time.Time{}
	for _, old := range before {
		for _, one := range old.parts() {
			for f := range families {
				for _, r := range one.rested[f].all {
					m.carryRest(f, r)
				}
			}
		}
	}
}

func (m *IPAM) carryRest(f family, r retiree) {
	a := r.address(f)
	p := m.covering(a)
	if p == nil || m.taken[a] != nil || !p.LeastRecentlyUsed && !p.resting(r, m.now) {
		return
	}
	one := p.partOf(a)
	one.free[f].take(a)
	one.rested[f].add(r)
	if p.resting(r, m.now) {
		m.restsUntil(time.Unix(0, r.at).Add(p.ReuseDelay))
	}
}

// restsFor says why the Service cannot have a free address that it named: it
// rests from another namespace's use, and there are others to be had.
func (m *IPAM) restsFor(q *ask, p *pool, a netip.Addr) *Refusal {
	f := familyOf(a)
	r, found := p.partOf(a).rested[f].all[numberOf(a)]
	if set := m.quarantined[a]; set != (retiree{}) {
		r, found = set, true
	}
	if !found || r.namespace == q.Namespace || !p.resting(r, m.now) {
		return nil
	}
	for _, one := range p.partsFor(q) {
		if _, exists := p.ready(one, q.Namespace, f, m.now); exists {
			until := time.Unix(0, r.at).Add(p.ReuseDelay).UTC().Format(time.RFC3339)
			return &Refusal{
				v1beta1.ReasonAddressInCooldown,
				fmt.Sprintf("%s was given up by namespace %s and rests until %s (reuseDelay %s)", a, r.namespace, until, p.ReuseDelay),
			}
		}
	}
	return nil
}
