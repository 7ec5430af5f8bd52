package bgp

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Sessions are all sessions of a speaker.
type Sessions struct {
	log     *slog.Logger
	hub     *hub
	changes chan struct{}

	mu     sync.Mutex
	all    map[string]*session
	closed bool
}

// New makes an empty set.
func New(log *slog.Logger) *Sessions {
	s := &Sessions{log: log, changes: make(chan struct{}, 1), all: map[string]*session{}}
	s.hub = newHub(log, s.changed)
	return s
}

func (s *Sessions) changed() {
	select {
	case s.changes <- struct{}{}:
	default:
	}
}

// Changes receives after the state of a session changed; several changes may
// come as one.
func (s *Sessions) Changes() <-chan struct{} { return s.changes }

// Apply brings about that there is one session for each of the peers and that
// its router is told these paths. A session whose peer changed begins anew;
// other paths, or other times of BFD, leave it as it is.
func (s *Sessions) Apply(desired []Desired) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	wanted := make(map[string]bool, len(desired))
	for i := range desired {
		peer := desired[i].Peer
		wanted[peer.Name] = true
		have := s.all[peer.Name]
		if have != nil && !have.serves(&peer) {
			have.drop()
			have = nil
		}
		if have == nil {
			have = newSession(&peer, s.log, s.hub, s.changed)
			s.all[peer.Name] = have
			have.tell(desired[i].Paths)
			have.start()
			continue
		}
		have.watch(peer.BFD)
		have.tell(desired[i].Paths)
	}
	for name, have := range s.all {
		if !wanted[name] {
			have.drop()
			delete(s.all, name)
		}
	}
}

// Status of all sessions, by name.
func (s *Sessions) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, 0, len(s.all))
	for _, one := range s.all {
		all = append(all, one.snapshot())
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// overheard is the time that routers have to notice the end of a connection
// before they are told over BFD. FRR 8.4 takes AdminDown for a failure: it
// would flush the routes of a session that it has not seen end, though they
// are to be kept over a restart.
const overheard = 100 * time.Millisecond

// Close ends all sessions: those with graceful restart so that the router
// keeps its routes, the others with a NOTIFICATION; then it says AdminDown. It
// returns when they have ended, or with the context.
func (s *Sessions) Close(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	var ended []<-chan struct{}
	graceful := false
	for _, one := range s.all {
		farewell := farewellShutdown
		if one.peer.GracefulRestart {
			farewell, graceful = farewellRestart, true
		}
		one.stop(farewell)
		ended = append(ended, one.done)
	}
	s.all = map[string]*session{}
	s.mu.Unlock()
	for _, done := range ended {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
	if graceful {
		select {
		case <-time.After(overheard):
		case <-ctx.Done():
		}
	}
	s.hub.close()
}
