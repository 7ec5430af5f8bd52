package bgp

import (
	"cmp"
	"context"
	"hash/fnv"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Monitor watches the paths to routers, by the name of the peer: speaker/bfd
// has one.
type Monitor interface {
	// Watch says by which path the router is reached from now on. The function
	// is called after a change of the status; silent says that the router has
	// not been heard for the detection time.
	Watch(peer string, local, router netip.Addr, multihop bool, notify func(silent bool))
	// Stop ends the watching, which the router is told.
	Stop(peer string)
	// Status is the state, empty where nothing is watched, and what is wrong.
	Status(peer string) (state, problem string)
	// Detection is how long the router takes to notice our silence, or zero.
	Detection(peer string) time.Duration
	Close()
}

// Options of Sessions.
type Options struct {
	Log *slog.Logger
	// Node is the name of this node, and Address one at which others reach it:
	// the BGP identifier follows from them. Address may not be valid.
	Node    string
	Address netip.Addr
	// Monitor is nil where no path is watched.
	Monitor Monitor
}

// Address is one of this node that may be a next hop: it is neither tentative,
// nor has it failed duplicate address detection.
type Address struct {
	Interface string
	Prefix    netip.Prefix
	// Deprecated and Temporary addresses (RFC 4862, RFC 8981) are used where
	// there is nothing better.
	Deprecated, Temporary bool
}

// Sessions are all sessions of a speaker.
type Sessions struct {
	log     *slog.Logger
	node    Options
	monitor Monitor
	changes chan struct{}
	began   time.Time

	mu        sync.Mutex // guards the following
	all       map[string]*session
	absent    map[string]Status // peers without a session
	ending    []<-chan struct{} // sessions that were dropped, until they have ended
	addresses []Address
	claims    map[claim]string // connections that there are, and whose
	closed    bool
}

// claim is what only one connection of BGP may have: a router knows a neighbor
// by its address, and takes a second connection for its restart.
type claim struct {
	local, router netip.Addr
	port          uint16
}

// New makes an empty set.
func New(o Options) *Sessions {
	s := &Sessions{
		log: o.Log, node: o, monitor: o.Monitor, changes: make(chan struct{}, 1), began: time.Now(),
		all: map[string]*session{}, absent: map[string]Status{}, claims: map[claim]string{},
	}
	if s.monitor == nil {
		s.monitor = blind{}
	}
	return s
}

func (s *Sessions) changed() { poke(s.changes) }

func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Changes receives after something that is worth a look changed: a session was
// established or lost, what the router was told, or why it is not. That a router
// which cannot be reached is tried again is not. Several changes may come as one.
func (s *Sessions) Changes() <-chan struct{} { return s.changes }

// SetAddresses says which addresses this node has. Next hops follow them, in
// sessions that are established, too.
func (s *Sessions) SetAddresses(addresses []Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Equal(s.addresses, addresses) {
		return
	}
	s.addresses = slices.Clone(addresses)
	for _, one := range s.all {
		poke(one.wake)
	}
}

func (s *Sessions) addressesNow() []Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addresses
}

// EditDelay is how long a node waits with an edit for which sessions have to
// begin anew: the nodes do so one after the other, in the order of a hash of
// their names, so that an edit never takes all paths at once. They are a second
// apart, and closer where that would take more than two minutes.
func EditDelay(node string, nodes []string) time.Duration {
	const apart, longest = time.Second, 2 * time.Minute
	before := 0
	own := editOrder(node)
	for _, other := range nodes {
		if order := editOrder(other); order < own || order == own && other < node {
			before++
		}
	}
	return min(apart, longest/time.Duration(max(1, len(nodes)))) * time.Duration(before)
}

func editOrder(node string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(node))
	return h.Sum64()
}

// Apply brings about that there is one session for each of the peers and that
// its router is told these paths. What of a peer needs no new session changes in
// the one that there is; for the rest it begins anew, after EditDelay, once the
// old one has ended.
func (s *Sessions) Apply(desired []Desired) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	wanted := make(map[string]bool, len(desired))
	s.absent = map[string]Status{}
	for i := range desired {
		wanted[desired[i].Peer.Name] = true
	}
	for name, have := range s.all {
		if !wanted[name] {
			s.drop(have)
		}
	}
	now := time.Now()
	for i := range desired {
		s.apply(now, &desired[i])
	}
}

// apply is Apply for one peer. The lock is held.
func (s *Sessions) apply(now time.Time, d *Desired) {
	have := s.all[d.Peer.Name]
	if d.Missing == "" {
		if have == nil {
			have = newSession(s, &d.Peer, s.endings())
			s.all[d.Peer.Name] = have
			have.tell(d.Paths)
			have.start()
			return
		}
		have.edit(&d.Peer, d.EditDelay)
		have.tell(d.Paths)
		return
	}
	if have != nil && have.missing(now, d.Missing, d.Grace) {
		have.tell(d.Paths)
		return
	}
	if have != nil {
		s.drop(have)
	}
	s.absent[d.Peer.Name] = Status{Name: d.Peer.Name, Address: d.Peer.Address, State: Idle, LastError: d.Missing}
}

// drop ends the session of a peer that is no more, and the watching. The lock is
// held.
func (s *Sessions) drop(have *session) {
	have.stop(farewellDeconfigured)
	s.monitor.Stop(have.name)
	s.ending = append(s.ending, have.done)
	delete(s.all, have.name)
}

// endings are the sessions that have yet to end. One that begins waits for
// them: a router refuses the second connection of a neighbor that it takes for
// established. The lock is held.
func (s *Sessions) endings() []<-chan struct{} {
	s.ending = slices.DeleteFunc(s.ending, func(done <-chan struct{}) bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	return slices.Clone(s.ending)
}

// Status of all sessions, by name.
func (s *Sessions) Status() []Status {
	s.mu.Lock()
	all := make([]Status, 0, len(s.all)+len(s.absent))
	for _, status := range s.absent {
		all = append(all, status)
	}
	sessions := make([]*session, 0, len(s.all))
	for _, one := range s.all {
		sessions = append(sessions, one)
	}
	s.mu.Unlock()
	for _, one := range sessions {
		all = append(all, one.snapshot())
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// take claims a connection for a peer, unless another has it, whose name it
// returns then.
func (s *Sessions) take(c claim, peer string) (other string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, taken := s.claims[c]; taken && other != peer {
		return other, false
	}
	s.claims[c] = peer
	return "", true
}

func (s *Sessions) release(c claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.claims, c)
}

// farewellPause is the time that routers have to notice the end of a connection
// before they are told over BFD. FRR 8.4 takes AdminDown for a failure: it
// would flush the routes of a session that it has not seen end, though they
// are to be kept over a restart.
const farewellPause = 100 * time.Millisecond

// Close ends all sessions: those where graceful restart is wanted and was agreed
// on so that the router keeps its routes, the others with a NOTIFICATION; then
// the routers are told over BFD. It returns when they have ended, or with the
// context.
func (s *Sessions) Close(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	ended := s.ending
	graceful := false
	for _, one := range s.all {
		graceful = one.stop(farewellShutdown) || graceful
		ended = append(ended, one.done)
	}
	s.all, s.ending = map[string]*session{}, nil
	s.mu.Unlock()
	for _, done := range ended {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
	if graceful {
		select {
		case <-time.After(farewellPause):
		case <-ctx.Done():
		}
	}
	s.monitor.Close()
}

// blind is a Monitor that sees nothing.
type blind struct{}

func (blind) Watch(string, netip.Addr, netip.Addr, bool, func(bool)) {}
func (blind) Stop(string)                                            {}
func (blind) Status(string) (state, problem string)                  { return "", "" }
func (blind) Detection(string) time.Duration                         { return 0 }
func (blind) Close()                                                 {}
