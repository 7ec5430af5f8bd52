package bgp

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"

	"github.com/baliza-lb/baliza/speaker/model"
)

// Fake does what Sessions does, without a network: every session is
// established at once, unless it is told otherwise. It is for tests of who
// uses Sessions.
type Fake struct {
	mu        sync.Mutex
	desired   map[string]Desired
	refused   map[string]string
	uncarried map[string]map[bool]string // by peer and whether it is IPv6
	plain     map[string]bool            // without graceful restart
	changes   chan struct{}
	closed    bool
}

// NewFake makes one.
func NewFake() *Fake {
	return &Fake{
		desired: map[string]Desired{}, refused: map[string]string{}, uncarried: map[string]map[bool]string{}, plain: map[string]bool{},
		changes: make(chan struct{}, 1),
	}
}

// Refuse makes a peer's session fail for this reason; an empty one lets it be.
func (f *Fake) Refuse(peer, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.refused, peer)
	if reason != "" {
		f.refused[peer] = reason
	}
	poke(f.changes)
}

// Uncarry makes a peer's session not carry a family for this reason; an empty
// one lets it be.
func (f *Fake) Uncarry(peer string, ipv6 bool, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.uncarried[peer] == nil {
		f.uncarried[peer] = map[bool]string{}
	}
	f.uncarried[peer][ipv6] = reason
	poke(f.changes)
}

// RefuseGracefulRestart makes a peer's router one that has none.
func (f *Fake) RefuseGracefulRestart(peer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plain[peer] = true
}

// Told returns what a peer's router knows, and whether there is such a peer.
func (f *Fake) Told(peer string) (map[netip.Prefix]model.Attributes, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.desired[peer]
	if f.refused[peer] != "" || f.closed {
		return nil, ok
	}
	told := make(map[netip.Prefix]model.Attributes, len(d.Paths))
	for _, r := range d.Paths {
		told[r.Prefix] = r.Attributes.Value()
	}
	return told, ok
}

// Peer returns a peer as it was last asked for.
func (f *Fake) Peer(name string) Peer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.desired[name].Peer
}

// Apply takes over what is desired. A peer that lacks something stays as it was.
func (f *Fake) Apply(desired []Desired) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.desired
	f.desired = map[string]Desired{}
	for _, d := range desired {
		name := d.Peer.Name
		if had, ok := before[name]; d.Missing != "" && ok && had.Missing == "" {
			d = Desired{Peer: had.Peer, Paths: d.Paths}
		}
		f.desired[name] = d
	}
}

// SetAddresses changes nothing.
func (f *Fake) SetAddresses([]Address) {}

// Status of all sessions, by name.
func (f *Fake) Status() []Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []Status
	for name, d := range f.desired {
		s := Status{Name: name, Address: d.Peer.Address, State: Idle, LastError: cmp.Or(f.refused[name], d.Missing)}
		if s.LastError == "" {
			s.State, s.PeerASN, s.Established = Established, d.Peer.PeerASN, 1
			s.GracefulRestart = d.Peer.GracefulRestart && !f.plain[name]
			for _, family := range families() {
				why := f.uncarried[name][family == familyIPv6]
				*s.family(family) = FamilyStatus{Wanted: d.Peer.carries(family), Carried: why == "" && d.Peer.carries(family), Why: why}
			}
			for _, r := range d.Paths {
				if s.Family(r.Prefix.Addr()).Carried {
					s.Told = append(s.Told, r)
				}
			}
			s.Sent = len(s.Told)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Changes receives after Refuse.
func (f *Fake) Changes() <-chan struct{} { return f.changes }

// Close ends all sessions.
func (f *Fake) Close(context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}
