package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// farewell is how a session ends when it is meant to.
type farewell int

const (
	farewellDeconfigured farewell = iota
	farewellShutdown
)

const (
	// dialTimeout is short: a lost SYN is repeated by the next attempt sooner
	// than by the kernel.
	dialTimeout = 1500 * time.Millisecond
	// longestWait bounds the wait for the router to give up the path of the
	// process before this one.
	longestWait = 5 * time.Second
	// renewPause is what a router gets to take note of the end of the old
	// session before the new one begins.
	renewPause = 100 * time.Millisecond
	// longestPause bounds the pause between attempts with a router that
	// refuses, which doubles with each refusal; a session that lasts stableAfter
	// makes up for them (RFC 4271 section 8.1.1, DampPeerOscillations).
	longestPause = 30 * time.Second
	stableAfter  = 30 * time.Second
	// renewAttempts with a short pause are made after an edit.
	renewAttempts = 5
)

// errRenew ends a connection whose peer was edited.
var errRenew = errors.New("the peer was edited: the session begins anew")

// session is one peer's. Its goroutine has attempt after attempt, one at a time:
// the next begins when the last has ended.
type session struct {
	name   string
	log    *slog.Logger
	all    *Sessions
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // it is the session's life, not a call's
	after  []<-chan struct{}
	done   chan struct{}
	// wake: what is to be told, or the next hops, may have changed. retimed: so
	// have the times. now: the next attempt is not to wait.
	wake, retimed, now chan struct{}

	mu       sync.Mutex // guards the following
	peer     Peer       // as it is wanted
	using    Peer       // of the last attempt
	attempts context.CancelCauseFunc
	conn     *conn // that is established
	renewal  *time.Timer
	desired  Paths
	status   Status
	lacks    string    // what the peer lacks just now
	since    time.Time // when it began to
	parting  farewell
	verdict  string // what the router last said in a NOTIFICATION
}

func newSession(all *Sessions, peer *Peer, after []<-chan struct{}) *session {
	router := peer.Interface
	if router == "" {
		router = peer.Address.String()
	}
	s := &session{
		name: peer.Name, peer: *peer, using: *peer, log: all.log.With("peer", peer.Name, "router", router), all: all, after: after,
		done: make(chan struct{}), wake: make(chan struct{}, 1), retimed: make(chan struct{}, 1), now: make(chan struct{}, 1),
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

// edit takes another peer over.
func (s *session) edit(peer *Peer, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lacks, s.since = "", time.Time{}
	if s.peer == *peer {
		return
	}
	s.peer = *peer
	switch {
	case !s.using.needsNewSession(peer):
		s.using = *peer
		poke(s.retimed)
		s.log.Info("BGP peer edited in place")
	case s.conn != nil && s.renewal == nil:
		s.log.Info("BGP peer edited: its session begins anew", "in", delay)
		s.renewal = time.AfterFunc(delay, s.renew)
	case s.conn != nil: // it will be taken over with the edit before
	default:
		// Nothing is lost by doing it at once.
		if s.attempts != nil {
			s.attempts(errRenew)
		}
		poke(s.now)
	}
}

// renew ends the connection, so that one begins as the peer is now, unless that
// was taken back, or came about by itself.
func (s *session) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewal = nil
	if s.conn != nil && s.using.needsNewSession(&s.peer) {
		s.conn.abort(errRenew)
	}
}

// missing says that the peer is not complete, and reports whether the session
// goes on.
func (s *session) missing(now time.Time, what string, grace time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		s.since = now
		s.log.Warn("BGP session goes on as it is", "missing", what)
	}
	s.lacks = what
	return grace == 0 || now.Sub(s.since) < grace
}

// stop ends the session, soon. It reports whether that is to be a graceful
// restart in the eyes of the router.
func (s *session) stop(how farewell) (graceful bool) {
	s.mu.Lock()
	s.parting = how
	graceful = how == farewellShutdown && s.conn != nil && s.conn.graceful && s.peer.GracefulRestart
	if s.renewal != nil {
		s.renewal.Stop()
	}
	s.mu.Unlock()
	s.cancel()
	return graceful
}

// tell sets what the router is to be told.
func (s *session) tell(paths Paths) {
	s.mu.Lock()
	news := !s.desired.same(paths)
	s.desired = paths
	s.mu.Unlock()
	if news {
		poke(s.wake)
	}
}

func (s *session) wants() Paths {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.desired
}

func (s *session) snapshot() Status {
	s.mu.Lock()
	status := s.status
	if s.lacks != "" && status.LastError == "" {
		status.LastError = s.lacks
	}
	for _, f := range families() {
		status.family(f).Wanted = s.using.carries(f)
	}
	s.mu.Unlock()
	status.BFD, status.BFDError = s.all.monitor.Status(s.name)
	return status
}

func (s *Status) family(f family) *FamilyStatus {
	if f == familyIPv4 {
		return &s.IPv4
	}
	return &s.IPv6
}

// note changes the status, and says so where it is worth a look: the steps of
// an attempt are not.
func (s *session) note(change func(*Status)) {
	s.mu.Lock()
	before := s.status
	change(&s.status)
	now := &s.status
	news := (before.State == Established) != (now.State == Established) || before.LastError != now.LastError ||
		before.Sent != now.Sent || !before.Told.same(now.Told) || before.IPv4 != now.IPv4 || before.IPv6 != now.IPv6 ||
		!slices.Equal(before.Unsent, now.Unsent)
	s.mu.Unlock()
	if news {
		s.all.changed()
	}
}

// begin waits until sessions that were dropped have ended, and until the router
// has given up the BFD session of a process that ended without a word: FRR 8.4
// would end the next BGP session with it, and with that its routes. What BFD
// says while there is no session it ignores.
func (s *session) begin() {
	for _, done := range s.after {
		select {
		case <-done:
		case <-s.ctx.Done():
			return
		}
	}
	if len(s.after) > 0 {
		s.pause(renewPause)
	}
	s.pause(time.Until(s.all.began.Add(min(s.all.monitor.Detection(s.name), longestWait))))
}

func (s *session) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
	case <-timer.C:
	case <-s.now:
	}
}

// run has attempt after attempt until the session is stopped.
func (s *session) run() {
	s.begin()
	var pace pace
	restarted := true // no session of this process with the router yet
	for s.ctx.Err() == nil {
		s.note(func(st *Status) { st.State = Connect })
		began := time.Now()
		err := s.guard(func() error { return s.attempt(&restarted) })
		if s.ctx.Err() != nil {
			break
		}
		s.lost(err)
		s.mu.Lock()
		connectTime := s.peer.ConnectTime
		s.mu.Unlock()
		s.pause(pace.next(connectTime, err, time.Since(began)))
	}
	s.note(func(st *Status) { st.State, st.Sent, st.Told = Idle, 0, nil })
}

// pace is how fast attempts follow each other.
type pace struct {
	refusals, renewals int
}

// next returns the pause after an attempt that ended with err and took so long.
// It is up to a quarter shorter than it might be, so that not all nodes call a
// router at once (RFC 4271 section 10).
func (p *pace) next(connectTime time.Duration, err error, took time.Duration) time.Duration {
	if errors.Is(err, errRenew) {
		p.refusals, p.renewals = 0, renewAttempts
		return renewPause
	}
	if took >= stableAfter {
		p.refusals = 0
	}
	connectTime = max(connectTime, time.Millisecond)
	if p.renewals > 0 {
		// The router may not have noticed the end of the old session.
		p.renewals--
		return min(connectTime, renewPause*time.Duration(renewAttempts-p.renewals))
	}
	if refuses(err) {
		p.refusals++
	}
	const most = 16 // doublings, more than there are up to longestPause
	pause := max(connectTime, min(longestPause, connectTime<<min(most, max(0, p.refusals-1))))
	if !refuses(err) && !errors.Is(err, errClosedEarly) {
		pause = connectTime
	}
	const least = 0.75
	return time.Duration(float64(pause) * (least + (1-least)*rand.Float64())) //nolint:gosec // no secret
}

// refuses reports whether a router that can be reached does not want the
// session, or we do not want it with what it is.
func refuses(err error) bool {
	n, ok := errors.AsType[*notification](err)
	switch {
	case !ok:
		return errors.Is(err, errFault)
	case n.code == wire.BGP_ERROR_OPEN_MESSAGE_ERROR, n.code == wire.BGP_ERROR_UPDATE_MESSAGE_ERROR:
		return true
	case n.code != wire.BGP_ERROR_CEASE || !n.received:
		return false
	}
	switch n.subcode {
	case wire.BGP_ERROR_SUB_MAXIMUM_NUMBER_OF_PREFIXES_REACHED, wire.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN,
		wire.BGP_ERROR_SUB_PEER_DECONFIGURED, wire.BGP_ERROR_SUB_CONNECTION_REJECTED, wire.BGP_ERROR_SUB_OUT_OF_RESOURCES:
		return true
	}
	return false
}

// errFault is a fault of ours.
var errFault = errors.New("a fault of Baliza ended the session, its log has more")

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
		err = fmt.Errorf("%w: %v", errFault, fault)
	}()
	return run()
}

// attempt is one session, from finding the router to its end. It clears
// restarted once the router was reached.
func (s *session) attempt(restarted *bool) error {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	s.mu.Lock()
	s.using = s.peer
	peer := s.peer
	s.attempts = cancel
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.conn, s.attempts = nil, nil
		s.mu.Unlock()
	}()
	if peer.Interface != "" {
		router, err := find(ctx, peer.Interface)
		if err != nil {
			return cmpCause(ctx, err)
		}
		peer.Address = router
	}
	s.note(func(st *Status) { st.Address = peer.Address })
	connection, err := dial(ctx, &peer)
	if err != nil {
		return cmpCause(ctx, err)
	}
	defer func() { _ = connection.Close() }()
	c := newConn(s, &peer, connection, *restarted)
	stop := context.AfterFunc(ctx, func() { c.abort(context.Cause(ctx)) })
	defer stop()
	own := claim{c.local, c.router, peer.Port}
	if other, ok := s.all.take(own, s.name); !ok {
		return fmt.Errorf("BGPPeer %s has a session with %s already", other, c.router)
	}
	defer s.all.release(own)
	err = c.open()
	if err == nil {
		*restarted = false
		s.established(c)
		err = c.exchange()
	}
	c.leave(err)
	return err
}

// cmpCause is why an attempt was given up, if it was.
func cmpCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (s *session) established(c *conn) {
	s.mu.Lock()
	s.conn = c
	s.verdict = ""
	// An edit that came while the session was being opened.
	stale := s.using.needsNewSession(&s.peer)
	s.mu.Unlock()
	s.note(func(st *Status) {
		st.State, st.Since, st.PeerASN, st.LastError, st.GracefulRestart = Established, time.Now(), c.peerASN, "", c.graceful
		st.Established++
	})
	s.log.Info("BGP session established", "asn", c.peerASN, "hold_time", c.hold, "graceful_restart", c.graceful)
	if stale {
		c.abort(errRenew)
		return
	}
	s.all.watch(s, c)
}

// watch has the path of a session watched, unless it was dropped meanwhile.
func (s *Sessions) watch(one *session, c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[one.name] != one {
		return
	}
	s.monitor.Watch(one.name, c.local, c.router, c.multihop(s.addresses), func(silent bool) {
		if silent {
			one.unreachable()
		}
		s.changed()
	})
}

// unreachable ends the connection: the path is broken.
func (s *session) unreachable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		s.conn.abort(newNotification(wire.BGP_ERROR_CEASE, subcodeBFDDown, "BFD: the router is not heard any more"))
	}
}

// lost notes why there is no session. What the router said in a NOTIFICATION
// stands until it answers an OPEN again: that it closes connections since, or
// cannot be reached, follows from it.
func (s *session) lost(err error) {
	words := err.Error()
	n, ok := errors.AsType[*notification](err)
	s.mu.Lock()
	switch {
	case ok:
		s.verdict = ""
		if n.received {
			s.verdict = words
		}
	case s.verdict != "" && errors.Is(err, errClosedEarly):
		words = s.verdict
	case s.verdict != "" && s.status.State != Established:
		words = s.verdict + "; since then: " + words
	}
	before := s.status
	s.mu.Unlock()
	if errors.Is(err, errRenew) {
		words = ""
	}
	s.note(func(st *Status) {
		if st.State == Established {
			st.Since = time.Now()
		}
		st.State, st.LastError, st.Sent, st.Told, st.Unsent, st.GracefulRestart = Idle, words, 0, nil, nil, false
		st.IPv4, st.IPv6 = FamilyStatus{}, FamilyStatus{}
	})
	switch {
	case before.State == Established:
		s.log.Warn("BGP session lost", "error", err)
	case before.LastError != words:
		s.log.Warn("no BGP session", "error", words)
	}
}
