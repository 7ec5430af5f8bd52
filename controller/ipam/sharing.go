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
	key      string
	ports    []config.Port
	local    bool
	selector labels.Set
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
		if slices.Contains(o.ports, p) {
			return fmt.Sprintf("both have port %d/%s", p.Number, p.Protocol)
		}
	}
	if (s.local || o.local) && (len(s.selector) == 0 || !maps.Equal(s.selector, o.selector)) {
		return "with externalTrafficPolicy Local both must select the same pods"
	}
	return ""
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
	h.sharing = now
	for _, a := range all {
		m.indexShared(h, a)
	}
	if len(all) > 0 {
		h.changed = true
		m.generation++
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

func (m *IPAM) indexShared(h *holding, a netip.Addr) {
	if h.sharing == nil {
		return
	}
	if m.shared[h.sharing.key] == nil {
		m.shared[h.sharing.key] = make(map[netip.Addr]bool)
	}
	m.shared[h.sharing.key][a] = true
}

// unindexShared forgets that an address is shared under the holding's key,
// unless another holder has the same key.
func (m *IPAM) unindexShared(h *holding, a netip.Addr) {
	if h.sharing == nil {
		return
	}
	key := h.sharing.key
	if t := m.taken[a]; t != nil {
		for o := range t.holders() {
			if o != h && o.sharing != nil && o.sharing.key == key {
				return
			}
		}
	}
	delete(m.shared[key], a)
	if len(m.shared[key]) == 0 {
		delete(m.shared, key)
	}
}

// Note takes in what a Service says about sharing, ahead of Assign. A caller
// that has several changed Services notes all before it assigns any, so that
// two that change their key together stay together.
func (m *IPAM) Note(r config.Request) {
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

// mustLeave tells whether the Service changed so that it may no longer share
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
	for a := range m.shared[h.sharing.key] {
		if familyOf(a) != f || m.taken[a].pool != p || best.IsValid() && best.Less(a) {
			continue
		}
		if m.Quarantined(a) || !p.partOf(a).admits(q) || ownOnly && m.adds(q, a) {
			continue
		}
		if other, _ := m.clash(h, a); other == nil {
			best = a
		}
	}
	return best, best.IsValid()
}
