package bgp

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// D2: what needs no new session changes in the one that there is.
func TestD2_EditsInPlace(t *testing.T) {
	r, s := newRouter(t), newSessions(t)
	peer := r.peer("r")
	peer.GracefulRestart = true
	s.Apply([]Desired{{Peer: peer}})
	_, in := r.meet(64512)
	await(t, s, "r", "established", established)
	peer.ConnectTime, peer.KeepAlive, peer.GracefulRestart = 5*time.Second, 100*time.Millisecond, false
	s.Apply([]Desired{{Peer: peer}})
	for range 5 { // at the new pace, in the same session
		if kind, _, err := read(in); err != nil || kind == wire.BGP_MSG_NOTIFICATION {
			t.Fatalf("message %d, %v", kind, err)
		}
	}
	if st := await(t, s, "r", "established", established); st.Established != 1 {
		t.Errorf("%d sessions", st.Established)
	}
	// The end is the one that is wanted now.
	go s.Close(t.Context())
	if code, _ := r.ends(in); code != wire.BGP_ERROR_CEASE {
		t.Errorf("NOTIFICATION %d", code)
	}
}

// D2: every other field needs a new session, which begins when the old one has
// ended: never two at a time. It ends without a NOTIFICATION: routers that damp
// peers (RFC 4271 section 8.1.1), as OpenBGPD does, would not take a second edit in
// a minute. Only where the router would keep the paths for a graceful restart that
// is not wanted any more it is told.
func TestD2_EditsThatNeedANewSession(t *testing.T) {
	for name, change := range map[string]func(*Peer){
		"holdTime":      func(p *Peer) { p.HoldTime = 9 * time.Second },
		"myASN":         func(p *Peer) { p.MyASN = 64514 },
		"localASN":      func(p *Peer) { p.LocalASN = 64999 },
		"dynamicASN":    func(p *Peer) { p.PeerASN, p.Dynamic = 0, External },
		"source":        func(p *Peer) { p.Source = netip.MustParseAddr("127.0.0.1") },
		"routerID":      func(p *Peer) { p.RouterID = netip.MustParseAddr("192.0.2.77") },
		"dual family":   func(p *Peer) { p.DualFamily = true },
		"multi-hop":     func(p *Peer) { p.MultiHop = true },
		"graceful":      func(p *Peer) { p.GracefulRestart = true },
		"while, kept":   func(p *Peer) { p.HoldTime = 9 * time.Second },
		"while, not":    func(p *Peer) { p.HoldTime, p.GracefulRestart = 9*time.Second, false },
		"with password": func(p *Peer) { p.RouterID = netip.MustParseAddr("192.0.2.78") },
	} {
		t.Run(name, func(t *testing.T) {
			graceful := strings.HasPrefix(name, "while")
			r, s := newRouter(t), newSessions(t)
			peer := r.peer("r")
			peer.GracefulRestart = graceful
			s.Apply([]Desired{{Peer: peer}})
			_, in := r.meet(64512)
			await(t, s, "r", "established", established)
			change(&peer)
			s.Apply([]Desired{{Peer: peer, EditDelay: 50 * time.Millisecond}})
			s.Apply([]Desired{{Peer: peer, EditDelay: 50 * time.Millisecond}}) // a pass later
			var last byte
			var subcode byte
			for {
				kind, body, err := read(in)
				if err != nil {
					break
				}
				if last = kind; kind == wire.BGP_MSG_NOTIFICATION {
					subcode = body[1]
				}
				if len(r.conns) > 0 {
					t.Fatal("a second connection while the first one stands")
				}
			}
			said, must := last == wire.BGP_MSG_NOTIFICATION, graceful && !peer.GracefulRestart
			if said != must || said && subcode != wire.BGP_ERROR_SUB_OTHER_CONFIGURATION_CHANGE {
				t.Errorf("a NOTIFICATION: %t, subcode %d; there must be one: %t", said, subcode, must)
			}
			r.meet(64512)
			await(t, s, "r", "established again", func(st *Status) bool { return established(st) && st.Established == 2 })
		})
	}
}

// D2: an edit that is taken back before it is this node's turn changes nothing.
func TestD2_AnEditThatIsTakenBack(t *testing.T) {
	r, s := newRouter(t), newSessions(t)
	s.Apply([]Desired{{Peer: r.peer("r")}})
	r.meet(64512)
	await(t, s, "r", "established", established)
	other := r.peer("r")
	other.HoldTime = 9 * time.Second
	s.Apply([]Desired{{Peer: other, EditDelay: 200 * time.Millisecond}})
	s.Apply([]Desired{{Peer: r.peer("r"), EditDelay: 200 * time.Millisecond}})
	time.Sleep(400 * time.Millisecond)
	if st := await(t, s, "r", "established", established); st.Established != 1 || st.LastError != "" {
		t.Errorf("%+v", st)
	}
}

// D2: a session does not begin before one that was dropped has ended, as when a
// BGPPeer gets another name.
func TestD2_ARenamedPeerWaits(t *testing.T) {
	r, s := newRouter(t), newSessions(t)
	s.Apply([]Desired{{Peer: r.peer("old")}})
	conn, in := r.meet(64512)
	await(t, s, "old", "established", established)
	s.Apply([]Desired{{Peer: r.peer("new")}})
	if code, subcode := r.ends(in); code != wire.BGP_ERROR_CEASE || subcode != wire.BGP_ERROR_SUB_PEER_DECONFIGURED {
		t.Errorf("NOTIFICATION %d/%d", code, subcode)
	}
	if len(r.conns) > 0 {
		t.Error("the new session began before the old one ended")
	}
	_ = conn.Close()
	r.meet(64512)
	await(t, s, "new", "established", established)
}

// D2: the nodes take an edit over one after the other.
func TestD2_EditDelay(t *testing.T) {
	for _, count := range []int{1, 2, 50, 1000} {
		var nodes []string
		for i := range count {
			nodes = append(nodes, fmt.Sprintf("n%d", i))
		}
		var delays []time.Duration
		for _, node := range nodes {
			delays = append(delays, EditDelay(node, nodes))
		}
		slices.Sort(delays)
		apart := min(time.Second, 2*time.Minute/time.Duration(count))
		for i, d := range delays {
			if d != apart*time.Duration(i) {
				t.Fatalf("%d nodes: number %d waits %s", count, i, d)
			}
		}
	}
}

// D17: what a peer lacks for a moment ends no session, and begins none.
func TestD17_APeerThatLacksSomethingForAMoment(t *testing.T) {
	r, s := newRouter(t), newSessions(t)
	lacks := func(grace time.Duration) []Desired {
		return []Desired{{Peer: Peer{Name: "r", Port: 179}, Missing: "its gateway is away", Grace: grace}}
	}
	s.Apply(lacks(0))
	await(t, s, "r", "waiting", func(st *Status) bool { return st.State == Idle && st.LastError == "its gateway is away" })
	s.Apply([]Desired{{Peer: r.peer("r")}})
	_, in := r.meet(64512)
	await(t, s, "r", "established", established)
	s.Apply(lacks(0))
	s.Apply(lacks(time.Hour))
	if st := await(t, s, "r", "established", established); st.Established != 1 || st.LastError != "its gateway is away" {
		t.Errorf("%+v", st)
	}
	s.Apply([]Desired{{Peer: r.peer("r")}})
	if st := await(t, s, "r", "established", established); st.Established != 1 || st.LastError != "" {
		t.Errorf("%+v", st)
	}
	s.Apply(lacks(time.Nanosecond))
	time.Sleep(time.Millisecond)
	s.Apply(lacks(time.Nanosecond))
	if code, _ := r.ends(in); code != wire.BGP_ERROR_CEASE {
		t.Errorf("NOTIFICATION %d", code)
	}
}

// D6, T10: two peers that lead to one router: the first session stands.
func TestD6_T10_TwoPeersToOneRouter(t *testing.T) {
	r, s := newRouter(t), newSessions(t)
	s.Apply([]Desired{{Peer: r.peer("a")}})
	r.meet(64512)
	await(t, s, "a", "established", established)
	s.Apply([]Desired{{Peer: r.peer("a")}, {Peer: r.peer("b")}})
	st := await(t, s, "b", "refused", func(st *Status) bool { return st.LastError != "" })
	if !strings.Contains(st.LastError, "BGPPeer a has a session") {
		t.Errorf("b says %q", st.LastError)
	}
	if st := await(t, s, "a", "established", established); st.Established != 1 {
		t.Errorf("a had %d sessions", st.Established)
	}
}

// notify has a router end the session with a NOTIFICATION.
func (r *router) notify(conn io.WriteCloser, code, subcode uint8, data []byte) {
	message, err := wire.NewBGPNotificationMessage(code, subcode, data).Serialize()
	if err != nil {
		r.t.Fatal(err)
	}
	_, _ = conn.Write(message)
	_ = conn.Close()
}

// D14: the router's words stand until it answers an OPEN again.
func TestD14_TheRoutersWordsAreKept(t *testing.T) {
	r, s := newRouter(t), newSessions(t)
	s.Apply([]Desired{{Peer: r.peer("r")}})
	conn, _ := r.meet(64512)
	await(t, s, "r", "established", established)
	r.notify(conn, wire.BGP_ERROR_CEASE, wire.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN, communication("maintenance til noon\u202e\x07\u0085"))
	const words = "the router says: cease: administrative shutdown (maintenance til noon)"
	for range 3 {
		refused := <-r.conns
		_, _, _ = read(bufio.NewReader(refused))
		_ = refused.Close()
		await(t, s, "r", "told why", func(st *Status) bool { return st.LastError == words })
	}
	r.meet(64512)
	await(t, s, "r", "established", func(st *Status) bool { return established(st) && st.LastError == "" })
}

// D19, T11: pauses are jittered, double where a router refuses, and are short
// again after a session that lasted; what is no refusal costs nothing.
func TestD19_T11_Damping(t *testing.T) {
	cease := func(subcode uint8) error {
		n := newNotification(wire.BGP_ERROR_CEASE, subcode, "")
		n.received = true
		return n
	}
	limit := cease(wire.BGP_ERROR_SUB_MAXIMUM_NUMBER_OF_PREFIXES_REACHED)
	var p pace
	at := func(err error, took, most time.Duration) {
		t.Helper()
		if pause := p.next(time.Second, err, took); pause > most || pause < most*3/4 {
			t.Errorf("a pause of %s after %q, want %s at most", pause, err, most)
		}
	}
	for _, want := range []int{1, 2, 4, 8, 16, 30, 30} {
		at(limit, time.Second, time.Duration(want)*time.Second)
	}
	at(errClosedEarly, 0, 30*time.Second)
	at(io.EOF, 0, time.Second)
	at(cease(wire.BGP_ERROR_SUB_CONNECTION_COLLISION_RESOLUTION), 0, time.Second)
	at(limit, stableAfter, time.Second)
	at(newNotification(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, 2, ""), 0, 2*time.Second)
	if pause := p.next(time.Second, errRenew, 0); pause != renewPause {
		t.Errorf("a pause of %s after an edit", pause)
	}
	at(errClosedEarly, 0, renewPause)
	seen := map[time.Duration]bool{}
	for range 20 {
		seen[(&pace{}).next(time.Second, io.EOF, 0)] = true
	}
	if len(seen) < 10 {
		t.Error("no jitter")
	}
}

// D10: a router that is away is tried again and again, which is no news.
func TestD10_AttemptsAreNoNews(t *testing.T) {
	r, s := newRouter(t), newSessions(t)
	_ = r.listener.Close()
	s.Apply([]Desired{{Peer: r.peer("r")}})
	await(t, s, "r", "refused", func(st *Status) bool { return st.LastError != "" })
	select {
	case <-s.Changes():
	case <-time.After(time.Second):
		t.Error("the first refusal is news")
	}
	select {
	case <-s.Changes():
		t.Error("another attempt is news")
	case <-time.After(300 * time.Millisecond): // 15 attempts
	}
}
