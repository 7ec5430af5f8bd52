package node

import (
	"net/netip"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/plan"
)

func TestB12_Weights_change_at_once_and_then_at_most_once_a_second(t *testing.T) {
	const ms = time.Millisecond
	peer := &config.BGPPeer{Name: "rack"}
	one, other := netip.MustParsePrefix("203.0.113.1/32"), netip.MustParsePrefix("203.0.113.2/32")
	began := time.Unix(1000, 0)
	var w weights
	for _, step := range []struct {
		sentence string
		at       time.Duration
		pods     int // 0: not weighted, -1: no route
		want     int
		again    time.Duration
	}{
		{"what is new is told at once", 0, 1, 1, 0},
		{"a change within the second waits for its rest", 400 * ms, 2, 1, 600 * ms},
		{"and so does the next", 900 * ms, 3, 1, 100 * ms},
		{"then the last is told", 1000 * ms, 3, 3, 0},
		{"back again waits", 1300 * ms, 4, 3, 700 * ms},
		{"what is as the router knows it waits for nothing", 1400 * ms, 3, 3, 0},
		{"after a quiet second a change is told at once", 5000 * ms, 7, 7, 0},
		{"a withdrawal does not wait", 5100 * ms, -1, -1, 0},
		{"nor does a route that comes back", 5200 * ms, 2, 2, 0},
		{"nor does the end of weights", 5300 * ms, 0, 0, 0},
		{"nor their return", 5400 * ms, 5, 5, 0},
	} {
		var routes []plan.Route
		if step.pods >= 0 {
			routes = []plan.Route{{Prefix: one, Weight: step.pods}, {Prefix: other, Weight: 1}}
		}
		shared := append([]plan.Route(nil), routes...)
		made := plan.BGPPlan{Peers: []plan.PeerPlan{{Peer: peer, Routes: routes}}}
		again := w.damp(began.Add(step.at), &made)
		got := -1
		if now := made.Peers[0].Routes; len(now) > 0 {
			got = now[0].Weight
			if now[1].Weight != 1 {
				t.Errorf("%s: the other route has %d", step.sentence, now[1].Weight)
			}
		}
		if got != step.want || again != step.again {
			t.Errorf("%s: told %d, again in %s; want %d, %s", step.sentence, got, again, step.want, step.again)
		}
		for i := range shared {
			if routes[i].Weight != shared[i].Weight {
				t.Errorf("%s: the plan's own route was changed", step.sentence)
			}
		}
	}
}
