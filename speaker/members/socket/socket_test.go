package socket

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/internal/netnstest"
)

func TestMain(m *testing.M) { os.Exit(netnstest.Main(m)) }

const magic = 0xba

// ceiling catches a hang.
const ceiling = time.Minute

// inbox is a socket with what it has received.
type inbox struct {
	*Socket
	messages   chan string // those from where the sender says, and how long they are
	refused    chan netip.AddrPort
	overflowed atomic.Int64
	heard      atomic.Int64
	authentic  atomic.Bool
}

func open(t *testing.T, listen netip.AddrPort) *inbox {
	t.Helper()
	in := &inbox{messages: make(chan string, 1000), refused: make(chan netip.AddrPort, 1000)}
	in.authentic.Store(true)
	s, err := Listen(Config{
		Listen: listen, Magic: magic,
		Message: func(b []byte, from netip.AddrPort) bool {
			in.heard.Add(1)
			select {
			case in.messages <- fmt.Sprintf("%s %x", from, b):
			default:
			}
			return in.authentic.Load()
		},
		Refused: func(at netip.AddrPort) {
			select {
			case in.refused <- at:
			default:
			}
		},
		Overflowed: func() { in.overflowed.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	in.Socket = s
	s.Start()
	t.Cleanup(func() { _ = s.Shutdown() })
	return in
}

func loopback(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 8, byte(n)}), 0)
}

func (in *inbox) await(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-in.messages:
		if got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	case <-time.After(ceiling):
		t.Fatalf("never heard %s", want)
	}
}

func TestMessagesAndMemberlistsShareThePort(t *testing.T) {
	netnstest.Need(t)
	for _, listen := range []netip.AddrPort{loopback(1), netip.MustParseAddrPort("[::1]:0")} {
		a, b := open(t, listen), open(t, netip.AddrPortFrom(listen.Addr(), 0))
		if err := a.Send([]byte{magic, 1, 2}, b.Address()); err != nil {
			t.Fatal(err)
		}
		b.await(t, fmt.Sprintf("%s ba0102", a.Address()))
		if _, err := a.WriteTo([]byte{1, 2, 3}, b.Address().String()); err != nil {
			t.Fatal(err)
		}
		select {
		case packet := <-b.PacketCh():
			if !slices.Equal(packet.Buf, []byte{1, 2, 3}) || packet.From.String() != a.Address().String() {
				t.Errorf("memberlist gets %x from %s", packet.Buf, packet.From)
			}
		case <-time.After(ceiling):
			t.Fatal("memberlist gets nothing")
		}
		conn, err := a.DialTimeout(b.Address().String(), ceiling)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-b.StreamCh():
			_ = got.Close()
		case <-time.After(ceiling):
			t.Fatal("no stream")
		}
		_ = conn.Close()
	}
}

func TestATakenPortIsRefused(t *testing.T) {
	a := open(t, loopback(2))
	if s, err := Listen(Config{Listen: a.Address()}); err == nil {
		_ = s.Shutdown()
		t.Error("two have one port")
	}
}

// A process that ended is known from its host's answer, whatever else was sent
// meanwhile.
// What a process has opened last is what the kernel closes first when it ends.
func TestTheSocketsHaveTheHighestDescriptorsWhileTheyAreOpen(t *testing.T) {
	high := func() (n int) {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range open {
			if number, err := strconv.Atoi(one.Name()); err == nil && number >= lastDescriptor {
				n++
			}
		}
		return n
	}
	before := high()
	s, err := Listen(Config{Listen: loopback(8), Magic: magic})
	if err != nil {
		t.Fatal(err)
	}
	if n := high() - before; n != 2 {
		t.Errorf("%d of the two sockets have one", n)
	}
	_ = s.Shutdown()
	if n := high() - before; n != 0 {
		t.Errorf("%d are left open", n)
	}
}

func TestAPortWithoutAProcessIsTold(t *testing.T) {
	for _, listen := range []netip.AddrPort{loopback(3), netip.MustParseAddrPort("[::1]:0")} {
		a, gone := open(t, listen), open(t, netip.AddrPortFrom(listen.Addr(), 0))
		at := gone.Address()
		_ = gone.Shutdown()
		other := open(t, netip.AddrPortFrom(listen.Addr(), 0))
		for begin := time.Now(); ; {
			_ = a.Send([]byte{magic}, at)
			if err := a.Send([]byte{magic, 7}, other.Address()); err != nil {
				t.Fatalf("what an answer to another says keeps this from being sent: %v", err)
			}
			other.await(t, fmt.Sprintf("%s ba07", a.Address()))
			select {
			case got := <-a.refused:
				if got != at {
					t.Fatalf("%s has no process, got %s", at, got)
				}
			case <-time.After(100 * time.Millisecond): // a kernel answers so often only
				if time.Since(begin) > ceiling {
					t.Fatal("never told")
				}
				continue
			}
			break
		}
	}
}

// Finding 4: a flood of garbage, from a host that is no speaker, reaches nobody
// but in a bounded number, and what speakers say meanwhile is heard, all of it.
func TestF4_AFloodOfUnknownSendersDoesNotDeafen(t *testing.T) {
	netnstest.Need(t)
	for name, first := range map[string]byte{"like ours": magic, "like memberlist's": 1} {
		t.Run(name, func(t *testing.T) {
			a, b := open(t, loopback(4)), open(t, loopback(5))
			b.Expect("test", map[string]netip.AddrPort{"a": a.Address()})
			time.Sleep(5 * attachDelay)
			begin, stop, flooded := time.Now(), make(chan struct{}), make(chan int)
			go func() { flooded <- flood(b.Address(), first, stop) }()
			b.authentic.Store(false)
			const beats = 100
			for range beats {
				if err := a.Send([]byte{magic, 42}, b.Address()); err != nil {
					t.Error(err)
				}
				time.Sleep(5 * time.Millisecond)
			}
			close(stop)
			sent, heard := <-flooded, 0
			for {
				select {
				case got := <-b.messages:
					if got == fmt.Sprintf("%s ba2a", a.Address()) {
						heard++
					}
					continue
				case <-time.After(100 * time.Millisecond):
				}
				break
			}
			t.Logf("%d datagrams of an unknown sender in half a second: %d were looked at", sent, int(b.heard.Load())-heard)
			if heard != beats || b.overflowed.Load() > 0 {
				t.Errorf("%d of %d beats were heard, the queue overflowed %d times", heard, beats, b.overflowed.Load())
			}
			most := unknownRate * (2 + int(time.Since(begin).Seconds()))
			if others := int(b.heard.Load()) - heard; others > most {
				t.Errorf("%d datagrams of unknown senders were looked at", others)
			}
		})
	}
}

// flood sends 70,000 datagrams a second, as far as the machine lets it, from an
// address that is no speaker's.
func flood(to netip.AddrPort, first byte, stop chan struct{}) (sent int) {
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 9, 9)}, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return 0
	}
	defer conn.Close()
	garbage := make([]byte, 64)
	garbage[0] = first
	for begin := time.Now(); ; {
		select {
		case <-stop:
			return sent
		default:
		}
		if float64(sent) > time.Since(begin).Seconds()*70_000 {
			time.Sleep(time.Millisecond)
			continue
		}
		for range 70 {
			_, _ = conn.Write(garbage)
			sent++
		}
	}
}

// A speaker that nobody has named gets through, and is known from then on.
func TestWhoIsAuthenticIsKnown(t *testing.T) {
	a, b := open(t, loopback(6)), open(t, loopback(7))
	if b.guard.knows(a.Address().Addr()) {
		t.Fatal("known before it said anything")
	}
	_ = a.Send([]byte{magic}, b.Address())
	b.await(t, a.Address().String()+" ba")
	for begin := time.Now(); !b.guard.knows(a.Address().Addr()); time.Sleep(time.Millisecond) {
		if time.Since(begin) > ceiling {
			t.Fatal("still an unknown sender")
		}
	}
}

// What the kernel drops of known speakers is told: silence proves nothing then.
func TestOverflowIsTold(t *testing.T) {
	a := open(t, loopback(8))
	netnstest.Need(t)
	held := make(chan struct{})
	s, err := Listen(Config{
		Listen: loopback(9), Magic: magic, Message: func([]byte, netip.AddrPort) bool { <-held; return true },
		Overflowed: func() { a.overflowed.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Shutdown() }()
	s.Expect("test", map[string]netip.AddrPort{"a": a.Address()})
	time.Sleep(5 * attachDelay)
	s.Start()
	message := make([]byte, 1000)
	message[0] = magic
	for range 20_000 {
		_ = a.Send(message, s.Address())
	}
	close(held)
	for begin := time.Now(); a.overflowed.Load() == 0; time.Sleep(time.Millisecond) {
		_ = a.Send(message, s.Address()) // the kernel says it with the next one that it takes
		if time.Since(begin) > ceiling {
			t.Fatal("20 MB were lost without a word")
		}
	}
}

func TestStreamsOfUnknownSendersAreBounded(t *testing.T) {
	a := open(t, loopback(10))
	for range 3 * unknownStreams {
		conn, err := net.Dial("tcp", a.Address().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	for range unknownStreams {
		select {
		case one := <-a.StreamCh():
			t.Cleanup(func() { _ = one.Close() })
		case <-time.After(ceiling):
			t.Fatal("no stream")
		}
	}
	select {
	case <-a.StreamCh():
		t.Error("too many")
	case <-time.After(100 * time.Millisecond):
	}
	a.Expect("test", map[string]netip.AddrPort{"b": netip.MustParseAddrPort("127.0.0.1:1")})
	conn, err := net.Dial("tcp", a.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	select {
	case one := <-a.StreamCh():
		_ = one.Close()
	case <-time.After(ceiling):
		t.Fatal("a speaker is kept out by unknown senders")
	}
}

// The kernel tells speakers from unknown senders whatever their number.
func TestTheKernelKnowsManySpeakers(t *testing.T) {
	netnstest.Need(t)
	for _, others := range []int{0, 1, 199, 200, 201, 1000, 3499, 5000} {
		a, b := open(t, loopback(11)), open(t, loopback(12))
		places := map[string]netip.AddrPort{"a": a.Address()}
		for i := range others {
			places[strconv.Itoa(i)] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 1)
		}
		b.Expect("test", places)
		if err := b.attach(); err != nil {
			t.Fatalf("%d others: %v", others, err)
		}
		_ = a.Send([]byte{magic}, b.Address())
		b.await(t, a.Address().String()+" ba")
	}
}
