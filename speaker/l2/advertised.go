package l2

import (
	"errors"
	"net"
	"time"

	"golang.org/x/net/ipv6"
)

// hear opens or closes the ear for neighbour advertisements.
func (i *Inquirer) hear(wanted bool) {
	if i.six == nil {
		if !wanted {
			return
		}
		conn, err := net.ListenIP("ip6:ipv6-icmp", nil)
		if err != nil {
			return // there is no IPv6 here
		}
		at := ipv6.NewPacketConn(conn)
		if err := errors.Join(filterICMP(at, false), at.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagInterface, true)); err != nil {
			_ = conn.Close()
			return
		}
		i.six = &advertisements{conn: conn}
		i.wait.Go(func() { i.readNDP(at) })
	}
	if i.six.hearing != wanted && filterICMP(ipv6.NewPacketConn(i.six.conn), wanted) == nil {
		i.six.hearing = wanted
	}
}

func filterICMP(conn *ipv6.PacketConn, hear bool) error {
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	if hear {
		filter.Accept(ipv6.ICMPTypeNeighborAdvertisement)
	}
	return conn.SetICMPFilter(&filter)
}

// readNDP tells who has advertised an address.
func (i *Inquirer) readNDP(conn *ipv6.PacketConn) {
	buffer := make([]byte, maxFrame)
	for {
		n, control, _, err := conn.ReadFrom(buffer)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(time.Millisecond)
			continue
		}
		// What has been routed is a forgery (RFC 4861 section 7.1.2); the kernel has
		// checked the sum.
		if control == nil || control.HopLimit != hopLimitOnLink {
			continue
		}
		address, mac, ok := neighbourAdvertisementOf(buffer[:n])
		if on := i.nameOf(control.IfIndex); ok && on != "" && i.watches(address) {
			i.told(on, mac, address)
		}
	}
}

func (i *Inquirer) nameOf(index int) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	for name, a := range i.askers {
		if a.Index == index {
			return name
		}
	}
	return ""
}
