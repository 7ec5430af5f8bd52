package ipam

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/config"
)

// freed is what happened that may let somebody in who waits, so that not all are
// asked again because of one address.
type freed struct {
	// everything is as it was for nobody: other pools are in use.
	everything bool
	// places are pools that gained a free address of a family; false once they
	// have none any more.
	places map[place]bool
	// keys are sharing keys under which something changed.
	keys map[string]bool
}

// place is where an address can be had.
type place struct {
	pool string
	family
}

func newFreed() freed { return freed{places: make(map[place]bool), keys: make(map[string]bool)} }

func (m *IPAM) noteFree(p *pool, f family) {
	m.generation++
	m.fresh.places[place{p.Name, f}] = true
}

func (m *IPAM) noteSharing(s *sharing) {
	if s != nil {
		m.generation++
		m.fresh.keys[s.key] = true
	}
}

// Wake begins a round in which those are asked again who wait: MayGain counts
// what has happened since the round before. What happens in the round counts in
// the next.
func (m *IPAM) Wake() { m.round, m.fresh = m.fresh, newFreed() }

// MayGain reports whether something has happened that may give the Service what
// it was refused, and nobody else has taken it since.
func (m *IPAM) MayGain(r config.Request) bool {
	if m.round.everything || r.SharingKey != "" && m.round.keys[r.SharingKey] {
		return true
	}
	for at, room := range m.round.places {
		if room && !m.hasRoom(at) {
			room = false
			m.round.places[at] = false
		}
		// Who names an address is told, too, who has it now.
		if (room || len(r.Addresses) > 0) && wants(r, at.family) && m.wantsOf(m.holdings[r.Key], r, at) {
			return true
		}
	}
	return false
}

// MayAnyGain reports whether MayGain may yet be true of anybody who names no address:
// not all that was freed is taken.
func (m *IPAM) MayAnyGain() bool {
	if m.round.everything || len(m.round.keys) > 0 {
		return true
	}
	for at, room := range m.round.places {
		if room && m.hasRoom(at) {
			return true
		}
	}
	return false
}

// hasRoom reports whether a pool has any address of a family that nobody holds.
func (m *IPAM) hasRoom(at place) bool {
	p := m.pools[at.pool]
	return p != nil && slices.ContainsFunc(p.parts(), func(one *part) bool {
		_, free := one.free[at.family].lowest()
		return free || !one.cooldowns[at.family].empty()
	})
}

// wantsOf reports whether a Service that was refused something can have it from
// there: a family that it lacks, or, if it lacks none, another address.
func (m *IPAM) wantsOf(h *holding, r config.Request, at place) bool {
	switch {
	case r.Pool != "":
		return r.Pool == at.pool
	case len(r.Addresses) > 0:
		return slices.ContainsFunc(r.Addresses, func(a netip.Addr) bool { p := m.covering(a); return p != nil && p.Name == at.pool })
	case h == nil || h.addresses == [families]netip.Addr{}:
		return true
	case h.pool != at.pool:
		return false
	}
	// A family that it has is of no use to it while it lacks the other.
	lacks := func(name corev1.IPFamily) bool { return !h.addresses[familyNamed(name)].IsValid() }
	return !h.addresses[at.family].IsValid() || !slices.ContainsFunc(r.Families, lacks)
}
