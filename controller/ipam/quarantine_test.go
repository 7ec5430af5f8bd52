package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// quarantine puts an address of the model's pools into quarantine, or ends it.
func (m *model) quarantine(t *rapid.T) {
	n, host := rapid.IntRange(0, poolCount-1).Draw(t, "n"), rapid.IntRange(1, 8).Draw(t, "host")
	a := netip.MustParseAddr(fmt.Sprintf("192.0.%d.%d", n, host))
	if rapid.Bool().Draw(t, "of IPv6") {
		a = netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::%x", n, host))
	}
	if m.avoided[a] {
		delete(m.avoided, a)
		m.books.EndQuarantine(a)
		return
	}
	m.avoided[a] = true
	m.books.Quarantine(a)
}

// move asks for another address for a Service, and checks that it obeys the
// rules, that nothing else moves, and that nothing else was to be had if not.
func (m *model) move(t *rapid.T) {
	if len(m.asked) == 0 {
		t.Skip("nobody asked")
	}
	r := m.asked[rapid.SampledFrom(m.keys()).Draw(t, "who")]
	before := m.books.Holding(r.Key)
	if len(before.Addresses) == 0 {
		t.Skip("it has nothing")
	}
	from := rapid.SampledFrom(before.Addresses).Draw(t, "from")
	m.avoided[from] = true
	m.books.Quarantine(from)
	held := m.heldBy(r.Namespace)
	given, moved := m.books.Move(r, labels.Set{}, from, m.now)
	if now := m.books.Holding(r.Key).Addresses; moved == slices.Contains(now, from) || len(now) != len(before.Addresses) {
		t.Fatalf("%s is moved off %s: %t; it had %v, has %v", r.Key, from, moved, before, now)
	}
	if !moved {
		if now := m.books.Holding(r.Key); !slices.Equal(now.Addresses, before.Addresses) || now.Pool != before.Pool {
			t.Fatalf("%s is not moved, and has %v for %v", r.Key, now, before)
		}
		return
	}
	if slices.Contains(r.Addresses, from) {
		t.Fatalf("%s is moved off %s, which it named", r.Key, from)
	}
	for _, a := range given.Addresses {
		if familyOf(a) != familyOf(from) {
			if !slices.Contains(before.Addresses, a) {
				t.Fatalf("%s is moved off %s and gets %s", r.Key, from, a)
			}
			continue
		}
		m.checkNew(t, r, given, a)
		m.checkUse(t, r, held, a)
	}
	m.forgetFreed(given.Addresses)
	m.has[r.Key] = given
	if len(m.answered[r.Key]) > 0 {
		m.answered[r.Key] = given.Addresses
	}
}

func TestL13_AnAddressInQuarantineIsGivenToWhoNamesItAlone(t *testing.T) {
	m := books(t, poolOf("lan", "192.0.2.10-192.0.2.12"))
	m.Quarantine(netip.MustParseAddr("192.0.2.10"))
	assign(t, m, want("a"), "192.0.2.11 lan")
	if c := m.Counters("lan"); c.AvailableIPv4.Int64() != 1 {
		t.Errorf("%s available, want 1", c.AvailableIPv4)
	}
	assign(t, m, want("b"), "192.0.2.12 lan")
	assign(t, m, want("c"), "PoolExhausted")
	assign(t, m, want("d", named("192.0.2.10")), "192.0.2.10 lan")
}

func TestL13_TheEndOfAQuarantineWakesWhoWaits(t *testing.T) {
	m := books(t, poolOf("lan", "192.0.2.10/32"))
	m.Quarantine(netip.MustParseAddr("192.0.2.10"))
	assign(t, m, want("a"), "PoolExhausted")
	before := m.Generation()
	m.EndQuarantine(netip.MustParseAddr("192.0.2.10"))
	if m.Generation() == before {
		t.Error("nobody is woken")
	}
	assign(t, m, want("a"), "192.0.2.10 lan")
}

func TestL13_AnAddressThatIsGivenUpInQuarantineStaysThere(t *testing.T) {
	for sentence, change := range map[string]func(*v1beta1.IPAddressPoolSpec){
		"without a rest": func(s *v1beta1.IPAddressPoolSpec) { rest(0)(s) },
		"with a rest":    func(s *v1beta1.IPAddressPoolSpec) { rest(time.Hour)(s) },
		"in order":       func(s *v1beta1.IPAddressPoolSpec) { rest(0)(s); leastRecentlyUsed(s) },
	} {
		m := books(t, with(poolOf("lan", "192.0.2.10-192.0.2.11"), change))
		assign(t, m, want("a"), "192.0.2.10 lan")
		written(m, want("a"))
		m.Quarantine(netip.MustParseAddr("192.0.2.10"))
		m.Release("default/a")
		if a, _ := m.Assign(want("b"), nil, begin()); got(a, nil) != "192.0.2.11 lan" {
			t.Errorf("%s: b gets %v", sentence, a)
		}
		if a, refusal := m.Assign(want("c"), nil, begin()); refusal == nil {
			t.Errorf("%s: c gets %v", sentence, a)
		}
		m.EndQuarantine(netip.MustParseAddr("192.0.2.10"))
		if a, _ := m.Assign(want("c"), nil, begin()); got(a, nil) != "192.0.2.10 lan" {
			t.Errorf("%s: after the quarantine c gets %v", sentence, a)
		}
	}
}

func TestL13_AServiceIsMovedOffAnAddressThatItDidNotName(t *testing.T) {
	from := netip.MustParseAddr("192.0.2.10")
	for sentence, test := range map[string]struct {
		r        option
		other    option // another Service, which shares or takes what is left
		expected string
	}{
		"alone":                  {func(*config.Request) {}, nil, "192.0.2.11 lan"},
		"named":                  {named("192.0.2.10"), nil, "192.0.2.10 lan"},
		"nothing else":           {func(*config.Request) {}, named("192.0.2.11"), "192.0.2.10 lan"},
		"dual-stack keeps other": {require, nil, "192.0.2.11 2001:db8::1 lan"},
		"it does not share the address again": {key("k"), func(r *config.Request) {
			key("k")(r)
			port(81, "TCP")(r)
		}, "192.0.2.11 lan"},
	} {
		m := books(t, poolOf("lan", "192.0.2.10-192.0.2.11", "2001:db8::1-2001:db8::2"))
		r := want("a", test.r)
		_, _ = m.Assign(r, nil, begin())
		if test.other != nil {
			_, _ = m.Assign(want("b", test.other), nil, begin())
		}
		m.Quarantine(from)
		_, moved := m.Move(r, nil, from, begin())
		if now := got(m.Holding(r.Key), nil); now != test.expected || moved == (now[:10] == "192.0.2.10") {
			t.Errorf("%s: has %s, moved: %t, want %s", sentence, now, moved, test.expected)
		}
		if again, refusal := m.Assign(r, nil, begin()); got(again, refusal) != test.expected {
			t.Errorf("%s: asked again it has %v", sentence, again)
		}
	}
}
