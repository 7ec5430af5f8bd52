package bgp

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"golang.org/x/net/ipv6"

	"github.com/baliza-lb/baliza/internal/netnstest"
)

// far is the router's end of a link, in the same namespace.
type far struct {
	t    *testing.T
	conn *ipv6.PacketConn
	link *net.Interface
}

// links counts them: each has its own names, because Go remembers for a minute
// which zone is which interface.
var links atomic.Int32

// newLink makes two ends that have only link-local addresses, and listens on
// that of the router; the other is node.
func newLink(t *testing.T) (f *far, node string) {
	t.Helper()
	i := links.Add(1)
	node, rack := fmt.Sprintf("node%d", i), fmt.Sprintf("rack%d", i)
	ip(t, "link add "+node+" type veth peer name "+rack)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", node).Run() })
	for _, name := range []string{node, rack} {
		// The kernel solicits routers too, and would be taken for the speaker.
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/router_solicitations", []byte("0"), 0); err != nil {
			t.Fatal(err)
		}
		ip(t, "link set "+name+" addrgenmode none up")
	}
	ip(t, "addr add fe80::1/64 dev "+node+" nodad")
	ip(t, "addr add fe80::ff/64 dev "+rack+" nodad")
	link, err := net.InterfaceByName(rack)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := new(net.ListenConfig).ListenPacket(t.Context(), "ip6:ipv6-icmp", "::")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	conn := ipv6.NewPacketConn(raw)
	if err := errors.Join(conn.JoinGroup(link, &net.IPAddr{IP: net.ParseIP("ff02::2")}), conn.SetMulticastLoopback(false), conn.SetControlMessage(ipv6.FlagInterface|ipv6.FlagHopLimit, true)); err != nil {
		t.Fatal(err)
	}
	return &far{t, conn, link}, node
}

// solicited waits for a message of a type.
func (f *far) solicited(kind byte) (body []byte, hops int) {
	f.t.Helper()
	_ = f.conn.SetReadDeadline(time.Now().Add(ceiling))
	buffer := make([]byte, 2048)
	for {
		n, how, _, err := f.conn.ReadFrom(buffer)
		if err != nil {
			f.t.Fatalf("no message of type %d: %v", kind, err)
		}
		if how.IfIndex == f.link.Index && buffer[0] == kind {
			return buffer[:n], how.HopLimit
		}
	}
}

// advertises says that the router is one for so many seconds.
func (f *far) advertises(lifetime uint16, hops int) {
	f.t.Helper()
	m := advertisement(f.link.HardwareAddr)
	binary.BigEndian.PutUint16(m[lifetimeAt:], lifetime)
	_, err := f.conn.WriteTo(m, &ipv6.ControlMessage{HopLimit: hops, IfIndex: f.link.Index}, &net.IPAddr{IP: net.ParseIP("ff02::1"), Zone: f.link.Name})
	if err != nil {
		f.t.Fatal(err)
	}
}

func TestB05_A_router_is_found_by_its_advertisement(t *testing.T) {
	netnstest.Need(t)
	f, node := newLink(t)
	type result struct {
		router netip.Addr
		err    error
	}
	look := func(ctx context.Context) <-chan result {
		found := make(chan result, 1)
		go func() {
			router, err := find(ctx, node)
			found <- result{router, err}
		}()
		f.solicited(typeSolicitation)
		return found
	}
	for sentence, test := range map[string]struct {
		say  func()
		want string // part of the error; empty means that the router is found
	}{
		"a default router":                     {func() { f.advertises(30, 255) }, ""},
		"one that is nobody's default router":  {func() { f.advertises(0, 255) }, ""},
		"one that a router passed on":          {func() { f.advertises(30, 254) }, "no router advertisement"},
		"nobody, not even this node to itself": {func() {}, "no router advertisement"},
	} {
		t.Run(sentence, func(t *testing.T) {
			found := look(t.Context())
			test.say()
			got := <-found
			switch {
			case test.want == "" && (got.err != nil || got.router != netip.MustParseAddr("fe80::ff%"+node)):
				t.Errorf("found %s, %v", got.router, got.err)
			case test.want != "" && (got.err == nil || !strings.Contains(got.err.Error(), test.want)):
				t.Errorf("found %s, %v; want %q", got.router, got.err, test.want)
			}
		})
	}
	t.Run("the router learns of the node, and nobody takes it for a default router", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		found := make(chan result, 1)
		go func() {
			router, err := find(ctx, node)
			found <- result{router, err}
		}()
		m, hops := f.solicited(typeAdvertisement)
		if lifetime, ok := parseAdvertisement(m); !ok || lifetime != 0 || hops != 255 {
			t.Errorf("it says % x with %d hops left", m, hops)
		}
		cancel()
		<-found
		if time.Since(began) > listenFor {
			t.Error("it cannot be interrupted")
		}
	})
	t.Run("an interface that is not there", func(t *testing.T) {
		if _, err := find(t.Context(), "none0"); err == nil || !strings.Contains(err.Error(), "no interface none0") {
			t.Error(err)
		}
	})
}

// The session runs between link-local addresses, and carries both families.
func TestB05_A_session_over_an_interface_carries_both_families(t *testing.T) {
	netnstest.Need(t)
	f, node := newLink(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "[fe80::ff%"+f.link.Name+"]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	s := newSessions(t)
	s.Apply([]Desired{{
		Peer: Peer{
			Name: "rack", Interface: node, Port: netip.MustParseAddrPort(listener.Addr().String()).Port(),
			MyASN: 64513, Dynamic: External, HoldTime: 90 * time.Second, ConnectTime: 50 * time.Millisecond,
		},
		Paths: Paths{{netip.MustParsePrefix("203.0.113.1/32"), plain()}, {netip.MustParsePrefix("2001:db8:5::1/128"), plain()}},
	}})
	f.solicited(typeSolicitation)
	f.advertises(30, 255)
	hang := time.AfterFunc(ceiling, func() { _ = listener.Close() })
	defer hang.Stop()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(ceiling))
	in := bufio.NewReader(conn)
	_, body, err := read(in)
	if err != nil {
		t.Fatal(err)
	}
	if o, err := parseOpen(body); err != nil || !o.extended || o.families != (familySet{true, true}) {
		t.Errorf("it offers %+v, %v", o, err)
	}
	reply, _ := wire.NewBGPOpenMessage(64512, 90, netip.MustParseAddr("192.0.2.254"), []wire.OptionParameterInterface{
		wire.NewOptionParameterCapability([]wire.ParameterCapabilityInterface{
			wire.NewCapMultiProtocol(wire.RF_IPv4_UC), wire.NewCapMultiProtocol(wire.RF_IPv6_UC), wire.NewCapFourOctetASNumber(64512),
			wire.NewCapExtendedNexthop([]*wire.CapExtendedNexthopTuple{wire.NewCapExtendedNexthopTuple(wire.RF_IPv4_UC, wire.AFI_IP6)}),
		}),
	})
	(&router{t: t}).say(conn, reply, wire.NewBGPKeepAliveMessage())
	status := await(t, s, "rack", "told", func(st *Status) bool { return st.Sent == 2 })
	if status.Address != netip.MustParseAddr("fe80::ff%"+node) || status.PeerASN != 64512 {
		t.Errorf("status: %+v", status)
	}
	told := map[string]string{}
	for len(told) < 2 {
		message, err := wire.ParseBGPMessage(whole(t, in))
		if err != nil {
			t.Fatal(err)
		}
		update, ok := message.Body.(*wire.BGPUpdate)
		if !ok {
			continue
		}
		for _, a := range update.PathAttributes {
			if reach, ok := a.(*wire.PathAttributeMpReachNLRI); ok {
				told[reach.Value[0].NLRI.String()] = reach.Nexthop.String()
			}
		}
	}
	if told["203.0.113.1/32"] != "fe80::1" || told["2001:db8:5::1/128"] != "fe80::1" {
		t.Errorf("the router was told %v", told)
	}
}

// whole reads a message with its header, as ParseBGPMessage wants it.
func whole(t *testing.T, in *bufio.Reader) []byte {
	t.Helper()
	header, err := in.Peek(headerSize)
	if err != nil {
		t.Fatal(err)
	}
	m := make([]byte, binary.BigEndian.Uint16(header[16:]))
	if _, err := io.ReadFull(in, m); err != nil {
		t.Fatal(err)
	}
	return m
}

func FuzzParseAdvertisement(f *testing.F) {
	f.Add(advertisement(net.HardwareAddr{2, 0, 0, 0, 0, 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if lifetime, ok := parseAdvertisement(b); ok && (lifetime < 0 || lifetime > 65535*time.Second) {
			t.Errorf("%s from % x", lifetime, b)
		}
	})
}
