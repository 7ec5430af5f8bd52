package sim

import (
	"fmt"
	"strings"
)

// Dump is what the nodes themselves think, for whoever looks for the cause of
// what the judge has seen.
func (w *World) Dump() string {
	var out strings.Builder
	fmt.Fprintf(&out, "at %s:\n", w.Now())
	for _, h := range w.nodes {
		if h.process == nil {
			fmt.Fprintf(&out, "%s is dead\n", h.name)
			continue
		}
		m := h.machine.Snapshot()
		fmt.Fprintf(&out, "%s: started %v, sees %v, ready %v\n", h.name, h.node.Started(), m.Alive, m.Ready)
		if wait, settled := m.Settled(w.now); !settled {
			fmt.Fprintf(&out, "\tunsettled for %s\n", wait)
		}
		fmt.Fprintf(&out, "\tholds %v, claims %v, contested %v\n", sorted(h.responder.held), h.status.Claims, m.Contested)
		fmt.Fprintf(&out, "\towners %v, %d Services\n", m.Owners, h.view.current.Services.Len())
		for _, g := range h.status.Status.Withheld {
			fmt.Fprintf(&out, "\t%s: %s: %v\n", g.Reason, g.Message, g.Addresses)
		}
		for reason, count := range h.status.Counts.Withheld {
			fmt.Fprintf(&out, "\t%d %s\n", count, reason)
		}
	}
	return out.String()
}
