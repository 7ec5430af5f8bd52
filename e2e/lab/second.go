package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
)

// SecondNIC is the interface of a host on the second network.
const SecondNIC = "eth1"

// secondBridge is the switch of the second network.
const secondBridge = "br1"

// Second4 is the second network's range: see [Lab.AddSecondNetwork].
const Second4 = "203.0.113.0/24"

// AddSecondNetwork plugs hosts into another switch, too, as eth1, with the last
// number of their address on the LAN. remove takes it away again.
func (l *Lab) AddSecondNetwork(hosts ...string) (remove func() error, err error) {
	remove = func() error {
		return inNetns(switchName, func() error {
			var failed error
			for _, name := range append([]string{secondBridge}, secondPorts(hosts)...) {
				if link, err := netlink.LinkByName(name); err == nil {
					failed = errors.Join(failed, netlink.LinkDel(link))
				}
			}
			return failed
		})
	}
	err = inNetns(switchName, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = secondBridge
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			return err
		}
		return errors.Join(sysctl(map[string]string{"net/ipv6/conf/" + secondBridge + "/disable_ipv6": "1"}), linkUp(secondBridge))
	})
	for _, name := range hosts {
		if err == nil {
			err = l.plugInSecond(name)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("second network: %w", err), remove())
	}
	return remove, nil
}

func secondPorts(hosts []string) (names []string) {
	for _, host := range hosts {
		names = append(names, "w-"+host)
	}
	return names
}

func (l *Lab) plugInSecond(name string) error {
	h, err := l.Host(name)
	if err != nil {
		return err
	}
	end, err := os.Open(netnsPath(name))
	if err != nil {
		return err
	}
	defer end.Close()
	four := h.IPv4.As4()
	address := netip.AddrFrom4([4]byte{203, 0, 113, four[3]})
	err = inNetns(switchName, func() error {
		bridge, err := netlink.LinkByName(secondBridge)
		if err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MasterIndex = secondPorts([]string{name})[0], bridge.Attrs().Index
		cable := &netlink.Veth{
			LinkAttrs: attrs, PeerName: SecondNIC, PeerHardwareAddr: mac(macHost, address), PeerNamespace: netlink.NsFd(int(end.Fd())),
		}
		if err := netlink.LinkAdd(cable); err != nil {
			return err
		}
		return errors.Join(sysctl(map[string]string{"net/ipv6/conf/" + attrs.Name + "/disable_ipv6": "1"}), linkUp(attrs.Name))
	})
	if err != nil {
		return fmt.Errorf("host %s: %w", name, err)
	}
	return inNetns(name, func() error {
		return errors.Join(addAddress(SecondNIC, within(Second4, address)), linkUp(SecondNIC))
	})
}
