package bgp

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/baliza-lb/baliza/speaker/model"
)

// ceiling catches a hang; what is waited for takes milliseconds, or seconds on a
// machine that does much else.
const ceiling = time.Minute

// router is the other end of a session: a listener that plays a script. It sends
// no KEEPALIVE but the first, so that a session that is not about the hold time
// has a long one.
type router struct {
	t        *testing.T
	listener net.Listener
	conns    chan net.Conn
	both     bool   // it carries both families
	hold     uint16 // of its OPEN
}

func newRouter(t *testing.T) *router {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &router{t: t, listener: l, conns: make(chan net.Conn, 16), hold: 90}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.conns <- conn
		}
	}()
	return r
}

func (r *router) peer(name string) Peer {
	at := netip.MustParseAddrPort(r.listener.Addr().String())
	return Peer{
		Name: name, Address: at.Addr(), Port: at.Port(), MyASN: 64513, PeerASN: 64512, HoldTime: 90 * time.Second, ConnectTime: 20 * time.Millisecond,
	}
}

// meet accepts a connection and exchanges OPENs as this AS.
func (r *router) meet(asn uint32) (net.Conn, *bufio.Reader) {
	r.t.Helper()
	var conn net.Conn
	select {
	case conn = <-r.conns:
	case <-time.After(ceiling):
		r.t.Fatal("nobody connects")
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(ceiling))
	in := bufio.NewReader(conn)
	if kind, _, err := read(in); err != nil || kind != wire.BGP_MSG_OPEN {
		r.t.Fatalf("message %d, %v; want an OPEN", kind, err)
	}
	offers := []wire.ParameterCapabilityInterface{
		wire.NewCapMultiProtocol(wire.RF_IPv4_UC), wire.NewCapFourOctetASNumber(asn), wire.NewCapGracefulRestart(false, false, 120, nil),
	}
	if r.both {
		offers = append(offers, wire.NewCapMultiProtocol(wire.RF_IPv6_UC))
	}
	open, err := wire.NewBGPOpenMessage(uint16(asn), r.hold, netip.MustParseAddr("192.0.2.254"), []wire.OptionParameterInterface{
		wire.NewOptionParameterCapability(offers),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.say(conn, open, wire.NewBGPKeepAliveMessage())
	return conn, in
}

func (r *router) say(conn net.Conn, messages ...*wire.BGPMessage) {
	r.t.Helper()
	for _, m := range messages {
		data, err := m.Serialize()
		if err == nil {
			_, err = conn.Write(data)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// ends waits for the NOTIFICATION that ends the session.
func (r *router) ends(in *bufio.Reader) (code, subcode uint8) {
	r.t.Helper()
	for {
		kind, body, err := read(in)
		if err != nil {
			r.t.Fatalf("no NOTIFICATION: %v", err)
		}
		if kind == wire.BGP_MSG_NOTIFICATION {
			return body[0], body[1]
		}
	}
}

func newSessions(t *testing.T) *Sessions {
	t.Helper()
	s := New(Options{Log: slog.New(slog.DiscardHandler), Node: "n1", Address: netip.MustParseAddr("192.0.2.11")})
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

// await waits until a session's status is good.
func await(t *testing.T, s *Sessions, peer, what string, good func(*Status) bool) Status {
	t.Helper()
	var last Status
	for begin := time.Now(); time.Since(begin) < ceiling; time.Sleep(5 * time.Millisecond) {
		for _, one := range s.Status() {
			if last = one; one.Name == peer && good(&one) {
				return one
			}
		}
	}
	t.Fatalf("%s is not %s: %+v", peer, what, last)
	return last
}

func established(s *Status) bool { return s.State == Established }

// cve is the well-formed UPDATE that ends GoBGP v3: AS4_PATH stands before
// AS_PATH (CVE-2026-41643).
const cve = "40010100400304c0000201c01106020100" + "00fc01" + "40020402" + "01fc01" + "18c00002"

func TestB13_Nothing_that_a_router_sends_ends_more_than_its_session(t *testing.T) {
	attributes, err := hex.DecodeString(cve)
	if err != nil {
		t.Fatal(err)
	}
	update := func(body []byte) []byte {
		m := append([]byte(strings.Repeat("\xff", 16)), 0, byte(headerSize+len(body)), wire.BGP_MSG_UPDATE)
		return append(m, body...)
	}
	prefix := 4
	well := append([]byte{0, 0, 0, byte(len(attributes) - prefix)}, attributes...)
	for sentence, test := range map[string]struct {
		bytes []byte
		ends  uint8 // the code of the NOTIFICATION; none means that the session goes on
	}{
		"AS4_PATH before AS_PATH":                   {bytes: update(well)},
		"an UPDATE with lengths that are not true":  {bytes: update([]byte{255, 255, 1, 2, 3})},
		"an UPDATE cut short within its attributes": {bytes: update(well[:9])},
		"an empty UPDATE":                           {bytes: update(nil)},
		"a message of an unknown type":              {append([]byte(strings.Repeat("\xff", 16)), 0, 19, 77), wire.BGP_ERROR_MESSAGE_HEADER_ERROR},
		"a message that is too short":               {append([]byte(strings.Repeat("\xff", 16)), 0, 18, 4), wire.BGP_ERROR_MESSAGE_HEADER_ERROR},
		"a message that is too long":                {append([]byte(strings.Repeat("\xff", 16)), 255, 255, 2), wire.BGP_ERROR_MESSAGE_HEADER_ERROR},
		"no BGP at all":                             {[]byte("GET / HTTP/1.0\r\n\r\n and so on"), wire.BGP_ERROR_MESSAGE_HEADER_ERROR},
		"a second OPEN":                             {append([]byte(strings.Repeat("\xff", 16)), 0, 19, 1), wire.BGP_ERROR_FSM_ERROR},
	} {
		t.Run(sentence, func(t *testing.T) {
			r, s := newRouter(t), newSessions(t)
			s.Apply([]Desired{{Peer: r.peer("r")}})
			conn, in := r.meet(64512)
			await(t, s, "r", "established", established)
			if _, err := conn.Write(test.bytes); err != nil {
				t.Fatal(err)
			}
			if test.ends != 0 {
				if code, _ := r.ends(in); code != test.ends {
					t.Errorf("NOTIFICATION %d, want %d", code, test.ends)
				}
				return
			}
			await(t, s, "r", "one UPDATE further", func(st *Status) bool { return st.Heard == 1 && established(st) })
		})
	}
}

// A flood of routes is dropped as it comes.
func TestB13_A_hundred_thousand_routes_cost_nothing(t *testing.T) {
	r, s := newRouter(t), newSessions(t)
	s.Apply([]Desired{{Peer: r.peer("r")}})
	conn, _ := r.meet(64512)
	await(t, s, "r", "established", established)
	const messages, each = 400, 250
	body := make([]byte, 4+5*each)
	m := append([]byte(strings.Repeat("\xff", 16)), byte((headerSize+len(body))>>8), byte((headerSize+len(body))&0xff), wire.BGP_MSG_UPDATE)
	m = append(m, body...)
	for range messages {
		if _, err := conn.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	await(t, s, "r", "through", func(st *Status) bool { return st.Heard == messages && established(st) })
}

func TestB05_Each_refusal_has_its_words(t *testing.T) {
	t.Run("another AS number than was said", func(t *testing.T) {
		r, s := newRouter(t), newSessions(t)
		s.Apply([]Desired{{Peer: r.peer("r")}})
		_, in := r.meet(64999)
		if code, subcode := r.ends(in); code != wire.BGP_ERROR_OPEN_MESSAGE_ERROR || subcode != wire.BGP_ERROR_SUB_BAD_PEER_AS {
			t.Errorf("NOTIFICATION %d/%d", code, subcode)
		}
		await(t, s, "r", "refused", func(st *Status) bool { return strings.Contains(st.LastError, "64999, not 64512") })
	})
	t.Run("external, and of our AS", func(t *testing.T) {
		r, s := newRouter(t), newSessions(t)
		peer := r.peer("r")
		peer.PeerASN, peer.Dynamic = 0, External
		s.Apply([]Desired{{Peer: peer}})
		r.meet(64513)
		await(t, s, "r", "refused", func(st *Status) bool { return strings.Contains(st.LastError, "not external") })
	})
	t.Run("the router closes at once", func(t *testing.T) {
		r, s := newRouter(t), newSessions(t)
		s.Apply([]Desired{{Peer: r.peer("r")}})
		for range 3 {
			_ = (<-r.conns).Close()
		}
		await(t, s, "r", "refused", func(st *Status) bool { return st.LastError != "" && st.State != Established })
	})
	t.Run("nobody listens", func(t *testing.T) {
		r, s := newRouter(t), newSessions(t)
		_ = r.listener.Close()
		s.Apply([]Desired{{Peer: r.peer("r")}})
		await(t, s, "r", "refused", func(st *Status) bool { return strings.Contains(st.LastError, "connection refused") })
	})
}

func TestB06_A_router_that_hangs_delays_no_other(t *testing.T) {
	hangs, other, s := newRouter(t), newRouter(t), newSessions(t)
	paths := map[netip.Prefix]model.Attributes{}
	for i := range 10_000 {
		paths[netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 32)] = model.Attributes{}
	}
	s.Apply([]Desired{{Peer: hangs.peer("hangs"), Paths: ordered(paths)}, {Peer: other.peer("other"), Paths: ordered(paths)}})
	<-hangs.conns // and never a word
	_, in := other.meet(64512)
	go func() {
		for {
			if _, _, err := read(in); err != nil {
				return
			}
		}
	}()
	// The other has not even sent its OPEN.
	await(t, s, "other", "told", func(st *Status) bool { return st.Sent == len(paths) })
	await(t, s, "hangs", "hanging", func(st *Status) bool { return st.State == OpenSent })
}

func TestB07_A_silent_router_is_given_up_and_found_again(t *testing.T) {
	r, s := newRouter(t), newSessions(t)
	peer := r.peer("r")
	peer.HoldTime = 3 * time.Second
	s.Apply([]Desired{{Peer: peer}})
	began := time.Now() // before the last that the router says
	_, in := r.meet(64512)
	if code, _ := r.ends(in); code != wire.BGP_ERROR_HOLD_TIMER_EXPIRED {
		t.Errorf("NOTIFICATION %d", code)
	}
	took := time.Since(began)
	t.Logf("given up after %s", took.Round(time.Millisecond))
	if took < peer.HoldTime {
		t.Errorf("given up after %s, the hold time is %s", took, peer.HoldTime)
	}
	await(t, s, "r", "lost", func(st *Status) bool { return strings.Contains(st.LastError, "hold timer expired") })
	r.meet(64512)
	await(t, s, "r", "established again", func(st *Status) bool { return established(st) && st.Established == 2 && st.LastError == "" })
}

func TestB10_A_restart_is_silent_and_an_end_is_not(t *testing.T) {
	for _, graceful := range []bool{true, false} {
		t.Run(fmt.Sprintf("graceful=%t", graceful), func(t *testing.T) {
			r, s := newRouter(t), newSessions(t)
			peer := r.peer("r")
			peer.GracefulRestart = graceful
			s.Apply([]Desired{{Peer: peer}})
			_, in := r.meet(64512)
			await(t, s, "r", "established", established)
			s.Close(t.Context())
			for {
				kind, _, err := read(in)
				if said := kind == wire.BGP_MSG_NOTIFICATION; err != nil || said {
					if said == graceful {
						t.Errorf("a NOTIFICATION: %t", said)
					}
					return
				}
			}
		})
	}
}

// eye is a Monitor that a test looks through.
type eye struct {
	blind
	detection time.Duration
	mu        sync.Mutex
	notify    func(silent bool)
	stopped   chan string
	closed    chan struct{}
}

func newEye() *eye { return &eye{stopped: make(chan string, 8), closed: make(chan struct{})} }

func (e *eye) Watch(_ string, _, _ netip.Addr, _ bool, notify func(bool)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notify = notify
}

func (e *eye) watching() func(bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.notify
}

func (e *eye) Stop(peer string)               { e.stopped <- peer }
func (e *eye) Detection(string) time.Duration { return e.detection }
func (e *eye) Close()                         { close(e.closed) }

func newWatched(t *testing.T, e *eye) *Sessions {
	t.Helper()
	s := New(Options{Log: slog.New(slog.DiscardHandler), Node: "n1", Address: netip.MustParseAddr("192.0.2.11"), Monitor: e})
	t.Cleanup(func() {
		select {
		case <-e.closed:
		default:
			s.Close(context.Background())
		}
	})
	return s
}

// A router that hears of the path's end first takes the session down for it,
// and forgets the routes: FRR 8.4 does.
func TestB10_AdminDown_is_said_after_the_connection_ended(t *testing.T) {
	e := newEye()
	r, s := newRouter(t), newWatched(t, e)
	peer := r.peer("r")
	peer.GracefulRestart = true
	s.Apply([]Desired{{Peer: peer}})
	_, in := r.meet(64512)
	await(t, s, "r", "established", established)
	go s.Close(context.Background())
	for {
		if _, _, err := read(in); err != nil {
			break
		}
	}
	select {
	case <-e.closed:
		t.Error("AdminDown was said before the connection ended")
	default:
	}
	select {
	case <-e.closed:
	case <-time.After(5 * time.Second):
		t.Error("AdminDown was never said")
	}
}

// What BFD sees ends the session, also while it is writing.
func TestB09_A_router_that_BFD_does_not_hear_is_given_up(t *testing.T) {
	e := newEye()
	r, s := newRouter(t), newWatched(t, e)
	s.Apply([]Desired{{Peer: r.peer("r")}})
	_, in := r.meet(64512)
	await(t, s, "r", "established", established)
	for e.watching() == nil {
		time.Sleep(time.Millisecond)
	}
	e.watching()(false)
	e.watching()(true)
	if code, subcode := r.ends(in); code != wire.BGP_ERROR_CEASE || subcode != subcodeBFDDown {
		t.Errorf("NOTIFICATION %d/%d", code, subcode)
	}
	r.meet(64512)
	await(t, s, "r", "established again", func(st *Status) bool { return established(st) && st.Established == 2 })
}

func TestPathsChangeWithoutANewSession(t *testing.T) {
	r, s := newRouter(t), newSessions(t)
	prefix := netip.MustParsePrefix("203.0.113.1/32")
	s.Apply([]Desired{{Peer: r.peer("r"), Paths: Paths{{prefix, AttributesOf(model.Attributes{})}}}})
	r.meet(64512)
	before := await(t, s, "r", "told", func(st *Status) bool { return st.Sent == 1 })
	s.Apply([]Desired{{Peer: r.peer("r"), Paths: Paths{{prefix, AttributesOf(model.Attributes{Communities: model.CommunitiesOf(1)})}}}})
	after := await(t, s, "r", "told again", func(st *Status) bool { return st.Updates > before.Updates })
	if after.Established != 1 {
		t.Error("the session began anew")
	}
}

func TestPasswordsAreNotWritten(t *testing.T) {
	p := Peer{Password: "opensesame"}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("peer", "peer", p, "password", p.Password)
	for _, text := range []string{fmt.Sprint(p), fmt.Sprintf("%+v", p), fmt.Sprintf("%#v", p), log.String()} {
		if strings.Contains(text, "opensesame") {
			t.Errorf("it is in %s", text)
		}
	}
}

// The router watches the path of the process before: it is to have given it up.
func TestB10_After_a_crash_the_router_is_not_called_before_it_gave_up_the_old_path(t *testing.T) {
	began := time.Now()
	e := newEye()
	e.detection = 800 * time.Millisecond
	r, s := newRouter(t), newWatched(t, e)
	s.Apply([]Desired{{Peer: r.peer("r")}})
	r.meet(64512)
	if after := time.Since(began); after < 800*time.Millisecond {
		t.Errorf("it was called after %s, while it may still believe in the old path", after)
	}
	s.Apply(nil)
	s.Apply([]Desired{{Peer: r.peer("r")}})
	r.meet(64512)
}
