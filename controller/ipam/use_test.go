package ipam

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// reserve adds a reservation: owner is a namespace, namespace/service or empty.
func reserve(owner string, addresses ...string) func(*v1beta1.IPAddressPoolSpec) {
	return func(s *v1beta1.IPAddressPoolSpec) {
		r := v1beta1.Reservation{}
		r.Namespace, r.Service, _ = strings.Cut(owner, "/")
		for _, a := range addresses {
			r.Addresses = append(r.Addresses, v1beta1.ReservedAddresses(a))
		}
		s.Reservations = append(s.Reservations, r)
	}
}

// quota limits every namespace, and one namespace otherwise.
func quota(each int32, namespace string, own int32) func(*v1beta1.IPAddressPoolSpec) {
	return func(s *v1beta1.IPAddressPoolSpec) {
		s.Quota = &v1beta1.PoolQuota{PerNamespace: &each}
		if namespace != "" {
			s.Quota.Namespaces = []v1beta1.NamespaceQuota{{Namespace: namespace, Addresses: own}}
		}
	}
}

func rest(d time.Duration) func(*v1beta1.IPAddressPoolSpec) {
	return func(s *v1beta1.IPAddressPoolSpec) { s.ReuseDelay = &metav1.Duration{Duration: d} }
}

func leastRecentlyUsed(s *v1beta1.IPAddressPoolSpec) {
	s.AllocationOrder = v1beta1.LeastRecentlyUsed
}

// begin is when the tests' clock starts.
func begin() time.Time { return time.Unix(1_000_000, 0) }

// says checks a refusal's words.
func says(t *testing.T, r *Refusal, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(r.Message, w) {
			t.Errorf("%q does not say %q", r.Message, w)
		}
	}
}

func TestA17ReservedAddressesAreGivenOnlyToThoseTheyAreFor(t *testing.T) {
	m := books(t, with(with(with(poolOf("lan", "192.0.2.0/29"),
		reserve("", "192.0.2.0")), reserve("red", "192.0.2.1-192.0.2.2")), reserve("red/front", "192.0.2.3/32")))
	assign(t, m, want("a", in("blue")), "192.0.2.4 lan")
	assign(t, m, want("b", in("red")), "192.0.2.1 lan")
	assign(t, m, want("front", in("blue")), "192.0.2.5 lan")
	assign(t, m, want("c", in("red")), "192.0.2.2 lan")
	assign(t, m, want("d", in("red")), "192.0.2.6 lan")
	assign(t, m, want("front", in("red")), "192.0.2.3 lan")
	says(t, refused(t, m, want("e", in("blue"), named("192.0.2.0")), "AddressReserved"), "pool lan", "192.0.2.0", "nobody")
	says(t, refused(t, m, want("e", in("blue"), named("192.0.2.1")), "AddressReserved"), "namespace red")
	says(t, refused(t, m, want("e", in("red"), named("192.0.2.3")), "AddressReserved"), "Service red/front")
	assign(t, m, want("e", in("blue")), "192.0.2.7 lan")
	m.Release("red/b")
	says(t, refused(t, m, want("f", in("blue")), "PoolExhausted"), "reserved for others")
	if c := m.Counters("lan"); c.AvailableIPv4.Int64() != 1 || c.AssignedIPv4 != 6 {
		t.Errorf("%s available, %d assigned", c.AvailableIPv4, c.AssignedIPv4)
	}
}

func TestA17AReservationTakesNobodysAddress(t *testing.T) {
	m := books(t, poolOf("lan", "192.0.2.0/30"))
	r := want("a", in("blue"))
	assign(t, m, r, "192.0.2.0 lan")
	m.SetSnapshot(snapshot(t, with(poolOf("lan", "192.0.2.0/30"), reserve("", "192.0.2.0/31"))))
	assign(t, m, r, "192.0.2.0 lan")
	if c := m.Counters("lan"); c.AvailableIPv4.Int64() != 2 || c.AssignedIPv4 != 1 {
		t.Errorf("%s available, %d assigned", c.AvailableIPv4, c.AssignedIPv4)
	}
	m.Release(r.Key)
	assign(t, m, r, "192.0.2.2 lan")
}

func TestA17AReservedAddressIsNotJoinedByOthers(t *testing.T) {
	m := books(t, with(poolOf("lan", "192.0.2.0/30"), reserve("red", "192.0.2.0")))
	assign(t, m, want("a", in("red"), key("k")), "192.0.2.0 lan")
	assign(t, m, want("b", in("blue"), key("k"), port(81, "TCP")), "192.0.2.1 lan")
	assign(t, m, want("c", in("red"), key("k"), port(82, "TCP")), "192.0.2.0 lan")
}

func TestA18ANamespaceHoldsNoMoreThanItsQuota(t *testing.T) {
	m := books(t, with(poolOf("lan", "192.0.2.0/28"), quota(2, "red", 1)))
	assign(t, m, want("a", in("blue")), "192.0.2.0 lan")
	assign(t, m, want("b", in("blue")), "192.0.2.1 lan")
	says(t, refused(t, m, want("c", in("blue")), "QuotaExceeded"), "pool lan", "namespace blue", "2 of the 2")
	assign(t, m, want("d", in("red")), "192.0.2.2 lan")
	assign(t, m, want("e", in("red"), named("192.0.2.9")), "QuotaExceeded")
	generation := m.Generation()
	m.Release("blue/a")
	if m.Generation() == generation {
		t.Error("nobody who waits is asked again")
	}
	assign(t, m, want("c", in("blue")), "192.0.2.0 lan")
}

func TestA18ALoweredQuotaTakesNobodysAddress(t *testing.T) {
	m := books(t, poolOf("lan", "192.0.2.0/28"))
	assign(t, m, want("a"), "192.0.2.0 lan")
	assign(t, m, want("b"), "192.0.2.1 lan")
	m.SetSnapshot(snapshot(t, with(poolOf("lan", "192.0.2.0/28"), quota(0, "", 0))))
	assign(t, m, want("a"), "192.0.2.0 lan")
	assign(t, m, want("b"), "192.0.2.1 lan")
	assign(t, m, want("c"), "QuotaExceeded")
}

func TestA18AServiceAtTheQuotaMayMoveAndShare(t *testing.T) {
	m := books(t, with(poolOf("lan", "192.0.2.0/28", "2001:db8::/124"), quota(1, "", 0)))
	r := want("a", key("k"))
	assign(t, m, r, "192.0.2.0 lan")
	assign(t, m, want("b", key("k"), port(81, "TCP")), "192.0.2.0 lan")
	assign(t, m, want("c", in("red"), key("k"), port(82, "TCP")), "192.0.2.0 lan")
	assign(t, m, want("d", key("k"), port(83, "TCP"), prefer), "192.0.2.0 lan PartiallyAllocated")
	m.Release("default/b")
	m.Release("default/d")
	r.Addresses = addrs("192.0.2.9")
	assign(t, m, r, "192.0.2.9 lan")
	written(m, r)
	assign(t, m, want("e"), "QuotaExceeded")
}

func TestA19AFreedAddressRestsBeforeAnotherTenantGetsIt(t *testing.T) {
	m := books(t, with(poolOf("lan", "192.0.2.0/30"), rest(time.Minute)))
	m.Advance(begin())
	assign(t, m, want("a", in("red")), "192.0.2.0 lan")
	assign(t, m, want("b", in("red")), "192.0.2.1 lan")
	m.Release("red/a")
	if got := m.wakeAt; !got.Equal(begin().Add(time.Minute)) {
		t.Errorf("the rest is over at %s", got)
	}
	says(t, refused(t, m, want("c", in("blue"), named("192.0.2.0")), "AddressInCooldown"), "pool lan", "namespace red", "1970-01-12T13:47:40Z")
	assign(t, m, want("c", in("blue")), "192.0.2.2 lan")
	assign(t, m, want("a", in("red")), "192.0.2.0 lan")
	m.Release("red/a")
	generation := m.Generation()
	m.Advance(begin().Add(59 * time.Second))
	if m.Generation() != generation {
		t.Error("whoever waits is asked again though nothing happened")
	}
	m.Advance(begin().Add(time.Minute))
	if m.Generation() == generation || !m.wakeAt.IsZero() {
		t.Errorf("whoever waits is not asked again; the next rest is over at %s", m.wakeAt)
	}
	assign(t, m, want("d", in("blue")), "192.0.2.0 lan")
}

func TestA19AnOtherwiseEmptyPoolGivesWhatRestsLongest(t *testing.T) {
	m := books(t, with(poolOf("lan", "192.0.2.0/31"), rest(time.Hour)))
	m.Advance(begin())
	assign(t, m, want("a", in("red")), "192.0.2.0 lan")
	assign(t, m, want("b", in("red")), "192.0.2.1 lan")
	m.Release("red/b")
	m.Advance(begin().Add(time.Second))
	m.Release("red/a")
	assign(t, m, want("c", in("blue")), "192.0.2.1 lan")
	assign(t, m, want("d", in("blue"), named("192.0.2.0")), "192.0.2.0 lan")
}

func TestA19TheRestOutlivesAnEditOfThePool(t *testing.T) {
	m := books(t, with(poolOf("lan", "192.0.2.0/30"), rest(time.Hour)))
	m.Advance(begin())
	assign(t, m, want("a", in("red")), "192.0.2.0 lan")
	m.Release("red/a")
	m.SetSnapshot(snapshot(t, with(poolOf("upper", "192.0.2.0/29"), rest(time.Minute))))
	assign(t, m, want("b", in("blue")), "192.0.2.1 upper")
	m.Advance(begin().Add(time.Minute))
	assign(t, m, want("c", in("blue")), "192.0.2.0 upper")
}

func TestA19LeastRecentlyUsedGivesFreshAddressesFirstAndThenTheOldest(t *testing.T) {
	m := books(t, with(with(poolOf("lan", "192.0.2.0/30"), rest(time.Minute)), leastRecentlyUsed))
	at := begin()
	use := func(name, expected string) {
		t.Helper()
		m.Advance(at)
		assign(t, m, want(name, in(name)), expected)
	}
	use("a", "192.0.2.0 lan")
	use("b", "192.0.2.1 lan")
	m.Release("b/b")
	at = at.Add(time.Hour)
	m.Advance(at)
	m.Release("a/a")
	use("c", "192.0.2.2 lan")
	use("d", "192.0.2.3 lan")
	use("a", "192.0.2.1 lan")
	use("e", "192.0.2.0 lan") // it rests, but there is no other
}

func TestA19ChurnLosesNoAddress(t *testing.T) {
	for i, rule := range []func(*v1beta1.IPAddressPoolSpec){rest(0), rest(time.Hour), leastRecentlyUsed} {
		m := books(t, with(poolOf("lan", "10.0.0.0/20"), rule))
		m.Advance(begin())
		for n := range 1 << 12 {
			if _, refusal := m.Assign(want(fmt.Sprintf("s%d", n)), nil, begin()); refusal != nil {
				t.Fatal(refusal)
			}
		}
		for n := range 3 << 12 {
			at := begin().Add(time.Duration(n) * time.Second)
			m.Advance(at)
			r := want(fmt.Sprintf("s%d", n%(1<<12)))
			m.Release(r.Key)
			if _, refusal := m.Assign(r, nil, at); refusal != nil {
				t.Fatalf("rule %d: %v", i, refusal)
			}
		}
		if c := m.Counters("lan"); c.AssignedIPv4 != 1<<12 || c.AvailableIPv4.Sign() != 0 {
			t.Errorf("rule %d: %+v", i, c)
		}
	}
}

// A11: routers answer for the address of a network without an interface
// identifier (RFC 4291 section 2.6.1), wherever in the pool it is.
func TestA11_AvoidBuggyIPsLeavesOutTheSubnetRouterAnycastAddress(t *testing.T) {
	avoid := func(s *v1beta1.IPAddressPoolSpec) { s.AvoidBuggyIPs = true }
	m := books(t, with(poolOf("lan", "2001:db8::/126", "2001:db8:0:1:ffff:ffff:ffff:ffff-2001:db8:0:2::"), avoid))
	if c := m.Counters("lan"); c.AvailableIPv6.Int64() != 4 {
		t.Errorf("%s available, want 4", c.AvailableIPv6)
	}
	for i, expected := range []string{"2001:db8::1 lan", "2001:db8::2 lan", "2001:db8::3 lan", "2001:db8:0:1:ffff:ffff:ffff:ffff lan"} {
		assign(t, m, want(strconv.Itoa(i), v6), expected)
	}
	assign(t, m, want("last", v6), "PoolExhausted")
	assign(t, m, want("named", v6, named("2001:db8::")), "AddressOutsidePools")
	assign(t, books(t, poolOf("lan", "2001:db8::/126")), want("without", v6), "2001:db8:: lan")
}
