package sim

import (
	"flag"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

var (
	manyNodes     = flag.Int("nodes", 40, "nodes of the world in which one of many dies; 1,000 take many minutes and about 10 GB")
	manyAddresses = flag.Int("addresses", 400, "its addresses")
)

func megabytes(bytes int) string { return fmt.Sprintf("%.1f", float64(bytes)/1e6) }

// ready reports whether each node knows that all are, and what they claim.
func ready(w *World) bool {
	for _, h := range w.nodes {
		members := h.machine.Snapshot()
		if _, settled := members.Settled(w.now); !settled || len(members.Ready) < len(w.nodes) {
			return false
		}
	}
	return true
}

// A node dies among many. How long it takes, and what it costs in messages, is
// printed; that somebody has each address in the end must hold.
func TestANodeDiesAmongMany(t *testing.T) {
	nodes, services := *manyNodes, *manyAddresses
	w := New(1)
	if nodes > 100 { //nolint:mnd // what takes long
		// So that the simulation of a thousand of them does not take a day a pass
		// of 10,000 addresses takes a quarter of a second: ten times what it does.
		w.passTime = 25 * time.Microsecond
	}
	for range nodes {
		w.AddNode()
	}
	w.AddClient()
	w.Cluster.acquainted = true // a thousand that become known one by one are a million messages
	for _, h := range w.nodes {
		w.Cluster.peers[h.name] = netip.AddrPortFrom(own(w.memberNetwork(), h.number), memberPort)
	}
	began := time.Now()
	for _, h := range w.nodes {
		h.Start()
	}
	for !ready(w) {
		w.Run(500 * time.Millisecond)
		if w.Now() > time.Minute {
			t.Fatal("a minute after their start not all know that all are ready")
		}
	}
	t.Logf("%d nodes, of which each knows after %s that all are ready: %+v; in %s", nodes, w.Now(), w.Stats, time.Since(began).Round(time.Second))
	for n := range services {
		s := service(Address(n + 1))
		w.Cluster.services[s.Key] = s
	}
	w.Cluster.Share()
	took, owners, err := w.Await(time.Minute)
	t.Logf("%d addresses: all is answered, and known, after %s: %+v; in %s", services, took, w.Stats, time.Since(began).Round(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	victim := w.nodes[nodes/2]
	had := 0
	for _, name := range owners {
		if name == victim.name {
			had++
		}
	}
	before := w.Stats
	began = time.Now()
	victim.Kill()
	took, now, err := w.Await(time.Minute)
	t.Logf("%s, which had %d, died: all is answered, and known, after %s; %d heartbeats, %d questions, %d claims, %d broadcasts, %d passes, %s MB; in %s",
		victim.name, had, took, w.Stats.Beats-before.Beats, w.Stats.Asks-before.Asks, w.Stats.Claims-before.Claims,
		w.Stats.Broadcasts-before.Broadcasts, w.Stats.Passes-before.Passes, megabytes(w.Stats.Bytes-before.Bytes), time.Since(began).Round(time.Second))
	if err == nil {
		err = Moved(owners, now, victim.name)
	}
	if err != nil {
		t.Error(err)
	}
}
