package link

import (
	"cmp"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Gateways are those of the node's default routes in its main table; what
// there is none of is not valid. A link-local one has its interface as zone.
type Gateways struct {
	IPv4, IPv6 netip.Addr
}

// isDefault reports whether a route is a default route of the main table.
func isDefault(r *netlink.Route) bool {
	if r.Table != unix.RT_TABLE_MAIN || r.Type != unix.RTN_UNICAST {
		return false
	}
	if r.Dst == nil {
		return true
	}
	bits, _ := r.Dst.Mask.Size()
	return bits == 0 && r.Dst.IP.IsUnspecified()
}

// exits are the default routes as they were listed last.
type exits struct {
	gateways Gateways
	// through are the interfaces that they lead through: routes that end with
	// their interface, or its address, end without an event of their own.
	through map[int]bool
	// stale asks for another listing. There may be a million other routes, so
	// that is not done without a cause.
	stale bool
}

// note remembers that something happened to an interface.
func (e *exits) note(index int) { e.stale = e.stale || e.through[index] }

// listGateways asks the kernel, if anything happened. Of several default routes
// that of the lowest metric counts, of several gateways the lowest address.
func (w *Watcher) listGateways() Gateways {
	if w.exits.stale {
		w.exits = exits{through: map[int]bool{}}
		w.exits.gateways = Gateways{IPv4: w.gateway(netlink.FAMILY_V4), IPv6: w.gateway(netlink.FAMILY_V6)}
	}
	return w.exits.gateways
}

func (w *Watcher) gateway(family int) netip.Addr {
	routes, err := again(func() ([]netlink.Route, error) { return netlink.RouteList(nil, family) })
	if err != nil {
		w.logger.Warn("the default route cannot be read", "error", err)
		return netip.Addr{}
	}
	routes = slices.DeleteFunc(routes, func(r netlink.Route) bool { return !isDefault(&r) })
	slices.SortStableFunc(routes, func(a, b netlink.Route) int { return cmp.Compare(a.Priority, b.Priority) })
	var found []netip.Addr
	add := func(gateway net.IP, index int) {
		w.exits.through[index] = true
		address, ok := netip.AddrFromSlice(gateway)
		if !ok {
			return // the link itself
		}
		address = address.Unmap()
		if l := w.links[index]; address.Is6() && address.IsLinkLocalUnicast() && l != nil {
			address = address.WithZone(l.Attrs().Name)
		}
		found = append(found, address)
	}
	for i := range routes {
		w.exits.through[routes[i].LinkIndex] = true
		if routes[i].Priority != routes[0].Priority {
			break
		}
		add(routes[i].Gw, routes[i].LinkIndex)
		for _, hop := range routes[i].MultiPath {
			add(hop.Gw, hop.LinkIndex)
		}
	}
	if len(found) == 0 {
		return netip.Addr{}
	}
	return slices.MinFunc(found, netip.Addr.Compare)
}
