package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// network is the LAN, a switch and the hosts on it, and the client outside.
type network struct {
	hosts map[string]Host
}

func portName(host string) string { return "v-" + host }

// buildNetwork makes the switch and plugs every host into it.
func buildNetwork(c Config) (*network, error) {
	n := &network{hosts: map[string]Host{}}
	if err := buildSwitch(c.MulticastSnooping); err != nil {
		return nil, err
	}
	add := func(name string, number int) error {
		h := newHost(name, number)
		n.hosts[name] = h
		return plugIn(h)
	}
	if err := add(controlPlaneName, 1); err != nil {
		return nil, err
	}
	for kind, set := range map[string]struct{ count, first, step int }{
		"n": {c.Nodes, 11, 1}, "c": {c.Clients, 100, 1}, "r": {c.Routers, 254, -1},
	} {
		for i := range set.count {
			if err := add(fmt.Sprintf("%s%d", kind, i+1), set.first+set.step*i); err != nil {
				return nil, err
			}
		}
	}
	for name := range n.hosts {
		if err := n.route(name, c.Nodes); err != nil {
			return nil, err
		}
	}
	if err := n.addOutside(); err != nil {
		return nil, fmt.Errorf("host %s: %w", outsideName, err)
	}
	return n, nil
}

// addOutside makes the client behind r1, with one cable between the two.
func (n *network) addOutside() error {
	r1, o1 := outside()
	n.hosts[o1.Name] = o1
	if err := createNetns(o1.Name); err != nil {
		return err
	}
	end, err := os.Open(netnsPath(o1.Name))
	if err != nil {
		return err
	}
	defer end.Close()
	const port = "eth1"
	err = inNetns(r1.Name, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = port, r1.MAC
		cable := &netlink.Veth{LinkAttrs: attrs, PeerName: nic, PeerHardwareAddr: o1.MAC, PeerNamespace: netlink.NsFd(int(end.Fd()))}
		if err := netlink.LinkAdd(cable); err != nil {
			return err
		}
		return errors.Join(
			addAddress(port, within(Outside4, r1.IPv4)), addAddress(port, within(Outside6, r1.IPv6)), linkUp(port))
	})
	if err != nil {
		return err
	}
	return inNetns(o1.Name, func() error {
		return errors.Join(linkUp("lo"),
			addAddress(nic, within(Outside4, o1.IPv4)), addAddress(nic, within(Outside6, o1.IPv6)), linkUp(nic),
			addRoute(netip.MustParsePrefix("0.0.0.0/0"), r1.IPv4), addRoute(netip.MustParsePrefix("::/0"), r1.IPv6))
	})
}

// within is the address with the length of the prefix that it is in.
func within(prefix string, a netip.Addr) netip.Prefix {
	return netip.PrefixFrom(a, netip.MustParsePrefix(prefix).Bits())
}

func buildSwitch(snooping bool) error {
	if err := createNetns(switchName); err != nil {
		return err
	}
	return inNetns(switchName, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = bridgeName
		attrs.HardwareAddr = net.HardwareAddr{0x02, 0xff, 0, 0, 0, 0}
		bridge := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}
		if err := netlink.LinkAdd(bridge); err != nil {
			return fmt.Errorf("switch: %w", err)
		}
		if err := sysctl(map[string]string{"net/ipv6/conf/br0/disable_ipv6": "1"}); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(bridge); err != nil {
			return fmt.Errorf("switch: %w", err)
		}
		return linkUp("lo")
	})
}

// plugIn makes the host's namespace and the cable between it and the switch.
func plugIn(h Host) error {
	if err := createNetns(h.Name); err != nil {
		return err
	}
	hostFD, err := os.Open(netnsPath(h.Name))
	if err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	defer hostFD.Close()
	err = inNetns(switchName, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = portName(h.Name)
		attrs.HardwareAddr = mac(macSwitch, h.IPv4)
		cable := &netlink.Veth{LinkAttrs: attrs, PeerName: nic, PeerHardwareAddr: h.MAC, PeerNamespace: netlink.NsFd(int(hostFD.Fd()))}
		if err := netlink.LinkAdd(cable); err != nil {
			return err
		}
		if err := sysctl(map[string]string{"net/ipv6/conf/" + attrs.Name + "/disable_ipv6": "1"}); err != nil {
			return err
		}
		return attach(h.Name)
	})
	if err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	if err := inNetns(h.Name, func() error { return configureHost(h) }); err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	return nil
}

// attach puts the host's port into the bridge and up. It runs in the switch.
func attach(host string) error {
	bridge, err := netlink.LinkByName(bridgeName)
	if err != nil {
		return err
	}
	port, err := netlink.LinkByName(portName(host))
	if err != nil {
		return err
	}
	if err := netlink.LinkSetMaster(port, bridge); err != nil {
		return err
	}
	return netlink.LinkSetUp(port)
}

func configureHost(h Host) error {
	settings := map[string]string{
		"net/ipv6/conf/all/accept_ra": "0", "net/ipv6/conf/default/accept_ra": "0", "net/ipv6/conf/eth0/accept_ra": "0",
	}
	if h.forwards() {
		settings["net/ipv4/ip_forward"] = "1"
		settings["net/ipv6/conf/all/forwarding"] = "1"
		for _, i := range []string{"all", "default", "eth0"} {
			settings["net/ipv4/conf/"+i+"/rp_filter"] = "0"
			settings["net/ipv4/conf/"+i+"/send_redirects"] = "0"
		}
	}
	if err := sysctl(settings); err != nil {
		return err
	}
	if err := linkUp("lo"); err != nil {
		return err
	}
	for _, p := range []netip.Prefix{netip.PrefixFrom(h.IPv4, 24), netip.PrefixFrom(h.IPv6, 64)} {
		if err := addAddress(nic, p); err != nil {
			return err
		}
	}
	return linkUp(nic)
}

// forwards tells nodes and routers from the rest.
func (h Host) forwards() bool { return h.Name[0] == 'n' || h.Name[0] == 'r' }

// route gives a host its way to the pods and, unless it is a router, to the
// rest of the world; clients and routers see the large pools on their link.
func (n *network) route(name string, nodes int) error {
	err := inNetns(name, func() error {
		for i := 1; i <= nodes; i++ {
			via := n.hosts[fmt.Sprintf("n%d", i)]
			if via.Name == name {
				continue
			}
			p4, p6 := podRanges(i)
			if err := errors.Join(addRoute(p4, via.IPv4), addRoute(p6, via.IPv6)); err != nil {
				return err
			}
		}
		if r, ok := n.hosts["r1"]; ok && name[0] != 'r' {
			if err := errors.Join(addRoute(netip.MustParsePrefix("0.0.0.0/0"), r.IPv4),
				addRoute(netip.MustParsePrefix("::/0"), r.IPv6)); err != nil {
				return err
			}
		}
		if name[0] != 'c' && name[0] != 'r' || name == controlPlaneName {
			return nil
		}
		return errors.Join(addRoute(netip.MustParsePrefix(VIPs4), netip.Addr{}),
			addRoute(netip.MustParsePrefix(VIPs6), netip.Addr{}))
	})
	if err != nil {
		return fmt.Errorf("routes of %s: %w", name, err)
	}
	return nil
}

// The functions below act in the network namespace of the calling thread.

func sysctl(settings map[string]string) error {
	for key, value := range settings {
		if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0); err != nil {
			if errors.Is(err, os.ErrNotExist) {
				continue // the kernel lacks the feature that the setting is about
			}
			return fmt.Errorf("sysctl %s=%s: %w", strings.ReplaceAll(key, "/", "."), value, err)
		}
	}
	return nil
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	return netlink.LinkSetUp(link)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func addAddress(link string, p netip.Prefix) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("link %s: %w", link, err)
	}
	address := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		address.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrAdd(l, address); err != nil {
		return fmt.Errorf("address %s on %s: %w", p, link, err)
	}
	return nil
}

// addRoute adds a route through a gateway, or on the link when via is not valid,
// on the host's interface.
func addRoute(to netip.Prefix, via netip.Addr) error {
	l, err := netlink.LinkByName(nic)
	if err != nil {
		return fmt.Errorf("link %s: %w", nic, err)
	}
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(to)}
	switch {
	case via.IsValid():
		r.Gw = via.AsSlice()
	case to.Addr().Is4():
		r.Scope = netlink.SCOPE_LINK
	}
	if err := netlink.RouteReplace(r); err != nil {
		return fmt.Errorf("route %s via %s: %w", to, via, err)
	}
	return nil
}
