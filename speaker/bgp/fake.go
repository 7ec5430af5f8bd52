package bgp

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
)

// Fake does what Sessions does, without a network: every session is
// established at once, unless it is told otherwise. It is for tests of who
// uses Sessions.
type Fake struct {
	mu      sync.Mutex
	desired map[string]Desired
	refused map[string]string
	changes chan struct{}
	closed  bool
}

// NewFake makes one.
func NewFake() *Fake {
	return &Fake{desired: map[string]Desired{}, refused: map[string]string{}, changes: make(chan struct{}, 1)}
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

// Told returns what a peer's router knows, and whether there is such a peer.
func (f *Fake) Told(peer string) (map[netip.Prefix]*Path, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.desired[peer]
	if f.refused[peer] != "" || f.closed {
		return nil, ok
	}
	told := make(map[netip.Prefix]*Path, len(d.Paths))
	for _, r := range d.Paths {
		told[r.Prefix] = r.Path
	}
	return told, ok
}

// Peer returns a peer as it was last asked for.
func (f *Fake) Peer(name string) Peer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.desired[name].Peer
}

// Apply takes over what is desired.
func (f *Fake) Apply(desired []Desired) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.desired = map[string]Desired{}
	for _, d := range desired {
		f.desired[d.Peer.Name] = d
	}
}

// Status of all sessions, by name.
func (f *Fake) Status() []Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []Status
	for name, d := range f.desired {
		s := Status{Name: name, Address: d.Peer.Address, State: Established, PeerASN: d.Peer.PeerASN, Sent: len(d.Paths), Established: 1}
		if why := f.refused[name]; why != "" {
			s.State, s.LastError, s.Sent, s.Established = Idle, why, 0, 0
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
