package ipam

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// usage is what the model knows about reservations, quotas, rest and order.
type usage struct {
	now time.Time
	// freed are the addresses that somebody had, as far as that matters.
	freed map[netip.Addr]cooling
	// avoided are the addresses in quarantine.
	avoided map[netip.Addr]bool
}

// genUse draws reservations, a quota, a rest and an order.
func genUse(t *rapid.T, s *v1beta1.IPAddressPoolSpec, n int) {
	if rapid.IntRange(0, 2).Draw(t, "reserves") == 0 {
		owner := rapid.SampledFrom([]string{"", "red", "blue", "red/s1", "blue/s2"})
		host := rapid.IntRange(0, 8)
		reserve(owner.Draw(t, "owner"), fmt.Sprintf("192.0.%d.%d", n, host.Draw(t, "host")), fmt.Sprintf("2001:db8:%d::2/127", n))(s)
		reserve(owner.Draw(t, "owner"), fmt.Sprintf("192.0.%d.2-192.0.%d.5", n, n))(s)
	}
	if rapid.IntRange(0, 2).Draw(t, "quotas") == 0 {
		quota(rapid.Int32Range(0, 3).Draw(t, "each"), "red", rapid.Int32Range(0, 3).Draw(t, "red"))(s)
	}
	s.ReuseDelay = &metav1.Duration{Duration: rapid.SampledFrom([]time.Duration{0, time.Minute, time.Hour}).Draw(t, "rest")}
	if rapid.Bool().Draw(t, "least recently used") {
		leastRecentlyUsed(s)
	}
}

func (m *model) wait(d time.Duration) {
	m.now = m.now.Add(d)
	m.books.Advance(m.now)
	m.prune()
}

// prune forgets rests that are over where the order does not need them, and
// those of addresses that no pool has.
func (m *model) prune() {
	for a, r := range m.freed {
		p := m.snapshot.PoolOf(a)
		if p == nil || !p.LeastRecentlyUsed && !m.rests(p, r) {
			delete(m.freed, a)
		}
	}
}

func (m *model) rests(p *config.Pool, r cooling) bool {
	return m.now.Sub(time.Unix(0, r.at)) < p.ReuseDelay
}

// noteFreed compares what is booked for a Service before and after a change.
func (m *model) noteFreed(key string) func() {
	namespace, _, _ := strings.Cut(key, "/")
	var before []netip.Addr
	for a := range m.books.taken {
		if slices.Contains(m.books.Holders(a), key) {
			before = append(before, a)
		}
	}
	return func() {
		for _, a := range before {
			if len(m.books.Holders(a)) == 0 {
				m.freed[a] = cooling{numberOf(a), m.now.UnixNano(), namespace}
			}
		}
		m.prune()
	}
}

func (m *model) forgetFreed(given []netip.Addr) {
	for _, a := range given {
		delete(m.freed, a)
	}
}

// heldBy are the addresses that Services of a namespace have.
func (m *model) heldBy(namespace string) []netip.Addr {
	var held []netip.Addr
	for _, key := range m.keys() {
		if strings.HasPrefix(key, namespace+"/") {
			held = append(held, m.books.Holding(key).Addresses...)
		}
	}
	slices.SortFunc(held, netip.Addr.Compare)
	return slices.Compact(held)
}

func within(held []netip.Addr, p *config.Pool) (n int64) {
	for _, a := range held {
		if p.Covers(a) {
			n++
		}
	}
	return n
}

// allowed reports whether the namespace's quota lets it hold so many more.
func (m *model) allowed(r config.Request, p *config.Pool, costs ...int64) bool {
	var more int64
	for _, cost := range costs {
		more += cost
	}
	limit, limited := p.Quota(r.Namespace)
	return !limited || more == 0 || within(m.heldBy(r.Namespace), p)+more <= limit
}

// addressesOf yields every address of a family that a pool may give.
func addressesOf(p *config.Pool, f family) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for _, one := range p.Ranges {
			for a := one.First; one.Contains(a); a = a.Next() {
				if familyOf(a) == f && p.Covers(a) && !yield(a) {
					return
				}
			}
		}
	}
}

// reservedBy is the index of the reservation that has the address, or -1.
func reservedBy(p *config.Pool, a netip.Addr) int {
	return slices.IndexFunc(p.Reservations, func(o config.Reservation) bool {
		return slices.ContainsFunc(o.Ranges, func(r config.Range) bool { return r.Contains(a) })
	})
}

func admits(p *config.Pool, r config.Request, a netip.Addr) bool {
	i := reservedBy(p, a)
	return i < 0 || p.Reservations[i].Admits(r.Namespace, r.Key)
}

// ready reports whether nobody has the address and it does not rest for others.
func (m *model) ready(r config.Request, p *config.Pool, a netip.Addr) bool {
	freed, found := m.freed[a]
	return len(m.books.Holders(a)) == 0 && !m.avoided[a] && (!found || freed.namespace == r.Namespace || !m.rests(p, freed))
}

// mustRest reports whether the address rests for others though the Service could
// have another.
func (m *model) mustRest(r config.Request, p *config.Pool, a netip.Addr) bool {
	freed, found := m.freed[a]
	if !found || freed.namespace == r.Namespace || !m.rests(p, freed) {
		return false
	}
	for b := range addressesOf(p, familyOf(a)) {
		if b != a && admits(p, r, b) && m.ready(r, p, b) {
			return true
		}
	}
	return false
}

// checkUse checks reservations, quota, rest and order for an address that was
// just given.
func (m *model) checkUse(t *rapid.T, r config.Request, held []netip.Addr, a netip.Addr) {
	p := m.snapshot.PoolOf(a)
	if !admits(p, r, a) {
		t.Fatalf("%s is given %s, which is reserved for others", r.Key, a)
	}
	before, after := within(held, p), within(m.heldBy(r.Namespace), p)
	if limit, limited := p.Quota(r.Namespace); limited && after > limit && after > before {
		t.Fatalf("%s is given %s beyond the quota: %d of %d", r.Key, a, after, limit)
	}
	if m.mustRest(r, p, a) {
		t.Fatalf("%s is given %s, which rests", r.Key, a)
	}
	named := slices.Contains(r.Addresses, a)
	if m.avoided[a] && !named {
		t.Fatalf("%s is given %s, which is in quarantine", r.Key, a)
	}
	if named || len(m.books.Holders(a)) > 1 || slices.Contains(m.shown[r.Key], a) {
		return
	}
	_, used := m.freed[a]
	if mine, found := m.freed[a]; found && mine.namespace != r.Namespace && m.rests(p, mine) {
		return // the last resort
	}
	for b := range addressesOf(p, familyOf(a)) {
		if reservedBy(p, b) != reservedBy(p, a) || !m.ready(r, p, b) {
			continue
		}
		_, bUsed := m.freed[b]
		if p.LeastRecentlyUsed && used && !bUsed || !p.LeastRecentlyUsed && b.Less(a) {
			t.Fatalf("%s is given %s of %s, though %s is first", r.Key, a, p.Name, b)
		}
	}
}
