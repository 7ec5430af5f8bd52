package l2_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/model"
)

// within is how long the tests wait for answers that come at once.
const within = 600 * time.Millisecond

// asker gives lan0 addresses of its own.
func asker(t *testing.T, addrs ...string) l2.Asker {
	t.Helper()
	a := l2.Asker{Interface: lan(t, 1)}
	for _, own := range addrs {
		ip(t, "addr add "+own+" dev lan0 nodad")
		a.Addrs = append(a.Addrs, netip.MustParsePrefix(own))
	}
	return a
}

func macs(replies []l2.Reply) string {
	var all []string
	for _, r := range replies {
		all = append(all, r.MAC.String())
	}
	return strings.Join(all, " ")
}

// K02: whoever has an address answers, and nobody where nobody has it; what is only
// announced meanwhile is no answer.
func TestK02_WhoHasAnAddressIsAsked(t *testing.T) {
	for name, own := range map[string][]string{
		"of the subnet":      {"192.0.2.1/24", "2001:db8::1/64"},
		"of another":         {"198.51.100.1/24", "2001:db8:1::1/64"},
		"IPv6 of link-local": {"fe80::1/64"},
	} {
		t.Run(name, func(t *testing.T) {
			s := segment(t)
			from := asker(t, own...)
			for target, want := range map[string]string{"192.0.2.100": s.mac(), "2001:db8::100": s.mac(), "192.0.2.101": "", "2001:db8::101": ""} {
				replies, err := l2.Resolve(from, netip.MustParseAddr(target), within)
				if err != nil || macs(replies) != want {
					t.Errorf("%s: %q, want %q (%v)", target, macs(replies), want, err)
				}
				for _, r := range replies {
					if r.After <= 0 || r.After > within {
						t.Errorf("%s: after %s", target, r.After)
					}
				}
			}
		})
	}
	t.Run("without an address", func(t *testing.T) {
		s := segment(t)
		from := asker(t)
		if replies, err := l2.Resolve(from, netip.MustParseAddr("192.0.2.100"), within); err != nil || macs(replies) != s.mac() {
			t.Errorf("%q (%v)", macs(replies), err)
		}
		if _, err := l2.Resolve(from, netip.MustParseAddr("2001:db8::100"), within); err == nil || !strings.Contains(err.Error(), "lan0 has no address to ask for 2001:db8::100 from") {
			t.Errorf("%v", err)
		}
	})
	t.Run("announcements are no answers", func(t *testing.T) {
		s := segment(t)
		from := asker(t, "192.0.2.1/24")
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 3 {
				_, _ = s.Try("arping -U -c 1 -w 1 -i eth0 -S 192.0.2.50 192.0.2.50")
			}
		}()
		if replies, err := l2.Resolve(from, netip.MustParseAddr("192.0.2.50"), within); err != nil || len(replies) > 0 {
			t.Errorf("%q (%v)", macs(replies), err)
		}
		<-done
	})
}

// K02: where two hosts answer, both are found, whoever is the faster.
func TestK02_TwoHostsThatAnswerAreTwo(t *testing.T) {
	s := segment(t)
	s.Run("ip link add link eth0 name second address 02:00:00:00:00:99 type macvlan mode bridge")
	s.Run("ip link set second up")
	s.Run("ip addr add 192.0.2.100/24 dev second")
	s.Run("ip addr add 2001:db8::100/64 dev second nodad")
	from := asker(t, "192.0.2.1/24", "2001:db8::1/64")
	for _, target := range []string{"192.0.2.100", "2001:db8::100"} {
		replies, err := l2.Resolve(from, netip.MustParseAddr(target), within)
		got := macs(replies)
		if err != nil || len(replies) != 2 || !strings.Contains(got, s.mac()) || !strings.Contains(got, "02:00:00:00:00:99") {
			t.Errorf("%s: %q (%v)", target, got, err)
		}
	}
}

// listen has the other host take connections, until the test ends.
func (s *otherHost) listen(t *testing.T, at string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := s.Command("env", listenEnv+"="+at, program)
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = c.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "listening\n" {
		t.Fatalf("listening at %s: %q, %v", at, line, err)
	}
}

// listenEnv makes this program listen at an address instead of testing.
const listenEnv = "BALIZA_TEST_LISTEN"

// listenUntilClosed is that program.
func listenUntilClosed(at string) int {
	if _, err := net.Listen("tcp", at); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("listening")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// K02: a connection is begun at the MAC that is named, even where this node's kernel
// has the address itself, as it does under IPVS.
func TestK02_AConnectionIsBegunOverTheWire(t *testing.T) {
	for _, address := range []string{"192.0.2.100", "2001:db8::100"} {
		t.Run(address, func(t *testing.T) {
			s := segment(t)
			from := asker(t, "192.0.2.1/24", "2001:db8::1/64")
			to := netip.MustParseAddr(address)
			s.listen(t, netip.AddrPortFrom(to, 80).String())
			mac, err := net.ParseMAC(s.mac())
			if err != nil {
				t.Fatal(err)
			}
			shake := func(what string, mac model.MAC, port uint16, want model.Handshake) {
				t.Helper()
				got, took, err := l2.Handshake(from, mac, netip.AddrPortFrom(to, port), within)
				if err != nil || got != want || (took > 0) != (want != model.HandshakeSilent) {
					t.Errorf("%s: %q after %s, want %q (%v)", what, got, took, want, err)
				}
			}
			shake("an open port", model.MACOf(mac), 80, model.HandshakeAccepted)
			shake("a closed port", model.MACOf(mac), 81, model.HandshakeRefused)
			shake("a MAC that nobody has", model.MAC{2, 0, 0, 0, 0, 0x77}, 80, model.HandshakeSilent)
			ip(t, "addr add "+address+" dev lo")
			t.Cleanup(func() { ip(t, "addr del "+address+" dev lo") })
			shake("where this node has the address itself", model.MACOf(mac), 80, model.HandshakeAccepted)
		})
	}
}
