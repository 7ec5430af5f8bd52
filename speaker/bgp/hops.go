package bgp

import (
	"net"
	"net/netip"
	"slices"
)

// nextHops settles what stands as next hop; extended says that the router takes
// IPv6 ones for IPv4.
func (c *conversation) nextHops(extended bool) {
	c.encoding.next4, c.encoding.next6 = neighbourhood(c.local)
	if c.local.Is4() {
		c.encoding.next4 = c.local
		return
	}
	c.encoding.next6 = c.local.WithZone("")
	// Where a session runs between link-local addresses there may be no subnet
	// that both ends are on.
	c.encoding.extended = extended && (c.local.IsLinkLocalUnicast() || !c.encoding.next4.IsValid())
}

// severalHops tells whether routers may be between this node and the peer, as
// far as BFD is concerned: where the operator says so, and to a peer of our
// own AS that is on no subnet of this node.
func (c *conversation) severalHops() bool {
	if c.peer.MultiHop || c.peer.TTLSecurity || !c.encoding.internal {
		return c.peer.MultiHop
	}
	return !c.router.IsLinkLocalUnicast() && !onSubnet(c.router)
}

// onSubnet tells whether an address is on a subnet of this node.
func onSubnet(a netip.Addr) bool {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(addresses, func(one net.Addr) bool {
		network, ok := one.(*net.IPNet)
		return ok && network.Contains(a.AsSlice())
	})
}

// neighbourhood returns the addresses of the interface that has an address,
// the first global one of each family; what there is none of is not valid.
func neighbourhood(of netip.Addr) (v4, v6 netip.Addr) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return v4, v6
	}
	for i := range interfaces {
		v4, v6 = netip.Addr{}, netip.Addr{}
		here := of.Zone() != "" && of.Zone() == interfaces[i].Name
		addresses, err := interfaces[i].Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			network, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			address, _ := netip.AddrFromSlice(network.IP)
			address = address.Unmap()
			here = here || address == of
			switch {
			case address.Is4() && !v4.IsValid():
				v4 = address
			case address.Is6() && address.IsGlobalUnicast() && !v6.IsValid():
				v6 = address
			}
		}
		if here {
			return v4, v6
		}
	}
	return netip.Addr{}, netip.Addr{}
}
