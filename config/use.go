package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// DefaultReuseDelay is the rest of a freed address where the pool does not
// say. The schema has the same default.
const DefaultReuseDelay = time.Minute

// Reservation sets addresses of a pool aside.
type Reservation struct {
	// Ranges, in address order and disjoint.
	Ranges []Range
	// Namespace whose Services may have them; empty is nobody's.
	Namespace string
	// Service of that namespace which alone may; empty is all of them.
	Service string
}

// Admits tells whether the Service (namespace/name) may have the addresses.
func (r *Reservation) Admits(namespace, key string) bool {
	if r.Namespace == "" || r.Namespace != namespace {
		return false
	}
	return r.Service == "" || key == r.Namespace+"/"+r.Service
}

// For says in words whom the addresses are set aside for.
func (r *Reservation) For() string {
	switch {
	case r.Namespace == "":
		return "nobody"
	case r.Service == "":
		return "namespace " + r.Namespace
	}
	return "Service " + r.Namespace + "/" + r.Service
}

// Quota is how many addresses of the pool the namespace may hold; false when
// there is no limit.
func (p *Pool) Quota(namespace string) (int64, bool) {
	if limit, found := p.quota[namespace]; found {
		return limit, true
	}
	if p.quotaOfOthers == nil {
		return 0, false
	}
	return int64(*p.quotaOfOthers), true
}

// HasQuota tells whether any namespace has a limit.
func (p *Pool) HasQuota() bool { return p.quotaOfOthers != nil || len(p.quota) > 0 }

// parseUse reads what the spec says about the use of the addresses:
// reservations, quotas, order and rest.
func (p *Pool) parseUse(object *v1beta1.IPAddressPool) []Problem {
	spec := &object.Spec
	p.LeastRecentlyUsed = spec.AllocationOrder == v1beta1.LeastRecentlyUsed
	p.ReuseDelay = DefaultReuseDelay
	if spec.ReuseDelay != nil {
		p.ReuseDelay = max(spec.ReuseDelay.Duration, 0)
	}
	if quota := spec.Quota; quota != nil {
		p.quotaOfOthers = quota.PerNamespace
		p.quota = make(map[string]int64, len(quota.Namespaces))
		for _, one := range quota.Namespaces {
			p.quota[one.Namespace] = int64(one.Addresses)
		}
	}
	var problems []Problem
	for i, reservation := range spec.Reservations {
		field := fmt.Sprintf("spec.reservations[%d]", i)
		problems = append(problems, p.reserve(field, reservation)...)
	}
	return problems
}

// reserve takes in one reservation. Like an exclusion, one that cannot be
// understood freezes the pool.
func (p *Pool) reserve(field string, raw v1beta1.Reservation) []Problem {
	made := Reservation{Namespace: raw.Namespace, Service: raw.Service}
	var problems []Problem
	report := func(at string, reason v1beta1.Reason, format string, args ...any) {
		problems = append(problems, Problem{KindPool, p.Name, at, reason, fmt.Sprintf(format, args...)})
	}
	if raw.Service != "" && raw.Namespace == "" {
		p.Frozen = true
		report(field, v1beta1.ReasonInvalidSpec, "service %q needs the namespace that it is in", raw.Service)
	}
	for i, text := range raw.Addresses {
		at := fmt.Sprintf("%s.addresses[%d]", field, i)
		r, err := parseReserved(string(text))
		switch {
		case err != nil:
			p.Frozen = true
			report(at, v1beta1.ReasonInvalidSpec, "%s", err)
		case !slices.ContainsFunc(p.Ranges, func(o PoolRange) bool { return o.Overlaps(r) }):
			report(at, v1beta1.ReasonNoMatch, "%s is not of this pool", text)
		default:
			left := []Range{r}
			for _, earlier := range append(slices.Clone(p.Reservations), made) {
				left = earlier.without(left)
			}
			if !slices.Equal(left, []Range{r}) {
				report(at, v1beta1.ReasonOverlap, "%s overlaps what is reserved before it: the earlier counts", text)
			}
			made.Ranges = append(made.Ranges, left...)
		}
	}
	slices.SortFunc(made.Ranges, func(a, b Range) int { return a.First.Compare(b.First) })
	p.Reservations = append(p.Reservations, made)
	return problems
}

// without returns what is left of disjoint ranges without the reserved ones.
func (r *Reservation) without(ranges []Range) []Range {
	for _, reserved := range r.Ranges {
		var left []Range
		for _, one := range ranges {
			if !one.Overlaps(reserved) {
				left = append(left, one)
				continue
			}
			if one.First.Less(reserved.First) {
				left = append(left, Range{one.First, reserved.First.Prev()})
			}
			if reserved.Last.Less(one.Last) {
				left = append(left, Range{reserved.Last.Next(), one.Last})
			}
		}
		ranges = left
	}
	return ranges
}

// parseReserved reads a single address, or what ParseRange reads.
func parseReserved(text string) (Range, error) {
	trimmed := strings.TrimSpace(text)
	if _, err := netip.ParseAddr(trimmed); err != nil {
		return ParseRange(text)
	}
	a, err := ParseAddress(trimmed)
	if err != nil {
		return Range{}, err
	}
	return Range{a, a}, nil
}
