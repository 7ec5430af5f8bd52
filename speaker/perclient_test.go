package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/internal/netnstest"
	"github.com/baliza-lb/baliza/speaker/members/detection"
)

// guest is a client with a network namespace, a MAC and a kernel of its own.
type guest struct {
	*netnstest.Host
	lan *lan
}

// plugGuests puts that many on the bridge.
func (l *lan) plugGuests(count int) []guest {
	l.t.Helper()
	var all []guest
	for i := range count {
		g := guest{netnstest.NewHost(l.t), l}
		port := fmt.Sprintf("g%d", i)
		g.Plug(port, "")
		l.ip("link set " + port + " master br0")
		g.Run(fmt.Sprintf("ip addr add 198.18.254.%d/15 dev eth0", i+1))
		g.Run(fmt.Sprintf("ip addr add 2001:db8::254:%d/64 dev eth0 nodad", i+1))
		all = append(all, g)
	}
	return all
}

// node is the one that the guest's kernel sends an address's packets to.
func (g guest) node(address string) string { return nodeIn(g.Run("ip neigh show " + address)) }

// nodeIn returns the node whose MAC is in a text, or "".
func nodeIn(text string) string {
	for i := range 9 {
		if strings.Contains(strings.ToLower(text), fmt.Sprintf("02:00:00:00:00:%02x", i+1)) {
			return fmt.Sprintf("n%d", i+1)
		}
	}
	return ""
}

// answerers asks everybody until somebody answers in time, and returns who does.
func (g guest) answerers(address string) []string {
	witness := "arping -c 1 -w 0.3 -i eth0 " + address
	if strings.Contains(address, ":") {
		witness = "ndisc6 -m -r 1 -w 200 " + address + " eth0"
	}
	var all []string
	for begin := time.Now(); len(all) == 0 && time.Since(begin) < ceiling; {
		out, _ := g.Try(witness) // fails without an answer
		for line := range strings.Lines(out) {
			if node := nodeIn(line); node != "" {
				all = append(all, node)
			}
		}
	}
	return all
}

// resolve makes the guest's kernel find out where an address is.
func (g guest) resolve(address string) string {
	g.lan.t.Helper()
	for begin := time.Now(); time.Since(begin) < ceiling; time.Sleep(10 * time.Millisecond) {
		_, _ = g.Try("ping -c 1 -W 0.2 " + address) // nobody replies
		if node := g.node(address); node != "" {
			return node
		}
	}
	g.lan.t.Fatalf("%s is not resolved: %s", address, g.Run("ip neigh"))
	return ""
}

// resolved makes every guest ask again for the addresses, sees that exactly one
// node answers it, and returns which one its kernel then uses.
func resolved(t *testing.T, guests []guest, vips ...string) map[string][]string {
	t.Helper()
	with := map[string][]string{}
	for _, vip := range vips {
		nodes := map[string]int{}
		for i, g := range guests {
			g.Run("ip neigh flush to " + vip + " dev eth0")
			node := g.resolve(vip)
			if answers := g.answerers(vip); len(answers) != 1 || !strings.Contains(vip, ":") && answers[0] != node {
				t.Errorf("%s: %v answer client %d, which uses %s", vip, answers, i, node)
			}
			nodes[node]++
		}
		for _, g := range guests { // ndisc6 may have asked from another address
			with[vip] = append(with[vip], g.node(vip))
		}
		t.Logf("%s: clients by node: %v", vip, nodes)
		if len(nodes) < 2 {
			t.Errorf("%s: all clients have the same node", vip)
		}
	}
	return with
}

// awaitAll waits until that many nodes answer some guest each.
func awaitAll(t *testing.T, guests []guest, vip string, nodes int) {
	t.Helper()
	seen := map[string]bool{}
	for begin := time.Now(); len(seen) < nodes; {
		clear(seen)
		for _, g := range guests {
			g.Run("ip neigh flush to " + vip + " dev eth0")
			seen[g.resolve(vip)] = true
		}
		if time.Since(begin) > ceiling {
			t.Fatalf("%s: only %v answer", vip, seen)
		}
	}
}

// Each client is answered by exactly one of three nodes and not all by the
// same. When the cable of one is cut behind its back, its clients are pointed
// to the others without asking, and nothing changes for the rest. One that
// returns takes no client away.
func TestPerClient_TheClientsOfANodeThatIsCutAreRepointed(t *testing.T) {
	l := newLANOf(t, 3, paper{Addresses: []string{vip4, vip6}, Balancing: v1beta1.BalancePerClient, Profile: detection.ProfileTolerant})
	guests := l.plugGuests(8)
	awaitAll(t, guests, vip6, 3)
	for round := range 2 {
		with := resolved(t, guests, vip4, vip6)
		victim := with[[]string{vip4, vip6}[round]][round]
		l.ip("link set v" + victim + " nomaster")
		begin := time.Now()
		for vip, nodes := range with {
			for i, was := range nodes {
				nodes[i] = guests[i].repointed(i, vip, was, victim)
			}
		}
		t.Logf("round %d: the clients of %s were repointed in %s", round, victim, time.Since(begin).Round(time.Millisecond))
		// The one that is alone believes that all others are gone, and tells their
		// clients, four times. What it said after its cable is back and before it
		// hears the others would count.
		time.Sleep(4 * time.Second)
		l.ip("link set v" + victim + " master br0")
		time.Sleep(3 * time.Second) // all that is to be said has been
		for vip, nodes := range with {
			for i, was := range nodes {
				if is := guests[i].node(vip); is != was {
					t.Errorf("round %d: client %d of %s was taken away from %s by %s", round, i, vip, was, is)
				}
			}
		}
	}
}

// repointed waits until a guest that used the victim uses another node, sees
// that any other still uses the same, and returns the node.
func (g guest) repointed(number int, vip, was, victim string) string {
	g.lan.t.Helper()
	begin := time.Now()
	is := g.node(vip)
	for ; was == victim && is == was; is = g.node(vip) {
		if time.Since(begin) > ceiling {
			g.lan.t.Fatalf("client %d still sends %s to %s, which is gone", number, vip, victim)
		}
		time.Sleep(time.Millisecond)
	}
	if is == "" || was != victim && is != was {
		g.lan.t.Errorf("client %d went from %s to %q for %s when %s was cut", number, was, is, vip, victim)
	}
	return is
}
