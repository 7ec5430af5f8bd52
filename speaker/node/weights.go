package node

import (
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/speaker/plan"
)

// weightPause is the least time between two changes of a route's weight.
const weightPause = time.Second

// weights keep pods that come and go from making an UPDATE each: a route's
// weight changes at once, and then not again before weightPause is over. All
// else of a route, and its end, is never kept waiting.
type weights struct {
	told map[weighed]weight
}

type weighed struct {
	peer   string
	prefix netip.Prefix
}

type weight struct {
	pods  int
	since time.Time
}

// damp puts the weights that routers may know now in the place of those that
// they may not know yet. It returns when it wants to be called again, or zero.
func (w *weights) damp(now time.Time, made *plan.BGPPlan) (again time.Duration) {
	told := map[weighed]weight{}
	plain := map[*plan.Route]bool{} // lists without weights, by their first: peers share them
	for i := range made.Peers {
		p := &made.Peers[i]
		if len(p.Routes) == 0 || plain[&p.Routes[0]] {
			continue
		}
		plain[&p.Routes[0]] = !slices.ContainsFunc(p.Routes, func(r plan.Route) bool { return r.Weight != 0 })
		mine := false // the plan's routes may be shared
		for j := range p.Routes {
			route := p.Routes[j]
			if route.Weight == 0 {
				continue
			}
			key := weighed{p.Peer.Name, route.Prefix}
			before, known := w.told[key]
			left := weightPause - now.Sub(before.since)
			switch {
			case known && before.pods == route.Weight:
				told[key] = before
			case known && left > 0:
				if !mine {
					p.Routes, mine = slices.Clone(p.Routes), true
				}
				told[key], p.Routes[j].Weight = before, before.pods
				again = sooner(again, left)
			default:
				told[key] = weight{route.Weight, now}
			}
		}
	}
	w.told = told
	return again
}
