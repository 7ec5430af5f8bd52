package l2

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"pgregory.net/rapid"

	"github.com/baliza-lb/baliza/speaker/model"
)

var longAgo = time.Unix(1000, 0)

// nodeNames draws a set of nodes, sorted.
func nodeNames(t *rapid.T) []string {
	return slices.Sorted(slices.Values(rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,4}[0-9]{0,2}`), 1, 9, rapid.ID).Draw(t, "nodes")))
}

func someClient(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)}) }

// askOf is a client that asks for held4, from a MAC of its own.
func askOf(client netip.Addr) ask {
	b := client.As4()
	return ask{held4, [6]byte{2, 9, b[0], b[1], b[2], b[3]}}
}

func clientOf(a ask) netip.Addr { return netip.AddrFrom4([4]byte(a.mac[2:])) }

// shared is the table of one of the nodes that share held4 and held6.
func shared(self string, names ...string) *table {
	t := holding(3)
	t.share(&Desired{Self: self, Answers: []model.Answer{
		{Address: held4, Mode: model.Shared, Sharers: names}, {Address: held6, Mode: model.Shared, Sharers: names},
	}}, &table{}, longAgo)
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
	var picks strings.Builder
	s := newShare(held4, []string{"n1", "n2", "n3"}, nil, longAgo)
	for n := range 12 {
		picks.WriteString(strings.TrimPrefix(s.pick(someClient(n)), "n"))
	}
	if want := "321131313231"; picks.String() != want {
		t.Errorf("got %s, want %s", picks.String(), want)
	}
}

// segmentOf is some nodes that share held4 without sockets, and their clients.
type segmentOf struct {
	t      *rapid.T
	now    time.Time
	tables map[string]*table
	heard  map[string]*clients
	// off is the node whose cable is cut, or "": it sees only itself.
	off string
	// told are what the node that is off goes on telling.
	told []ask
	// with is where the clients' neighbor tables point.
	with map[netip.Addr]string
}

// hear lets every node but the one that is off hear a client that asks.
func (s *segmentOf) hear(client netip.Addr) {
	for name, t := range s.tables {
		if name != s.off {
			s.heard[name].note(askOf(client), client, t.shares[held4].pick(client), true, s.now)
			s.with[client] = t.shares[held4].pick(client)
		}
	}
}

// see lets every node see who is there, and its announcements arrive.
func (s *segmentOf) see() {
	all := slices.Sorted(maps.Keys(s.tables))
	for _, self := range all {
		names := []string{self}
		if self != s.off {
			names = slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == s.off })
		}
		next := holding(3)
		changed := next.share(&Desired{Self: self, Answers: []model.Answer{{Address: held4, Mode: model.Shared, Sharers: names}}}, s.tables[self], s.now)
		s.tables[self] = next
		ours := s.heard[self].settle(changed, self)
		if self == s.off {
			s.told = append(s.told, ours...)
			continue
		}
		for _, a := range ours {
			s.tell(clientOf(a), self)
		}
	}
	if s.off != "" {
		return
	}
	for _, a := range s.told { // some of it may be due only now
		for _, name := range all {
			if _, found := s.heard[name].find(a, name); found {
				s.tell(clientOf(a), name)
			}
		}
	}
	s.told = nil
}

// tell points a client to a node; none is taken away from a node that is there.
func (s *segmentOf) tell(client netip.Addr, by string) {
	if was := s.with[client]; was != by && was != s.off && s.tables[was] != nil {
		s.t.Fatalf("client %s of %s is told by %s", client, was, by)
	}
	s.with[client] = by
}

// lost checks that no client that another node knows to be with one that went
// is left with it.
func (s *segmentOf) lost(gone string, known map[netip.Addr]bool) {
	for client, with := range s.with {
		if with == gone && known[client] {
			s.t.Fatalf("client %s is still with %s, which is gone", client, gone)
		}
		if with == gone {
			delete(s.with, client) // it will ask again
		}
	}
}

// known are the clients that some node which is there believes with a node.
func (s *segmentOf) known(of string) map[netip.Addr]bool {
	known := map[netip.Addr]bool{}
	for name, c := range s.heard {
		for a, at := range c.known {
			if name != of && name != s.off && entry(at).with == of {
				known[clientOf(a)] = true
			}
		}
	}
	return known
}

// Whoever crashes, comes back with nothing remembered, is cut off and returns:
// only clients of nodes that are gone are told, each is told if anybody knows
// of it, and one that returns takes none away.
func TestPerClientExactlyTheClientsOfTheFailedAreTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"n1", "n2", "n3", "n4"}[:rapid.IntRange(2, 4).Draw(t, "nodes")]
		s := &segmentOf{t: t, now: longAgo, tables: map[string]*table{}, heard: map[string]*clients{}, with: map[netip.Addr]string{}}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			s.now = s.now.Add(time.Second)
			name := rapid.SampledFrom(names).Draw(t, "who")
			event := rapid.SampledFrom([]string{"hear", "hear", "start", "crash", "cut", "heal"}).Draw(t, "event")
			switch known := s.known(name); {
			case event == "hear" && len(s.tables) > 0:
				s.hear(someClient(rapid.IntRange(0, 30).Draw(t, "client")))
			case event == "start" && s.tables[name] == nil:
				s.tables[name], s.heard[name] = &table{}, newClients()
				s.see()
			case event == "crash" && s.tables[name] != nil && name != s.off && len(s.tables) > 1 && s.off == "":
				delete(s.tables, name)
				delete(s.heard, name)
				s.see()
				s.lost(name, known)
			case event == "cut" && s.tables[name] != nil && s.off == "" && len(s.tables) > 1:
				s.off = name
				s.see()
				s.lost(name, known)
			case event == "heal" && s.off != "":
				s.off = ""
				s.see()
			}
		}
	})
}

// A flood does not grow the memory, and what was heard last stays.
func TestPerClientAFloodDoesNotGrowTheMemory(t *testing.T) {
	c := newClients()
	for n := range 10 * mostClients {
		c.note(askOf(someClient(n)), someClient(n), "n1", true, longAgo)
		c.note(askOf(asker4), asker4, "n1", true, longAgo)
		if c.order.Len() > mostClients || len(c.known) != c.order.Len() {
			t.Fatalf("%d remembered, %d known", c.order.Len(), len(c.known))
		}
	}
	if from, found := c.find(askOf(asker4), "n1"); !found || from != asker4 {
		t.Error("a client that goes on asking was forgotten")
	}
}

// An address that is not shared any more is forgotten with its clients.
func TestPerClientClientsAreForgottenWithTheirAddress(t *testing.T) {
	c := newClients()
	c.note(askOf(asker4), asker4, "n1", true, longAgo)
	c.note(ask{held6, [6]byte{2}}, asker6, "n1", true, longAgo)
	if ours := c.settle(map[netip.Addr]*share{held4: nil}, "n1"); len(ours) > 0 || len(c.known) != 1 || c.order.Len() != 1 {
		t.Errorf("%v told, %d known", ours, len(c.known))
	}
}

// L08: a client that is told alone is told four times, and not indefinitely.
func TestPerClientOneClientIsNotReminded(t *testing.T) {
	s := newSchedule(func() float64 { return 0 })
	k := keyOf(1)
	k.client = [6]byte{2}
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

// Of two nodes that were apart neither knows which of them has told whom; when
// one goes for good, the other tells all.
func TestPerClientTheLastNodeTellsAll(t *testing.T) {
	c := newClients()
	both := newShare(held4, []string{"n1", "n2"}, nil, longAgo)
	for n := range 20 {
		c.note(askOf(someClient(n)), someClient(n), both.pick(someClient(n)), true, longAgo)
	}
	alone := newShare(held4, []string{"n1"}, both, longAgo)
	if ours := c.settle(map[netip.Addr]*share{held4: alone}, "n1"); len(ours) == 0 || len(ours) == 20 {
		t.Errorf("%d told, want the other's", len(ours))
	}
	both = newShare(held4, []string{"n1", "n2"}, alone, longAgo)
	if ours := c.settle(map[netip.Addr]*share{held4: both}, "n1"); len(ours) > 0 || len(c.with("n1", held4)) > 0 {
		t.Errorf("after the heal %d are told, and %d are said to be ours", len(ours), len(c.with("n1", held4)))
	}
	alone = newShare(held4, []string{"n1"}, both, longAgo)
	if ours := c.settle(map[netip.Addr]*share{held4: alone}, "n1"); len(ours) != 20 {
		t.Errorf("%d of 20 told", len(ours))
	}
}

// A host that asks from several of its addresses is one client: it has one
// entry for the address, that of the last answer.
func TestPerClientAHostWithSeveralAddressesIsOneClient(t *testing.T) {
	c := newClients()
	three := newShare(held6, []string{"n1", "n2", "n3"}, nil, longAgo)
	c.note(ask{held6, [6]byte{2}}, netip.MustParseAddr("fe80::1"), "n2", true, longAgo)
	c.note(ask{held6, [6]byte{2}}, asker6, "n3", true, longAgo)
	two := newShare(held6, []string{"n1", "n3"}, three, longAgo)
	if ours := c.settle(map[netip.Addr]*share{held6: two}, "n1"); len(ours) > 0 || len(c.with("n3", held6)) != 1 {
		t.Errorf("told %v; with n3 %v", ours, c.with("n3", held6))
	}
}
