package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/net/ipv6"
)

const (
	// listenFor is how long a router may take to answer a solicitation: it lets
	// 3 s go by between two advertisements, and half a second more at random
	// (RFC 4861 sections 6.2.6 and 10).
	listenFor = 4 * time.Second
	// oneHop is the hop limit of a packet that no router has passed on.
	oneHop = 255
	// Messages and the option of RFC 4861 sections 4.1, 4.2 and 4.6.1; the
	// unit of an option's length is 8 bytes.
	typeSolicitation, typeAdvertisement = 133, 134
	optionSource                        = 1
	optionUnit                          = 8
	advertisementSize                   = 16
	lifetimeAt                          = 6
)

// find looks for the router at the other end of an interface, as routers do
// that peer without addresses: each advertises itself there as a router, and
// takes whom it hears for its peer. What is said of this node has a lifetime of
// zero, so that nobody takes it for a default router. The address has a zone.
func find(ctx context.Context, name string) (netip.Addr, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("this node has no interface %s", name)
	}
	raw, err := new(net.ListenConfig).ListenPacket(ctx, "ip6:ipv6-icmp", "::")
	if err != nil {
		return netip.Addr{}, fmt.Errorf("listening for router advertisements: %w", rootCause(err))
	}
	defer func() { _ = raw.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	conn := ipv6.NewPacketConn(raw)
	var wanted ipv6.ICMPFilter
	wanted.SetAll(true)
	wanted.Accept(ipv6.ICMPTypeRouterAdvertisement)
	if err := errors.Join(
		conn.SetICMPFilter(&wanted), conn.SetMulticastLoopback(false), conn.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagInterface, true),
		raw.SetReadDeadline(time.Now().Add(listenFor)),
	); err != nil {
		return netip.Addr{}, fmt.Errorf("listening for router advertisements: %w", err)
	}
	for _, m := range []struct {
		to   string
		data []byte
	}{{"ff02::1", advertisement(link.HardwareAddr)}, {"ff02::2", solicitation(link.HardwareAddr)}} {
		// The zone is a number because Go remembers for a minute which interface
		// had a name.
		how := &ipv6.ControlMessage{HopLimit: oneHop, TrafficClass: networkControl, IfIndex: link.Index}
		if _, err := conn.WriteTo(m.data, how, &net.IPAddr{IP: net.ParseIP(m.to), Zone: strconv.Itoa(link.Index)}); err != nil {
			return netip.Addr{}, fmt.Errorf("advertising this node on %s: %w", name, rootCause(err))
		}
	}
	return hear(ctx, conn, link)
}

// hear returns the first router that says it is one. A lifetime of zero may be
// that of another node that looks for its router: it counts when nobody else is
// heard.
func hear(ctx context.Context, conn *ipv6.PacketConn, link *net.Interface) (netip.Addr, error) {
	var second netip.Addr
	buffer := make([]byte, 2048) //nolint:mnd // more than an Ethernet frame has
	for {
		n, how, from, err := conn.ReadFrom(buffer)
		if err != nil && ctx.Err() == nil && second.IsValid() {
			return second, nil
		}
		if err != nil {
			return netip.Addr{}, fmt.Errorf("no router advertisement is heard on %s: is the router set up to peer on its interface?", link.Name)
		}
		address, ok := from.(*net.IPAddr)
		if !ok || how == nil || how.IfIndex != link.Index || how.HopLimit != oneHop {
			continue
		}
		router, _ := netip.AddrFromSlice(address.IP)
		lifetime, ok := parseAdvertisement(buffer[:n])
		if !ok || !router.IsLinkLocalUnicast() {
			continue
		}
		router = router.WithZone(link.Name)
		if lifetime > 0 {
			return router, nil
		}
		second = router
	}
}

// parseAdvertisement returns how long a router wants to be a default router.
func parseAdvertisement(b []byte) (lifetime time.Duration, ok bool) {
	if len(b) < advertisementSize || b[0] != typeAdvertisement || b[1] != 0 {
		return 0, false
	}
	return time.Duration(int(b[lifetimeAt])<<8|int(b[lifetimeAt+1])) * time.Second, true
}

// advertisement of a node that is nobody's default router. The kernel adds the
// checksum.
func advertisement(mac net.HardwareAddr) []byte {
	b := [advertisementSize]byte{typeAdvertisement}
	return append(b[:], source(mac)...)
}

func solicitation(mac net.HardwareAddr) []byte {
	return append([]byte{typeSolicitation, 0, 0, 0, 0, 0, 0, 0}, source(mac)...)
}

// source is the option with the sender's link-layer address; only Ethernet's
// has its length.
func source(mac net.HardwareAddr) []byte {
	const size = 6
	if len(mac) != size {
		return nil
	}
	return append([]byte{optionSource, (2 + size) / optionUnit}, mac...)
}
