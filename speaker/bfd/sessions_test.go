package bfd

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/internal/netnstest"
)

const local, remote = "127.0.0.1", "127.0.0.2"

// down is how a router begins.
func down() []byte {
	c := control{state: Down, detectMult: 3, myDiscriminator: 7, desiredMinTx: time.Second, requiredMinRx: time.Second}
	return c.marshal()
}

func newTestSessions(t *testing.T, p Profile) *Sessions {
	t.Helper()
	s := New(slog.New(slog.DiscardHandler))
	t.Cleanup(s.Close)
	s.Configure(map[string]Profile{"r": p})
	return s
}

func watch(s *Sessions, multihop bool, notify func(bool)) {
	s.Watch("r", netip.MustParseAddr(local), netip.MustParseAddr(remote), multihop, notify)
}

func await(t *testing.T, what string, good func() bool) {
	t.Helper()
	for began := time.Now(); !good(); time.Sleep(5 * ms) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("not %s", what)
		}
	}
}

func TestB09_What_comes_from_too_far_does_not_count(t *testing.T) {
	netnstest.Need(t)
	for sentence, test := range map[string]struct {
		watched, port bool // several hops
		ttl           int
		want          State
	}{
		"one hop, sent one hop away":                      {false, false, 255, Init},
		"one hop, passed on by a router":                  {false, false, 254, Down},
		"one hop, on the port for several":                {false, true, 255, Down},
		"several hops, as near as they must be":           {true, true, 252, Init},
		"several hops, nearer":                            {true, true, 255, Init},
		"several hops, further away than the profile has": {true, true, 251, Down},
		"several hops, on the port for one":               {true, false, 255, Down},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := newTestSessions(t, Profile{time.Second, time.Second, 3, 252, true})
			watch(s, test.watched, func(bool) {})
			s.receive(netip.MustParseAddr(remote), test.ttl, test.port, down())
			if got, _ := s.Status("r"); got != string(test.want) {
				t.Errorf("it is %s, want %s", got, test.want)
			}
		})
	}
}

// Packets go to and come in at another port (RFC 5883), with the TTL that the
// profile allows.
func TestB09_BFD_over_several_hops(t *testing.T) {
	netnstest.Need(t)
	s := newTestSessions(t, Profile{Receive: 100 * ms, Transmit: 100 * ms, Multiplier: 3, MinTTL: 253})
	watch(s, true, func(bool) {})
	conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(remote), Port: 50000}, &net.UDPAddr{IP: net.ParseIP(local), Port: portMultihop})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := ipv4.NewConn(conn).SetTTL(253); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			_, _ = conn.Write(down())
			time.Sleep(20 * ms)
		}
	}()
	await(t, "answered", func() bool { state, _ := s.Status("r"); return state == string(Init) })
}

// D13, T21: another daemon has the port. That is said, and tried again.
func TestD13_T21_APortThatIsTaken(t *testing.T) {
	netnstest.Need(t)
	taken, err := net.ListenUDP("udp4", &net.UDPAddr{Port: portOneHop})
	if err != nil {
		t.Fatal(err)
	}
	s := newTestSessions(t, fast())
	var told atomic.Int32
	watch(s, false, func(bool) { told.Add(1) })
	await(t, "said", func() bool {
		state, problem := s.Status("r")
		return state == string(Down) && strings.Contains(problem, "3784") && strings.Contains(problem, "in use")
	})
	await(t, "told", func() bool { return told.Load() == 1 })
	_ = taken.Close()
	await(t, "tried again", func() bool { _, problem := s.Status("r"); return problem == "" })
}

// D13, D27: a session that never comes up is a problem after a while.
func TestD13_ASessionThatDoesNotComeUpIsSaid(t *testing.T) {
	for sentence, test := range map[string]struct {
		after time.Duration
		heard bool
		want  string
	}{
		"it may take a moment":    {lateAfter - ms, false, ""},
		"nothing is heard":        {lateAfter, false, "nothing is heard"},
		"the router is deaf":      {lateAfter, true, "does not hear this node"},
		"the router was deaf, up": {0, true, ""},
	} {
		now := time.Unix(1000, 0)
		s := &session{route: route{local: netip.MustParseAddr(local)}, machine: newMachine(fast(), 1, now)}
		if test.heard {
			s.machine.remote = 9
		}
		if _, problem := s.status(now.Add(test.after)); (problem == "") != (test.want == "") || !strings.Contains(problem, test.want) {
			t.Errorf("%s: %q, want %q", sentence, problem, test.want)
		}
	}
}

// Over real sockets, with both ends in one set, for they have other addresses:
// up, faster and slower without going down (D3), silence, and back.
func TestD3_EditsOfAProfileOverSockets(t *testing.T) {
	netnstest.Need(t)
	slow := Profile{Receive: 500 * ms, Transmit: 500 * ms, Multiplier: 3}
	// Many in a row, so that a busy machine is not taken for a silent one; what
	// an edit does to the timers is judged on the pure machine.
	quick := Profile{Receive: 50 * ms, Transmit: 50 * ms, Multiplier: 20}
	s := newTestSessions(t, slow)
	s.Configure(map[string]Profile{"r": slow, "its end": quick})
	var silent atomic.Int32
	watch(s, false, func(was bool) {
		if was {
			silent.Add(1)
		}
	})
	begin := func() {
		s.Watch("its end", netip.MustParseAddr(remote), netip.MustParseAddr(local), false, func(bool) {})
	}
	begin()
	isUp := func() bool { state, _ := s.Status("r"); return state == string(Up) }
	await(t, "up", isUp)
	for i, p := range []Profile{quick, slow, {300 * ms, 50 * ms, 20, 0, false}, {50 * ms, 300 * ms, 20, 0, false}, slow, quick} {
		s.Configure(map[string]Profile{"r": p, "its end": quick})
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(10 * ms) {
			if !isUp() || silent.Load() > 0 {
				t.Fatalf("edit %d took the session down", i)
			}
		}
	}
	s.mu.Lock()
	mute := s.live["its end"]
	s.mu.Unlock()
	mute.locked(func(*machine) { _ = mute.conn.Close() })
	await(t, "silent", func() bool { return silent.Load() == 1 })
	s.Stop("its end")
	begin()
	await(t, "up again", isUp)
	s.Configure(nil)
	if state, _ := s.Status("r"); state != "" {
		t.Errorf("still %s without a profile", state)
	}
}

// D21: on a full link BFD is not the first to be dropped.
func TestD21_TrafficClassOfBFD(t *testing.T) {
	netnstest.Need(t)
	conn, err := route{netip.MustParseAddr(local), netip.MustParseAddr(remote), false}.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if tos, err := ipv4.NewConn(conn).TOS(); err != nil || tos != networkControl {
		t.Errorf("TOS %#x, %v", tos, err)
	}
	six, err := route{netip.IPv6Loopback(), netip.IPv6Loopback(), false}.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = six.Close() }()
	raw, err := six.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		if class, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS); err != nil || class != networkControl {
			t.Errorf("traffic class %#x, %v", class, err)
		}
	})
}

// D28: a socket that errs for good does not take a core.
func TestD28_ASocketThatErrsIsReadSlowly(t *testing.T) {
	s := New(slog.New(slog.DiscardHandler))
	var reads atomic.Int32
	end := time.Now().Add(500 * ms)
	s.read(func([]byte) (int, net.Addr, int, error) {
		if time.Now().After(end) {
			return 0, nil, 0, net.ErrClosed
		}
		reads.Add(1)
		return 0, nil, 0, os.ErrInvalid
	}, false)
	if n := reads.Load(); n > 10 {
		t.Errorf("%d reads in half a second", n)
	}
}
