package link

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Interface is one network interface of the node.
type Interface struct {
	Name  string
	Index int
	MAC   net.HardwareAddr
	// Kind as "ip -details link" prints it: "veth", "bridge", "vlan"; "device"
	// for hardware.
	Kind string
	// Master is the index of the bridge, bond or VRF that the interface
	// belongs to, or 0.
	Master int
	// Ports are the MACs of a bond's or a team's ports, sorted, without its own:
	// what it sends may have any of them as its source (balance-alb).
	Ports []net.HardwareAddr
	// Up says that the interface is administratively up and has carrier.
	Up bool
	// Addrs are the addresses with their prefix lengths, sorted.
	Addrs []netip.Prefix
	// States of the addresses, each at the place of its address.
	States []AddrState

	// Usable says that ARP and NDP can be spoken on the interface, so that an
	// advertisement may name it.
	Usable bool
	// Suitable says that it is also used when no advertisement names one.
	Suitable bool
	// Why, in words, the interface is not usable or not suitable.
	Why string

	// Epoch grows each time the interface becomes usable, or changes its MAC
	// or its index: sockets must be opened again and neighbours be told.
	Epoch uint64
}

// AddrState is what the kernel says of an address.
type AddrState struct {
	// Tentative: duplicate address detection goes on, or has failed.
	Tentative bool
	// Deprecated is that its preferred lifetime is over (RFC 4862 section 5.5.4).
	Deprecated bool
	// Temporary: it is made to be forgotten (RFC 8981). Of an IPv4 address it
	// says that it is a secondary one of its subnet.
	Temporary bool
}

// Snapshot is all interfaces of the node, by name, and where its default routes
// lead.
type Snapshot struct {
	Interfaces []Interface
	Gateways   Gateways
}

// Interface returns the interface of that name.
func (s *Snapshot) Interface(name string) (Interface, bool) {
	i, found := slices.BinarySearchFunc(s.Interfaces, name, func(i Interface, name string) int { return cmp.Compare(i.Name, name) })
	if !found {
		return Interface{}, false
	}
	return s.Interfaces[i], true
}

func (i *Interface) equal(o *Interface) bool {
	return i.Name == o.Name && i.Index == o.Index && slices.Equal(i.MAC, o.MAC) && i.Kind == o.Kind && i.Master == o.Master &&
		slices.EqualFunc(i.Ports, o.Ports, slices.Equal) && i.Up == o.Up && slices.Equal(i.Addrs, o.Addrs) &&
		slices.Equal(i.States, o.States) && i.Usable == o.Usable &&
		i.Suitable == o.Suitable && i.Why == o.Why && i.Epoch == o.Epoch
}

// traits are what judge needs beyond the Interface itself.
type traits struct {
	ethernet, broadcast, loopback, pointToPoint, noARP bool
	// masterKind is the Kind of the master, or empty.
	masterKind string
	// portKinds are the Kinds of a bridge's ports.
	portKinds []string
}

// containerInterfaces are beginnings of names that container networks give to the
// node's own end where it is no bridge: nobody on the LAN is there.
var containerInterfaces = []string{"antrea-", "cali", "cilium", "flannel", "kube-", "nodelocaldns", "ovn", "weave"}

// leadsNowhere reports whether a bridge of these ports joins nothing but containers
// and virtual machines of this node to each other: the ports are ends of cables into
// them (veth, tap), or there to give the bridge a MAC or an MTU (dummy). Whatever is
// called docker0, cni0 or virbr0 is one; a host of virtual machines, whose bridge has
// a card, a bond or a VLAN as a port, has its LAN there.
func leadsNowhere(portKinds []string) bool {
	return !slices.ContainsFunc(portKinds, func(kind string) bool {
		return !slices.Contains([]string{"veth", "tuntap", "tun", "dummy", "ifb"}, kind)
	})
}

// judge decides whether an interface is usable and suitable.
//
// Usable is what the protocols need: Ethernet with ARP, up, and not a port of
// something else, since a port's frames go to its master.
//
// Suitable is the guess for those who name no interface: usable, and with an
// address on a subnet that has room for neighbours. That is what tells a LAN
// from the veth of a pod, which has no address or one without a subnet, and
// from tunnels and dummies. A bridge that leads to containers alone is left out, and
// so is, by its name, what container networks have beside bridges; whoever wants
// one can name it in an advertisement.
func judge(i *Interface, t traits) {
	switch {
	case t.loopback:
		i.Why = "is a loopback interface"
	case !t.ethernet || len(i.MAC) != 6:
		i.Why = "is not Ethernet"
	case !t.broadcast || t.pointToPoint || t.noARP:
		i.Why = "does not speak ARP"
	case i.Master != 0 && t.masterKind != "vrf":
		i.Why = "is a port of another interface"
	case !i.Up:
		i.Why = "is down or has no carrier"
	default:
		i.Usable = true
	}
	if !i.Usable {
		return
	}
	switch {
	case i.Kind == "bridge" && leadsNowhere(t.portKinds):
		i.Why = "is a bridge without a port that leads to a LAN"
	case i.Kind != "bridge" && slices.ContainsFunc(containerInterfaces, func(prefix string) bool { return strings.HasPrefix(i.Name, prefix) }):
		i.Why = "belongs to a container network"
	case !slices.ContainsFunc(i.Addrs, i.facesNeighbours):
		i.Why = "has no address on a subnet"
	default:
		i.Suitable = true
	}
}

// facesNeighbours tells whether an address means that others are on the link.
// An address without a subnet counts on hardware, where a DHCPv6 lease (/128)
// or a hosting network (/32) is a real one; on a veth it is a pod's.
func (i *Interface) facesNeighbours(p netip.Prefix) bool {
	if !p.Addr().IsGlobalUnicast() {
		return false
	}
	switch i.Kind {
	case "device", "bond", "team", "vlan":
		return true
	}
	return p.Addr().BitLen()-p.Bits() >= 2
}
