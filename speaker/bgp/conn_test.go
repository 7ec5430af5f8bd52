package bgp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/speaker/model"
)

// many routes, each of which needs a message of its own.
func many(count int) Paths {
	all := map[netip.Prefix]model.Attributes{}
	for i := range count {
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 32)
		communities := make([]uint32, 200)
		for c := range communities {
			communities[c] = uint32(i<<8 | c)
		}
		all[prefix] = model.Attributes{Communities: model.CommunitiesOf(communities...)}
	}
	return ordered(all)
}

// D11: a router that takes a little now and then is not given up, however long
// everything takes; its session outlives many send hold times.
func TestD11_ASlowReaderIsWaitedFor(t *testing.T) {
	near, far := net.Pipe()
	c := &conn{net: near, hold: 50 * time.Millisecond, aborted: make(chan struct{})} // a send hold time of 100 ms
	data := make([]byte, 1000)
	go func() {
		for {
			time.Sleep(2 * time.Millisecond)
			if _, err := far.Read(make([]byte, 4)); err != nil {
				return
			}
		}
	}()
	began := time.Now()
	if err := c.write(data); err != nil || time.Since(began) < 300*time.Millisecond {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	_ = far.Close()
}

// D11, RFC 9687: one that takes nothing is given up after the send hold time.
func TestD11_ARouterThatDoesNotReadIsGivenUp(t *testing.T) {
	near, _ := net.Pipe()
	c := &conn{net: near, hold: 50 * time.Millisecond, aborted: make(chan struct{})}
	err := c.write(make([]byte, 1000))
	if n, ok := err.(*notification); !ok || n.code != codeSendHold { //nolint:errorlint // it is not wrapped
		t.Errorf("%v", err)
	}
}

// narrow has a listener's connections take little before somebody reads.
func narrow(t *testing.T, l net.Listener) {
	t.Helper()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// more are more paths than the kernel takes before somebody reads.
func more(t *testing.T) Paths {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_wmem") // least, default and most bytes of a send buffer
	if err != nil {
		t.Fatal(err)
	}
	var least, initial, most int
	if _, err := fmt.Sscan(string(text), &least, &initial, &most); err != nil {
		t.Fatal(err)
	}
	const each = 4 * 200 // the communities of a path, in bytes
	return many(most/each + 1000)
}

// D11: a write that waits is cut by BFD, by an edit, and by the end.
func TestD11_AWriteThatWaitsIsCut(t *testing.T) {
	paths := more(t)
	for name, cut := range map[string]func(s *Sessions, e *eye, peer Peer){
		"BFD": func(_ *Sessions, e *eye, _ Peer) { e.watching()(true) },
		"an edit": func(s *Sessions, _ *eye, peer Peer) {
			peer.MyASN++
			s.Apply([]Desired{{Peer: peer, Paths: paths}})
		},
		"removal": func(s *Sessions, _ *eye, _ Peer) { s.Apply(nil) },
		"the end": func(s *Sessions, _ *eye, _ Peer) { s.Close(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEye()
			r, s := newRouter(t), newWatched(t, e)
			narrow(t, r.listener)
			peer := r.peer("r")
			peer.HoldTime = 90 * time.Second
			s.Apply([]Desired{{Peer: peer, Paths: paths}}) // and nobody reads
			conn, _ := r.meet(64512)
			await(t, s, "r", "established", established)
			for e.watching() == nil {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(500 * time.Millisecond) // until the kernel takes no more
			if st := s.Status()[0]; st.Sent != 0 {
				t.Fatal("it is not waiting: everything was taken")
			}
			_ = conn.SetReadDeadline(time.Time{})
			began := time.Now()
			cut(s, e, peer)
			if n, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") || n == 0 {
				t.Errorf("%d bytes, %v", n, err)
			}
			if took := time.Since(began); took > time.Minute { // the send hold time is three
				t.Errorf("the connection ended after %s", took)
			}
		})
	}
}

// D8: a path that fits into no message is left out and named; the others are
// told, and what was told of it before is taken back.
func TestD8_APathWithTooManyCommunities(t *testing.T) {
	var numbers []uint32
	for i := range 1100 {
		numbers = append(numbers, uint32(i))
	}
	good, bad := netip.MustParsePrefix("203.0.113.1/32"), netip.MustParsePrefix("203.0.113.2/32")
	r, s := newRouter(t), newSessions(t)
	s.Apply([]Desired{{Peer: r.peer("r"), Paths: Paths{{good, plain()}, {bad, plain()}}}})
	conn, _ := r.meet(64512)
	defer func() { _ = conn.Close() }()
	await(t, s, "r", "told", func(st *Status) bool { return st.Sent == 2 })
	large := AttributesOf(model.Attributes{Communities: model.CommunitiesOf(numbers...)})
	s.Apply([]Desired{{Peer: r.peer("r"), Paths: Paths{{good, plain()}, {bad, large}}}})
	st := await(t, s, "r", "told of the rest", func(st *Status) bool { return st.Sent == 1 })
	if st.Established != 1 || len(st.Unsent) != 1 || st.Unsent[0].Prefix != bad || !strings.Contains(st.Unsent[0].Why, "1100 communities") {
		t.Errorf("%+v", st)
	}
}

// D22: paths that differ share no message.
func TestD22_PathsThatDifferShareNoMessage(t *testing.T) {
	standard := AttributesOf(model.Attributes{Communities: model.CommunitiesOf(8192<<16|252, 8448<<16, 8704<<16)})
	large := AttributesOf(model.Attributes{LargeCommunities: model.LargeCommunitiesOf([3]uint32{64545, 34, 32})})
	updates := written(t, sample(false, true), nil, Paths{{netip.MustParsePrefix("203.0.113.1/32"), standard}, {netip.MustParsePrefix("203.0.113.2/32"), large}})
	if len(updates) != 2 {
		t.Errorf("%d messages", len(updates))
	}
}

// D24: the attributes stand in the order of their types, but for MP_REACH_NLRI,
// which is first.
func TestD24_AttributesInOrder(t *testing.T) {
	e := sample(false, false)
	e.path = []uint32{4200000000}
	a := model.Attributes{
		MED: model.Some(1), Communities: model.CommunitiesOf(1), LargeCommunities: model.LargeCommunitiesOf([3]uint32{1, 2, 3}), Bandwidth: 1,
	}
	for _, prefix := range []string{"203.0.113.1/32", "2001:db8:5::1/128"} {
		last := wire.BGPAttrType(0)
		for _, one := range written(t, e, nil, Paths{{netip.MustParsePrefix(prefix), AttributesOf(a)}})[0].PathAttributes {
			if kind := one.GetType(); kind != wire.BGP_ATTR_TYPE_MP_REACH_NLRI {
				if kind < last {
					t.Errorf("%s: %s after %s", prefix, kind, last)
				}
				last = kind
			}
		}
	}
}

// D24: a refresh of one family sends that one again.
func TestD24_ARefreshOfOneFamily(t *testing.T) {
	r, s := newRouter(t), newSessions(t)
	r.both = true
	peer := r.peer("r")
	peer.DualFamily = true
	s.SetAddresses([]Address{
		{Interface: "eth0", Prefix: netip.MustParsePrefix("192.0.2.11/24")}, {Interface: "eth0", Prefix: netip.MustParsePrefix("2001:db8:1::11/64")},
	})
	s.Apply([]Desired{{Peer: peer, Paths: Paths{{netip.MustParsePrefix("203.0.113.1/32"), plain()}, {netip.MustParsePrefix("2001:db8:5::1/128"), plain()}}}})
	conn, _ := r.meet(64512)
	before := await(t, s, "r", "told", func(st *Status) bool { return st.Sent == 2 })
	ask := func(afi, safi, subtype byte) {
		m := append(bytes.Repeat([]byte{0xff}, 16), 0, 23, wire.BGP_MSG_ROUTE_REFRESH, 0, afi, subtype, safi)
		if _, err := conn.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range [][3]byte{{1, 128, 0}, {25, 70, 0}, {2, 1, 1}} {
		ask(other[0], other[1], other[2])
	}
	ask(2, 1, 0)
	await(t, s, "r", "told one family again", func(st *Status) bool { return st.Updates == before.Updates+1 })
	time.Sleep(2 * refreshPause)
	if st := await(t, s, "r", "established", established); st.Updates != before.Updates+1 {
		t.Errorf("%d UPDATEs for a refresh of one family with one route", st.Updates-before.Updates)
	}
}

// D20: where there is no hold timer the kernel finds out that the router is gone.
func TestD20_WithoutAHoldTimer(t *testing.T) {
	r, s := newRouter(t), newSessions(t)
	r.hold = 0
	s.Apply([]Desired{{Peer: r.peer("r")}})
	r.meet(64512)
	await(t, s, "r", "established", established)
	s.mu.Lock()
	one := s.all["r"]
	s.mu.Unlock()
	one.mu.Lock()
	tcp := one.conn.net.(*net.TCPConn)
	one.mu.Unlock()
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		alive, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		timeout, err2 := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		if alive != 1 || timeout != 60_000 || err != nil || err2 != nil {
			t.Errorf("SO_KEEPALIVE %d, TCP_USER_TIMEOUT %d; %v, %v", alive, timeout, err, err2)
		}
		// D21
		if tos, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS); tos != networkControl || err != nil {
			t.Errorf("TOS %#x, %v", tos, err)
		}
	})
}

// raw is a message of a type with a body.
func raw(kind byte, body ...byte) []byte {
	m := append(bytes.Repeat([]byte{0xff}, 16), 0, 0, kind)
	m = append(m, body...)
	binary.BigEndian.PutUint16(m[16:], uint16(len(m)))
	return m
}

// A hostile router: whatever it says in place of an OPEN, or later, ends its
// session at most, costs no memory and leaves no goroutine behind.
func TestHostileRouter(t *testing.T) {
	marker := strings.Repeat("\xff", 16)
	good := raw(wire.BGP_MSG_OPEN, message(capabilities(65, 4, 0, 0, 0xfc, 0)...)...)
	open := func(parameters ...byte) []byte { return raw(wire.BGP_MSG_OPEN, message(parameters...)...) }
	first := map[string][]byte{
		"nothing":                          {},
		"one byte":                         {0xff},
		"HTTP":                             []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"TLS":                              {0x15, 3, 1, 0, 2, 2, 40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"a cut header":                     []byte(marker),
		"a length of zero":                 append([]byte(marker), 0, 0, 1),
		"a length of 18":                   append([]byte(marker), 0, 18, 1),
		"a length of 65535":                append([]byte(marker), 255, 255, 1),
		"a type of zero":                   raw(0),
		"a type of 255":                    raw(255),
		"an OPEN without a body":           raw(1),
		"an OPEN that never ends":          append([]byte(marker), 16, 0, 1, 4),
		"an OPEN of 4077 bytes":            raw(1, make([]byte, 4077)...),
		"a KEEPALIVE":                      raw(4),
		"a KEEPALIVE with a body":          raw(4, 1),
		"an UPDATE":                        raw(2, 0, 0, 0, 0),
		"a ROUTE-REFRESH":                  raw(5, 0, 1, 0, 1),
		"a NOTIFICATION":                   raw(3, 6, 2),
		"a NOTIFICATION without codes":     raw(3),
		"a NOTIFICATION with one code":     raw(3, 6),
		"a NOTIFICATION of unknown code":   raw(3, 99, 99, 1, 2, 3),
		"a text longer than it is":         raw(3, 6, 2, 255, 'x'),
		"a text that is no UTF-8":          raw(3, 6, 2, 3, 0xff, 0xfe, 0x80),
		"a text of controls":               raw(3, 6, 2, 4, 27, '[', '2', 'J'),
		"version 0":                        raw(1, append([]byte{0}, message()[1:]...)...),
		"version 255":                      raw(1, append([]byte{255}, message()[1:]...)...),
		"AS 0":                             raw(1, 4, 0, 0, 0, 90, 192, 0, 2, 254, 0),
		"a hold time of 1":                 raw(1, 4, 0xfc, 0, 0, 1, 192, 0, 2, 254, 0),
		"an identifier of zero":            raw(1, 4, 0xfc, 0, 0, 90, 0, 0, 0, 0, 0),
		"parameters that are not there":    raw(1, 4, 0xfc, 0, 0, 90, 192, 0, 2, 254, 200),
		"a parameter that is too long":     open(2, 200, 1, 4),
		"a parameter of one byte":          open(2),
		"a capability that is too long":    open(2, 2, 65, 200),
		"a capability of one byte":         open(2, 1, 65),
		"64 capabilities of AS numbers":    open(capabilities(bytes.Repeat([]byte{65, 0}, 64)...)...),
		"RFC 9072 with nothing":            raw(1, 4, 0xfc, 0, 0, 90, 192, 0, 2, 254, 255, 255),
		"RFC 9072 with another length":     raw(1, 4, 0xfc, 0, 0, 90, 192, 0, 2, 254, 255, 255, 255, 255, 2),
		"only families that are not ours":  open(capabilities(1, 4, 0x40, 4, 0, 71)...),
		"an OPEN, then an OPEN":            append(bytes.Clone(good), good...),
		"an OPEN, then nothing":            good,
		"an OPEN, then an UPDATE":          append(bytes.Clone(good), raw(2, 0, 0, 0, 0)...),
		"an OPEN, then a flood of OPENs":   append(append(bytes.Clone(good), raw(4)...), bytes.Repeat(good, 100)...),
		"a session, then lengths of 0":     append(append(bytes.Clone(good), raw(4)...), make([]byte, 100)...),
		"a session, then cut refreshes":    append(append(bytes.Clone(good), raw(4)...), bytes.Repeat(raw(5, 0, 1), 100)...),
		"a session, then 10,000 refreshes": append(append(bytes.Clone(good), raw(4)...), bytes.Repeat(raw(5, 0, 1, 0, 1), 10_000)...),
	}
	r, s := newRouter(t), newSessions(t)
	peer := r.peer("r")
	peer.ConnectTime = time.Millisecond
	s.Apply([]Desired{{Peer: peer, Paths: many(10)}})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	goroutines := runtime.NumGoroutine()
	for range 2 {
		for sentence, bytes := range first {
			var conn net.Conn
			select {
			case conn = <-r.conns:
			case <-time.After(ceiling):
				t.Fatalf("%s: nobody connects", sentence)
			}
			// A router that refuses is called less and less often.
			s.mu.Lock()
			one := s.all["r"]
			s.mu.Unlock()
			if _, err := conn.Write(bytes); err != nil {
				t.Fatalf("%s: %v", sentence, err)
			}
			go func() { _, _ = io.Copy(io.Discard, bufio.NewReader(conn)) }()
			time.Sleep(5 * time.Millisecond)
			_ = conn.Close()
			for end := time.Now().Add(ceiling); len(r.conns) == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
				poke(one.now)
			}
		}
	}
	if st := s.Status()[0]; st.Panics != 0 {
		t.Errorf("%d panics", st.Panics)
	}
	s.Apply(nil)
	for end := time.Now().Add(ceiling); runtime.NumGoroutine() > goroutines && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if left := runtime.NumGoroutine(); left > goroutines {
		t.Errorf("%d goroutines, %d before", left, goroutines)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("%d bytes more on the heap", grown)
	}
}

// A model router: it takes UPDATEs in as one does, refreshes, disconnects and
// drops families at random while paths flap, and in the end knows exactly what
// it is to know.
func TestAModelRouterKnowsWhatItIsToldOf(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	r, s := newRouter(t), newSessions(t)
	peer := r.peer("r")
	peer.DualFamily, peer.ConnectTime = true, time.Millisecond
	s.SetAddresses([]Address{
		{Interface: "eth0", Prefix: netip.MustParsePrefix("192.0.2.11/24")}, {Interface: "eth0", Prefix: netip.MustParsePrefix("2001:db8:1::11/64")},
	})
	m := &modelRouter{router: r, knows: map[netip.Prefix]string{}}
	go m.run()
	random := newRandom()
	var last Paths
	for range 400 {
		last = random.paths()
		s.Apply([]Desired{{Peer: peer, Paths: last}})
		switch random.IntN(12) {
		case 0:
			m.disconnect(random.IntN(3) == 0)
		case 1, 2, 3:
			m.refresh(byte(1 + random.IntN(2)))
		}
		time.Sleep(time.Duration(random.IntN(4)) * time.Millisecond)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		wrong := m.differs(last)
		if wrong == "" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("seed %d: %s", random.seed, wrong)
		}
	}
	if st := s.Status()[0]; st.Panics != 0 {
		t.Errorf("%d panics", st.Panics)
	}
}

// modelRouter keeps what it is told.
type modelRouter struct {
	*router
	mu    sync.Mutex
	conn  net.Conn
	knows map[netip.Prefix]string // the community of each path
	six   bool                    // the session carries IPv6
	only4 bool                    // the next one does not
}
