package metallb

import (
	"math"
	"net/netip"
	"slices"
	"strings"

	ours "github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// pools translates all pools: which is tried first follows from all of them.
func (t *translator) pools(objects []*IPAddressPool) {
	last := lastPriority(objects)
	for _, object := range sorted(objects) {
		a := about{t, config.KindPool, object.Name}
		pool := &ours.IPAddressPool{TypeMeta: typeMeta(a.kind), ObjectMeta: metaOf(object)}
		for i, text := range object.Spec.Addresses {
			if r, ok := a.addressRange(i, text); ok {
				pool.Spec.Addresses = append(pool.Spec.Addresses, r)
			}
		}
		a.fit("spec.addresses", len(pool.Spec.Addresses), mostRanges)
		if object.Spec.AutoAssign != nil {
			auto := *object.Spec.AutoAssign
			pool.Spec.AutoAssign = &auto
		}
		if pool.Spec.AvoidBuggyIPs = object.Spec.AvoidBuggyIPs; pool.Spec.AvoidBuggyIPs && hasIPv6(pool.Spec.Addresses) {
			a.note(Differs, "spec.avoidBuggyIPs", "IPv6 addresses whose last 64 bits are zero are left out, too")
		}
		if object.Spec.AllocateTo != nil {
			pool.Spec.AllocateTo = a.allocation(object.Spec.AllocateTo, last)
		}
		if len(pool.Spec.Addresses) == 0 {
			a.note(Lost, "spec.addresses", "no address is left: there is no such pool")
			continue
		}
		t.objects.Pools = append(t.objects.Pools, pool)
	}
}

// lastPriority is one that comes after those of all pools.
func lastPriority(objects []*IPAddressPool) int32 {
	last := 0
	for _, object := range objects {
		if to := object.Spec.AllocateTo; to != nil {
			last = max(last, to.Priority)
		}
	}
	return int32(min(last, math.MaxInt32-2)) + 1 //nolint:mnd // the last of all is that of pools without one
}

// addressRange writes a range as ours are. MetalLB drops the host bits of a CIDR.
func (a about) addressRange(i int, text string) (ours.AddressRange, bool) {
	trimmed := strings.TrimSpace(text)
	if first, last, is := strings.Cut(trimmed, "-"); is {
		trimmed = strings.TrimSpace(first) + "-" + strings.TrimSpace(last)
	} else if prefix, err := netip.ParsePrefix(trimmed); err == nil && prefix != prefix.Masked() {
		trimmed = prefix.Masked().String()
		a.note(Exact, index("spec.addresses", i), "%s is written as the network that MetalLB takes it for, %s", text, trimmed)
	}
	if _, err := config.ParseRange(trimmed); err != nil {
		a.note(Lost, index("spec.addresses", i), "%s", err)
		return "", false
	}
	return ours.AddressRange(trimmed), true
}

func hasIPv6(ranges []ours.AddressRange) bool {
	return slices.ContainsFunc(ranges, func(r ours.AddressRange) bool { return strings.Contains(string(r), ":") })
}

// allocation translates whom a pool is for. MetalLB tries the pools that say so, and
// admit the Service, before those that do not, and among them those without a
// priority last: that is a priority after all others.
func (a about) allocation(from *ServiceAllocation, last int32) *ours.ServiceAllocation {
	a.fit("spec.serviceAllocation.namespaces", len(from.Namespaces), mostNamespaces)
	a.fit("spec.serviceAllocation.namespaceSelectors", len(from.NamespaceSelectors), mostSelectors)
	a.fit("spec.serviceAllocation.serviceSelectors", len(from.ServiceSelectors), mostSelectors)
	to := &ours.ServiceAllocation{
		Namespaces: slices.Clone(from.Namespaces), NamespaceSelectors: slices.Clone(from.NamespaceSelectors),
		ServiceSelectors: slices.Clone(from.ServiceSelectors), Priority: last,
	}
	switch {
	case from.Priority < 0 || from.Priority >= math.MaxInt32:
		a.note(Lost, "spec.serviceAllocation.priority", "%d is none: it must be from 0 to %d, and counts as 0", from.Priority, math.MaxInt32-1)
	case from.Priority > 0:
		to.Priority = int32(from.Priority)
	default:
		a.note(Exact, "spec.serviceAllocation.priority", "%d is written where there was none: "+
			"a pool with serviceAllocation comes before those without, and after those with a priority", last)
	}
	return to
}
