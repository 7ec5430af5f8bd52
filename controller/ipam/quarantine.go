package ipam

import (
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/config"
)

// Quarantine keeps an address from everyone who does not name it, because
// something else on the network has it. Who holds it already goes on holding
// it; see Move.
func (m *IPAM) Quarantine(a netip.Addr) {
	if _, is := m.quarantined[a]; is {
		return
	}
	m.quarantined[a] = cooling{}
	m.setAside(a)
}

// Quarantined reports whether an address is in quarantine.
func (m *IPAM) Quarantined(a netip.Addr) bool {
	_, is := m.quarantined[a]
	return is
}

// EndQuarantine lets an address be given again.
func (m *IPAM) EndQuarantine(a netip.Addr) {
	had, is := m.quarantined[a]
	if !is {
		return
	}
	delete(m.quarantined, a)
	if p := m.covering(a); p != nil && m.taken[a] == nil {
		m.countAside(a, -1)
		m.noteFree(p, familyOf(a))
		p.partOf(a).free[familyOf(a)].give(a)
		if had != (cooling{}) {
			m.carryCooldown(familyOf(a), had)
		}
	}
}

// setAside takes an address in quarantine out of what is free, if it is, and
// remembers the cool-down that it may be in.
func (m *IPAM) setAside(a netip.Addr) {
	p := m.covering(a)
	if p == nil || m.taken[a] != nil {
		return
	}
	m.countAside(a, +1)
	one, f := p.partOf(a), familyOf(a)
	if rest, found := one.cooldowns[f].all[numberOf(a)]; found {
		one.cooldowns[f].remove(rest.number)
		m.quarantined[a] = rest
		return
	}
	one.free[f].take(a)
}

// forgetCooldowns forgets the cool-downs of addresses in quarantine that no pool would
// know of any more.
func (m *IPAM) forgetCooldowns() {
	for a, rest := range m.quarantined {
		if p := m.covering(a); p == nil || !p.LeastRecentlyUsed && !p.inCooldown(rest, m.now) {
			m.quarantined[a] = cooling{}
		}
	}
}

// countAside counts the addresses of a part that would be free if they were not
// in quarantine.
func (m *IPAM) countAside(a netip.Addr, change int64) {
	if p := m.covering(a); p != nil {
		p.partOf(a).aside[familyOf(a)] += change
	}
}

// avoids reports whether the pool has free addresses that a Service could have
// if they were not in quarantine.
func (m *IPAM) avoids(q *ask, p *pool, f family) bool {
	return slices.ContainsFunc(p.partsFor(q), func(one *part) bool { return one.aside[f] > 0 })
}

// Move gives a Service another address in the place of one that it has and
// did not name; everything else that it has stays. It returns what the Service
// has afterwards and whether that is different: where no pool has another
// address for it nothing changes.
//
// This is the one exception to the rule that an address stays with its Service.
// Whether it applies is the caller's to know: the address must not have been
// in use.
func (m *IPAM) Move(r config.Request, namespaceLabels labels.Set, from netip.Addr, now time.Time) (Assignment, bool) {
	m.Advance(now)
	h := m.holdings[r.Key]
	if h == nil || h.addresses[familyOf(from)] != from || slices.Contains(r.Addresses, from) {
		return Assignment{}, false
	}
	m.scratch = ask{Request: r, namespaceLabels: namespaceLabels, holding: h, unwanted: from}
	found, refusal := m.answer(&m.scratch)
	if refusal != nil || !found.addresses[familyOf(from)].IsValid() { // or it wants that family no more
		return h.assignment(r.Families), false
	}
	for f := range families {
		if moves := found.addresses[f] != h.addresses[f]; moves != (f == familyOf(from)) {
			return h.assignment(r.Families), false
		}
	}
	m.carryOut(h, found)
	return h.assignment(r.Families), true
}
