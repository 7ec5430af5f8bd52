package ipam

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Advance moves the time of the allocator on; it never goes back. Addresses whose
// cool-down is over by then are free for everyone, and the Generation changes if
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
				m.endCooldowns(p, one, f, before)
			}
		}
	}
}

// cooldownUntil notes when a cool-down is over.
func (m *IPAM) cooldownUntil(t time.Time) {
	if m.wakeAt.IsZero() || t.Before(m.wakeAt) {
		m.wakeAt = t
	}
}

// endCooldowns ends the cool-downs of one part that are over and notes when the next
// one is.
func (m *IPAM) endCooldowns(p *pool, one *part, f family, before time.Time) {
	cooldowns := one.cooldowns[f]
	for !p.LeastRecentlyUsed {
		r, found := cooldowns.oldest()
		if !found || p.inCooldown(r, m.now) {
			break
		}
		cooldowns.remove(r.number)
		one.free[f].give(r.address(f))
		m.noteFree(p, f)
	}
	if next, found := cooldowns.next(m.now.UnixNano() - int64(p.ReuseDelay)); found {
		m.cooldownUntil(time.Unix(0, next.at).Add(p.ReuseDelay))
	}
	if first, found := cooldowns.next(before.UnixNano() - int64(p.ReuseDelay)); found && !p.inCooldown(first, m.now) {
		m.noteFree(p, f)
	}
}

// carryCooldowns keeps the cool-downs of the pools that were in use so far, as far as
// the present ones cover the addresses.
func (m *IPAM) carryCooldowns(before []*pool) {
	m.wakeAt = time.Time{}
	for _, old := range before {
		for _, one := range old.parts() {
			for f := range families {
				for _, r := range one.cooldowns[f].all {
					m.carryCooldown(f, r)
				}
			}
		}
	}
}

func (m *IPAM) carryCooldown(f family, r cooling) {
	a := r.address(f)
	p := m.covering(a)
	if p == nil || m.taken[a] != nil || !p.LeastRecentlyUsed && !p.inCooldown(r, m.now) {
		return
	}
	one := p.partOf(a)
	one.free[f].take(a)
	one.cooldowns[f].add(r)
	if p.inCooldown(r, m.now) {
		m.cooldownUntil(time.Unix(0, r.at).Add(p.ReuseDelay))
	}
}

// cooldownRefusal says why the Service cannot have a free address that it named: it
// cools down from another namespace's use, and there are others to be had.
func (m *IPAM) cooldownRefusal(q *ask, p *pool, a netip.Addr) *Refusal {
	f := familyOf(a)
	r, found := p.partOf(a).cooldowns[f].all[numberOf(a)]
	if set := m.quarantined[a]; set != (cooling{}) {
		r, found = set, true
	}
	if !found || r.namespace == q.Namespace || !p.inCooldown(r, m.now) {
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
