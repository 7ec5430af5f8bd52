package ipam

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// Assignment is what a Service has: addresses in the order of its ipFamilies,
// and the pool that they came from.
type Assignment struct {
	Addresses []netip.Addr
	Pool      string
}

// plan is an answer to a request: for each family the address to have.
type plan struct {
	pool      string
	addresses [families]netip.Addr
}

// Assign gives a Service what it asks for, as far as the pools allow, and
// returns what it has afterwards. The Refusal is nil when that is all it
// wanted; with reason PartiallyAllocated a Service that prefers two families has
// one; with any other reason the Service has what it had before, or nothing.
//
// An address that the Service has is left only when the Service no longer
// wants its family, names another address or pool that can be had, or may no
// longer share it. It stays booked until Settled says that it is not shown.
func (m *IPAM) Assign(r config.Request, namespaceLabels labels.Set, now time.Time) (Assignment, *Refusal) {
	m.Advance(now)
	h := m.open(r)
	m.setSharing(h, r)
	m.leaveUnwanted(h, r)

	m.scratch = ask{Request: r, namespaceLabels: namespaceLabels, holding: h}
	answer, refusal := m.answer(&m.scratch)
	if answer != (plan{}) {
		m.carryOut(h, answer)
	}
	return h.assignment(r.Families), refusal
}

// Retain notes what a Service says about sharing while its request cannot be
// understood, and returns what it has.
func (m *IPAM) Retain(r config.Request) Assignment {
	h := m.open(r)
	m.setSharing(h, r)
	m.leaveUnwanted(h, r)
	return h.assignment(r.Families)
}

// leaveUnwanted leaves addresses of families that the Service does not want
// and those that it may no longer share.
func (m *IPAM) leaveUnwanted(h *holding, r config.Request) {
	for f := range families {
		a := h.addresses[f]
		if a.IsValid() && (!wants(r, f) || m.mustLeave(h, a)) {
			m.leave(h, f)
		}
	}
	h.changed = false
	h.pool = m.homeOf(h, r)
}

func wants(r config.Request, f family) bool {
	for _, name := range r.Families {
		if familyNamed(name) == f {
			return true
		}
	}
	return false
}

// carryOut books a plan.
func (m *IPAM) carryOut(h *holding, answer plan) {
	for f := range families {
		if h.addresses[f] != answer.addresses[f] {
			m.leave(h, f)
		}
	}
	for f := range families {
		if a := answer.addresses[f]; a.IsValid() && a != h.addresses[f] {
			m.claim(h, a, answer.pool)
		}
	}
	h.pool = answer.pool
}

// ask is a request in the course of being answered.
type ask struct {
	config.Request
	namespaceLabels labels.Set
	holding         *holding
	// unwanted is an address of the holding to be replaced, or invalid.
	unwanted netip.Addr
	// kept addresses stay as they are; the missing families are looked for.
	kept    [families]netip.Addr
	missing []family
	room    [families]family
}

// named returns the address that the user named for a family.
func (q *ask) named(f family) (netip.Addr, bool) {
	for _, a := range q.Addresses {
		if familyOf(a) == f {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func (q *ask) keepsAny() bool { return q.kept != [families]netip.Addr{} }

// answer returns the plan for a request, or an empty one when the Service is to keep
// what it has.
func (m *IPAM) answer(q *ask) (plan, *Refusal) {
	candidates, refusal := m.candidates(q)
	if refusal != nil {
		return plan{}, refusal
	}
	if len(q.missing) == 0 {
		return q.present(), nil
	}
	var tried refusals
	for _, p := range candidates {
		found, why := m.fit(q, p, q.missing)
		if why == nil {
			return found, nil
		}
		tried.add(p.Name, *why)
	}
	if q.Policy != corev1.IPFamilyPolicyPreferDualStack || len(q.Families) < 2 {
		return plan{}, tried.sum()
	}
	return m.part(q, candidates, &tried)
}

// part answers a Service that prefers two families where both cannot be had.
// A named address is never what it goes without, nor one that it has.
func (m *IPAM) part(q *ask, candidates []*pool, tried *refusals) (plan, *Refusal) {
	if q.keepsAny() {
		for _, f := range q.missing {
			if _, isNamed := q.named(f); isNamed || q.holding.addresses[f].IsValid() {
				return plan{}, tried.sum()
			}
		}
		return q.present(), tried.partly()
	}
	for _, f := range q.missing {
		if _, isNamed := q.named(f); len(q.Addresses) > 1 || len(q.Addresses) == 1 && !isNamed {
			continue
		}
		for _, p := range candidates {
			if found, why := m.fit(q, p, []family{f}); why == nil {
				return found, tried.partly()
			}
		}
	}
	return plan{}, tried.sum()
}

// candidates decides what the Service keeps and returns the pools that may
// give the rest, in the order in which they are tried.
func (m *IPAM) candidates(q *ask) ([]*pool, *Refusal) {
	only, refusal := m.onlyPool(q)
	m.keep(q, only)
	if len(q.missing) == 0 {
		return nil, nil // whatever was named, the Service has it
	}
	if refusal != nil {
		return nil, refusal
	}
	switch {
	case only != nil:
		return []*pool{only}, nil
	case q.keepsAny():
		home := m.pools[q.holding.pool]
		if home == nil {
			return nil, homeless(q)
		}
		return []*pool{home}, nil
	case len(m.order) == 0:
		return nil, &Refusal{v1beta1.ReasonNoPool, "there is no IPAddressPool"}
	}
	return m.preferredFirst(q), nil
}

// preferredFirst is the order in which pools are tried, that of an address that
// the Service had before the others.
func (m *IPAM) preferredFirst(q *ask) []*pool {
	for _, a := range q.Preferred {
		if first := m.covering(a); first != nil && first != m.order[0] {
			rest := slices.DeleteFunc(slices.Clone(m.order), func(p *pool) bool { return p == first })
			return append([]*pool{first}, rest...)
		}
	}
	return m.order
}

// preferred returns the address that the Service had before, if the pool would
// give it to somebody who names it.
func (m *IPAM) preferred(q *ask, p *pool, f family) (netip.Addr, bool) {
	for _, a := range q.Preferred {
		if familyOf(a) == f && a != q.unwanted && m.covering(a) == p && !m.Quarantined(a) && m.namedAddress(q, p, a) == nil {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// keep sorts the wanted families into kept and missing ones. An address is
// kept unless the user asked for another, or for another pool.
func (m *IPAM) keep(q *ask, only *pool) {
	q.missing = q.room[:0]
	for _, name := range q.Families {
		f := familyNamed(name)
		a := q.holding.addresses[f]
		named, isNamed := q.named(f)
		switch {
		case !a.IsValid(), a == q.unwanted, isNamed && a != named, !m.from(q, a):
			q.missing = append(q.missing, f)
		default:
			q.kept[f] = a
		}
	}
	// All addresses come from one pool: a named one that is elsewhere takes
	// the other with it.
	if only == nil || len(q.missing) == 0 {
		return
	}
	for _, a := range q.kept {
		if a.IsValid() && m.covering(a) != only && q.holding.pool != only.Name {
			q.kept, q.missing = [families]netip.Addr{}, q.wanted()
			return
		}
	}
}

// present is the plan to stay with what is kept.
func (q *ask) present() plan {
	home := q.holding.pool
	if q.Pool != "" {
		home = q.Pool
	}
	return plan{home, q.kept}
}

func (q *ask) wanted() []family {
	var all []family
	for _, name := range q.Families {
		all = append(all, familyNamed(name))
	}
	return all
}

// from reports whether an address that the Service has came from the pool that
// it names, or from any when it names none.
func (m *IPAM) from(q *ask, a netip.Addr) bool {
	if q.Pool == "" || q.Pool == q.holding.pool {
		return true
	}
	p := m.covering(a)
	return p != nil && p.Name == q.Pool
}

// onlyPool returns the pool that the request confines itself to, by name or
// by a named address; nil when it does not.
func (m *IPAM) onlyPool(q *ask) (*pool, *Refusal) {
	var only *pool
	if q.Pool != "" {
		if only = m.pools[q.Pool]; only == nil {
			return nil, &Refusal{v1beta1.ReasonPoolNotFound, "there is no IPAddressPool " + quoted(q.Pool)}
		}
	}
	for _, a := range q.Addresses {
		p := m.covering(a)
		switch {
		case p == nil && m.snapshot.UsedBy(a) != "":
			return only, &Refusal{v1beta1.ReasonUsedByCluster, a.String() + " is of " + m.snapshot.UsedBy(a)}
		case p == nil:
			return only, &Refusal{v1beta1.ReasonAddressOutsidePools, a.String() + " is not an address that an IPAddressPool gives"}
		case only == nil:
			only = p
		case only != p && q.Pool != "":
			return only, &Refusal{v1beta1.ReasonAddressOutsidePools, a.String() + " is in pool " + p.Name + ", but pool " + q.Pool + " is named"}
		case only != p:
			return only, &Refusal{
				v1beta1.ReasonAddressOutsidePools,
				a.String() + " is in pool " + p.Name + " and the other address in pool " + only.Name + ": both must be of one pool",
			}
		}
	}
	return only, nil
}

// fit looks for an address of each of the families in one pool.
func (m *IPAM) fit(q *ask, p *pool, wanted []family) (plan, *Refusal) {
	found := plan{p.Name, q.kept}
	for _, rule := range poolRules {
		if refusal := rule(q, p); refusal != nil {
			return plan{}, refusal
		}
	}
	for _, f := range wanted {
		a, refusal := m.pick(q, p, f)
		if refusal != nil {
			return plan{}, refusal
		}
		found.addresses[f] = a
	}
	if refusal := m.withinQuota(q, p, &found, wanted); refusal != nil {
		return plan{}, refusal
	}
	return found, nil
}

// pick chooses one address of a pool: the named one; one that the Service is
// just leaving; the one that it had before; one that it can share; a free one.
func (m *IPAM) pick(q *ask, p *pool, f family) (netip.Addr, *Refusal) {
	if a, isNamed := q.named(f); isNamed {
		return a, m.namedAddress(q, p, a)
	}
	for _, a := range q.holding.leaving {
		if m.Quarantined(a) {
			continue
		}
		if other, _ := m.clash(q.holding, a); other == nil && familyOf(a) == f && m.taken[a].pool == p && p.partOf(a).admits(q) {
			return a, nil
		}
	}
	if a, found := m.preferred(q, p, f); found {
		return a, nil
	}
	if a, found := m.joinable(q, p, f, false); found {
		return a, nil
	}
	if a, found := p.choose(q, f, m.now); found {
		return a, nil
	}
	switch {
	case !p.has(f):
		return netip.Addr{}, &Refusal{v1beta1.ReasonIPFamilyUnavailable, "it has no " + f.String() + " addresses"}
	case m.avoids(q, p, f):
		return netip.Addr{}, &Refusal{v1beta1.ReasonPoolExhausted, "every " + f.String() + " address is taken, reserved for others or in quarantine"}
	case p.withheld(q, f):
		return netip.Addr{}, &Refusal{v1beta1.ReasonPoolExhausted, "every " + f.String() + " address is taken or reserved for others"}
	}
	return netip.Addr{}, &Refusal{v1beta1.ReasonPoolExhausted, "every " + f.String() + " address is taken"}
}
