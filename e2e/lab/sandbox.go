package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
)

// sandbox is the network of one pod: its node's own, or a namespace behind a
// veth pair with routed addresses.
type sandbox struct {
	netns string
	slot  int // 0 for a pod in the host's network
	ips   []netip.Addr
}

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func hostSandbox(n Node) *sandbox {
	return &sandbox{netns: n.Name, ips: []netip.Addr{n.IPv4, n.IPv6}}
}

// newSandbox wires a pod to its node: point to point, so that every packet
// between two pods of a node passes kube-proxy's rules.
func newSandbox(n Node, slot int) (*sandbox, error) {
	v4, v6 := podAddresses(n.Index, slot)
	s := &sandbox{netns: fmt.Sprintf("%s-pod%d", n.Name, slot), slot: slot, ips: []netip.Addr{v4, v6}}
	if err := createNetns(s.netns); err != nil {
		return nil, err
	}
	if err := s.wire(n); err != nil {
		return nil, errors.Join(fmt.Errorf("pod network %s: %w", s.netns, err), s.remove(n))
	}
	return s, nil
}

func (s *sandbox) link() string { return fmt.Sprintf("pod%d", s.slot) }

func (s *sandbox) wire(n Node) error {
	gateway4, gateway6 := n.Pods4.Addr().Next(), netip.MustParseAddr("fe80::1")
	end, err := os.Open(netnsPath(s.netns))
	if err != nil {
		return err
	}
	defer end.Close()
	err = inNetns(n.Name, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = s.link()
		attrs.HardwareAddr = mac(macPodEnd, s.ips[0])
		err := netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: attrs, PeerName: nic,
			PeerHardwareAddr: mac(macPod, s.ips[0]), PeerNamespace: netlink.NsFd(int(end.Fd())),
		})
		if err != nil {
			return err
		}
		if err := sysctl(map[string]string{"net/ipv4/conf/" + s.link() + "/rp_filter": "0"}); err != nil {
			return err
		}
		return errors.Join(addAddress(s.link(), netip.PrefixFrom(gateway6, 64)), linkUp(s.link()))
	})
	if err != nil {
		return err
	}
	err = inNetns(s.netns, func() error {
		if err := sysctl(map[string]string{"net/ipv6/conf/eth0/accept_ra": "0", "net/ipv6/conf/eth0/accept_dad": "0"}); err != nil {
			return err
		}
		return errors.Join(linkUp("lo"),
			addAddress(nic, hostPrefix(s.ips[0])), addAddress(nic, hostPrefix(s.ips[1])), linkUp(nic),
			addRoute(nic, hostPrefix(gateway4), netip.Addr{}),
			addRoute(nic, netip.MustParsePrefix("0.0.0.0/0"), gateway4),
			addRoute(nic, netip.MustParsePrefix("::/0"), gateway6))
	})
	if err != nil {
		return err
	}
	return inNetns(n.Name, func() error {
		return errors.Join(addRoute(s.link(), hostPrefix(s.ips[0]), netip.Addr{}), addRoute(s.link(), hostPrefix(s.ips[1]), netip.Addr{}))
	})
}

func (s *sandbox) remove(n Node) error {
	if s.slot == 0 {
		return nil
	}
	err := inNetns(n.Name, func() error {
		link, err := netlink.LinkByName(s.link())
		if _, absent := errors.AsType[netlink.LinkNotFoundError](err); absent {
			return nil
		}
		if err != nil {
			return fmt.Errorf("link %s: %w", s.link(), err)
		}
		return netlink.LinkDel(link)
	})
	return errors.Join(err, deleteNetns(s.netns))
}
