package bgp

import (
	"encoding/binary"
	"io"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
)

// D1: a router asks for everything again, again and again, while paths flap.
// What is told must not depend on what was desired a moment ago.
func TestD1_RouteRefreshWhilePathsFlap(t *testing.T) {
	const refresh, count = 5, 500
	r, s := newRouter(t), newSessions(t)
	all := map[netip.Prefix]model.Attributes{}
	for i := range count {
		all[netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 32)] = model.Attributes{}
	}
	full := ordered(all)
	s.Apply([]Desired{{Peer: r.peer("r"), Paths: full}})
	conn, in := r.meet(64512)
	await(t, s, "r", "established", established)
	var reads atomic.Int64
	go func() {
		n, _ := io.Copy(io.Discard, in)
		reads.Add(n)
	}()
	message := make([]byte, headerSize+4)
	for i := range 16 {
		message[i] = 0xff
	}
	binary.BigEndian.PutUint16(message[16:], uint16(len(message)))
	message[18], message[20], message[22] = refresh, 1, 1
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		for i := range 20 {
			if _, err := conn.Write(message); err != nil {
				t.Fatalf("the session ended: %v", err)
			}
			paths := full
			if i%2 == 0 {
				paths = Paths{}
			}
			s.Apply([]Desired{{Peer: r.peer("r"), Paths: paths}})
		}
	}
	if st := await(t, s, "r", "told", func(st *Status) bool { return st.Sent == count }); st.Established != 1 {
		t.Errorf("%d sessions, want the first one still", st.Established)
	}
}

// plain are attributes without anything.
func plain() Attributes { return AttributesOf(model.Attributes{}) }

// D1: the same without luck: the prefix is away when the router asks, and back
// when it is told.
func TestD1_RefreshWhileAPathIsAway(t *testing.T) {
	prefix := netip.MustParsePrefix("203.0.113.1/32")
	there := Paths{{prefix, plain()}}
	for _, told := range []Paths{nil, there} {
		messages, err := sample(false, true).difference(told, there, familySet{true, false})
		if err != nil || len(messages) != 1 {
			t.Errorf("%d messages, %v; want the path told once", len(messages), err)
		}
	}
}

// D1, B13: a fault of ours ends the session that it happens in, is counted, and
// the session comes back; other sessions do not notice.
func TestD1_APanicEndsOneSessionAlone(t *testing.T) {
	r, other, s := newRouter(t), newRouter(t), newSessions(t)
	s.Apply([]Desired{{Peer: r.peer("r")}, {Peer: other.peer("other")}})
	r.meet(64512)
	other.meet(64512)
	await(t, s, "r", "established", established)
	await(t, s, "other", "established", established)
	// There are no such attributes: encoding them is the fault.
	bad := Paths{{netip.MustParsePrefix("203.0.113.1/32"), Attributes{}}}
	s.Apply([]Desired{{Peer: r.peer("r"), Paths: bad}, {Peer: other.peer("other")}})
	await(t, s, "r", "ended by a panic", func(st *Status) bool { return st.Panics == 1 && st.LastError != "" })
	s.Apply([]Desired{{Peer: r.peer("r")}, {Peer: other.peer("other")}})
	r.meet(64512)
	await(t, s, "r", "established again", func(st *Status) bool { return established(st) && st.Established == 2 })
	if st := await(t, s, "other", "established", established); st.Established != 1 {
		t.Errorf("the other router saw %d sessions, want 1", st.Established)
	}
}
