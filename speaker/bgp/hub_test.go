package bgp

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/baliza-lb/baliza/internal/netnstest"
)

// down is how a router begins.
func down() []byte {
	c := control{state: BFDDown, multiplier: 3, mine: 7, transmit: time.Second, receive: time.Second}
	return c.marshal()
}

func TestB09_What_comes_from_too_far_does_not_count(t *testing.T) {
	netnstest.Need(t)
	for sentence, test := range map[string]struct {
		watched, port bool // several hops
		ttl           int
		want          BFDState
	}{
		"one hop, sent one hop away":                      {false, false, 255, BFDInit},
		"one hop, passed on by a router":                  {false, false, 254, BFDDown},
		"one hop, on the port for several":                {false, true, 255, BFDDown},
		"several hops, as near as they must be":           {true, true, 252, BFDInit},
		"several hops, nearer":                            {true, true, 255, BFDInit},
		"several hops, further away than the profile has": {true, true, 251, BFDDown},
		"several hops, on the port for one":               {true, false, 255, BFDDown},
	} {
		t.Run(sentence, func(t *testing.T) {
			h := newHub(slog.New(slog.DiscardHandler), func() {})
			defer h.close()
			s := newSession(&Peer{Name: "r"}, h.log, h, func() {})
			router := netip.MustParseAddr("127.0.0.2")
			h.watch(s, way{netip.MustParseAddr("127.0.0.1"), router, test.watched}, BFD{time.Second, time.Second, 3, 252, true})
			h.receive(router, test.ttl, test.port, down())
			if got := h.state(s); got != test.want {
				t.Errorf("it is %s, want %s", got, test.want)
			}
		})
	}
}

// The operator says that the router is several hops away: packets go to and
// come in at another port (RFC 5883), with the TTL that the profile allows.
func TestB09_BFD_over_several_hops(t *testing.T) {
	netnstest.Need(t)
	r, s := newRouter(t), newSessions(t)
	peer := r.peer("r")
	peer.MultiHop = true
	peer.BFD = BFD{Receive: 100 * time.Millisecond, Transmit: 100 * time.Millisecond, Multiplier: 3, MinTTL: 253}
	peer.Source = netip.MustParseAddr("127.0.0.5")
	s.Apply([]Desired{{Peer: peer}})
	r.meet(64512)
	await(t, s, "r", "watched", func(st *Status) bool { return st.BFD == BFDDown })
	conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50000}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 5), Port: bfdSeveral})
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
			time.Sleep(20 * time.Millisecond)
		}
	}()
	await(t, s, "r", "answered", func(st *Status) bool { return st.BFD == BFDInit })
}
