package sim

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var large = flag.Bool("large", false, "run the world of 1,000 nodes with 10,000 addresses, which takes half an hour and gigabytes")

func megabytes(bytes int) string { return fmt.Sprintf("%.1f", float64(bytes)/1e6) }

// A node dies among many. How long it takes, and what it costs in messages, is
// printed; that somebody has each address in the end must hold.
func TestANodeDiesAmongMany(t *testing.T) {
	nodes, services := 40, 400
	if *large {
		nodes, services = 1000, 10_000
	}
	w := New(1)
	if *large {
		// A quarter of a second, so that the simulation of a thousand of them does
		// not take a day: slower than what ships.
		w.passTime = 25 * time.Microsecond
	}
	for range nodes {
		w.AddNode()
	}
	w.AddClient()
	began := time.Now()
	for _, h := range w.nodes {
		h.Start()
	}
	w.Run(5 * time.Second)
	t.Logf("%d nodes at rest: %+v; in %s", nodes, w.Stats, time.Since(began).Round(time.Second))
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
		victim.name, had, took, w.Stats.Beats-before.Beats, w.Stats.Asks-before.Asks, w.Stats.Claims+w.Stats.Streams-before.Claims-before.Streams,
		w.Stats.Broadcasts-before.Broadcasts, w.Stats.Passes-before.Passes, megabytes(w.Stats.Bytes-before.Bytes), time.Since(began).Round(time.Second))
	if err == nil {
		err = Moved(owners, now, victim.name)
	}
	if err != nil {
		t.Error(err)
	}
}
