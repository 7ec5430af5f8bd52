package bfd

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// retryInterval is the pause before a socket is tried again.
	retryInterval = 3 * time.Second
	// lateAfter is how long a session may be down before that is a problem to
	// report.
	lateAfter = 10 * time.Second
	// farewells is how often AdminDown is said where there is no time to say it
	// for the detection time.
	farewells = 3
	// longestFarewell bounds that time.
	longestFarewell = 5 * time.Second
)

// session is one that is kept: a machine with a socket, a clock and a goroutine.
type session struct {
	route
	all           *Sessions
	log           *slog.Logger
	discriminator uint32
	wake, quit    chan struct{}

	mu      sync.Mutex // guards the following
	machine *machine
	notify  func(silent bool)
	conn    *net.UDPConn
	problem string // of the sockets
	late    bool   // has been reported
	linger  bool   // say AdminDown for a while
}

func newSession(all *Sessions, peer string, path watched, p Profile) *session {
	discriminator := rand.Uint32() | 1 //nolint:gosec // it tells sessions apart and is no secret
	return &session{
		route: path.route, all: all, log: all.log.With("peer", peer, "router", path.router.String()), discriminator: discriminator,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), notify: path.notify, machine: newMachine(p, discriminator, time.Now()),
	}
}

// locked runs something short with the lock held, whatever becomes of it.
func (s *session) locked(run func(m *machine)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	run(s.machine)
}

func (s *session) configure(p Profile, notify func(bool)) {
	s.locked(func(m *machine) {
		s.notify = notify
		m.configure(p, time.Now())
	})
	s.poke()
}

func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *session) status(now time.Time) (state, problem string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.machine
	switch {
	case s.problem != "":
		return string(m.state), s.problem
	case m.state == Up || now.Sub(m.lastState) < lateAfter:
		return string(m.state), ""
	case m.remote == 0:
		return string(m.state), fmt.Sprintf(
			"BFD: nothing is heard of the router: is BFD set up there for this node, and UDP port %d open?", s.kind().port())
	}
	return string(m.state), "BFD: the router is heard, and does not hear this node"
}

// stop ends the session with AdminDown: said for the detection time where the
// session may linger (RFC 5880 section 6.8.16), else a few times at once.
func (s *session) stop(linger bool) {
	s.locked(func(m *machine) {
		m.disable(time.Now())
		s.linger = linger
		if s.conn == nil {
			return
		}
		packet := m.packet()
		for range farewells {
			_, _ = s.conn.Write(packet.marshal())
		}
	})
	close(s.quit)
}

// run keeps the session until it is stopped. A fault of ours ends what it was
// doing, and it begins again: nothing else depends on it.
func (s *session) run() {
	for {
		fault := s.guard(s.keep)
		if fault == nil {
			return
		}
		s.log.Error("BFD session ends by a fault of Baliza, please report it", "panic", fault, "stack", string(debug.Stack()))
		if s.pause(retryInterval) {
			return
		}
	}
}

func (s *session) guard(run func()) (fault any) {
	defer func() {
		if recovered := recover(); recovered != nil {
			fault = recovered
		}
	}()
	run()
	return nil
}

// pause returns true when the session was stopped meanwhile.
func (s *session) pause(d time.Duration) (stopped bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.quit:
		return true
	case <-timer.C:
		return false
	}
}

// keep opens the sockets, for as long as that takes, and then sends packets and
// notices when none come.
func (s *session) keep() {
	conn := s.open()
	if conn == nil {
		return
	}
	defer func() { _ = conn.Close() }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.quit:
			s.farewell(conn)
			return
		case <-s.wake:
		case <-timer.C:
		}
		timer.Reset(time.Until(s.tick(conn)))
	}
}

// tick does what is due, and returns when there is more to do.
func (s *session) tick(conn *net.UDPConn) (next time.Time) {
	var packet control
	var send, silent, news bool
	var notify func(bool)
	s.locked(func(m *machine) {
		now := time.Now()
		packet, send, silent = m.tick(now, rand.Float64()) //nolint:gosec // no secret
		late := m.state != Up && now.Sub(m.lastState) >= lateAfter
		news, notify, next = silent || late && !s.late, s.notify, m.next()
		s.late = late
	})
	if send {
		_, _ = conn.Write(packet.marshal())
	}
	if silent {
		s.log.Warn("BFD: the router is not heard any more")
	}
	if news {
		notify(silent)
	}
	return next
}

// open opens the sockets, and tries again until it can or is stopped.
func (s *session) open() *net.UDPConn {
	for {
		conn, err := s.sockets()
		problem := ""
		if err != nil {
			problem = "BFD is off: " + err.Error()
		}
		var news bool
		var notify func(bool)
		s.locked(func(*machine) {
			news, notify = problem != s.problem, s.notify
			s.problem, s.conn = problem, conn
		})
		if news {
			s.log.Warn("BFD sockets", "error", err)
			notify(false)
		}
		if err == nil {
			return conn
		}
		if s.pause(retryInterval) {
			return nil
		}
	}
}

func (s *session) sockets() (*net.UDPConn, error) {
	if err := s.all.listen(s.kind()); err != nil {
		return nil, err
	}
	return s.dial()
}

// farewell says AdminDown for the detection time.
func (s *session) farewell(conn *net.UDPConn) {
	var linger bool
	var packet control
	var end time.Time
	var pace time.Duration
	s.locked(func(m *machine) {
		linger, packet, pace = s.linger, m.packet(), max(m.txInUse, m.remoteRx)
		end = time.Now().Add(min(max(m.detection(), m.profile.Detection()), longestFarewell))
		s.conn = nil
	})
	for linger && time.Now().Before(end) {
		time.Sleep(min(pace, time.Until(end)))
		_, _ = conn.Write(packet.marshal())
	}
}

// receive takes in a packet for this session.
func (s *session) receive(packet *control, ttl int) {
	var before, after State
	var notify func(bool)
	s.locked(func(m *machine) {
		before, notify = m.state, s.notify
		if ttl >= s.leastTTL() {
			if answer, ok := m.receive(packet, time.Now()); ok && s.conn != nil {
				_, _ = s.conn.Write(answer.marshal())
			}
		}
		after = m.state
	})
	s.poke()
	if before != after {
		s.log.Info("BFD", "state", after, "before", before)
		notify(false)
	}
}

// leastTTL that a packet must have. The lock is held.
func (s *session) leastTTL() int {
	if !s.multihop {
		return oneHop
	}
	return int(s.machine.profile.MinTTL)
}
