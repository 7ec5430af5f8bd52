package ipam

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/config"
)

// IPAM is the allocator. Use [New].
type IPAM struct {
	snapshot *config.Snapshot
	// order in which pools are tried.
	order    []*pool
	pools    map[string]*pool
	holdings map[string]*holding
	taken    map[netip.Addr]*allocation
	// outside are the taken addresses that no pool covers, by the pool that
	// they came from.
	outside map[string]map[netip.Addr]bool
	// shared are the addresses that Services with a sharing key hold.
	shared map[string]*sharedKey
	// quarantined are the addresses in quarantine, each with the cool-down that it
	// would be in, if any.
	quarantined map[netip.Addr]cooling
	generation  uint64
	// fresh is what was freed since the last Wake, round what before that.
	fresh, round freed
	// now is the time of the allocator, and wakeAt when the next cool-down is over.
	now, wakeAt time.Time
	// scratch is the request in hand: kept here to spare an allocation.
	scratch ask
}

// holding is what one Service has.
type holding struct {
	key, namespace string
	// pool that the addresses came from.
	pool string
	// addresses by family; an invalid one is none.
	addresses [families]netip.Addr
	// leaving addresses are given up, but the cluster may still show them.
	leaving []netip.Addr
	// sharing is nil for a Service that does not share.
	sharing *sharing
	// changed says that sharing changed since the last Assign: of two that
	// may no longer share, the one that changed leaves.
	changed bool
}

// allocation is one taken address and who has it.
type allocation struct {
	// first holder, and the others where the address is shared.
	first  *holding
	others []*holding
	// pool that covers the address, or nil.
	pool *pool
	// home is the name of the pool that covers the address, or did last.
	home string
}

// holders yields all who have the address.
func (t *allocation) holders() iter.Seq[*holding] {
	return func(yield func(*holding) bool) {
		if !yield(t.first) {
			return
		}
		for _, h := range t.others {
			if !yield(h) {
				return
			}
		}
	}
}

// leave takes a holder off; it reports whether any is left.
func (t *allocation) leave(h *holding) bool {
	if t.first != h {
		t.others = slices.DeleteFunc(t.others, func(o *holding) bool { return o == h })
		return true
	}
	if len(t.others) == 0 {
		return false
	}
	t.first, t.others = t.others[0], t.others[1:]
	return true
}

// family of an address, as an index.
type family int

const (
	ipv4 family = iota
	ipv6
	families
)

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

func familyNamed(name corev1.IPFamily) family {
	if name == corev1.IPv6Protocol {
		return ipv6
	}
	return ipv4
}

func (f family) String() string {
	if f == ipv4 {
		return string(corev1.IPv4Protocol)
	}
	return string(corev1.IPv6Protocol)
}

// New makes an allocator without a pool.
func New() *IPAM {
	m := &IPAM{
		holdings: make(map[string]*holding),
		taken:    make(map[netip.Addr]*allocation),
		shared:   make(map[string]*sharedKey),

		quarantined: make(map[netip.Addr]cooling),
		fresh:       newFreed(), round: newFreed(),
	}
	empty, _ := config.Build(config.Objects{})
	m.SetSnapshot(empty)
	return m
}

// Generation changes whenever something happened that may let a waiting
// Service in: an address was freed, pools changed, a sharing Service changed.
func (m *IPAM) Generation() uint64 { return m.generation }

// SetSnapshot puts new pools into use. Nobody's address changes by it; an
// address that no pool covers any more stays with its holder.
func (m *IPAM) SetSnapshot(s *config.Snapshot) {
	m.forgetCooldowns()
	m.snapshot = s
	m.generation++
	m.fresh.everything = true
	before := m.order
	m.pools = make(map[string]*pool, len(s.Pools))
	m.outside = make(map[string]map[netip.Addr]bool)
	m.order = nil
	for _, p := range s.Pools {
		made := newPool(p)
		m.pools[p.Name] = made
		m.order = append(m.order, made)
	}
	slices.SortStableFunc(m.order, func(a, b *pool) int { return cmp.Compare(a.Priority, b.Priority) })
	for a, t := range m.taken {
		m.place(a, t)
		m.countAgain(a, t)
	}
	m.carryCooldowns(before)
	m.forgetCooldowns()
	for a := range m.quarantined {
		m.setAside(a)
	}
}

// place books a taken address into the pool that covers it, or outside.
func (m *IPAM) place(a netip.Addr, t *allocation) {
	t.pool = m.covering(a)
	if t.pool == nil {
		if m.outside[t.home] == nil {
			m.outside[t.home] = make(map[netip.Addr]bool)
		}
		m.outside[t.home][a] = true
		return
	}
	t.home = t.pool.Name
	t.pool.partOf(a).book(a)
}

func (m *IPAM) dropOutside(a netip.Addr, t *allocation) {
	delete(m.outside[t.home], a)
	if len(m.outside[t.home]) == 0 {
		delete(m.outside, t.home)
	}
}

// covering returns the pool that may give the address, or nil.
func (m *IPAM) covering(a netip.Addr) *pool {
	if !a.IsValid() {
		return nil
	}
	if p := m.snapshot.PoolOf(a); p != nil {
		return m.pools[p.Name]
	}
	return nil
}

// homeOf is the pool that the Service's addresses count as coming from: the
// remembered one as long as the Service names it, or it covers one of the
// addresses; else the pool that does; else the remembered one though it is
// gone.
func (m *IPAM) homeOf(h *holding, r config.Request) string {
	if r.Pool != "" && r.Pool == h.pool {
		return h.pool
	}
	home := ""
	for _, a := range h.addresses {
		p := m.covering(a)
		if p == nil {
			continue
		}
		if p.Name == h.pool {
			return h.pool
		}
		if home == "" {
			home = p.Name
		}
	}
	if home == "" {
		return h.pool
	}
	return home
}

// claim books an address to a holding.
func (m *IPAM) claim(h *holding, a netip.Addr, home string) {
	f := familyOf(a)
	isNew := h.addresses[f] != a
	h.addresses[f] = a
	if i := slices.Index(h.leaving, a); i >= 0 {
		h.leaving = slices.Delete(h.leaving, i, i+1)
	}
	switch t := m.taken[a]; {
	case t == nil:
		if m.Quarantined(a) {
			m.quarantined[a] = cooling{} // its cool-down is over
			m.countAside(a, -1)
		}
		t = &allocation{home: home, first: h}
		m.taken[a] = t
		m.place(a, t)
		m.indexShared(h, a)
	case !isNew:
	case t.first != h && !slices.Contains(t.others, h):
		t.others = append(t.others, h)
		m.indexShared(h, a)
	}
	if isNew {
		m.count(h, a, +1)
	}
	m.noteSharing(h.sharing) // there is something to join now
	m.holdings[h.key] = h
}

// leave gives an address up; it stays booked until it is settled.
func (m *IPAM) leave(h *holding, f family) {
	if a := h.addresses[f]; a.IsValid() {
		h.addresses[f] = netip.Addr{}
		m.count(h, a, -1)
		h.leaving = append(h.leaving, a)
	}
}

// release takes an address from a holding.
func (m *IPAM) release(h *holding, a netip.Addr) {
	t := m.taken[a]
	if t == nil {
		return
	}
	m.generation++
	m.noteSharing(h.sharing)
	if t.pool != nil {
		m.noteFree(t.pool, familyOf(a)) // if not for all, then in its namespace's quota
	}
	m.unindexShared(h, a)
	if t.leave(h) {
		// Whoever stays may be joined, under a key that the one that left need not
		// have any more.
		for o := range t.holders() {
			m.noteSharing(o.sharing)
			if o.sharing != nil {
				break
			}
		}
		return
	}
	delete(m.taken, a)
	if t.pool == nil {
		m.dropOutside(a, t)
		return
	}
	if t.pool.giveBack(a, h.namespace, m.now) {
		m.cooldownUntil(m.now.Add(t.pool.ReuseDelay))
	}
	if m.Quarantined(a) {
		m.setAside(a)
	}
}

// Release takes everything from a Service at once: the cluster shows nothing
// of it any more.
func (m *IPAM) Release(key string) {
	h := m.holdings[key]
	if h == nil {
		return
	}
	for f := range families {
		m.leave(h, f)
	}
	m.Settled(key, nil)
}

// GiveUp has a Service leave one of its addresses, or, without a valid one, all.
// They stay booked until Settled says that they are not shown.
func (m *IPAM) GiveUp(key string, a netip.Addr) {
	h := m.holdings[key]
	if h == nil {
		return
	}
	for f := range families {
		if !a.IsValid() || h.addresses[f] == a {
			m.leave(h, f)
		}
	}
}

// Settled says which addresses the cluster shows for a Service now. Those that
// it has left and that are not shown are free from here on.
func (m *IPAM) Settled(key string, shown []netip.Addr) {
	h := m.holdings[key]
	if h == nil {
		return
	}
	left := h.leaving[:0]
	for _, a := range h.leaving {
		if slices.Contains(shown, a) {
			left = append(left, a)
			continue
		}
		m.release(h, a)
	}
	h.leaving = left
	m.forgetEmpty(h)
}

// forgetEmpty drops a holding of nothing.
func (m *IPAM) forgetEmpty(h *holding) {
	if len(h.leaving) == 0 && h.addresses == [families]netip.Addr{} {
		delete(m.holdings, h.key)
	}
}

// Rejection is an address that the cluster shows for a Service but that
// cannot be adopted.
type Rejection struct {
	Address netip.Addr
	Refusal
}

// Adopt books what the cluster shows for a Service and returns what cannot be
// booked: an address that another Service has and may not share, a second one of
// the same family, one that no pool covers while givenBy is empty. Whoever is
// leaving an address does not keep it from a Service that shows it already.
// givenBy is the pool that the Service says its addresses came from.
func (m *IPAM) Adopt(r config.Request, addresses []netip.Addr, givenBy string) []Rejection {
	h := m.open(r)
	if h.pool == "" {
		h.pool = givenBy
	}
	m.setSharing(h, r)
	var rejected []Rejection
	for _, a := range addresses {
		if refusal := m.adoptable(h, a, givenBy); refusal != nil {
			rejected = append(rejected, Rejection{a, *refusal})
			continue
		}
		m.claim(h, a, givenBy)
	}
	h.pool = m.homeOf(h, r)
	return rejected
}

// AdoptOnly books what another wrote for a Service in place of what was decided
// here; see Adopt. What it does not have any more it is leaving.
func (m *IPAM) AdoptOnly(r config.Request, addresses []netip.Addr, givenBy string) []Rejection {
	h := m.open(r)
	for f := range families {
		if !slices.Contains(addresses, h.addresses[f]) {
			m.leave(h, f)
		}
	}
	h.pool = givenBy
	return m.Adopt(r, addresses, givenBy)
}

// open returns the Service's holding, or a new one that is not booked yet.
func (m *IPAM) open(r config.Request) *holding {
	if h := m.holdings[r.Key]; h != nil {
		return h
	}
	return &holding{key: r.Key, namespace: r.Namespace}
}

// Holding returns what a Service has: its addresses and the pool.
func (m *IPAM) Holding(key string) Assignment {
	h := m.holdings[key]
	if h == nil {
		return Assignment{}
	}
	return h.assignment([]corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol})
}

// Known reports whether anything is booked for a Service, be it only an address
// that it is leaving.
func (m *IPAM) Known(key string) bool { return m.holdings[key] != nil }

func (h *holding) assignment(order []corev1.IPFamily) Assignment {
	var given Assignment
	for _, name := range order {
		if a := h.addresses[familyNamed(name)]; a.IsValid() {
			given.Addresses = append(given.Addresses, a)
		}
	}
	if len(given.Addresses) > 0 {
		given.Pool = h.pool
	}
	return given
}
