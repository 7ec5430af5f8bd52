package page

import (
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/baliza-lb/baliza/cli/explain"
)

// How often what is shown is worked out.
const (
	// shortest is between two, and share of what one costs: a hundredth of a processor.
	shortest = time.Second
	share    = 100
	// longest is after how long it is worked out again though no object has changed: some
	// of it follows from the time.
	longest = 15 * time.Second
	// unused is after how long without a viewer it is forgotten.
	unused = time.Minute
)

// snapshot is what there is to show at one moment. Nothing of it is changed once it is
// made, but what Cluster does is for one goroutine at a time.
type snapshot struct {
	at      time.Time
	version string
	next    time.Time // not before
	changes uint64    // that it knows of

	status   explain.Status
	services []explain.ServiceRow
	moves    []explain.PastMove
	peers    []explain.Session
	unheard  []explain.Unheard

	mu      sync.Mutex
	cluster *explain.Cluster
	// What takes an allocator that knows every Service is worked out when it is first
	// asked for.
	pools   []explain.PoolUse
	explain map[string]explain.Service
}

// mostExplained is how many Services are kept explained.
const mostExplained = 64

// poolUses are the pools and what their addresses are used for.
func (s *snapshot) poolUses() []explain.PoolUse {
	return ask(s, func(c *explain.Cluster) []explain.PoolUse {
		if s.pools == nil {
			s.pools = c.PoolUses()
		}
		return s.pools
	})
}

// explained is what is known of a Service, and whether there is one.
func (s *snapshot) explained(key string) (explain.Service, bool) {
	service := ask(s, func(c *explain.Cluster) explain.Service {
		known, asked := s.explain[key]
		if !asked && c.HasService(key) {
			if len(s.explain) == mostExplained {
				clear(s.explain)
			}
			known, _ = c.Service(key)
			s.explain[key] = known
		}
		return known
	})
	return service, service.Service != ""
}

// ask lets one goroutine at a time ask the cluster.
func ask[T any](s *snapshot, what func(*explain.Cluster) T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return what(s.cluster)
}

// current is what is shown now. It is worked out again if something has changed, and not
// too often.
func (s *Server) current() *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	s.keep(now)
	if old := s.snapshot; old != nil {
		stale := old.changes != s.changed.count() || now.Sub(old.at) >= longest
		if !stale || now.Before(old.next) {
			return old
		}
	}
	s.count++
	s.snapshot = s.workOut(now)
	s.snapshot.next = now.Add(max(shortest, share*s.options.Now().Sub(now)))
	return s.snapshot
}

// keep has the snapshot forgotten when nobody looks any more.
func (s *Server) keep(now time.Time) {
	s.used = now
	if s.forget != nil {
		return
	}
	s.forget = time.AfterFunc(unused, s.forgetUnused)
}

func (s *Server) forgetUnused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := unused - s.options.Now().Sub(s.used); left > 0 {
		s.forget.Reset(left)
		return
	}
	s.snapshot, s.forget = nil, nil
}

func (s *Server) workOut(now time.Time) *snapshot {
	made := &snapshot{at: now, version: strconv.FormatUint(s.count, 10), changes: s.changed.count()}
	c := explain.New(s.options.Objects(), now)
	made.cluster, made.status, made.services = c, c.Status(), c.ServiceRows()
	made.peers, made.unheard, made.explain = c.Peers(), c.Unheard(), map[string]explain.Service{}
	made.moves = c.History(netip.Addr{}, nil).Moves
	return made
}

// changes counts those of objects, and wakes who waits for one.
type changes struct {
	mu      sync.Mutex
	counted uint64
	// next is there while somebody waits.
	next chan struct{}
}

func (c *changes) note() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counted++
	if c.next != nil {
		close(c.next)
		c.next = nil
	}
}

func (c *changes) count() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counted
}

// after is closed at the first change after those counted, which may have been.
func (c *changes) after(counted uint64) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = make(chan struct{})
	}
	if next := c.next; c.counted == counted {
		return next
	}
	been := make(chan struct{})
	close(been)
	return been
}
