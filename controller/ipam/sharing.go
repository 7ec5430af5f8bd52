package ipam

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/config"
)

// sharing is what decides whether two Services may have one address.
type sharing struct {
	key   string
	ports []config.Port
	// has are the same ports, where they are many; made when it is asked for.
	has      map[config.Port]bool
	local    bool
	selector labels.Set
}

// sharedKey is what Services with one sharing key hold, so that whoever wants to
// join finds out by its ports, not by asking each of them.
type sharedKey struct {
	addresses map[netip.Addr]*sharedAddress
	// ports counts the addresses that have each port.
	ports map[config.Port]int
}

// sharedAddress counts the holders, with that key, of an address, and those that
// have each port.
type sharedAddress struct {
	holders int
	ports   map[config.Port]int
}

func sharingOf(r config.Request) *sharing {
	if r.SharingKey == "" {
		return nil
	}
	return &sharing{key: r.SharingKey, ports: r.Ports, local: r.Local, selector: r.Selector}
}

func (s *sharing) equal(o *sharing) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.key == o.key && s.local == o.local && slices.Equal(s.ports, o.ports) && maps.Equal(s.selector, o.selector)
}

// objection says why two Services may not share, or is empty.
func (s *sharing) objection(o *sharing) string {
	switch {
	case s == nil:
		return "this Service has no sharing key"
	case o == nil:
		return "the other has no sharing key"
	case s.key != o.key:
		return "the sharing keys differ"
	}
	for _, p := range s.ports {
		if o.hasPort(p) {
			return fmt.Sprintf("both have port %d/%s", p.Number, p.Protocol)
		}
	}
	if (s.local || o.local) && (len(s.selector) == 0 || !maps.Equal(s.selector, o.selector)) {
		return "with externalTrafficPolicy Local both must select the same pods"
	}
	return ""
}

// fewPorts are searched one by one.
const fewPorts = 8

func (s *sharing) hasPort(p config.Port) bool {
	if len(s.ports) <= fewPorts {
		return slices.Contains(s.ports, p)
	}
	if s.has == nil {
		s.has = make(map[config.Port]bool, len(s.ports))
		for _, one := range s.ports {
			s.has[one] = true
		}
	}
	return s.has[p]
}

// setSharing notes what the Service says about sharing now. Whoever waits is
// to be reconsidered when that changed for an address in use.
func (m *IPAM) setSharing(h *holding, r config.Request) {
	now := sharingOf(r)
	if now.equal(h.sharing) {
		return
	}
	all := h.all()
	for _, a := range all {
		m.unindexShared(h, a)
	}
	before := h.sharing
	h.sharing = now
	for _, a := range all {
		m.indexShared(h, a)
	}
	if len(all) > 0 {
		h.changed = true
		m.noteSharing(before)
		m.noteSharing(now)
	}
}

// all returns the addresses booked for the Service, those it leaves included.
func (h *holding) all() []netip.Addr {
	all := slices.Clone(h.leaving)
	for _, a := range h.addresses {
		if a.IsValid() {
			all = append(all, a)
		}
	}
	return all
}

// indexShared notes that the holding has an address under its key.
func (m *IPAM) indexShared(h *holding, a netip.Addr) {
	if h.sharing == nil {
		return
	}
	k := m.shared[h.sharing.key]
	if k == nil {
		k = &sharedKey{make(map[netip.Addr]*sharedAddress), make(map[config.Port]int)}
		m.shared[h.sharing.key] = k
	}
	one := k.addresses[a]
	if one == nil {
		one = &sharedAddress{ports: make(map[config.Port]int)}
		k.addresses[a] = one
	}
	one.holders++
	for _, p := range h.sharing.ports {
		one.ports[p]++
		if one.ports[p] == 1 {
			k.ports[p]++
		}
	}
}

// unindexShared takes that back.
func (m *IPAM) unindexShared(h *holding, a netip.Addr) {
	if h.sharing == nil {
		return
	}
	k := m.shared[h.sharing.key]
	one := k.addresses[a]
	for _, p := range h.sharing.ports {
		one.ports[p]--
		if one.ports[p] > 0 {
			continue
		}
		delete(one.ports, p)
		k.ports[p]--
		if k.ports[p] == 0 {
			delete(k.ports, p)
		}
	}
	one.holders--
	if one.holders == 0 {
		delete(k.addresses, a)
	}
	if len(k.addresses) == 0 {
		delete(m.shared, h.sharing.key)
	}
}

// UpdateSharing takes in what a Service says about sharing, ahead of Assign. A caller
// that has several changed Services notes all before it assigns any, so that
// two that change their key together stay together.
func (m *IPAM) UpdateSharing(r config.Request) {
	if h := m.holdings[r.Key]; h != nil {
		m.setSharing(h, r)
	}
}

// clash returns the first other holder, by key, with whom the Service may not
// share the address, and why not. One that is leaving counts.
func (m *IPAM) clash(h *holding, a netip.Addr) (other *holding, objection string) {
	return m.clashing(h, a, true)
}

// clashing is clash; leaving decides whether one that is leaving counts. It
// does not for an address that the cluster shows for the Service already.
func (m *IPAM) clashing(h *holding, a netip.Addr, leaving bool) (other *holding, objection string) {
	t := m.taken[a]
	if t == nil {
		return nil, ""
	}
	for o := range t.holders() {
		if o == h || other != nil && other.key < o.key || !leaving && o.addresses[familyOf(a)] != a {
			continue
		}
		if why := h.sharing.objection(o.sharing); why != "" {
			other, objection = o, why
		}
	}
	return other, objection
}

// mustLeave reports whether the Service changed so that it may no longer share
// an address with one that stays.
func (m *IPAM) mustLeave(h *holding, a netip.Addr) bool {
	if !h.changed {
		return false
	}
	for o := range m.taken[a].holders() {
		if o != h && o.addresses[familyOf(a)] == a && h.sharing.objection(o.sharing) != "" {
			return true
		}
	}
	return false
}

// joinable returns the lowest address of the pool that the Service could
// share; with ownOnly one that its namespace has already.
func (m *IPAM) joinable(q *ask, p *pool, f family, ownOnly bool) (netip.Addr, bool) {
	var best netip.Addr
	h := q.holding
	if h.sharing == nil {
		return best, false
	}
	k := m.shared[h.sharing.key]
	if k == nil || k.full(h) {
		return best, false
	}
	for a, one := range k.addresses {
		better := familyOf(a) == f && (!best.IsValid() || a.Less(best))
		if better && (h.has(a) || !one.clashes(h.sharing.ports)) && m.mayJoin(q, p, a) && !(ownOnly && m.adds(q, a)) {
			best = a
		}
	}
	return best, best.IsValid()
}

// mayJoin reports whether a Service may share an address of a pool.
func (m *IPAM) mayJoin(q *ask, p *pool, a netip.Addr) bool {
	if m.taken[a].pool != p || m.Quarantined(a) || !p.partOf(a).admits(q) {
		return false
	}
	other, _ := m.clash(q.holding, a)
	return other == nil
}

// full reports whether every address of the key has one of the ports of a
// Service that holds nothing.
func (k *sharedKey) full(h *holding) bool {
	if len(h.leaving) > 0 || h.addresses != [families]netip.Addr{} {
		return false
	}
	return slices.ContainsFunc(h.sharing.ports, func(p config.Port) bool { return k.ports[p] == len(k.addresses) })
}

// clashes reports whether one of the ports is taken.
func (one *sharedAddress) clashes(ports []config.Port) bool {
	return slices.ContainsFunc(ports, func(p config.Port) bool { return one.ports[p] > 0 })
}

// has reports whether the address is booked for the Service.
func (h *holding) has(a netip.Addr) bool {
	return h.addresses[familyOf(a)] == a || slices.Contains(h.leaving, a)
}
