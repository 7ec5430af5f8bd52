package ipam

import (
	"fmt"
	"net/netip"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// count notes that a Service has, or no longer has, an address, for the quota
// of its namespace. One that another Service of the namespace has too is
// counted already.
func (m *IPAM) count(h *holding, a netip.Addr, change int64) {
	t := m.taken[a]
	if t == nil || t.pool == nil || !t.pool.HasQuota() || m.sharedWithin(h.namespace, a, h) {
		return
	}
	t.pool.held[h.namespace] += change
	if t.pool.held[h.namespace] == 0 {
		delete(t.pool.held, h.namespace)
	}
}

// countAgain counts one address for all who have it, in a pool that is new.
func (m *IPAM) countAgain(a netip.Addr, t *allocation) {
	if t.pool == nil || !t.pool.HasQuota() {
		return
	}
	counted := make(map[string]bool, 1)
	for h := range t.holders() {
		if h.addresses[familyOf(a)] == a && !counted[h.namespace] {
			counted[h.namespace] = true
			t.pool.held[h.namespace]++
		}
	}
}

// sharedWithin reports whether another Service of the namespace has the address
// and is not leaving it.
func (m *IPAM) sharedWithin(namespace string, a netip.Addr, but *holding) bool {
	t := m.taken[a]
	if t == nil {
		return false
	}
	for o := range t.holders() {
		if o != but && o.namespace == namespace && o.addresses[familyOf(a)] == a {
			return true
		}
	}
	return false
}

// withinQuota lets a plan pass that does not take the namespace over its
// quota. Where it does, an address that the namespace has already and that the
// Service can share is put in the place of a new one.
func (m *IPAM) withinQuota(q *ask, p *pool, found *plan, wanted []family) *Refusal {
	if !p.HasQuota() {
		return nil
	}
	limit, limited := p.Quota(q.Namespace)
	if !limited {
		return nil
	}
	held := m.heldOtherwise(q, p, found)
	more := int64(0)
	for _, f := range wanted {
		if m.adds(q, found.addresses[f]) {
			more++
		}
	}
	for _, f := range wanted {
		if more == 0 || held+more <= limit {
			break
		}
		if _, isNamed := q.named(f); isNamed || !m.adds(q, found.addresses[f]) {
			continue
		}
		if a, exists := m.joinable(q, p, f, true); exists {
			found.addresses[f] = a
			more--
		}
	}
	if more == 0 || held+more <= limit {
		return nil
	}
	return &Refusal{
		v1beta1.ReasonQuotaExceeded,
		fmt.Sprintf("namespace %s holds %d of the %d addresses that its quota allows, and %d more are wanted", q.Namespace, held, limit, more),
	}
}

// heldOtherwise counts what the namespace holds of the pool, less what the
// Service leaves by the plan.
func (m *IPAM) heldOtherwise(q *ask, p *pool, found *plan) int64 {
	held := p.held[q.Namespace]
	for f := range families {
		a := q.holding.addresses[f]
		if a.IsValid() && a != found.addresses[f] && m.taken[a].pool == p && !m.sharedWithin(q.Namespace, a, q.holding) {
			held--
		}
	}
	return held
}

// adds reports whether an address is one more for the namespace.
func (m *IPAM) adds(q *ask, a netip.Addr) bool {
	return q.holding.addresses[familyOf(a)] != a && !m.sharedWithin(q.Namespace, a, q.holding)
}
