package lab

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Host names. Nodes are n1, n2, …; clients c1, …; routers r1, …; and o1 is a
// client outside, on a network of its own behind r1.
const (
	switchName       = "lan"
	controlPlaneName = "cp"
	outsideName      = "o1"
	bridgeName       = "br0"
	nic              = "eth0"
)

// Ranges of the lab, all reserved for documentation or benchmarks.
const (
	LAN4     = "192.0.2.0/24"
	LAN6     = "2001:db8:1::/64"
	Pods4    = "198.18.0.0/16"
	Pods6    = "2001:db8:2::/48"
	Service4 = "198.19.0.0/17"
	Service6 = "2001:db8:3::/112"
	// VIPs4 and VIPs6 are large ranges that clients and routers reach on the
	// link, beside 192.0.2.200-250 and 2001:db8:1::200-… in the LAN itself.
	VIPs4 = "198.19.128.0/17"
	VIPs6 = "2001:db8:4::/64"
	// Outside4 and Outside6 are the network behind r1.
	Outside4 = "198.51.100.128/25"
	Outside6 = "2001:db8:6::/64"
)

const apiPort = 6443

// lanAddresses are the addresses of the host with this last number: the same
// digits in both families.
func lanAddresses(number int) (v4, v6 netip.Addr) {
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(number)}), netip.MustParseAddr("2001:db8:1::" + strconv.Itoa(number))
}

// podRanges are the ranges of the pods on the node with this index, from 1.
func podRanges(node int) (v4, v6 netip.Prefix) {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(node), 0}), 24),
		netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8:2:%x::", node)), 64)
}

// mac is a locally administered address that follows from the kind of port and
// the IPv4 address behind it, so that a capture reads the same in every run.
func mac(kind byte, v4 netip.Addr) net.HardwareAddr {
	b := v4.As4()
	return net.HardwareAddr{0x02, kind, b[0], b[1], b[2], b[3]}
}

const (
	macHost   = 0x00
	macSwitch = 0x01
)

// outside are the addresses of r1 and of o1 on the network between them.
func outside() (r1, o1 Host) {
	host := func(name string, number int) Host {
		v4 := netip.AddrFrom4([4]byte{198, 51, 100, byte(number)})
		return Host{Name: name, IPv4: v4, IPv6: netip.MustParseAddr("2001:db8:6::" + strconv.Itoa(number)), MAC: mac(macHost, v4)}
	}
	return host("r1", 129), host(outsideName, 200)
}

// Host is a machine of the lab: a network namespace with one interface, on the
// LAN or, for o1, outside.
type Host struct {
	Name string
	IPv4 netip.Addr
	IPv6 netip.Addr
	// MAC of its interface eth0.
	MAC net.HardwareAddr
}

func newHost(name string, number int) Host {
	v4, v6 := lanAddresses(number)
	return Host{Name: name, IPv4: v4, IPv6: v6, MAC: mac(macHost, v4)}
}
