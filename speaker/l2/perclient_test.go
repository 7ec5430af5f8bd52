package l2_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/model"
)

// withShares is desire for addresses that this node, n1, shares with others.
func withShares(on l2.Interface, names []string, addresses ...netip.Addr) l2.Desired {
	d := desire(on, addresses...)
	d.Self = "n1"
	for i := range d.Answers {
		d.Answers[i].Mode, d.Answers[i].Sharers = model.Shared, names
	}
	return d
}

// asks makes the other host ask everybody from one of its addresses, and tells
// whether it got an answer. It asks again until it got one, or the responder has
// left the question to another node: on a busy machine an answer may be late.
func (s *otherHost) asks(r *l2.Responder, from, address string) bool {
	s.t.Helper()
	witness := fmt.Sprintf("arping -c 1 -C 1 -W 0.3 -i eth0 -S %s %s", from, address)
	if strings.Contains(address, ":") {
		witness = fmt.Sprintf("ndisc6 -1 -r 1 -w 300 -s %s %s eth0", from, address)
	}
	for begin := time.Now(); time.Since(begin) < ceiling; {
		before := r.Stats()
		if _, err := s.Try(witness); err == nil {
			return true
		}
		now := r.Stats()
		if now.ARP.Answered == before.ARP.Answered && now.NDP.Answered == before.NDP.Answered &&
			now.ARP.Ignored+now.NDP.Ignored > before.ARP.Ignored+before.NDP.Ignored {
			return false
		}
	}
	s.t.Fatalf("the responder never saw %s ask for %s", from, address)
	return false
}

// addresses gives the other host some more of either family.
func (s *otherHost) addresses(count int) (v4, v6 []string) {
	for i := range count {
		v4 = append(v4, fmt.Sprintf("192.0.2.%d", 101+i))
		v6 = append(v6, fmt.Sprintf("2001:db8::1:%d", 1+i))
		s.Run("ip addr add " + v4[i] + "/24 dev eth0")
		s.Run("ip addr add " + v6[i] + "/64 dev eth0 nodad")
	}
	return v4, v6
}

// othersClient asks from all of its addresses, and last from one that another
// node answers.
func (s *otherHost) othersClient(r *l2.Responder, vip string, all []string) {
	s.t.Helper()
	var others []string
	for _, from := range all {
		if !s.asks(r, from, vip) {
			others = append(others, from)
		}
	}
	s.t.Logf("%s: %d of %d addresses are the other's: %v", vip, len(others), len(all), others)
	if len(others) == 0 || len(others) == len(all) {
		s.t.Fatalf("%s: one node answers everybody", vip)
	}
	s.asks(r, others[0], vip)
}

// Of two nodes that share an address each answers its own clients; the one that
// is left when the other goes tells the other's clients at once, and nobody
// else, and answers all.
func TestPerClientANodeAnswersItsClientsAndTakesOverThoseOfAnother(t *testing.T) {
	s := segment(t)
	v4, v6 := s.addresses(8)
	r := start(t)
	on := lan(t, 1)
	apply(t, r, withShares(on, []string{"n1", "n2"}, vip4, vip6))
	if st := r.Stats(); st.ARP.Announced+st.NDP.Announced > 0 {
		t.Errorf("a shared address was announced: %+v", st)
	}
	const elsewhere = "02:aa:aa:aa:aa:aa"
	for vip, all := range map[string][]string{vip4.String(): v4, vip6.String(): v6} {
		s.othersClient(r, vip, all)
		s.Neighbors("eth0", elsewhere, vip)
	}
	before := r.Stats()
	apply(t, r, withShares(on, []string{"n1"}, vip4, vip6))
	awaitNeighbor(t, s, vip4.String(), on.MAC.String())
	awaitNeighbor(t, s, vip6.String(), on.MAC.String())
	for vip, all := range map[string][]string{vip4.String(): v4, vip6.String(): v6} {
		for _, from := range all {
			if !s.asks(r, from, vip) {
				t.Errorf("%s: nobody answers %s", vip, from)
			}
		}
	}
	if now := r.Stats(); now.ARP.Announced == before.ARP.Announced || now.NDP.Announced == before.NDP.Announced {
		t.Errorf("nobody was told: %+v, %+v", before, now)
	}
}

// What is told to one client goes to nobody else: another host that has the
// address elsewhere keeps it there.
func TestPerClientATakeoverIsUnicast(t *testing.T) {
	s := segment(t)
	r := start(t)
	on := lan(t, 1)
	apply(t, r, withShares(on, []string{"n1", "n2"}, vip4, vip6))
	capture := s.capture(t)
	v4, v6 := s.addresses(8)
	s.othersClient(r, vip4.String(), v4)
	s.othersClient(r, vip6.String(), v6)
	apply(t, r, withShares(on, []string{"n1"}, vip4, vip6))
	time.Sleep(2500 * time.Millisecond) // until all has been said
	told := map[string]int{}
	for line := range strings.Lines(capture()) {
		from, rest, _ := strings.Cut(strings.TrimSpace(line), " > ")
		if !strings.HasPrefix(from, on.MAC.String()) || !strings.Contains(rest, vip4.String()+" is-at") && !strings.Contains(rest, "tgt is "+vip6.String()) {
			continue
		}
		told[strings.TrimSuffix(strings.Fields(rest)[0], ",")]++
	}
	if mac := s.mac(); len(told) != 1 || told[mac] < 8 {
		t.Errorf("said to %v, want %s alone", told, mac)
	}
}

// A MAC that changes is told to the node's own clients.
func TestPerClientANewMACIsToldToTheClients(t *testing.T) {
	s := segment(t)
	r := start(t)
	on := lan(t, 1)
	apply(t, r, withShares(on, []string{"n1"}, vip4))
	if !s.asks(r, "192.0.2.100", vip4.String()) {
		t.Fatal("not answered")
	}
	s.Neighbors("eth0", on.MAC.String(), vip4.String())
	ip(t, "link set lan0 address 02:00:00:00:00:77")
	apply(t, r, withShares(lan(t, 2), []string{"n1"}, vip4))
	awaitNeighbor(t, s, vip4.String(), "02:00:00:00:00:77")
}

// An address that one node owns again is announced to everybody.
func TestPerClientBackToOneOwnerIsAnnounced(t *testing.T) {
	s := segment(t)
	r := start(t)
	on := lan(t, 1)
	apply(t, r, withShares(on, []string{"n1", "n2"}, vip4))
	s.Neighbors("eth0", "02:aa:aa:aa:aa:aa", vip4.String())
	apply(t, r, desire(on, vip4))
	awaitNeighbor(t, s, vip4.String(), on.MAC.String())
}
