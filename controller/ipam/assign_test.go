package ipam

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// step is one request and what it gets: "addresses pool reason".
type step struct {
	ask option
	who string
	got string
}

// both joins options.
func both(options ...option) option {
	return func(r *config.Request) {
		for _, o := range options {
			o(r)
		}
	}
}

func notAuto(spec *v1beta1.IPAddressPoolSpec) { no := false; spec.AutoAssign = &no }

func allocated(a v1beta1.ServiceAllocation) func(*v1beta1.IPAddressPoolSpec) {
	return func(spec *v1beta1.IPAddressPoolSpec) { spec.AllocateTo = &a }
}

func priority(n int32) func(*v1beta1.IPAddressPoolSpec) {
	return allocated(v1beta1.ServiceAllocation{Priority: n})
}

func TestRequests(t *testing.T) {
	team := []metav1.LabelSelector{{MatchLabels: map[string]string{"team": "red"}}}
	gold := []metav1.LabelSelector{{MatchLabels: map[string]string{"tier": "gold"}}}
	for sentence, test := range map[string]struct {
		pools []*v1beta1.IPAddressPool
		steps []step
	}{
		"A01 the lowest free address of the oldest pool": {
			[]*v1beta1.IPAddressPool{poolOf("lan", "192.0.2.8/31"), poolOf("more", "198.51.100.0/30")},
			[]step{{nil, "a", "192.0.2.8 lan"}, {nil, "b", "192.0.2.9 lan"}, {nil, "c", "198.51.100.0 more"}},
		},
		"A05 a named address is given, also the same one again": {
			[]*v1beta1.IPAddressPool{poolOf("lan", "192.0.2.0/24")},
			[]step{{named("192.0.2.7"), "a", "192.0.2.7 lan"}, {named("192.0.2.7"), "a", "192.0.2.7 lan"}, {nil, "a", "192.0.2.7 lan"}},
		},
		"A05 naming another address moves, and back again takes the one just left": {
			[]*v1beta1.IPAddressPool{poolOf("lan", "192.0.2.0/24")},
			[]step{{nil, "a", "192.0.2.0 lan"}, {named("192.0.2.7"), "a", "192.0.2.7 lan"}, {named("192.0.2.0"), "a", "192.0.2.0 lan"}},
		},
		"A07 outside every pool, in another pool than the named one, held by another: pending": {
			[]*v1beta1.IPAddressPool{poolOf("lan", "192.0.2.0/24"), poolOf("dmz", "198.51.100.0/24")},
			[]step{
				{named("203.0.113.1"), "a", "AddressOutsidePools"},
				{both(named("192.0.2.1"), fromPool("dmz")), "a", "AddressOutsidePools"},
				{named("192.0.2.1"), "b", "192.0.2.1 lan"},
				{named("192.0.2.1"), "a", "AddressInUse"},
			},
		},
		"A07 a Service that names what it cannot have keeps what it has": {
			[]*v1beta1.IPAddressPool{poolOf("lan", "192.0.2.0/24")},
			[]step{
				{nil, "a", "192.0.2.0 lan"},
				{nil, "b", "192.0.2.1 lan"},
				{named("192.0.2.1"), "a", "192.0.2.0 lan AddressInUse"},
				{named("203.0.113.1"), "a", "192.0.2.0 lan AddressOutsidePools"},
				{both(named("192.0.2.0"), fromPool("gone")), "a", "192.0.2.0 lan PoolNotFound"},
			},
		},
		"A08 a named pool is honoured, an unknown one reported, a switch re-assigns": {
			[]*v1beta1.IPAddressPool{poolOf("lan", "192.0.2.0/24"), poolOf("dmz", "198.51.100.0/24")},
			[]step{
				{fromPool("nowhere"), "a", "PoolNotFound"},
				{fromPool("dmz"), "a", "198.51.100.0 dmz"},
				{fromPool("lan"), "a", "192.0.2.0 lan"},
				{fromPool("nowhere"), "a", "192.0.2.0 lan PoolNotFound"},
			},
		},
		"A11 autoAssign off: only when the pool or an address is named": {
			[]*v1beta1.IPAddressPool{with(poolOf("lan", "192.0.2.0/24"), notAuto)},
			[]step{{nil, "a", "AutoAssignDisabled"}, {named("192.0.2.9"), "a", "192.0.2.9 lan"}, {fromPool("lan"), "b", "192.0.2.0 lan"}},
		},
		"A11 buggy and excluded addresses are never given": {
			[]*v1beta1.IPAddressPool{with(poolOf("lan", "192.0.2.254-192.0.3.2"), func(s *v1beta1.IPAddressPoolSpec) {
				s.AvoidBuggyIPs, s.Excluded = true, []v1beta1.AddressRange{"192.0.3.1/32"}
			})},
			[]step{
				{nil, "a", "192.0.2.254 lan"},
				{nil, "b", "192.0.3.2 lan"},
				{nil, "c", "PoolExhausted"},
				{named("192.0.2.255"), "d", "AddressOutsidePools"},
				{named("192.0.3.1"), "e", "AddressOutsidePools"},
			},
		},
		"A11 a frozen pool gives nothing new and takes nothing away": {
			[]*v1beta1.IPAddressPool{with(poolOf("lan", "192.0.2.0/24"), func(s *v1beta1.IPAddressPoolSpec) { s.Excluded = []v1beta1.AddressRange{"rubbish"} })},
			[]step{{nil, "a", "InvalidSpec"}, {named("192.0.2.9"), "b", "InvalidSpec"}},
		},
		"A12 priority orders pools, the unset one comes last": {
			[]*v1beta1.IPAddressPool{
				poolOf("unset", "192.0.2.0/32"), with(poolOf("second", "192.0.2.1/32"), priority(20)), with(poolOf("first", "192.0.2.2/32"), priority(10)),
			},
			[]step{{nil, "a", "192.0.2.2 first"}, {nil, "b", "192.0.2.1 second"}, {nil, "c", "192.0.2.0 unset"}},
		},
		"A12 namespaces by name or label, and Services by label, must both match": {
			[]*v1beta1.IPAddressPool{with(poolOf("lan", "192.0.2.0/24"), allocated(v1beta1.ServiceAllocation{
				Namespaces: []string{"blue"}, NamespaceSelectors: team, ServiceSelectors: gold,
			}))},
			[]step{
				{labelled(labels.Set{"tier": "gold"}), "a", "PoolNotAllowed"},
				{in("red"), "b", "PoolNotAllowed"},
				{both(in("red"), labelled(labels.Set{"tier": "gold"})), "c", "192.0.2.0 lan"},
				{both(in("blue"), labelled(labels.Set{"tier": "gold"})), "d", "192.0.2.1 lan"},
				{both(in("green"), labelled(labels.Set{"tier": "gold"}), fromPool("lan")), "e", "PoolNotAllowed"},
			},
		},
		"A13 falls through to the next pool that fits": {
			[]*v1beta1.IPAddressPool{poolOf("six", "2001:db8::/64"), with(poolOf("named", "192.0.2.9/32"), notAuto), poolOf("lan", "192.0.2.0/32")},
			[]step{{nil, "a", "192.0.2.0 lan"}, {nil, "b", "NoEligiblePool"}},
		},
		"S01 same key and disjoint ports share; TCP and UDP of one number are disjoint": {
			[]*v1beta1.IPAddressPool{poolOf("lan", "192.0.2.0/24")},
			[]step{
				{key("k"), "a", "192.0.2.0 lan"},
				{both(key("k"), port(80, corev1.ProtocolUDP)), "b", "192.0.2.0 lan"},
				{both(key("k"), port(443, corev1.ProtocolTCP)), "c", "192.0.2.0 lan"},
				{both(key("k"), port(443, corev1.ProtocolTCP), named("192.0.2.0")), "d", "SharingNotAllowed"},
				{both(key("other"), port(53, corev1.ProtocolTCP), named("192.0.2.0")), "e", "SharingNotAllowed"},
				{both(port(53, corev1.ProtocolTCP), named("192.0.2.0")), "f", "AddressInUse"},
				{both(key("k"), port(443, corev1.ProtocolTCP)), "g", "192.0.2.1 lan"},
			},
		},
		"S01 under Local policy only with the same pods": {
			[]*v1beta1.IPAddressPool{poolOf("lan", "192.0.2.0/24")},
			[]step{
				{both(key("k"), local(labels.Set{"app": "x"})), "a", "192.0.2.0 lan"},
				{both(key("k"), port(81, corev1.ProtocolTCP), local(labels.Set{"app": "y"})), "b", "192.0.2.1 lan"},
				{both(key("k"), port(82, corev1.ProtocolTCP), local(labels.Set{"app": "x"})), "c", "192.0.2.0 lan"},
				{both(key("k"), port(83, corev1.ProtocolTCP), named("192.0.2.0")), "d", "SharingNotAllowed"},
			},
		},
		"S01 the one that changes so that it may not share any more leaves": {
			[]*v1beta1.IPAddressPool{poolOf("lan", "192.0.2.0/24")},
			[]step{
				{key("k"), "a", "192.0.2.0 lan"},
				{both(key("k"), port(81, corev1.ProtocolTCP)), "b", "192.0.2.0 lan"},
				{key("k"), "b", "192.0.2.1 lan"},
				{key("k"), "a", "192.0.2.0 lan"},
			},
		},
		"S02 the key changes in place when the Service is alone on the address": {
			[]*v1beta1.IPAddressPool{poolOf("lan", "192.0.2.0/24")},
			[]step{
				{key("k"), "a", "192.0.2.0 lan"},
				{key("l"), "a", "192.0.2.0 lan"},
				{both(key("l"), port(81, corev1.ProtocolTCP)), "b", "192.0.2.0 lan"},
				{nil, "b", "192.0.2.1 lan"},
			},
		},
		"S04 single stack of either family; dual-stack in the order of ipFamilies": {
			[]*v1beta1.IPAddressPool{poolOf("lan", "192.0.2.0/24", "2001:db8::/64")},
			[]step{
				{v6, "a", "2001:db8:: lan"},
				{require, "b", "192.0.2.0 2001:db8::1 lan"},
				{dual(corev1.IPFamilyPolicyPreferDualStack, corev1.IPv6Protocol), "c", "2001:db8::2 192.0.2.1 lan"},
			},
		},
		"S04 RequireDualStack takes both from one pool or nothing": {
			[]*v1beta1.IPAddressPool{poolOf("four", "192.0.2.0/24"), poolOf("six", "2001:db8::/64")},
			[]step{{require, "a", "IPFamilyUnavailable"}, {nil, "b", "192.0.2.0 four"}},
		},
		"S04 PreferDualStack prefers a pool with both, and takes what there is": {
			[]*v1beta1.IPAddressPool{poolOf("four", "192.0.2.0/24"), poolOf("both", "198.51.100.0/32", "2001:db8::/128"), poolOf("six", "2001:db8:1::/64")},
			[]step{
				{prefer, "a", "198.51.100.0 2001:db8:: both"},
				{prefer, "b", "192.0.2.0 four PartiallyAllocated"},
				{dual(corev1.IPFamilyPolicyPreferDualStack, corev1.IPv6Protocol), "c", "2001:db8:1:: six PartiallyAllocated"},
			},
		},
		"S04 a second family that is no longer wanted is left, one that is wanted is added": {
			[]*v1beta1.IPAddressPool{poolOf("lan", "192.0.2.0/24", "2001:db8::/64")},
			[]step{
				{require, "a", "192.0.2.0 2001:db8:: lan"},
				{nil, "a", "192.0.2.0 lan"},
				{prefer, "a", "192.0.2.0 2001:db8:: lan"},
			},
		},
		"S04 one family named: the other comes from the same pool": {
			[]*v1beta1.IPAddressPool{poolOf("lan", "192.0.2.0/24", "2001:db8::/64"), poolOf("dmz", "198.51.100.0/24", "2001:db8:1::/64")},
			[]step{
				{both(require, named("2001:db8:1::7")), "a", "198.51.100.0 2001:db8:1::7 dmz"},
				{both(require, named("192.0.2.3")), "a", "192.0.2.3 2001:db8:: lan"},
				{both(require, named("192.0.2.4")), "a", "192.0.2.4 2001:db8:: lan"},
				{both(require, named("192.0.2.4", "2001:db8:1::7")), "a", "192.0.2.4 2001:db8:: lan AddressOutsidePools"},
			},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			m := books(t, test.pools...)
			for _, s := range test.steps {
				r := want(s.who)
				if s.ask != nil {
					s.ask(&r)
				}
				assign(t, m, r, s.got)
			}
		})
	}
}

func TestA13TheMessageNamesEachPoolAndWhyNot(t *testing.T) {
	m := books(t, poolOf("six", "2001:db8::/64"), with(poolOf("named", "192.0.2.9/32"), notAuto), poolOf("lan", "192.0.2.0/32"))
	assign(t, m, want("a"), "192.0.2.0 lan")
	refusal := refused(t, m, want("b"), "NoEligiblePool")
	const expected = "pool six: it has no IPv4 addresses; pool named: it has autoAssign off and is not named; pool lan: every IPv4 address is taken"
	if refusal.Message != expected {
		t.Errorf("got  %s\nwant %s", refusal.Message, expected)
	}
	if refusal := refused(t, New(), want("c"), "NoPool"); refusal.Message == "" {
		t.Error("no message")
	}
}

func TestA15PoolEditsMoveNobody(t *testing.T) {
	four := poolOf("lan", "192.0.2.0/28", "2001:db8::/64")
	for sentence, after := range map[string][]*v1beta1.IPAddressPool{
		"192.0.2.3 2001:db8::3 lan grown":                  {poolOf("lan", "192.0.2.0/24", "2001:db8::/56")},
		"192.0.2.3 2001:db8::3 high split":                 {poolOf("low", "192.0.2.0/31"), poolOf("high", "192.0.2.2-192.0.2.15", "2001:db8::/64")},
		"192.0.2.3 2001:db8::3 four split by family":       {poolOf("six", "2001:db8::/64"), poolOf("four", "192.0.2.0/28")},
		"192.0.2.3 2001:db8::3 renamed given another name": {poolOf("renamed", "192.0.2.0/28", "2001:db8::/64")},
		"192.0.2.3 2001:db8::3 lan shrunk":                 {poolOf("lan", "192.0.2.0/31", "2001:db8::/127")},
		"192.0.2.3 2001:db8::3 lan deleted":                {},
		"192.0.2.3 2001:db8::3 lan restricted":             {with(poolOf("lan", "192.0.2.0/28", "2001:db8::/64"), allocated(v1beta1.ServiceAllocation{Namespaces: []string{"other"}}))},
		"192.0.2.3 2001:db8::3 lan autoAssign is off":      {with(poolOf("lan", "192.0.2.0/28", "2001:db8::/64"), notAuto)},
		"192.0.2.3 2001:db8::3 lan reordered":              {poolOf("new", "198.51.100.0/24"), poolOf("lan", "2001:db8::/64", "192.0.2.0/28")},
	} {
		expected, what, _ := strings.Cut(sentence, " ")
		rest := strings.SplitN(what, " ", 3)
		expected += " " + rest[0] + " " + rest[1]
		t.Run(rest[2], func(t *testing.T) {
			m := books(t, four)
			r := want("a", require, named("192.0.2.3", "2001:db8::3"))
			assign(t, m, r, "192.0.2.3 2001:db8::3 lan")
			written(m, r)
			m.SetSnapshot(snapshot(t, after...))
			r.Addresses = nil
			assign(t, m, r, expected)

			again := New() // and the same after a restart
			again.SetSnapshot(snapshot(t, after...))
			again.Adopt(r, m.Holding(r.Key).Addresses, "lan")
			assign(t, again, r, expected)
			for i := range 20 {
				if a, _ := again.Assign(want("x"+string(rune('a'+i))), nil, noTime); slices.Contains(a.Addresses, m.Holding(r.Key).Addresses[0]) {
					t.Fatal("given twice")
				}
			}
		})
	}
}

func TestA15ASplitPoolThatTheServiceNamesMovesNobody(t *testing.T) {
	m := books(t, poolOf("lan", "192.0.2.0/28"))
	r := want("a", fromPool("lan"), named("192.0.2.9"))
	assign(t, m, r, "192.0.2.9 lan")
	m.SetSnapshot(snapshot(t, poolOf("lan", "192.0.2.0/29"), poolOf("upper", "192.0.2.8/29")))
	r.Addresses = nil
	assign(t, m, r, "192.0.2.9 lan")
	r.Pool = "upper"
	assign(t, m, r, "192.0.2.9 upper")
}

func TestA16CountersAreExactAndDoNotOverflow(t *testing.T) {
	m := books(t, with(poolOf("lan", "10.0.0.0/8", "2001:db8::/32"), func(s *v1beta1.IPAddressPoolSpec) {
		s.AvoidBuggyIPs, s.Excluded = true, []v1beta1.AddressRange{"10.0.0.0/24", "10.0.0.128-10.0.1.0", "2001:db8::/33"}
	}))
	assign(t, m, want("a", require), "10.0.1.1 2001:db8:8000::1 lan")
	c := m.Counters("lan")
	// 2^95 less 2^31 subnet-router anycast addresses, less one given; and
	// 2^24 less 2^17 buggy ones, less the 254 others of 10.0.0.0/24, less one given.
	if got := c.AvailableIPv4.String(); got != "16645889" || c.AssignedIPv4 != 1 {
		t.Errorf("IPv4: %s available, %d assigned", got, c.AssignedIPv4)
	}
	if got := c.AvailableIPv6.String(); got != "39614081257132168794624491519" || c.AssignedIPv6 != 1 {
		t.Errorf("IPv6: %s available, %d assigned", got, c.AssignedIPv6)
	}
	m.SetSnapshot(snapshot(t, poolOf("lan", "2000::/3", "4000::/2")))
	if got := m.Counters("lan").AvailableIPv6.String(); got != "127605887595351923798765477786913079295" {
		t.Errorf("of 2^125 + 2^126 IPv6 addresses %s are available", got)
	}
	if got := m.Counters("lan").OutsideSpec; !slices.Equal(got, []string{"10.0.1.1 default/a"}) {
		t.Errorf("outside the spec: %q", got)
	}
}

func TestALeftAddressIsNotGivenBeforeItIsSettled(t *testing.T) {
	m := books(t, poolOf("lan", "192.0.2.0/32"), poolOf("dmz", "198.51.100.0/32"))
	assign(t, m, want("a"), "192.0.2.0 lan")
	assign(t, m, want("a", fromPool("dmz")), "198.51.100.0 dmz")
	assign(t, m, want("b"), "PoolExhausted")
	before := m.Generation()
	written(m, want("a"))
	if m.Generation() == before {
		t.Error("nobody is woken")
	}
	assign(t, m, want("b"), "192.0.2.0 lan")
	m.Release("default/a")
	assign(t, m, want("c"), "198.51.100.0 dmz")
}

func TestA10AdoptionRefusesGarbage(t *testing.T) {
	m := books(t, poolOf("lan", "192.0.2.0/24", "2001:db8::/64"))
	older, younger := want("older"), want("younger")
	if bad := m.Adopt(older, addrs("192.0.2.9"), ""); len(bad) > 0 {
		t.Fatalf("%+v", bad)
	}
	bad := m.Adopt(younger, addrs("192.0.2.9", "203.0.113.1", "192.0.2.10", "192.0.2.11"), "")
	var why []string
	for _, b := range bad {
		why = append(why, b.Address.String()+" "+string(b.Reason))
	}
	expected := []string{"192.0.2.9 AddressInUse", "203.0.113.1 AddressOutsidePools", "192.0.2.11 InvalidRequest"}
	if !slices.Equal(why, expected) {
		t.Errorf("got %q, want %q", why, expected)
	}
	assign(t, m, younger, "192.0.2.10 lan")
	if bad := m.Adopt(want("kept"), addrs("203.0.113.7"), "gone"); len(bad) > 0 {
		t.Errorf("what we once gave is refused: %+v", bad)
	}
	assign(t, m, want("kept"), "203.0.113.7 gone")
}

func TestS02TwoThatChangeTheirKeyTogetherStayTogether(t *testing.T) {
	m := books(t, poolOf("lan", "192.0.2.0/24"))
	assign(t, m, want("a", key("k")), "192.0.2.0 lan")
	assign(t, m, want("b", key("k"), port(81, corev1.ProtocolTCP)), "192.0.2.0 lan")
	m.UpdateSharing(want("a", key("l")))
	m.UpdateSharing(want("b", key("l"), port(81, corev1.ProtocolTCP)))
	assign(t, m, want("a", key("l")), "192.0.2.0 lan")
	assign(t, m, want("b", key("l"), port(81, corev1.ProtocolTCP)), "192.0.2.0 lan")
}

func TestS05GainsTheSecondFamilyFromTheSamePoolOnly(t *testing.T) {
	m := books(t, poolOf("lan", "192.0.2.0/24"))
	r := want("a", prefer)
	assign(t, m, r, "192.0.2.0 lan PartiallyAllocated")
	m.SetSnapshot(snapshot(t, poolOf("lan", "192.0.2.0/24"), poolOf("six", "198.51.100.0/24", "2001:db8::/64")))
	assign(t, m, r, "192.0.2.0 lan PartiallyAllocated")
	m.SetSnapshot(snapshot(t, poolOf("lan", "192.0.2.0/24", "2001:db8:1::/64"), poolOf("six", "198.51.100.0/24", "2001:db8::/64")))
	assign(t, m, r, "192.0.2.0 2001:db8:1:: lan")
}
