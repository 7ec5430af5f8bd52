package ethernet

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/internal/netnstest"
	"github.com/baliza-lb/baliza/speaker/link"
	"github.com/baliza-lb/baliza/speaker/members/detection"
	"github.com/baliza-lb/baliza/speaker/members/keyring"
	"github.com/baliza-lb/baliza/speaker/model"
)

func TestMain(m *testing.M) { os.Exit(netnstest.Main(m)) }

// ceiling catches a hang.
const ceiling = time.Minute

// member takes in what is heard.
type member struct {
	heard    chan string
	segments []detection.Segment
}

func (m *member) Frame(on string, from model.MAC, sealed []byte) {
	m.heard <- fmt.Sprintf("frame %s %s %x", on, from, sealed)
}

func (m *member) Answered(on string, mac model.MAC, address netip.Addr) {
	m.heard <- fmt.Sprintf("answer %s %s %s", on, mac, address)
}
func (m *member) Overflowed()                         {}
func (m *member) SetSegments(all []detection.Segment) { m.segments = all }
func (m *member) await(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-m.heard:
		if got != want {
			t.Fatalf("heard %q, want %q", got, want)
		}
	case <-time.After(ceiling):
		t.Fatalf("never heard %q", want)
	}
}

func open(t *testing.T) (*LAN, *member) {
	t.Helper()
	l, m := New(slog.New(slog.DiscardHandler)), &member{heard: make(chan string, 100)}
	l.Attach(m)
	t.Cleanup(l.Close)
	return l, m
}

func snapshotOf(t *testing.T, name string, addrs ...string) *link.Snapshot {
	t.Helper()
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	on := link.Interface{Name: name, Index: i.Index, MAC: i.HardwareAddr, Usable: true, Suitable: true}
	for _, a := range addrs {
		on.Addrs = append(on.Addrs, netip.MustParsePrefix(a))
		on.States = append(on.States, link.AddrState{})
	}
	return &link.Snapshot{Interfaces: []link.Interface{on}}
}

func TestFramesAndQuestionsGoOverTheInterfacesThatMatter(t *testing.T) {
	netnstest.Need(t)
	netnstest.Run(t, "ip link add v0 address 02:00:00:00:00:01 type veth peer name v1 address 02:00:00:00:00:02")
	t.Cleanup(func() { netnstest.Run(t, "ip link del v0") })
	netnstest.Run(t, "ip link set v0 up")
	netnstest.Run(t, "ip link set v1 up")
	netnstest.Run(t, "ip addr add 192.0.2.2/24 dev v1")
	a, heardA := open(t)
	b, heardB := open(t)
	of := &config.Snapshot{}
	if err := a.Follow(snapshotOf(t, "v0", "192.0.2.1/24"), of); err != nil {
		t.Fatal(err)
	}
	if err := b.Follow(snapshotOf(t, "v1", "192.0.2.2/24"), of); err != nil {
		t.Fatal(err)
	}
	if got := heardA.segments; len(got) != 1 || got[0].Name != "v0" || !slices.Equal(got[0].Addrs, []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}) {
		t.Errorf("told are %+v", got)
	}
	message := bytes.Repeat([]byte{keyring.Magic}, 50)
	message[1] = keyring.Version
	if err := a.Send("v0", model.MAC{}, message); err != nil {
		t.Fatal(err)
	}
	heardB.await(t, fmt.Sprintf("frame v1 02:00:00:00:00:01 %x", message))
	a.Ask([]detection.Question{{On: "v0", Target: netip.MustParseAddr("192.0.2.2")}})
	heardA.await(t, "answer v0 02:00:00:00:00:02 192.0.2.2")
	if a.Received("v0") == 0 {
		t.Error("nothing was received")
	}

	heardA.segments = nil
	if err := a.Follow(snapshotOf(t, "v0", "192.0.2.1/24"), of); err != nil || heardA.segments != nil {
		t.Errorf("what has not changed is told again: %v, %v", heardA.segments, err)
	}
	if err := a.Follow(&link.Snapshot{}, of); err != nil || heardA.segments != nil {
		t.Errorf("without an interface: %v, %v", heardA.segments, err)
	}
	gone := snapshotOf(t, "v0")
	gone.Interfaces[0].Index = 9999
	if err := a.Follow(gone, of); err == nil || !strings.Contains(err.Error(), "interface v0") {
		t.Errorf("no interface has that index: %v", err)
	}
	if err := a.Follow(snapshotOf(t, "v0"), of); err != nil {
		t.Errorf("the next attempt: %v", err)
	}
}

// Finding 2: a node whose address has changed is reached by nobody at the old one.
func TestF2_ASpeakerWithoutItsMemberAddressEnds(t *testing.T) {
	at, now := netip.MustParseAddr("192.0.2.1"), time.Unix(1000, 0)
	with := func(addrs ...string) *link.Snapshot {
		on := link.Interface{Name: "eth0"}
		for _, a := range addrs {
			on.Addrs = append(on.Addrs, netip.MustParsePrefix(a))
		}
		return &link.Snapshot{Interfaces: []link.Interface{on}}
	}
	var never, h Home
	if never.Check(at, with(), now) != nil || never.Check(at, with(), now.Add(time.Hour)) != nil {
		t.Error("an address that never was on an interface is missed")
	}
	here, gone := with("192.0.2.1/24"), with("192.0.2.101/24")
	steps := []struct {
		snapshot *link.Snapshot
		after    time.Duration
		ends     bool
	}{
		{here, 0, false},
		{gone, time.Second, false},
		{gone, 5 * time.Second, false},
		{here, 5900 * time.Millisecond, false},
		{gone, 10 * time.Second, false},
		{gone, 14 * time.Second, false},
		{gone, 15 * time.Second, true},
	}
	for _, step := range steps {
		err := h.Check(at, step.snapshot, now.Add(step.after))
		if (err != nil) != step.ends {
			t.Errorf("after %s: %v", step.after, err)
		}
		if err != nil && !strings.Contains(err.Error(), "192.0.2.1 ") {
			t.Errorf("the error does not name the address: %v", err)
		}
	}
}
