package ethernet

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/baliza-lb/baliza/speaker/link"
)

// homelessFor is how long the member address may be on no interface before the
// process gives up: an address that is taken off to be put on again, as when a bridge
// is made, is away for less.
const homelessFor = 5 * time.Second

// Home watches whether this node still has its member address. A process whose node
// has got another one, as by DHCP, is heard by nobody for ever; one that is started
// again gets the new one.
type Home struct {
	snapshot *link.Snapshot
	had, has bool
	since    time.Time // when it was lost
}

// Check returns an error when the node has had the address and has lacked it for
// some seconds. (Linux lets a process listen on an address that is routed to the
// node and on no interface; of that nothing can be said.)
func (h *Home) Check(address netip.Addr, snapshot *link.Snapshot, now time.Time) error {
	if h.snapshot != snapshot {
		h.snapshot = snapshot
		before := h.has
		h.has = hasAddress(snapshot, address)
		h.had = h.had || h.has
		if before && !h.has {
			h.since = now
		}
	}
	if !h.had || h.has || now.Sub(h.since) < homelessFor {
		return nil
	}
	return fmt.Errorf("the member address %s (--member-address) is on no interface of this node any more, "+
		"so that no speaker reaches this one: it ends, to be started with the node's new address", address)
}

func hasAddress(snapshot *link.Snapshot, address netip.Addr) bool {
	for i := range snapshot.Interfaces {
		for _, p := range snapshot.Interfaces[i].Addrs {
			if p.Addr() == address {
				return true
			}
		}
	}
	return false
}
