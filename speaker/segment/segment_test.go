package segment

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/internal/netnstest"
	"github.com/baliza-lb/baliza/speaker/model"
)

func TestMain(m *testing.M) { os.Exit(netnstest.Main(m)) }

// ceiling catches a hang.
const ceiling = time.Minute

var prefix = []byte{0xba, 1}

// ear is Segments and what they have received.
type ear struct {
	*Segments
	heard      chan string
	overflowed atomic.Int64
}

func listen(t *testing.T, names ...string) *ear {
	t.Helper()
	e := &ear{heard: make(chan string, 1000)}
	e.Segments = New(Config{
		Prefix: prefix,
		Receive: func(on string, from model.MAC, payload []byte) {
			select {
			case e.heard <- fmt.Sprintf("%s %s %x", on, from, payload):
			default:
			}
		},
		Overflowed: func() { e.overflowed.Add(1) },
	})
	t.Cleanup(e.Close)
	e.use(t, names...)
	return e
}

func (e *ear) use(t *testing.T, names ...string) {
	t.Helper()
	var all []Interface
	for _, name := range names {
		all = append(all, lookUp(t, name))
	}
	if err := e.Use(all); err != nil {
		t.Fatal(err)
	}
}

func lookUp(t *testing.T, name string) Interface {
	t.Helper()
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return Interface{Name: name, Index: i.Index, MAC: model.MACOf(i.HardwareAddr)}
}

func (e *ear) await(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-e.heard:
		if got != want {
			t.Fatalf("heard %s, want %s", got, want)
		}
	case <-time.After(ceiling):
		t.Fatalf("never heard %s", want)
	}
}

func (e *ear) silent(t *testing.T, what string) {
	t.Helper()
	select {
	case got := <-e.heard:
		t.Errorf("%s: heard %s", what, got)
	case <-time.After(200 * time.Millisecond):
	}
}

// cable is a segment of two interfaces.
func cable(t *testing.T) {
	t.Helper()
	netnstest.Need(t)
	netnstest.Run(t, "ip link add v0 address 02:00:00:00:00:01 type veth peer name v1 address 02:00:00:00:00:02")
	t.Cleanup(func() { _, _ = netnstest.Try("ip link del v0") })
	netnstest.Run(t, "ip link set v0 up")
	netnstest.Run(t, "ip link set v1 up")
}

// send sends from the first end of the cable.
func send(t *testing.T, from *ear, to model.MAC, payload ...byte) {
	t.Helper()
	if err := from.Send("v0", to, payload); err != nil {
		t.Fatal(err)
	}
}

func TestFramesGoToOneAndToAll(t *testing.T) {
	cable(t)
	a, b := listen(t, "v0"), listen(t, "v1")
	second := model.MAC{2, 0, 0, 0, 0, 2}
	send(t, a, second, 0xba, 1, 7) // is padded on the way
	b.await(t, "v1 02:00:00:00:00:01 ba0107")
	send(t, a, model.MAC{}, 0xba, 1, 8)
	b.await(t, "v1 02:00:00:00:00:01 ba0108")
	long := bytes.Repeat([]byte{9}, Longest)
	copy(long, prefix)
	if err := a.Send("v0", second, long); err != nil {
		t.Fatal(err)
	}
	b.await(t, fmt.Sprintf("v1 02:00:00:00:00:01 %x", long))
	a.silent(t, "what it sent itself")

	send(t, a, model.MAC{2, 0, 0, 0, 0, 3}, 0xba, 1, 7)
	b.silent(t, "for another")
	send(t, a, second, 0xba, 2, 7)
	send(t, a, second, 0xbb, 1, 7)
	b.silent(t, "of another kind")
	if err := a.Send("v9", second, prefix); !errors.Is(err, errClosed) {
		t.Errorf("sent on an interface that is not used: %v", err)
	}
}

// T13: a frame of an upper interface, as of a VLAN, is not one of the lower, though
// the lower's socket gets it, too.
func TestT13_FramesOfAnUpperInterfaceAreNotTheLowers(t *testing.T) {
	cable(t)
	netnstest.Run(t, "ip link add link v1 name upper address 02:00:00:00:00:09 type macvlan mode bridge")
	netnstest.Run(t, "ip link set upper up")
	a, lower, upper := listen(t, "v0"), listen(t, "v1"), listen(t, "upper")
	send(t, a, model.MAC{2, 0, 0, 0, 0, 9}, 0xba, 1, 7)
	upper.await(t, "upper 02:00:00:00:00:01 ba0107")
	lower.silent(t, "for the upper one")
	send(t, a, model.MAC{2, 0, 0, 0, 0, 2}, 0xba, 1, 8)
	lower.await(t, "v1 02:00:00:00:00:01 ba0108")
	upper.silent(t, "for the lower one")
}

func TestInterfacesComeAndGo(t *testing.T) {
	cable(t)
	a, b := listen(t, "v0"), listen(t, "v1")
	second := model.MAC{2, 0, 0, 0, 0, 2}
	netnstest.Run(t, "ip link set v1 down")
	netnstest.Run(t, "ip link set v1 up")
	send(t, a, second, 0xba, 1, 1)
	b.await(t, "v1 02:00:00:00:00:01 ba0101") // by the same socket
	netnstest.Run(t, "ip link del v0")
	cable(t)
	a.use(t, "v0")
	b.use(t, "v1")
	send(t, a, second, 0xba, 1, 2)
	b.await(t, "v1 02:00:00:00:00:01 ba0102")
	b.use(t)
	if err := b.Send("v1", second, prefix); !errors.Is(err, errClosed) {
		t.Errorf("an interface is used that is not to be: %v", err)
	}
	if err := b.Use([]Interface{{Name: "v1", Index: 9999, MAC: second}}); err == nil || !strings.Contains(err.Error(), "interface v1") {
		t.Errorf("no interface has that index: %v", err)
	}
}

// F4: frames of others cost the process nothing: the kernel drops them.
func TestF4_FramesOfStrangersAreNotRead(t *testing.T) {
	cable(t)
	a, b := listen(t, "v0"), listen(t, "v1")
	second := model.MAC{2, 0, 0, 0, 0, 2}
	p := (*b.open.Load())["v1"]
	received := func() (n uint32) {
		_ = p.raw.Control(func(fd uintptr) {
			if stats, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
				n = stats.Packets
			}
		})
		return n
	}
	received()
	for range 1000 {
		send(t, a, second, 0xbb, 1, 7)
	}
	if n := received(); n != 0 {
		t.Errorf("%d frames of strangers came to the socket", n)
	}
	send(t, a, second, 0xba, 1, 7)
	b.await(t, "v1 02:00:00:00:00:01 ba0107")
}

func TestOverflowIsTold(t *testing.T) {
	cable(t)
	a := listen(t, "v0")
	held := make(chan struct{})
	var told atomic.Int64
	b := New(Config{Prefix: prefix, Receive: func(string, model.MAC, []byte) { <-held }, Overflowed: func() { told.Add(1) }})
	defer b.Close()
	if err := b.Use([]Interface{lookUp(t, "v1")}); err != nil {
		t.Fatal(err)
	}
	long := make([]byte, 1000)
	copy(long, prefix)
	for range 20_000 {
		_ = a.Send("v0", model.MAC{}, long)
	}
	close(held)
	for begin := time.Now(); told.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Since(begin) > ceiling {
			t.Fatal("20 MB were lost without a word")
		}
	}
}

func TestParsingAllocatesNothing(t *testing.T) {
	frame := appendFrame(nil, Group(), model.MAC{2, 0, 0, 0, 0, 1}, prefix)
	if n := testing.AllocsPerRun(100, func() { _, _ = parse(frame, model.MAC{}) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	own := model.MAC{2, 0, 0, 0, 0, 2}
	f.Add(appendFrame(nil, own, model.MAC{2, 0, 0, 0, 0, 1}, prefix))
	f.Add(appendFrame(nil, Group(), own, nil))
	f.Fuzz(func(t *testing.T, frame []byte) {
		from, payload := parse(frame, own)
		if payload == nil {
			return
		}
		again := appendFrame(nil, model.MACOf(frame), from, payload)
		if !bytes.HasPrefix(frame, again) {
			t.Errorf("%x was read as %x", frame, again)
		}
	})
}
