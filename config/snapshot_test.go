package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// aPool makes a pool that is age seconds old.
func aPool(name string, age int, spec v1beta1.IPAddressPoolSpec) *v1beta1.IPAddressPool {
	return &v1beta1.IPAddressPool{
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(int64(1000-age), 0))}, Spec: spec,
	}
}

func ranges(texts ...v1beta1.AddressRange) v1beta1.IPAddressPoolSpec {
	return v1beta1.IPAddressPoolSpec{Addresses: texts}
}

func badSelector() []metav1.LabelSelector {
	return []metav1.LabelSelector{{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: "Resembles"}}}}
}

// brief writes a Problem as "kind name field reason".
func brief(problems []Problem) []string {
	out := make([]string, 0, len(problems))
	for _, p := range problems {
		out = append(out, fmt.Sprintf("%s %s %s %s", p.Kind, p.Name, p.Field, p.Reason))
		if p.Message == "" || p.Error() == "" {
			out = append(out, "a problem without a message")
		}
	}
	return out
}

func TestC02C03Problems(t *testing.T) {
	gold := []metav1.LabelSelector{{MatchLabels: map[string]string{"tier": "gold"}}}
	for sentence, test := range map[string]struct {
		pools    []*v1beta1.IPAddressPool
		l2       []v1beta1.L2AdvertisementSpec
		problems []string
		covered  string // by which pool 192.0.2.7 is covered
	}{
		"all is well": {pools: []*v1beta1.IPAddressPool{aPool("lan", 1, ranges("192.0.2.0/24", "2001:db8::/64"))}, covered: "lan"},
		"a bad range leaves the others in use": {
			pools:    []*v1beta1.IPAddressPool{aPool("lan", 1, ranges("rubbish", "192.0.2.0/24", "198.51.100.9-198.51.100.1"))},
			problems: []string{"IPAddressPool lan spec.addresses[0] InvalidSpec", "IPAddressPool lan spec.addresses[2] InvalidSpec"},
			covered:  "lan",
		},
		"overlap within a pool: the earlier entry is used": {
			pools:    []*v1beta1.IPAddressPool{aPool("lan", 1, ranges("192.0.2.0/25", "192.0.2.7-192.0.2.200"))},
			problems: []string{"IPAddressPool lan spec.addresses[1] Overlap"}, covered: "lan",
		},
		"overlap between pools: the older keeps the addresses": {
			pools:    []*v1beta1.IPAddressPool{aPool("young", 1, ranges("192.0.2.0/24", "198.51.100.0/24")), aPool("old", 9, ranges("192.0.2.0/28"))},
			problems: []string{"IPAddressPool young spec.addresses[0] Overlap"}, covered: "old",
		},
		"overlap between equally old pools: the name decides": {
			pools:    []*v1beta1.IPAddressPool{aPool("b", 1, ranges("192.0.2.0/24")), aPool("a", 1, ranges("192.0.2.0/24"))},
			problems: []string{"IPAddressPool b spec.addresses[0] Overlap"}, covered: "a",
		},
		"a range around an older pool's overlaps it": {
			pools:    []*v1beta1.IPAddressPool{aPool("young", 1, ranges("192.0.0.0/16")), aPool("old", 9, ranges("192.0.5.0/24"))},
			problems: []string{"IPAddressPool young spec.addresses[0] Overlap"},
		},
		"a bad exclusion freezes the pool": {
			pools: []*v1beta1.IPAddressPool{aPool("lan", 1, v1beta1.IPAddressPoolSpec{
				Addresses: []v1beta1.AddressRange{"192.0.2.0/24"}, Excluded: []v1beta1.AddressRange{"192.0.2.300/32"},
			})},
			problems: []string{"IPAddressPool lan spec.excluded[0] InvalidSpec"}, covered: "lan",
		},
		"an excluded address is of no pool": {
			pools: []*v1beta1.IPAddressPool{aPool("lan", 1, v1beta1.IPAddressPoolSpec{
				Addresses: []v1beta1.AddressRange{"192.0.2.0/24"}, Excluded: []v1beta1.AddressRange{"192.0.2.0/29"},
			})},
		},
		"a bad restriction freezes the pool": {
			pools: []*v1beta1.IPAddressPool{aPool("lan", 1, v1beta1.IPAddressPoolSpec{
				Addresses: []v1beta1.AddressRange{"192.0.2.0/24"}, AllocateTo: &v1beta1.ServiceAllocation{NamespaceSelectors: badSelector(), ServiceSelectors: badSelector()},
			})},
			problems: []string{
				"IPAddressPool lan spec.serviceAllocation.namespaceSelectors[0] InvalidSpec",
				"IPAddressPool lan spec.serviceAllocation.serviceSelectors[0] InvalidSpec",
			}, covered: "lan",
		},
		"an advertisement names a pool that does not exist": {
			pools:    []*v1beta1.IPAddressPool{aPool("lan", 1, ranges("192.0.2.0/24"))},
			l2:       []v1beta1.L2AdvertisementSpec{{IPAddressPools: []string{"lan", "wan"}}},
			problems: []string{"L2Advertisement a0 spec.ipAddressPools[1] ReferenceNotFound"}, covered: "lan",
		},
		"an advertisement selects no pool": {
			pools:    []*v1beta1.IPAddressPool{aPool("lan", 1, ranges("192.0.2.0/24"))},
			l2:       []v1beta1.L2AdvertisementSpec{{IPAddressPoolSelectors: gold}},
			problems: []string{"L2Advertisement a0 spec NoMatch"}, covered: "lan",
		},
		"PerClient where another advertisement is not": {
			pools:    []*v1beta1.IPAddressPool{aPool("lan", 1, ranges("192.0.2.0/24"))},
			l2:       []v1beta1.L2AdvertisementSpec{{Balancing: v1beta1.BalancePerClient, ServiceSelectors: gold}, {IPAddressPools: []string{"lan"}}},
			problems: []string{"L2Advertisement a0 spec.balancing Overlap"}, covered: "lan",
		},
		"PerClient where another advertisement is of some Services only": {
			pools: []*v1beta1.IPAddressPool{aPool("lan", 1, ranges("192.0.2.0/24"))},
			l2:    []v1beta1.L2AdvertisementSpec{{Balancing: v1beta1.BalancePerClient}, {ServiceSelectors: gold}}, covered: "lan",
		},
		"PerClient where another advertisement is of another pool": {
			pools: []*v1beta1.IPAddressPool{aPool("lan", 1, ranges("192.0.2.0/24")), aPool("dmz", 1, ranges("198.51.100.0/24"))},
			l2: []v1beta1.L2AdvertisementSpec{
				{Balancing: v1beta1.BalancePerClient, IPAddressPools: []string{"lan"}}, {IPAddressPools: []string{"dmz"}},
			}, covered: "lan",
		},
		"PerClient wherever the pool is advertised": {
			pools: []*v1beta1.IPAddressPool{aPool("lan", 1, ranges("192.0.2.0/24"))},
			l2:    []v1beta1.L2AdvertisementSpec{{Balancing: v1beta1.BalancePerClient}, {Balancing: v1beta1.BalancePerClient}}, covered: "lan",
		},
		"an advertisement has bad selectors": {
			pools: []*v1beta1.IPAddressPool{aPool("lan", 1, ranges("192.0.2.0/24"))},
			l2:    []v1beta1.L2AdvertisementSpec{{ServiceSelectors: badSelector(), NodeSelectors: badSelector(), IPAddressPoolSelectors: badSelector()}},
			problems: []string{
				"L2Advertisement a0 spec.ipAddressPoolSelectors[0] InvalidSpec", "L2Advertisement a0 spec.serviceSelectors[0] InvalidSpec",
				"L2Advertisement a0 spec.nodeSelectors[0] InvalidSpec", "L2Advertisement a0 spec NoMatch",
			}, covered: "lan",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			objects := Objects{Pools: test.pools}
			for i, spec := range test.l2 {
				objects.L2Advertisements = append(objects.L2Advertisements, &v1beta1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("a%d", i)}, Spec: spec})
			}
			for range 2 { // the order of the objects must not matter
				s, problems := Build(objects)
				if got := brief(problems); !slices.Equal(got, test.problems) {
					t.Errorf("problems:\n got %q\nwant %q", got, test.problems)
				}
				covered := ""
				if p := s.PoolOf(netip.MustParseAddr("192.0.2.7")); p != nil {
					covered = p.Name
				}
				if covered != test.covered {
					t.Errorf("192.0.2.7 is covered by %q, want %q", covered, test.covered)
				}
				slices.Reverse(objects.Pools)
			}
		})
	}
}

func TestFrozenPools(t *testing.T) {
	for sentence, test := range map[string]struct {
		spec   v1beta1.IPAddressPoolSpec
		frozen bool
	}{
		"a bad range does not freeze":    {ranges("rubbish", "192.0.2.0/24"), false},
		"a bad exclusion freezes":        {v1beta1.IPAddressPoolSpec{Addresses: ranges("192.0.2.0/24").Addresses, Excluded: []v1beta1.AddressRange{"x"}}, true},
		"a bad service selector freezes": {v1beta1.IPAddressPoolSpec{AllocateTo: &v1beta1.ServiceAllocation{ServiceSelectors: badSelector()}}, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			s, _ := Build(Objects{Pools: []*v1beta1.IPAddressPool{aPool("lan", 1, test.spec)}})
			if s.Pool("lan").Frozen != test.frozen {
				t.Errorf("frozen: %v", s.Pool("lan").Frozen)
			}
		})
	}
}

func TestBadSelectorsMatchNothing(t *testing.T) {
	s, _ := Build(Objects{
		Pools: []*v1beta1.IPAddressPool{aPool("lan", 1, v1beta1.IPAddressPoolSpec{AllocateTo: &v1beta1.ServiceAllocation{ServiceSelectors: badSelector()}})},
		L2Advertisements: []*v1beta1.L2Advertisement{{
			ObjectMeta: metav1.ObjectMeta{Name: "a"},
			Spec:       v1beta1.L2AdvertisementSpec{ServiceSelectors: badSelector(), NodeSelectors: badSelector(), IPAddressPoolSelectors: badSelector()},
		}},
	})
	set := labels.Set{"tier": "gold"}
	a := s.L2Advertisements[0]
	if s.Pool("lan").Allows("default", nil, set) || a.SelectsService(set) || a.SelectsNode(set) || a.SelectsPool("lan", set) {
		t.Error("a selector that cannot be read selects something")
	}
}

func TestA12WhomAPoolAllows(t *testing.T) {
	red := []metav1.LabelSelector{{MatchLabels: map[string]string{"team": "red"}}}
	gold := []metav1.LabelSelector{{MatchLabels: map[string]string{"tier": "gold"}}, {MatchLabels: map[string]string{"tier": "silver"}}}
	notRed := []metav1.LabelSelector{{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: "team", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"red"}},
	}}}
	for sentence, test := range map[string]struct {
		to                 *v1beta1.ServiceAllocation
		namespace          string
		namespaceL, labels labels.Set
		allowed            bool
	}{
		"no restriction":                    {nil, "x", nil, nil, true},
		"the namespace by name":             {&v1beta1.ServiceAllocation{Namespaces: []string{"x"}}, "x", nil, nil, true},
		"another namespace":                 {&v1beta1.ServiceAllocation{Namespaces: []string{"y"}}, "x", nil, nil, false},
		"the namespace by label":            {&v1beta1.ServiceAllocation{NamespaceSelectors: red}, "x", labels.Set{"team": "red"}, nil, true},
		"name or label":                     {&v1beta1.ServiceAllocation{Namespaces: []string{"y"}, NamespaceSelectors: red}, "x", labels.Set{"team": "red"}, nil, true},
		"neither name nor label":            {&v1beta1.ServiceAllocation{Namespaces: []string{"y"}, NamespaceSelectors: red}, "x", nil, nil, false},
		"all but a label":                   {&v1beta1.ServiceAllocation{NamespaceSelectors: notRed}, "x", labels.Set{}, nil, true},
		"all but a label, namespace unseen": {&v1beta1.ServiceAllocation{NamespaceSelectors: notRed}, "x", nil, nil, false},
		"one of the Service selectors":      {&v1beta1.ServiceAllocation{ServiceSelectors: gold}, "x", nil, labels.Set{"tier": "silver"}, true},
		"none of the Service selectors":     {&v1beta1.ServiceAllocation{ServiceSelectors: gold}, "x", nil, nil, false},
		"both are restricted and match":     {&v1beta1.ServiceAllocation{Namespaces: []string{"x"}, ServiceSelectors: gold}, "x", nil, labels.Set{"tier": "gold"}, true},
		"both are restricted and one fails": {&v1beta1.ServiceAllocation{Namespaces: []string{"x"}, ServiceSelectors: gold}, "x", nil, nil, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			s, _ := Build(Objects{Pools: []*v1beta1.IPAddressPool{aPool("lan", 1, v1beta1.IPAddressPoolSpec{AllocateTo: test.to})}})
			if got := s.Pool("lan").Allows(test.namespace, test.namespaceL, test.labels); got != test.allowed {
				t.Errorf("allowed: %v", got)
			}
		})
	}
}

func TestPoolsAreOldestFirstAndPriorityDefaultsToLast(t *testing.T) {
	no := false
	s, _ := Build(Objects{Pools: []*v1beta1.IPAddressPool{
		aPool("young", 1, v1beta1.IPAddressPoolSpec{AutoAssign: &no}),
		aPool("old", 9, v1beta1.IPAddressPoolSpec{AllocateTo: &v1beta1.ServiceAllocation{Priority: 3}}),
	}})
	if s.Pools[0].Name != "old" || s.Pools[0].Priority != 3 || s.Pools[1].Priority != math.MaxInt32 || s.Pools[1].AutoAssign || !s.Pools[0].AutoAssign {
		t.Errorf("got %+v, %+v", s.Pools[0], s.Pools[1])
	}
	if s.Pool("none") != nil {
		t.Error("a pool that does not exist")
	}
}

func TestSelectsPool(t *testing.T) {
	gold := []metav1.LabelSelector{{MatchLabels: map[string]string{"tier": "gold"}}}
	for sentence, test := range map[string]struct {
		spec     v1beta1.L2AdvertisementSpec
		labels   labels.Set
		selected bool
	}{
		"an empty advertisement selects every pool, also a deleted one": {v1beta1.L2AdvertisementSpec{}, nil, true},
		"by name":                        {v1beta1.L2AdvertisementSpec{IPAddressPools: []string{"lan"}}, nil, true},
		"by another name":                {v1beta1.L2AdvertisementSpec{IPAddressPools: []string{"wan"}}, labels.Set{}, false},
		"by label":                       {v1beta1.L2AdvertisementSpec{IPAddressPoolSelectors: gold}, labels.Set{"tier": "gold"}, true},
		"by label, the pool is deleted":  {v1beta1.L2AdvertisementSpec{IPAddressPoolSelectors: gold}, nil, false},
		"by another name but this label": {v1beta1.L2AdvertisementSpec{IPAddressPools: []string{"wan"}, IPAddressPoolSelectors: gold}, labels.Set{"tier": "gold"}, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			s, _ := Build(Objects{L2Advertisements: []*v1beta1.L2Advertisement{{Spec: test.spec}}})
			if got := s.L2Advertisements[0].SelectsPool("lan", test.labels); got != test.selected {
				t.Errorf("selected: %v", got)
			}
		})
	}
}

// A pool that exists and has no labels is not a pool that is gone: selectors
// that ask for the absence of a label, or for nothing, select it.
func TestSelectorsSelectAPoolWithoutLabels(t *testing.T) {
	for sentence, selector := range map[string]metav1.LabelSelector{
		"an empty selector": {},
		"the absence of a label": {MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "tier", Operator: metav1.LabelSelectorOpDoesNotExist},
		}},
	} {
		t.Run(sentence, func(t *testing.T) {
			s, problems := Build(Objects{
				Pools: []*v1beta1.IPAddressPool{aPool("lan", 1, ranges("192.0.2.0/24"))},
				L2Advertisements: []*v1beta1.L2Advertisement{
					{Spec: v1beta1.L2AdvertisementSpec{IPAddressPoolSelectors: []metav1.LabelSelector{selector}}},
				},
			})
			if len(problems) != 0 {
				t.Errorf("problems: %v", problems)
			}
			if pool := s.Pool("lan"); !s.L2Advertisements[0].SelectsPool(pool.Name, pool.Labels) {
				t.Error("the pool is not selected")
			}
			if s.L2Advertisements[0].SelectsPool("gone", nil) {
				t.Error("a pool that is gone is selected")
			}
		})
	}
}
