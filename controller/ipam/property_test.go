package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// model is the naive counterpart of the books: plain lists, searched from end
// to end. It knows what every Service asked for last, what it had then and
// what the cluster shows of it.
type model struct {
	books    *IPAM
	snapshot *config.Snapshot
	pools    []*v1beta1.IPAddressPool
	asked    map[string]config.Request
	has      map[string]Assignment
	shown    map[string][]netip.Addr
	// answered is what the last Assign gave to a Service that then had all it
	// asked for: another has a wish that is still to come true.
	answered map[string][]netip.Addr
	usage
}

const (
	services  = 8
	poolCount = 3
)

func genRanges(t *rapid.T, n int) []v1beta1.AddressRange {
	var out []v1beta1.AddressRange
	if rapid.Bool().Draw(t, "has IPv4") {
		first := rapid.IntRange(0, 6).Draw(t, "first")
		out = append(out, v1beta1.AddressRange(fmt.Sprintf("192.0.%d.%d-192.0.%d.%d", n, first, n, first+rapid.IntRange(0, 4).Draw(t, "more"))))
	}
	if len(out) == 0 || rapid.Bool().Draw(t, "has IPv6") {
		first := rapid.IntRange(1, 6).Draw(t, "first")
		out = append(out, v1beta1.AddressRange(fmt.Sprintf("2001:db8:%d::%x-2001:db8:%d::%x", n, first, n, first+rapid.IntRange(0, 4).Draw(t, "more"))))
	}
	return out
}

func genPools(t *rapid.T) []*v1beta1.IPAddressPool {
	var pools []*v1beta1.IPAddressPool
	for n := range poolCount {
		if rapid.IntRange(0, 4).Draw(t, "gone") == 0 {
			continue
		}
		p := poolOf(rapid.SampledFrom([]string{fmt.Sprintf("p%d", n), fmt.Sprintf("q%d", n)}).Draw(t, "name"))
		p.CreationTimestamp = metav1.Unix(int64(n), 0)
		p.Spec.Addresses = genRanges(t, n)
		p.Spec.AvoidBuggyIPs = rapid.Bool().Draw(t, "avoid buggy")
		if rapid.IntRange(0, 3).Draw(t, "excludes") == 0 {
			p.Spec.Excluded = []v1beta1.AddressRange{v1beta1.AddressRange(fmt.Sprintf("192.0.%d.2/31", n)), v1beta1.AddressRange(fmt.Sprintf("2001:db8:%d::3/128", n))}
		}
		if rapid.IntRange(0, 7).Draw(t, "frozen") == 0 {
			p.Spec.Excluded = append(p.Spec.Excluded, "rubbish")
		}
		if rapid.IntRange(0, 3).Draw(t, "not auto") == 0 {
			notAuto(&p.Spec)
		}
		to := v1beta1.ServiceAllocation{Priority: rapid.Int32Range(0, 3).Draw(t, "priority")}
		if rapid.IntRange(0, 3).Draw(t, "restricted") == 0 {
			to.Namespaces = []string{"red"}
		}
		p.Spec.AllocateTo = &to
		genUse(t, &p.Spec, n)
		pools = append(pools, p)
	}
	return pools
}

func genRequest(t *rapid.T) config.Request {
	r := want(fmt.Sprintf("s%d", rapid.IntRange(0, services-1).Draw(t, "service")))
	in(rapid.SampledFrom([]string{"red", "blue"}).Draw(t, "namespace"))(&r)
	rapid.SampledFrom([]option{func(*config.Request) {}, v6, prefer, require, dual(corev1.IPFamilyPolicyPreferDualStack, corev1.IPv6Protocol)}).Draw(t, "families")(&r)
	if rapid.IntRange(0, 4).Draw(t, "names pool") == 0 {
		r.Pool = rapid.SampledFrom([]string{"p0", "p1", "q1"}).Draw(t, "pool")
	}
	if rapid.IntRange(0, 3).Draw(t, "names address") == 0 {
		n, host := rapid.IntRange(0, poolCount-1).Draw(t, "n"), rapid.IntRange(1, 8).Draw(t, "host")
		a := netip.MustParseAddr(fmt.Sprintf("192.0.%d.%d", n, host))
		if !wants(r, ipv4) || wants(r, ipv6) && rapid.Bool().Draw(t, "of IPv6") {
			a = netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::%x", n, host))
		}
		r.Addresses = []netip.Addr{a}
	}
	if rapid.Bool().Draw(t, "shares") {
		r.SharingKey = rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key")
		port(rapid.Int32Range(80, 83).Draw(t, "port"), corev1.ProtocolTCP)(&r)
		if rapid.IntRange(0, 3).Draw(t, "local") == 0 {
			local(labels.Set{"app": rapid.SampledFrom([]string{"x", "y"}).Draw(t, "app")})(&r)
		}
	}
	return r
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{asked: map[string]config.Request{}, has: map[string]Assignment{}, shown: map[string][]netip.Addr{}, answered: map[string][]netip.Addr{}}
		m.usage = usage{now: begin(), freed: map[netip.Addr]cooling{}, avoided: map[netip.Addr]bool{}}
		m.restart()
		m.setPools(genPools(t))
		t.Repeat(map[string]func(*rapid.T){
			"edit pools": func(t *rapid.T) { m.setPools(genPools(t)) },
			"ask":        func(t *rapid.T) { m.ask(t, genRequest(t)) },
			"ask again": func(t *rapid.T) {
				if len(m.asked) == 0 {
					t.Skip("nobody asked")
				}
				m.ask(t, m.asked[rapid.SampledFrom(m.keys()).Draw(t, "who")])
			},
			"write":      func(t *rapid.T) { m.eachDrawn(t, m.write) },
			"delete":     func(t *rapid.T) { m.eachDrawn(t, m.remove) },
			"restart":    func(*rapid.T) { m.readopt() },
			"quarantine": func(t *rapid.T) { m.quarantine(t) },
			"move":       func(t *rapid.T) { m.move(t) },
			"wait": func(t *rapid.T) {
				m.wait(rapid.SampledFrom([]time.Duration{1, time.Minute / 2, time.Minute}).Draw(t, "time"))
			},
			"": m.invariants,
		})
	})
}

func (m *model) keys() []string {
	keys := make([]string, 0, len(m.asked))
	for key := range m.asked {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (m *model) eachDrawn(t *rapid.T, do func(string)) {
	for _, key := range m.keys() {
		if rapid.Bool().Draw(t, key) {
			do(key)
		}
	}
}

func (m *model) restart() {
	m.books = New()
	m.books.Advance(m.now)
	for a := range m.avoided {
		m.books.Quarantine(a)
	}
	clear(m.freed)
	if m.snapshot != nil {
		m.books.SetSnapshot(m.snapshot)
	}
}

func (m *model) setPools(pools []*v1beta1.IPAddressPool) {
	m.pools = pools
	m.snapshot, _ = config.Build(config.Objects{Pools: pools})
	m.books.SetSnapshot(m.snapshot)
	m.prune()
}

// write lets the cluster show what the books say.
func (m *model) write(key string) {
	defer m.noteFreed(key)()
	m.shown[key] = m.books.Holding(key).Addresses
	m.books.Settled(key, m.shown[key])
}

func (m *model) remove(key string) {
	defer m.noteFreed(key)()
	m.books.Release(key)
	delete(m.asked, key)
	delete(m.has, key)
	delete(m.shown, key)
	delete(m.answered, key)
}

// readopt loses everything that the cluster does not show.
func (m *model) readopt() {
	givenBy := make(map[string]string)
	for key := range m.asked {
		givenBy[key] = m.has[key].Pool
	}
	m.restart()
	for _, key := range m.keys() {
		if givenBy[key] == "" && len(m.shown[key]) > 0 {
			givenBy[key] = "earlier"
		}
		m.books.Adopt(m.asked[key], m.shown[key], givenBy[key])
		m.has[key] = m.books.Holding(key)
		m.shown[key] = m.has[key].Addresses // what cannot be adopted is written away
	}
}

func (m *model) ask(t *rapid.T, r config.Request) {
	before, last := m.has[r.Key], m.asked[r.Key]
	kept := m.books.Holding(r.Key).Addresses
	held := m.heldBy(r.Namespace)
	given, refusal := m.books.Assign(r, labels.Set{}, m.now)
	m.asked[r.Key], m.has[r.Key] = r, given
	defer func() {
		if m.answered[r.Key] = nil; refusal == nil || refusal.Reason == v1beta1.ReasonPartiallyAllocated {
			m.answered[r.Key] = given.Addresses
		}
	}()

	sameAsk := last.Key != "" && last.Pool == r.Pool && slices.Equal(last.Addresses, r.Addresses) &&
		slices.Equal(last.Families, r.Families) && sharingOf(last).equal(sharingOf(r))
	for _, a := range kept {
		if sameAsk && slices.Contains(m.answered[r.Key], a) && !slices.Contains(given.Addresses, a) {
			t.Fatalf("%s loses %s without having asked: had %v, has %v", r.Key, a, before, given)
		}
	}
	for _, a := range given.Addresses {
		if !slices.Contains(kept, a) {
			m.checkNew(t, r, given, a)
			m.checkUse(t, r, held, a)
		}
	}
	m.forgetFreed(given.Addresses)
	if refusal == nil && len(given.Addresses) != len(r.Families) {
		t.Fatalf("%s is told that all is well, and has %v of %v", r.Key, given.Addresses, r.Families)
	}
	if refusal == nil {
		m.checkContent(t, r, given)
	}
	if refusal != nil && len(kept) == 0 {
		m.checkRefused(t, r, given, *refusal)
	}
}

// checkNew checks the rules for an address that was just given.
func (m *model) checkNew(t *rapid.T, r config.Request, given Assignment, a netip.Addr) {
	p := m.snapshot.PoolOf(a)
	if p == nil || p.Frozen || !p.Allows(r.Namespace, nil, r.Labels) {
		t.Fatalf("%s is given %s against the rules of %+v", r.Key, a, p)
	}
	if p.Name != given.Pool || r.Pool != "" && p.Name != r.Pool || !p.AutoAssign && r.Pool == "" && len(r.Addresses) == 0 {
		t.Fatalf("%s is given %s from the wrong pool %s", r.Key, a, p.Name)
	}
	for _, n := range r.Addresses {
		if n.BitLen() == a.BitLen() && n != a {
			t.Fatalf("%s named %s and is given %s", r.Key, n, a)
		}
	}
}

// checkContent checks that a Service that is told so has what it asked for.
func (m *model) checkContent(t *rapid.T, r config.Request, given Assignment) {
	if r.Pool != "" && given.Pool != r.Pool {
		t.Fatalf("%s named pool %s and has %+v", r.Key, r.Pool, given)
	}
	for _, a := range r.Addresses {
		if !slices.Contains(given.Addresses, a) {
			t.Fatalf("%s named %s and has %+v", r.Key, a, given)
		}
	}
}

// checkRefused looks through every address of every pool for one that the
// Service could have.
func (m *model) checkRefused(t *rapid.T, r config.Request, given Assignment, refusal Refusal) {
	partly := refusal.Reason == v1beta1.ReasonPartiallyAllocated
	if len(given.Addresses) > 0 != partly {
		t.Fatalf("%s has %v and is told %v", r.Key, given.Addresses, refusal)
	}
	for _, p := range m.snapshot.Pools {
		if r.Pool != "" && p.Name != r.Pool {
			continue
		}
		costs := make([]int64, 0, len(r.Families))
		for _, name := range r.Families {
			if cost, available := m.available(r, p, familyNamed(name)); available {
				costs = append(costs, cost)
			}
		}
		every := len(costs) == len(r.Families) && m.allowed(r, p, costs...)
		some := slices.ContainsFunc(costs, func(cost int64) bool { return m.allowed(r, p, cost) })
		if every || some && r.Policy == corev1.IPFamilyPolicyPreferDualStack && !partly && len(r.Addresses) == 0 {
			t.Fatalf("%s is refused (%v), though pool %s has what it wants", r.Key, refusal, p.Name)
		}
	}
}

// available reports whether the pool has an address of the family for the
// Service, and how many that adds to what its namespace holds.
func (m *model) available(r config.Request, p *config.Pool, f family) (cost int64, available bool) {
	if p.Frozen || !p.Allows(r.Namespace, nil, r.Labels) || !p.AutoAssign && r.Pool == "" && len(r.Addresses) == 0 {
		return 0, false
	}
	for _, n := range r.Addresses {
		if q := m.snapshot.PoolOf(n); q != p {
			return 0, false
		}
	}
	cost = 1
	for a := range addressesOf(p, f) {
		isNamed := slices.Contains(r.Addresses, a)
		other := slices.ContainsFunc(r.Addresses, func(n netip.Addr) bool { return familyOf(n) == f && n != a })
		if other || m.avoided[a] && !isNamed || !m.free(r, a) || !admits(p, r, a) || isNamed && m.mustRest(r, p, a) {
			continue
		}
		available = true
		if slices.Contains(m.heldBy(r.Namespace), a) {
			cost = 0
		}
	}
	return cost, available
}

// free reports whether nobody else has the address, or only such as share it.
func (m *model) free(r config.Request, a netip.Addr) bool {
	for _, key := range m.books.Holders(a) {
		if key != r.Key && sharingOf(r).objection(sharingOf(m.asked[key])) != "" {
			return false
		}
	}
	return true
}

// invariants hold at any time.
func (m *model) invariants(t *rapid.T) {
	holders := make(map[netip.Addr][]string)
	for _, key := range m.keys() {
		held := m.books.Holding(key).Addresses
		for _, a := range held {
			holders[a] = append(holders[a], key)
		}
		for _, a := range m.shown[key] {
			if !slices.Contains(holders[a], key) {
				holders[a] = append(holders[a], key)
			}
			if !slices.Contains(m.books.Holders(a), key) {
				t.Fatalf("%s shows %s, which is not booked for it", key, a)
			}
		}
	}
	for a, keys := range holders {
		for i, one := range keys {
			for _, other := range keys[i+1:] {
				mine, theirs := slices.Contains(m.books.Holding(one).Addresses, a), slices.Contains(m.books.Holding(other).Addresses, a)
				if why := sharingOf(m.asked[one]).objection(sharingOf(m.asked[other])); why != "" && mine && theirs {
					t.Fatalf("%s and %s both have %s: %s", one, other, a, why)
				}
			}
		}
	}
	m.checkCounters(t)
}

// checkCounters counts every address of every pool.
func (m *model) checkCounters(t *rapid.T) {
	for _, p := range m.snapshot.Pools {
		var assigned, available [families]int64
		for _, one := range p.Ranges {
			for a := one.First; one.Contains(a); a = a.Next() {
				if !p.Covers(a) {
					continue
				}
				if len(m.books.Holders(a)) > 0 {
					assigned[familyOf(a)]++
				} else if i := reservedBy(p, a); !p.Frozen && !m.avoided[a] && (i < 0 || p.Reservations[i].Namespace != "") {
					available[familyOf(a)]++
				}
			}
		}
		c := m.books.Counters(p.Name)
		outside := int64(len(c.OutsideSpec))
		if c.AssignedIPv4+c.AssignedIPv6 != assigned[ipv4]+assigned[ipv6]+outside ||
			c.AvailableIPv4.Int64() != available[ipv4] || c.AvailableIPv6.Int64() != available[ipv6] {
			t.Fatalf("pool %s: %+v, counted %v assigned and %v available", p.Name, c, assigned, available)
		}
	}
}
