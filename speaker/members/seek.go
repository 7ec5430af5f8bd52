package members

import (
	"context"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// seeker calls the speakers that should be there and are not. A call is one
// UDP packet; only who answers is joined, over TCP.
type seeker struct {
	m    *Members
	wake chan struct{}

	mu     sync.Mutex
	wanted map[string]netip.AddrPort
	known  map[string]*lost
	still  bool
}

// lost is a speaker that is not alive, or was not when we last looked.
type lost struct {
	at      netip.AddrPort
	since   time.Time // when it was last alive, or first heard of
	next    time.Time // when to call again
	calling bool
}

func newSeeker(m *Members) *seeker {
	return &seeker{m: m, wake: make(chan struct{}, 1), known: map[string]*lost{}}
}

func (s *seeker) want(peers map[string]netip.AddrPort) {
	s.mu.Lock()
	changed := !maps.Equal(s.wanted, peers)
	s.wanted = maps.Clone(peers)
	s.mu.Unlock()
	if changed {
		s.nudge()
	}
}

func (s *seeker) nudge() {
	s.mu.Lock()
	for _, l := range s.known {
		l.next, l.since = time.Time{}, time.Now()
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// quiet ends the calls: the speaker is leaving.
func (s *seeker) quiet() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.still = true
}

func (s *seeker) run(ctx context.Context) {
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		for name, at := range s.due(time.Now()) {
			calls.Go(func() { s.call(name, at) })
		}
		timer := time.NewTimer(s.jittered(s.m.settings.SeekInterval) / 2)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// due brings the list of the lost up to date and returns who is to be called.
func (s *seeker) due(now time.Time) map[string]netip.AddrPort {
	alive := s.m.joined()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, at := range alive {
		// Remember where the living are, for the day they are lost.
		s.remember(name, at, now).since = now
	}
	for name, at := range s.wanted {
		if _, ok := alive[name]; !ok {
			s.remember(name, at, now)
		}
	}
	due := map[string]netip.AddrPort{}
	for name, l := range s.known {
		_, living := alive[name]
		_, wanted := s.wanted[name]
		switch {
		case living, name == s.m.name, s.still, l.calling, l.next.After(now):
		case !wanted && now.Sub(l.since) > s.m.settings.ForgetAfter:
			delete(s.known, name)
			s.m.forget(name)
		default:
			interval := s.m.settings.SeekInterval
			if now.Sub(l.since) > time.Minute {
				interval = s.m.settings.SeekSlowly
			}
			l.next, l.calling = now.Add(s.jittered(interval)), true
			due[name] = l.at
		}
	}
	return due
}

func (s *seeker) remember(name string, at netip.AddrPort, now time.Time) *lost {
	l := s.known[name]
	if l == nil {
		l = &lost{since: now}
		s.known[name] = l
	}
	l.at = at
	return l
}

// joined returns where those are that memberlist knows and the pulse hears.
func (m *Members) joined() map[string]netip.AddrPort {
	all := map[string]netip.AddrPort{m.name: m.address}
	listed := m.list.Members()
	m.pulse.mu.Lock()
	defer m.pulse.mu.Unlock()
	for _, n := range listed {
		if p := m.pulse.detector.peers[n.Name]; p != nil && p.alive {
			all[n.Name] = p.at
		}
	}
	return all
}

func (m *Members) forget(name string) {
	m.pulse.mu.Lock()
	defer m.pulse.mu.Unlock()
	m.pulse.detector.forget(name)
}

// call pings one lost speaker and joins it if it answers.
func (s *seeker) call(name string, at netip.AddrPort) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if l := s.known[name]; l != nil {
			l.calling = false
		}
	}()
	if _, err := s.m.list.Ping(name, net.UDPAddrFromAddrPort(at)); err != nil {
		return
	}
	if _, err := s.m.list.Join([]string{name + "/" + at.String()}); err != nil {
		s.m.logger.Debug("a speaker answers but cannot be joined", "speaker", name, "address", at, "error", err)
	}
}

func (s *seeker) jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.75 + 0.5*rand.Float64())) //nolint:gosec // not a secret
}
