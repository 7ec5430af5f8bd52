package l2

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"pgregory.net/rapid"
)

var longAgo = time.Unix(1000, 0)

// nodeNames draws a set of nodes, sorted.
func nodeNames(t *rapid.T) []string {
	return slices.Sorted(slices.Values(rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,4}[0-9]{0,2}`), 1, 9, rapid.ID).Draw(t, "nodes")))
}

func someClient(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)}) }

// shared is the table of one of the nodes that share held4 and held6.
func shared(self string, names ...string) *table {
	t := holding(3)
	t.share(&Desired{Self: self, Shared: map[netip.Addr][]string{held4: names, held6: names}}, &table{}, longAgo)
	return t
}

// L01 of a shared address: whatever nodes there are, exactly one answers a
// client, a probe in nobody's name included, be it IPv4 or IPv6.
func TestPerClientExactlyOneAnswersAnyClient(t *testing.T) {
	group, _ := ndp.SolicitedNodeMulticast(held6)
	groupMAC := []byte{0x33, 0x33, 0xff, 0, 0, 0x10}
	rapid.Check(t, func(t *rapid.T) {
		names := nodeNames(t)
		four := netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "v4")))
		six := netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v6")))
		if rapid.Bool().Draw(t, "probe") {
			four, six = netip.IPv4Unspecified(), netip.IPv6Unspecified()
		}
		asked := request(func(*net.HardwareAddr, *arp.Packet) {})
		copy(asked[arpSender:], four.AsSlice())
		counts := map[verdict]int{}
		for _, self := range names {
			_, v := answerARP(asked, on, shared(self, names...))
			counts[v]++
		}
		if !four.IsMulticast() && four != held4 && (counts[answered] != 1 || counts[othersClient] != len(names)-1) {
			t.Fatalf("%s of %v: %v", four, names, counts)
		}
		clear(counts)
		for _, self := range names {
			_, v := answerNDP(solicit(six, group, held6, groupMAC), on, shared(self, names...))
			counts[v]++
		}
		if !six.IsMulticast() && (counts[answered] != 1 || counts[othersClient] != len(names)-1) {
			t.Fatalf("%s of %v: %v", six, names, counts)
		}
	})
}

// Who asks a node alone has been told of it, and hears that it is still there.
func TestPerClientAUnicastRequestIsAnsweredByWhomItIsTo(t *testing.T) {
	for _, self := range []string{"n1", "n2", "n3"} {
		table := shared(self, "n1", "n2", "n3")
		if _, v := answerARP(request(toUs), on, table); v != answered {
			t.Errorf("ARP to %s: %q", self, v)
		}
		if _, v := answerNDP(solicit(asker6, held6, held6, ours), on, table); v != answered {
			t.Errorf("NDP to %s: %q", self, v)
		}
	}
}

func toUs(dst *net.HardwareAddr, _ *arp.Packet) { *dst = ours }

// When a node goes only its clients are answered by others.
func TestPerClientOnlyTheClientsOfANodeThatGoesMove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := nodeNames(t)
		gone := rapid.SampledFrom(names).Draw(t, "gone")
		rest := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == gone })
		before := newShare(held4, names, nil, longAgo)
		after := newShare(held4, rest, before, longAgo)
		for n := range 200 {
			was, is := before.pick(someClient(n)), after.pick(someClient(n))
			if was != gone && is != was || is == gone {
				t.Fatalf("%s of %v goes: client %s moves from %q to %q", gone, names, someClient(n), was, is)
			}
		}
	})
}

// A thousand clients are spread over the nodes, and those of one address
// otherwise than those of the next.
func TestPerClientAThousandClientsAreSpread(t *testing.T) {
	const count = 1000
	for nodes := 2; nodes <= 10; nodes++ {
		var names []string
		for i := range nodes {
			names = append(names, fmt.Sprintf("node-%02d.example.org", i))
		}
		one, next := newShare(held4, names, nil, longAgo), newShare(held4.Next(), names, nil, longAgo)
		clients, same := map[string]int{}, 0
		for n := range count {
			clients[one.pick(someClient(n))]++
			if one.pick(someClient(n)) == next.pick(someClient(n)) {
				same++
			}
		}
		most, least := slices.Max(slices.Collect(maps.Values(clients))), slices.Min(slices.Collect(maps.Values(clients)))
		t.Logf("%d nodes: %d to %d clients each, %d the same node for the next address", nodes, least, most, same)
		if len(clients) != nodes || most*nodes > count*3/2 || least*nodes < count/2 || same*nodes > count*3/2 {
			t.Errorf("%d nodes: %v", nodes, clients)
		}
	}
}

// What the nodes of one cluster compute must never change from one version to
// the next: two would answer, or none.
func TestPerClientThePickIsTheSameInEveryVersion(t *testing.T) {
	var picks []string
	s := newShare(held4, []string{"n1", "n2", "n3"}, nil, longAgo)
	for n := range 12 {
		picks = append(picks, s.pick(someClient(n)))
	}
	if got, want := fmt.Sprint(picks), golden; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

const golden = "[n3 n2 n1 n1 n3 n1 n3 n1 n3 n2 n3 n1]"

// clientsOf fills the memories of nodes that hear the same.
type segmentOf struct {
	names  []string
	tables map[string]*table
	heard  map[string]*clients
}

// newSegment makes the nodes, all there since longAgo.
func newSegment(names ...string) *segmentOf {
	s := &segmentOf{names: names, tables: map[string]*table{}, heard: map[string]*clients{}}
	for _, self := range names {
		s.tables[self], s.heard[self] = shared(self, names...), newClients()
	}
	return s
}

// hear lets every node hear a client that asks everybody.
func (s *segmentOf) hear(client netip.Addr, now time.Time) {
	for name, t := range s.tables {
		s.heard[name].note(ask{held4, client}, [6]byte{2, 9}, t.shares[held4].pick(client), true, now)
	}
}

// become lets every node see who is left or has come, and returns who tells
// which client.
func (s *segmentOf) become(now time.Time, names ...string) map[netip.Addr][]string {
	told := map[netip.Addr][]string{}
	for _, name := range names {
		before := s.tables[name]
		if before == nil {
			before, s.heard[name] = &table{}, newClients()
		}
		next := holding(3)
		next.share(&Desired{Self: name, Shared: map[netip.Addr][]string{held4: names, held6: names}}, before, now)
		s.tables[name] = next
		for _, a := range s.heard[name].settle(next.shares, name) {
			told[a.client] = append(told[a.client], name)
		}
	}
	maps.DeleteFunc(s.tables, func(name string, _ *table) bool { return !slices.Contains(names, name) })
	maps.DeleteFunc(s.heard, func(name string, _ *clients) bool { return !slices.Contains(names, name) })
	return told
}

// When a node goes, exactly its clients are told, each by one node. One that
// comes back with nothing remembered takes none away, and when the next node
// goes, its clients are told by whoever knows them.
func TestPerClientExactlyTheClientsOfTheFailedAreTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"n1", "n2", "n3", "n4"}
		now := longAgo
		s := newSegment(names...)
		with := map[netip.Addr]string{}
		for step := range rapid.IntRange(1, 12).Draw(t, "steps") {
			now = now.Add(time.Second)
			here := slices.Sorted(maps.Keys(s.tables))
			name := rapid.SampledFrom(names).Draw(t, "who")
			switch present := s.tables[name] != nil; {
			case step%2 == 0:
				client := someClient(rapid.IntRange(0, 30).Draw(t, "client"))
				s.hear(client, now)
				with[client] = s.tables[here[0]].shares[held4].pick(client)
			case !present:
				if told := s.become(now, slices.Sorted(slices.Values(append(here, name)))...); len(told) > 0 {
					t.Fatalf("%s comes, and %v are told", name, told)
				}
			case len(here) > 1:
				rest := slices.DeleteFunc(slices.Clone(here), func(one string) bool { return one == name })
				told := s.become(now, rest...)
				for client, was := range with {
					knew := slices.ContainsFunc(rest, func(one string) bool { return s.heard[one].known[ask{held4, client}] != nil })
					switch by := told[client]; {
					case was != name && len(by) > 0:
						t.Fatalf("client %s of %s is told by %v when %s goes", client, was, by, name)
					case was == name && knew && len(by) != 1:
						t.Fatalf("client %s of %s, which goes, is told by %v", client, name, by)
					case was == name && knew:
						with[client] = by[0]
					case was == name:
						delete(with, client) // nobody is left that ever heard of it
					}
				}
			}
		}
	})
}

// A flood does not grow the memory, and what was heard last stays.
func TestPerClientAFloodDoesNotGrowTheMemory(t *testing.T) {
	c := newClients()
	for n := range 10 * mostClients {
		c.note(ask{held4, someClient(n)}, [6]byte{2}, "n1", true, longAgo)
		if c.note(ask{held4, asker4}, [6]byte{2, 1}, "n1", true, longAgo); c.order.Len() > mostClients || len(c.known) != c.order.Len() {
			t.Fatalf("%d remembered, %d known", c.order.Len(), len(c.known))
		}
	}
	if mac, found := c.find(ask{held4, asker4}, "n1"); !found || mac[1] != 1 {
		t.Error("a client that goes on asking was forgotten")
	}
}

// An address that is not shared any more is forgotten with its clients.
func TestPerClientClientsAreForgottenWithTheirAddress(t *testing.T) {
	c := newClients()
	c.note(ask{held4, asker4}, [6]byte{2}, "n1", true, longAgo)
	c.note(ask{held6, asker6}, [6]byte{2}, "n1", true, longAgo)
	shares := shared("n1", "n1").shares
	delete(shares, held4)
	if ours := c.settle(shares, "n1"); len(ours) > 0 || len(c.known) != 1 || c.order.Len() != 1 {
		t.Errorf("%v told, %d known", ours, len(c.known))
	}
}

// L08: a client that is told alone is told four times, and not for ever.
func TestPerClientOneClientIsNotReminded(t *testing.T) {
	s := newSchedule(func() float64 { return 0 })
	k := keyOf(1)
	k.client = asker4
	s.add(k, longAgo)
	var times []time.Duration
	for after := time.Duration(0); after < 10*time.Minute; after += 100 * time.Millisecond {
		for range s.take(longAgo.Add(after)) {
			times = append(times, after)
		}
	}
	want := []time.Duration{0, 100 * time.Millisecond, 1100 * time.Millisecond, 2200 * time.Millisecond}
	if !slices.Equal(times, want) || len(s.items) > 0 || len(s.queue) > 0 {
		t.Errorf("told after %v, want %v; %d left", times, want, len(s.items))
	}
}

func BenchmarkPickOfAHundredNodes(b *testing.B) {
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("node-%02d", i))
	}
	s := newShare(held4, names, nil, longAgo)
	for b.Loop() {
		s.pick(asker4)
	}
}
