package link_test

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/internal/netnstest"
	"github.com/baliza-lb/baliza/speaker/link"
)

func watch(t *testing.T) *link.Watcher {
	t.Helper()
	netnstest.Need(t)
	w, err := link.New(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	time.Sleep(20 * time.Millisecond) // until it is subscribed
	return w
}

// await waits for the condition and logs how long that took.
func await(t *testing.T, w *link.Watcher, what string, condition func(*link.Snapshot) bool) {
	t.Helper()
	start := time.Now()
	deadline := time.After(time.Minute) // a hang; events come within milliseconds
	for !condition(w.Snapshot()) {
		select {
		case <-w.Changes():
		case <-deadline:
			t.Fatalf("never seen: %s; interfaces: %+v", what, w.Snapshot().Interfaces)
		}
	}
	t.Logf("%s: seen after %s", what, time.Since(start).Round(100*time.Microsecond))
}

func is(name string, condition func(link.Interface) bool) func(*link.Snapshot) bool {
	return func(s *link.Snapshot) bool { i, ok := s.Interface(name); return ok && condition(i) }
}

func usable(i link.Interface) bool   { return i.Usable }
func unusable(i link.Interface) bool { return !i.Usable }
func suitable(i link.Interface) bool { return i.Suitable }

// L09: appear, address, carrier, MAC, bridge, disappear; each from its event.
func TestLifeOfAnInterfaceIsFollowedFromEvents(t *testing.T) {
	w := watch(t)
	ip(t, "link add lan0 type veth peer name far0")
	t.Cleanup(func() { ip(t, "link del br0") })
	await(t, w, "appears, down", is("lan0", unusable))
	ip(t, "link set far0 up")
	ip(t, "link set lan0 up")
	await(t, w, "is up", is("lan0", usable))
	if i, _ := w.Snapshot().Interface("lan0"); i.Suitable {
		t.Error("an interface without an address on a subnet is suitable")
	}
	ip(t, "addr add 192.0.2.1/24 dev lan0")
	await(t, w, "has an address", is("lan0", func(i link.Interface) bool {
		return i.Suitable && slices.Contains(i.Addrs, netip.MustParsePrefix("192.0.2.1/24"))
	}))

	before, _ := w.Snapshot().Interface("lan0")
	ip(t, "link set far0 down")
	await(t, w, "lost carrier", is("lan0", unusable))
	ip(t, "link set far0 up")
	await(t, w, "carrier is back", is("lan0", func(i link.Interface) bool { return i.Usable && i.Epoch > before.Epoch }))

	before, _ = w.Snapshot().Interface("lan0")
	ip(t, "link set lan0 address 02:00:00:00:00:99")
	await(t, w, "changed its MAC", is("lan0", func(i link.Interface) bool {
		return i.MAC.String() == "02:00:00:00:00:99" && i.Epoch > before.Epoch
	}))

	ip(t, "link add br0 type bridge")
	ip(t, "link set br0 up")
	ip(t, "link set lan0 master br0")
	await(t, w, "joined a bridge", is("lan0", unusable))
	ip(t, "addr add 192.0.2.2/24 dev br0")
	await(t, w, "the bridge can be used instead", is("br0", func(i link.Interface) bool { return i.Usable && len(i.Addrs) > 0 }))
	ip(t, "link set lan0 nomaster")
	await(t, w, "left the bridge", is("lan0", usable))

	ip(t, "addr del 192.0.2.1/24 dev lan0")
	await(t, w, "lost its address", is("lan0", func(i link.Interface) bool { return !i.Suitable }))
	ip(t, "link del lan0")
	await(t, w, "disappeared", func(s *link.Snapshot) bool { _, ok := s.Interface("lan0"); return !ok })
}

func TestPodSideInterfacesAreNotSuitable(t *testing.T) {
	w := watch(t)
	for _, name := range []string{"caliabc", "lxcpod", "host0"} {
		ip(t, "link add "+name+" type veth peer name p"+name)
		ip(t, "link set "+name+" up")
		ip(t, "link set p"+name+" up")
		t.Cleanup(func() { ip(t, "link del "+name) })
	}
	ip(t, "addr add 169.254.1.1/32 dev lxcpod")
	ip(t, "addr add 192.0.2.77/32 dev host0")
	ip(t, "link add cni0 type bridge")
	ip(t, "link set cni0 up")
	ip(t, "link set pcaliabc master cni0")
	ip(t, "addr add 198.51.100.1/24 dev cni0")
	t.Cleanup(func() { ip(t, "link del cni0") })
	await(t, w, "cni0 is up with its address", is("cni0", func(i link.Interface) bool { return i.Usable && len(i.Addrs) > 0 }))
	for _, i := range w.Snapshot().Interfaces {
		if i.Suitable {
			t.Errorf("%s is taken for a LAN: %+v", i.Name, i)
		}
		if i.Why == "" {
			t.Errorf("%s does not say why it is not suitable", i.Name)
		}
	}
}

// Container bridges of any name are no LAN: what a bridge leads to is told by its
// ports. A card is played by a VXLAN interface, which is no cable into a container
// either.
func TestABridgeIsJudgedByItsPorts(t *testing.T) {
	w := watch(t)
	ip(t, "link add mybridge type bridge")
	t.Cleanup(func() { ip(t, "link del mybridge") })
	ip(t, "link set mybridge up")
	ip(t, "addr add 198.51.100.1/24 dev mybridge")
	for _, cable := range []string{"pod0", "pod1"} {
		ip(t, "link add "+cable+" type veth peer name in"+cable)
		t.Cleanup(func() { ip(t, "link del "+cable) })
		ip(t, "link set "+cable+" up")
		ip(t, "link set in"+cable+" up")
		ip(t, "link set "+cable+" master mybridge")
	}
	isNone := func(i link.Interface) bool { return i.Usable && !i.Suitable && i.Why != "" }
	await(t, w, "a bridge of pods", is("mybridge", isNone))
	ip(t, "link add card0 type vxlan id 7 dstport 4789")
	t.Cleanup(func() { ip(t, "link del card0") })
	ip(t, "link set card0 master mybridge")
	await(t, w, "it gets a card", is("mybridge", suitable))
	ip(t, "link set card0 nomaster")
	await(t, w, "it loses the card", is("mybridge", isNone))
}

// What an interface has received is counted by the kernel, in this namespace.
func TestReceivedFramesAreCounted(t *testing.T) {
	watch(t)
	ip(t, "link add lan0 type veth peer name far0")
	t.Cleanup(func() { ip(t, "link del lan0") })
	ip(t, "link set lan0 up")
	ip(t, "link set far0 up")
	ip(t, "addr add 192.0.2.1/24 dev far0")
	before := link.Received("lan0")
	_, _ = netnstest.Try("arping -c 3 -w 1 -i far0 192.0.2.2")
	if after := link.Received("lan0"); after < before+1 {
		t.Errorf("%d frames, before %d", after, before)
	}
	if n := link.Received("none"); n != 0 {
		t.Errorf("an interface that does not exist has received %d", n)
	}
}

func TestEventsFloodDoesNotLoseTheEnd(t *testing.T) {
	w := watch(t)
	ip(t, "link add lan0 type veth peer name far0")
	ip(t, "link set far0 up")
	t.Cleanup(func() { ip(t, "link del lan0") })
	for range 20 {
		ip(t, "link set lan0 up")
		ip(t, "link set lan0 down")
	}
	ip(t, "link set lan0 up")
	ip(t, "addr add 192.0.2.1/24 dev lan0")
	await(t, w, "the last state", is("lan0", suitable))
}
