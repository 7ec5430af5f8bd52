package bgp

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// chooseNextHops settles what stands as next hop, when the addresses of this
// node have changed, and returns the families whose next hop is another one.
func (c *conn) chooseNextHops() (moved familySet) {
	addresses := c.session.all.addressesNow()
	if c.encoding.chosen && slices.Equal(c.addresses, addresses) {
		return moved
	}
	c.addresses = addresses
	before := c.encoding
	e := &c.encoding
	e.chosen = true
	w := where{local: c.local, router: c.router, node: c.session.all.node.Address, addresses: addresses, source: routeSource}
	e.next4, c.missing[familyIPv4] = w.nextHop(familyIPv4, before.next4)
	e.next6, c.missing[familyIPv6] = w.nextHop(familyIPv6, before.next6)
	// Where a session runs between link-local addresses there may be no subnet
	// that both ends are on.
	e.extended = c.extended && c.local.Is6() && e.next6.IsValid() && (c.local.IsLinkLocalUnicast() || !e.next4.IsValid())
	if !before.chosen {
		return moved // nothing was told yet
	}
	for _, f := range families() {
		moved[f] = before.nextHop(f) != e.nextHop(f)
	}
	return moved
}

// where a session runs, as far as next hops are concerned.
type where struct {
	local, router netip.Addr
	// node is an address of this node that others reach it by; it may not be
	// valid.
	node      netip.Addr
	addresses []Address
	// source returns the address from which packets go to another.
	source func(to netip.Addr) netip.Addr
}

// nextHop returns the address of this node that a router is to send packets of
// a family to, or why there is none. It stays with the current one while nothing
// is better.
//
// For the session's own family that is its own address. For the other it is one
// of the interface that the session's address is on, or, where that has none, as
// a loopback interface may, of the one that leads to the router. Others are not
// considered: an address of a container bridge, say, would be a black hole.
func (w *where) nextHop(f family, current netip.Addr) (next netip.Addr, why string) {
	if familyOf(w.local) == f && !w.local.IsLoopback() {
		return w.local.WithZone(""), ""
	}
	anchor := w.local
	if anchor.IsLoopback() {
		// A router on this node.
		anchor = w.node
		if anchor.IsValid() && familyOf(anchor) == f && !anchor.IsLoopback() {
			return anchor, ""
		}
	}
	names := []string{w.interfaceOf(anchor)}
	if !w.local.IsLoopback() && !w.router.IsLinkLocalUnicast() {
		names = append(names, w.interfaceTo(w.router))
	}
	for _, name := range names {
		if next := w.best(f, name, current); next.IsValid() {
			return next, ""
		}
	}
	if names[0] == "" {
		return netip.Addr{}, fmt.Sprintf("no %s next hop: no interface of this node has the session's address %s", f, anchor)
	}
	return netip.Addr{}, fmt.Sprintf("no %s next hop on %s: the interface has no global %s address", f, names[len(names)-1], f)
}

// interfaceOf returns the name of the interface that has an address.
func (w *where) interfaceOf(a netip.Addr) string {
	if a.Zone() != "" {
		return a.Zone()
	}
	at := slices.IndexFunc(w.addresses, func(one Address) bool { return one.Prefix.Addr() == a })
	if at < 0 {
		return ""
	}
	return w.addresses[at].Interface
}

// interfaceTo returns the name of the interface whose subnet an address is on,
// or else of the one that packets to it leave from.
func (w *where) interfaceTo(a netip.Addr) string {
	at := slices.IndexFunc(w.addresses, func(one Address) bool { return !one.Prefix.IsSingleIP() && one.Prefix.Contains(a) })
	if at >= 0 {
		return w.addresses[at].Interface
	}
	return w.interfaceOf(w.source(a))
}

// best of an interface's addresses: one that is not about to go, that is not
// made to be forgotten, that is on a subnet; then the current one, and then the
// lowest. An address alone is often another service's, that moves between nodes.
func (w *where) best(f family, name string, current netip.Addr) netip.Addr {
	var all []Address
	for _, a := range w.addresses {
		global := a.Prefix.Addr().IsGlobalUnicast() // neither loopback nor link-local
		if name != "" && a.Interface == name && familyOf(a.Prefix.Addr()) == f && global {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return netip.Addr{}
	}
	rank := func(is bool) int {
		if is {
			return 1
		}
		return 0
	}
	return slices.MinFunc(all, func(a, b Address) int {
		return cmp.Or(
			cmp.Compare(rank(a.Deprecated), rank(b.Deprecated)),
			cmp.Compare(rank(a.Temporary), rank(b.Temporary)),
			cmp.Compare(rank(!a.Prefix.Contains(w.router)), rank(!b.Prefix.Contains(w.router))),
			cmp.Compare(rank(a.Prefix.IsSingleIP()), rank(b.Prefix.IsSingleIP())),
			cmp.Compare(rank(a.Prefix.Addr() != current), rank(b.Prefix.Addr() != current)),
			a.Prefix.Addr().Compare(b.Prefix.Addr()),
		)
	}).Prefix.Addr()
}

// routeSource asks the kernel from which address packets go to another; it is
// not valid where there is no route. No packet is sent.
func routeSource(to netip.Addr) netip.Addr {
	const discard = 9
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, discard)))
	if err != nil {
		return netip.Addr{}
	}
	defer func() { _ = conn.Close() }()
	return localAddress(conn)
}

// multihop reports whether routers may be between this node and the peer, as
// far as BFD is concerned: where the operator says so, and to a peer of our own
// AS that is on no subnet of this node.
func (c *conn) multihop(addresses []Address) bool {
	if c.peer.MultiHop || c.peer.TTLSecurity || !c.encoding.internal {
		return c.peer.MultiHop
	}
	onSubnet := slices.ContainsFunc(addresses, func(a Address) bool { return a.Prefix.Contains(c.router) })
	return !c.router.IsLinkLocalUnicast() && !c.router.IsLoopback() && !onSubnet
}
