package config

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Pool is an IPAddressPool that has been understood.
type Pool struct {
	Name string
	// Labels, never nil: a nil set stands for a pool that is gone.
	Labels labels.Set
	// Ranges that the pool may give, in address order and disjoint, IPv4
	// before IPv6; Excluded and AvoidBuggyIPs are still to be taken off.
	Ranges []PoolRange
	// Excluded ranges, in address order; they may overlap each other.
	Excluded []Range
	// AvoidBuggyIPs leaves out what Buggy finds.
	AvoidBuggyIPs bool
	// AutoAssign says that the pool serves Services that did not name it.
	AutoAssign bool
	// Frozen says that nothing new is given because an exclusion or a
	// restriction could not be understood.
	Frozen bool
	// Priority, lowest first; pools without one come last.
	Priority int32

	// Reservations, disjoint, in the order of the spec.
	Reservations []Reservation
	// ReuseDelay is how long a freed address rests before another namespace
	// may have it; 0 is not at all.
	ReuseDelay time.Duration
	// LeastRecentlyUsed gives the address that was freed longest ago instead
	// of the lowest.
	LeastRecentlyUsed bool

	// inUse is what of Excluded the cluster itself has.
	inUse              []InUse
	quota              map[string]int64
	quotaOfOthers      *int32
	namespaces         map[string]bool
	namespaceSelectors Selectors
	serviceSelectors   Selectors
}

// PoolRange is a range and the field that it came from.
type PoolRange struct {
	Range
	field string
}

// Covers reports whether the pool may give the address to someone.
func (p *Pool) Covers(a netip.Addr) bool {
	in := func(r Range) bool { return r.Contains(a) }
	if !slices.ContainsFunc(p.Ranges, func(r PoolRange) bool { return in(r.Range) }) {
		return false
	}
	return !slices.ContainsFunc(p.Excluded, in) && !(p.AvoidBuggyIPs && Buggy(a))
}

// Allows reports whether the pool's serviceAllocation lets a Service in. Where
// both namespaces and Services are restricted, both must match. The labels of
// a namespace that has not been seen yet are nil: no selector matches those,
// or one that asks for the absence of a label would let in whom it keeps out.
func (p *Pool) Allows(namespace string, namespaceLabels, serviceLabels labels.Set) bool {
	restricted := len(p.namespaces) > 0 || len(p.namespaceSelectors) > 0
	byName := p.namespaces[namespace]
	byLabel := len(p.namespaceSelectors) > 0 && namespaceLabels != nil && p.namespaceSelectors.Match(namespaceLabels)
	if restricted && !byName && !byLabel {
		return false
	}
	return p.serviceSelectors.Match(serviceLabels)
}

// Buggy reports whether devices mistake the address for another: old ones an IPv4
// address that ends in .0 or .255 for that of a network or for broadcast, and
// routers an IPv6 address without an interface identifier for their own, the
// subnet-router anycast address (RFC 4291 section 2.6.1) of a network of 64
// bits, which is what networks have.
func Buggy(a netip.Addr) bool {
	if !a.Is4() {
		b := a.As16()
		return [8]byte(b[8:]) == [8]byte{}
	}
	last := a.As4()[3]
	return last == 0 || last == 255
}

// parsePool understands what it can of a pool. A range that cannot be used is
// left out; an exclusion or restriction that cannot be understood freezes the
// pool, since giving an address against the operator's will is worse than
// giving none.
func parsePool(object *v1beta1.IPAddressPool) (*Pool, []Problem) {
	pool := &Pool{
		Name:          object.Name,
		Labels:        object.Labels,
		AvoidBuggyIPs: object.Spec.AvoidBuggyIPs,
		AutoAssign:    object.Spec.AutoAssign == nil || *object.Spec.AutoAssign,
		Priority:      math.MaxInt32,
	}
	if pool.Labels == nil {
		pool.Labels = labels.Set{}
	}
	problems := pool.parseAddresses(object)
	for i, text := range object.Spec.Excluded {
		r, err := ParseRange(string(text))
		if err != nil {
			pool.Frozen = true
			problems = append(problems, Problem{KindPool, pool.Name, fmt.Sprintf("spec.excluded[%d]", i), v1beta1.ReasonInvalidSpec, err.Error()})
			continue
		}
		pool.Excluded = append(pool.Excluded, r)
	}
	slices.SortFunc(pool.Excluded, func(a, b Range) int { return cmp.Or(a.First.Compare(b.First), a.Last.Compare(b.Last)) })

	if to := object.Spec.AllocateTo; to != nil {
		if to.Priority > 0 {
			pool.Priority = to.Priority
		}
		pool.namespaces = make(map[string]bool, len(to.Namespaces))
		for _, name := range to.Namespaces {
			pool.namespaces[name] = true
		}
		var byNamespace, byService []Problem
		pool.namespaceSelectors, byNamespace = parseSelectors(KindPool, pool.Name, "spec.serviceAllocation.namespaceSelectors", to.NamespaceSelectors)
		pool.serviceSelectors, byService = parseSelectors(KindPool, pool.Name, "spec.serviceAllocation.serviceSelectors", to.ServiceSelectors)
		pool.Frozen = pool.Frozen || len(byNamespace)+len(byService) > 0
		problems = append(append(problems, byNamespace...), byService...)
	}
	return pool, append(problems, pool.parseUse(object)...)
}

// parseAddresses reads spec.addresses into disjoint, ordered ranges; of two
// entries that overlap, the later is left out and reported.
func (p *Pool) parseAddresses(object *v1beta1.IPAddressPool) []Problem {
	var problems []Problem
	for i, text := range object.Spec.Addresses {
		field := fmt.Sprintf("spec.addresses[%d]", i)
		r, err := ParseRange(string(text))
		if err != nil {
			problems = append(problems, Problem{KindPool, p.Name, field, v1beta1.ReasonInvalidSpec, err.Error()})
			continue
		}
		if j := slices.IndexFunc(p.Ranges, func(o PoolRange) bool { return o.Overlaps(r) }); j >= 0 {
			problems = append(problems, Problem{
				KindPool, p.Name, field, v1beta1.ReasonOverlap,
				fmt.Sprintf("%s overlaps %s (%s) of the same pool", r, p.Ranges[j].Range, p.Ranges[j].field),
			})
			continue
		}
		p.Ranges = append(p.Ranges, PoolRange{r, field})
	}
	slices.SortFunc(p.Ranges, func(a, b PoolRange) int { return a.First.Compare(b.First) })
	return problems
}
