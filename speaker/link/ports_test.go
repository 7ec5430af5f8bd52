package link

import (
	"net"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

func mac(last byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, last} }

// S2, T13: a bond with balance-alb sends with the MACs of its ports: they are this
// node's, too, and no stranger's.
func TestT13_ABondHasTheMACsOfItsPorts(t *testing.T) {
	bond := netlink.NewLinkBond(netlink.LinkAttrs{Name: "bond0", Index: 1, HardwareAddr: mac(1), EncapType: "ether"})
	w := &Watcher{links: map[int]netlink.Link{1: bond}, epochs: map[string]epoch{}}
	for i := range byte(3) {
		port := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 10 + int(i), MasterIndex: 1, HardwareAddr: mac(1 + i), PermHWAddr: mac(10 + i)}}
		w.links[port.Index] = port
	}
	w.publish()
	on, _ := w.Snapshot().Interface("bond0")
	want := []net.HardwareAddr{mac(2), mac(3), mac(10), mac(11), mac(12)}
	if !slices.EqualFunc(on.Ports, want, slices.Equal) {
		t.Errorf("MACs of the ports: %v, want %v", on.Ports, want)
	}
}

func TestBridgesOfEachKindOfPort(t *testing.T) {
	for ports, nowhere := range map[string]bool{"": true, "veth": true, "tuntap": true, "dummy": true, "device": false, "bond": false, "vlan": false, "team": false} {
		kinds := []string{"veth"}
		if ports == "" {
			kinds = nil
		} else {
			kinds = append(kinds, ports)
		}
		if leadsNowhere(kinds) != nowhere {
			t.Errorf("a bridge of %v leads nowhere: %v", kinds, !nowhere)
		}
	}
}
