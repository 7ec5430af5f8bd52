package sim

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// L16, L19: packets wait on a processor that a node's machine does not get, while the
// node's process runs on another: all that come, or those of one sender, at whatever
// moment of the heartbeats. Nobody is dead for that, and nothing moves.
func TestL19_WhosePacketsWaitTakesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &trial{World: New(rapid.Uint64().Draw(t, "seed")), t: t}
		r.noGateway = rapid.Bool().Draw(t, "no gateway")
		for range rapid.SampledFrom([]int{2, 3, 5}).Draw(t, "nodes") {
			r.AddNode()
		}
		r.AddClient()
		r.wires[lan].jitter = rapid.SampledFrom([]time.Duration{0, 3 * time.Millisecond}).Draw(t, "jitter")
		r.addServices()
		for _, h := range r.nodes {
			h.Start()
			r.Run(time.Duration(rapid.IntRange(0, 300).Draw(t, "between starts")) * time.Millisecond)
		}
		if _, _, err := r.Await(promisedRest); err != nil {
			t.Fatalf("at first: %v", err)
		}
		for range 3 {
			r.Run(time.Duration(rapid.IntRange(300, 3000).Draw(t, "before ms")) * time.Millisecond)
			before, err := r.Owners()
			if err != nil {
				t.Fatalf("before: %v\n%s", err, r.Dump())
			}
			r.Run(time.Duration(rapid.IntRange(0, 30).Draw(t, "then ms")) * time.Millisecond)
			r.holdSome()
			for range 100 {
				r.Run(10 * time.Millisecond)
				r.noneTaken(before)
			}
			now, err := r.Owners()
			if err == nil {
				err = Moved(before, now)
			}
			if err != nil {
				t.Fatalf("after what was held has come: %v\n%s", err, r.Dump())
			}
		}
	})
}

// holdSome holds what comes to one node, or to all.
func (r *trial) holdSome() {
	const length = 400 * time.Millisecond
	// Of two nodes without a gateway one has nobody to ask. That its interface has
	// received something counts as a proof there: so it must not have.
	counted := (len(r.nodes) > 2 || !r.noGateway) && rapid.Bool().Draw(r.t, "counted")
	switch observer := r.node(); {
	case rapid.IntRange(0, 3).Draw(r.t, "all nodes") == 0:
		for _, h := range r.nodes {
			h.Hold(lan, "", counted, length)
		}
	// Of two nodes with a gateway, one is dead for the other if it alone is not heard.
	case len(r.nodes) > 2 && rapid.Bool().Draw(r.t, "one sender"):
		observer.Hold(lan, r.node().name, counted, length)
	default:
		observer.Hold(lan, "", counted, length)
	}
}

// noneTaken checks that no node has what was another's.
func (r *trial) noneTaken(before map[netip.Addr]string) {
	for _, h := range r.nodes {
		for a := range h.responder.held {
			if before[a] != h.name {
				r.t.Fatalf("%s took %s, which was %s's\n%s", h.name, a, before[a], r.Dump())
			}
		}
	}
}
