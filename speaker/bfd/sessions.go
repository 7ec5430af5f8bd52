package bfd

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Sessions are all BFD sessions of a speaker, by the name of the peer. There is
// one where a peer has a profile, by Configure, and a path, by Watch.
type Sessions struct {
	log *slog.Logger

	mu       sync.Mutex // guards the following
	profiles map[string]Profile
	watched  map[string]watched
	live     map[string]*session
	sockets  map[kind]*net.UDPConn
	closed   bool
}

// route of the packets of a session; link-local addresses have a zone.
type route struct {
	local, router netip.Addr
	// multihop: routers may be between (RFC 5883).
	multihop bool
}

// watched is a path, and whom to tell of it.
type watched struct {
	route
	notify func(silent bool)
}

// New makes an empty set.
func New(log *slog.Logger) *Sessions {
	return &Sessions{
		log: log, profiles: map[string]Profile{}, watched: map[string]watched{}, live: map[string]*session{}, sockets: map[kind]*net.UDPConn{},
	}
}

// Configure says which peers are watched, and by what times. A session whose
// times change goes on; one whose profile is gone ends with AdminDown.
func (s *Sessions) Configure(profiles map[string]Profile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.profiles
	s.profiles = profiles
	for peer := range s.watched {
		if before[peer] != profiles[peer] {
			s.reconcile(peer)
		}
	}
}

// Watch says by which path a peer's router is reached from now on. The notify
// function is called after each change of what Status says; silent says that
// the session was Up and the router has not been heard for the detection time.
func (s *Sessions) Watch(peer string, local, router netip.Addr, multihop bool, notify func(silent bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched[peer] = watched{route{local, router, multihop}, notify}
	s.reconcile(peer)
}

// Stop ends the watching of a peer, and says so to the router.
func (s *Sessions) Stop(peer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watched, peer)
	s.reconcile(peer)
}

// reconcile starts, changes or stops a peer's session. The lock is held.
func (s *Sessions) reconcile(peer string) {
	profile, path := s.profiles[peer], s.watched[peer]
	have := s.live[peer]
	wanted := profile.Multiplier > 0 && path.notify != nil && !s.closed
	if have != nil && (!wanted || have.route != path.route) {
		// Another session with the router must not be contradicted by the last
		// words of this one.
		have.stop(!wanted)
		delete(s.live, peer)
		have = nil
	}
	switch {
	case !wanted:
	case have != nil:
		have.configure(profile, path.notify)
	default:
		have = newSession(s, peer, path, profile)
		s.live[peer] = have
		go have.run()
	}
}

// Status returns the state of a peer's session, empty where it is not watched,
// and what keeps it from being Up, empty unless that lasts.
func (s *Sessions) Status(peer string) (state, problem string) {
	s.mu.Lock()
	have := s.live[peer]
	s.mu.Unlock()
	if have == nil {
		return "", ""
	}
	return have.status(time.Now())
}

// Detection is how long a peer's router takes to notice that this node is
// silent, or zero.
func (s *Sessions) Detection(peer string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.profiles[peer].Detection()
}

// Close ends all sessions with AdminDown.
func (s *Sessions) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for peer, have := range s.live {
		have.stop(false)
		delete(s.live, peer)
	}
	for _, conn := range s.sockets {
		_ = conn.Close()
	}
}

// receive takes in a packet from a router. Over one hop only what no router has
// passed on counts (RFC 5881 section 5), over several what comes from as near
// as the profile says.
func (s *Sessions) receive(from netip.Addr, ttl int, multihop bool, data []byte) {
	packet, err := parse(data)
	if err != nil {
		return
	}
	s.mu.Lock()
	var to *session
	for _, one := range s.live {
		known := packet.yourDiscriminator == 0 || packet.yourDiscriminator == one.discriminator
		if known && one.router == from && one.multihop == multihop {
			to = one
		}
	}
	s.mu.Unlock()
	if to != nil {
		to.receive(&packet, ttl)
	}
}
