package bgp

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"
)

// A process that crashed has said nothing. The next one has the router forget
// the path before it opens a session: FRR would reset that one otherwise.
func TestB10_After_a_crash_the_path_is_ended_before_the_session_begins(t *testing.T) {
	at := netip.AddrFrom4([4]byte{127, 64, byte(rand.N(255)), byte(1 + rand.N(250))}) // so that two runs do not meet
	port, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", netip.AddrPortFrom(at, bfdPort).String())
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", netip.AddrPortFrom(at, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	heard := make(chan string, 2)
	go func() {
		packet := make([]byte, controlSize)
		if _, _, err := port.ReadFrom(packet); err == nil {
			if c, err := parseControl(packet); err == nil && c.state == BFDAdminDown {
				heard <- "AdminDown"
			}
		}
	}()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			heard <- "a connection"
			_ = conn.Close()
		}
	}()
	s := newSessions(t)
	s.Apply([]Desired{{Peer: Peer{
		Name: "r", Address: at, Port: netip.MustParseAddrPort(listener.Addr().String()).Port(), MyASN: 64513, PeerASN: 64512,
		HoldTime: 3 * time.Second, ConnectTime: time.Second, BFD: BFD{Receive: time.Second, Transmit: time.Second, Multiplier: 3},
	}}})
	for _, want := range []string{"AdminDown", "a connection"} {
		select {
		case got := <-heard:
			if got != want {
				t.Fatalf("the router heard %s, want %s", got, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("the router never heard %s", want)
		}
	}
}
