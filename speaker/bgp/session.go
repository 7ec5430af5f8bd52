package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// farewell is how a session ends when it is meant to.
type farewell int

const (
	farewellDeconfigured farewell = iota
	farewellShutdown
	// farewellRestart says nothing, so that the router keeps what it has.
	farewellRestart
)

const (
	// dialTimeout is short: a lost SYN is repeated by the next attempt sooner
	// than by the kernel.
	dialTimeout = 1500 * time.Millisecond
	// refusedPause is the least time between attempts while the router refuses
	// what is said to it, a wrong AS number for example.
	refusedPause = 3 * time.Second
	// outlived is the longest wait for the router to give up the path of the
	// process before this one.
	outlived = 5 * time.Second
)

// session is one peer's.
type session struct {
	peer    Peer // but for its BFD, which may change
	log     *slog.Logger
	hub     *hub
	changed func()
	cancel  context.CancelFunc
	ctx     context.Context //nolint:containedctx // it is the session's life, not a call's
	done    chan struct{}
	wake    chan struct{}
	silent  chan struct{} // BFD: the router is not heard any more
	again   bool          // this process had a session with the router before

	mu      sync.Mutex
	desired Paths
	bfd     BFD
	way     way // of the last connection
	status  Status
	parting farewell
}

func newSession(peer *Peer, log *slog.Logger, h *hub, changed func()) *session {
	router := peer.Interface
	if router == "" {
		router = peer.Address.String()
	}
	s := &session{
		peer: *peer, log: log.With("peer", peer.Name, "router", router), hub: h, changed: changed,
		done: make(chan struct{}), wake: make(chan struct{}, 1), silent: make(chan struct{}, 1), bfd: peer.BFD,
		status: Status{Name: peer.Name, Address: peer.Address, State: Idle},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *session) start() {
	go func() {
		defer close(s.done)
		s.run()
	}()
}

// serves tells whether the session is the one that the peer asks for.
func (s *session) serves(peer *Peer) bool {
	a, b := s.peer, *peer
	a.BFD, b.BFD = BFD{}, BFD{}
	return a == b
}

// stop ends the session, soon; its path is watched for as long as the hub does.
func (s *session) stop(how farewell) {
	s.mu.Lock()
	s.parting = how
	s.mu.Unlock()
	s.cancel()
}

// drop ends the session of a peer that is no more, and the watching.
func (s *session) drop() {
	s.stop(farewellDeconfigured)
	s.hub.stop(s) // later it is not watched again: the context has ended
}

// tell sets what the router is to be told.
func (s *session) tell(paths Paths) {
	s.mu.Lock()
	s.desired = paths
	s.mu.Unlock()
	poke(s.wake)
}

// watch sets by what times the path is watched.
func (s *session) watch(times BFD) {
	s.mu.Lock()
	changed := s.bfd != times
	s.bfd = times
	w := s.way
	s.mu.Unlock()
	if changed && w.local.IsValid() {
		s.hub.watch(s, w, times)
	}
}

func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *session) snapshot() Status {
	s.mu.Lock()
	status := s.status
	s.mu.Unlock()
	status.BFD = s.hub.state(s)
	return status
}

// note changes the status.
func (s *session) note(change func(*Status)) {
	s.mu.Lock()
	before := s.status
	change(&s.status)
	news := before.State != s.status.State || before.LastError != s.status.LastError || before.Sent != s.status.Sent
	s.mu.Unlock()
	if news {
		s.changed()
	}
}

// outlive waits until the router has given up the BFD session of a process that
// ended without a word: FRR 8.4 would end the next BGP session with it, and
// with that its routes. What BFD says while there is no session it ignores.
func (s *session) outlive() {
	timer := time.NewTimer(time.Until(s.hub.began.Add(min(s.peer.BFD.detection(), outlived))))
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
	case <-timer.C:
	}
}

// run has session after session until it is stopped.
func (s *session) run() {
	s.outlive()
	for {
		s.note(func(st *Status) { st.State = Connect })
		err := s.guard(s.attempt)
		if s.ctx.Err() != nil {
			s.note(func(st *Status) { st.State, st.Sent = Idle, 0 })
			return
		}
		s.lost(err)
		pause := max(s.peer.ConnectTime, time.Millisecond)
		if refused, ok := errors.AsType[*notification](err); ok && refused.code == wire.BGP_ERROR_OPEN_MESSAGE_ERROR {
			pause = max(pause, refusedPause)
		}
		timer := time.NewTimer(pause)
		select {
		case <-s.ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// guard makes an error of a panic, so that a fault of ours ends one session, as
// a fault of the router's does, and not the process with everything that it
// announces.
func (s *session) guard(run func() error) (err error) {
	defer func() {
		fault := recover()
		if fault == nil {
			return
		}
		s.log.Error("BGP session ends by a fault of Baliza, please report it", "panic", fault, "stack", string(debug.Stack()))
		s.note(func(st *Status) { st.Panics++ })
		err = fmt.Errorf("a fault of Baliza ended the session, its log has more: %v", fault)
	}()
	return run()
}

// attempt is one session, from finding the router to its end.
func (s *session) attempt() error {
	peer := s.peer
	if peer.Interface != "" {
		router, err := find(s.ctx, peer.Interface)
		if err != nil {
			return err
		}
		peer.Address = router
		s.note(func(st *Status) { st.Address = router })
	}
	conn, err := dial(s.ctx, &peer)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return s.converse(conn, peer.Address)
}

// lost notes why there is no session.
func (s *session) lost(err error) {
	var before Status
	s.note(func(st *Status) {
		before = *st
		if st.State == Established {
			st.Since = time.Now()
		}
		st.State, st.LastError, st.Sent = Idle, err.Error(), 0
	})
	switch {
	case before.State == Established:
		s.log.Warn("BGP session lost", "error", err)
	case before.LastError != err.Error():
		s.log.Warn("no BGP session", "error", err)
	}
}

// converse is one connection, from the OPEN to its end.
func (s *session) converse(conn net.Conn, router netip.Addr) error {
	stop := context.AfterFunc(s.ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	c := &conversation{session: s, conn: conn, local: localAddress(conn), router: router}
	err := c.open()
	if err == nil {
		s.established(c)
		err = c.talk()
	}
	c.leave(err)
	return err
}

func (s *session) established(c *conversation) {
	s.again = true
	s.note(func(st *Status) {
		st.State, st.Since, st.PeerASN, st.LastError = Established, time.Now(), c.peerASN, ""
		st.Established++
	})
	s.log.Info("BGP session established", "asn", c.peerASN, "hold_time", c.hold)
	w := way{local: c.local, router: c.router, several: c.severalHops()}
	s.mu.Lock()
	s.way = w
	times := s.bfd
	s.mu.Unlock()
	select {
	case <-s.silent: // of before
	default:
	}
	s.hub.watch(s, w, times)
}
