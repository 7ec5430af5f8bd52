package l2

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/mdlayher/ndp"
)

const (
	ipv6Header     = 40
	icmpv6Offset   = ethernetHeader + ipv6Header
	nextICMPv6     = 58
	solicitation   = 135 // ICMPv6 type
	shortestNS     = 24
	targetOffset   = icmpv6Offset + 8
	hopLimitByte   = ethernetHeader + 7
	hopLimitOnLink = 255
)

// answerNDP decides what a frame that came in on the interface deserves. It
// checks what RFC 4861 section 7.1.1 asks for; a solicitation for an address
// in the table is answered as section 7.2.4 says, with the target link-layer
// address always present and the Override flag set. Addresses whose clients are
// divided are as with ARP.
func answerNDP(frame []byte, on *Interface, t *table) ([]byte, verdict) {
	if len(frame) < icmpv6Offset+shortestNS || binary.BigEndian.Uint16(frame[12:]) != etherTypeIPv6 {
		return nil, malformed
	}
	target := netip.AddrFrom16([16]byte(frame[targetOffset : targetOffset+16]))
	if !t.holds(target, on.Index) {
		return nil, notHeld
	}
	dst, src := net.HardwareAddr(frame[0:6]), net.HardwareAddr(frame[6:12])
	if !slices.Equal(dst, on.MAC) && dst[0]&1 == 0 {
		return nil, otherMAC
	}
	if slices.Equal(src, on.MAC) {
		return nil, ownFrame
	}
	message, from, to, v := parseSolicitation(frame)
	if v != answered {
		return nil, v
	}
	sender, v := solicitor(message, from, to, src)
	if v != answered {
		return nil, v
	}
	if slices.Equal(sender, on.MAC) {
		return nil, ownFrame
	}
	if t.shuns(dst, on, from, target) {
		return nil, othersClient
	}
	var reply []byte
	var err error
	if from.IsUnspecified() && t.leaving[target] {
		// The next owner asks, beside its announcement. Our answer would go to
		// all nodes and call them back.
		return nil, handedOver
	}
	if from.IsUnspecified() {
		// A duplicate address probe: its sender has no address to reply to.
		reply, err = advertisement(on, target, allNodes(), allNodesMAC(), false)
	} else {
		reply, err = advertisement(on, target, from, sender, true)
	}
	if err != nil {
		return nil, malformed
	}
	return reply, answered
}

// parseSolicitation validates the IPv6 and ICMPv6 headers and the message.
func parseSolicitation(frame []byte) (message *ndp.NeighborSolicitation, from, to netip.Addr, v verdict) {
	header := frame[ethernetHeader:]
	length := int(binary.BigEndian.Uint16(header[4:]))
	if header[0]>>4 != 6 || header[6] != nextICMPv6 || length < shortestNS || len(frame) < icmpv6Offset+length {
		return nil, from, to, malformed
	}
	if frame[hopLimitByte] != hopLimitOnLink {
		return nil, from, to, badHopLimit
	}
	body := frame[icmpv6Offset : icmpv6Offset+length]
	if body[0] != solicitation || body[1] != 0 {
		return nil, from, to, notRequest
	}
	from, to = netip.AddrFrom16([16]byte(header[8:24])), netip.AddrFrom16([16]byte(header[24:40]))
	if checksum(header[8:40], body) != 0xffff {
		return nil, from, to, badChecksum
	}
	parsed, err := ndp.ParseMessage(body)
	if err != nil {
		return nil, from, to, malformed
	}
	message, ok := parsed.(*ndp.NeighborSolicitation)
	if !ok {
		return nil, from, to, notRequest
	}
	return message, from, to, answered
}

// solicitor returns the MAC to reply to: that of the source link-layer option,
// or where the frame came from.
func solicitor(message *ndp.NeighborSolicitation, from, to netip.Addr, src net.HardwareAddr) (net.HardwareAddr, verdict) {
	sender := src
	for _, option := range message.Options {
		if address, ok := option.(*ndp.LinkLayerAddress); ok && address.Direction == ndp.Source {
			if from.IsUnspecified() {
				return nil, badSender
			}
			sender = address.Addr
		}
	}
	if !individual(sender) || from.IsMulticast() {
		return nil, badSender
	}
	if from.IsUnspecified() {
		if group, err := ndp.SolicitedNodeMulticast(message.TargetAddress); err != nil || to != group {
			return nil, badSender
		}
	}
	return sender, answered
}

// askNDP is askARP for IPv6.
func askNDP(frame []byte, on *Interface, t *table) (a ask, from netip.Addr, everybody, ok bool) {
	a.address = netip.AddrFrom16([16]byte(frame[targetOffset : targetOffset+16]))
	if t.shares[a.address] == nil {
		return a, from, false, false
	}
	message, from, to, v := parseSolicitation(frame)
	if v != answered || from.IsUnspecified() {
		return a, from, false, false
	}
	sender, v := solicitor(message, from, to, net.HardwareAddr(frame[6:12]))
	if v != answered {
		return a, from, false, false
	}
	a.mac = [6]byte(sender)
	return a, from, !slices.Equal(net.HardwareAddr(frame[0:6]), on.MAC), true
}

// tellNDP makes the frame that tells one client.
func tellNDP(on *Interface, a ask, client netip.Addr) ([]byte, error) {
	return advertisement(on, a.address, client, a.mac[:], false)
}

// announceNDP makes the frame that tells every neighbor: an unsolicited
// advertisement with the Override flag (RFC 4861 section 7.2.6).
func announceNDP(on *Interface, address netip.Addr) ([][]byte, error) {
	frame, err := advertisement(on, address, allNodes(), allNodesMAC(), false)
	if err != nil {
		return nil, err
	}
	return [][]byte{frame}, nil
}

func advertisement(on *Interface, target, to netip.Addr, toMAC net.HardwareAddr, solicited bool) ([]byte, error) {
	// The source is the advertised address, as with a host that has it; some
	// listeners (ndisc6) take no answer from another.
	from, to := target, to.WithZone("")
	message := &ndp.NeighborAdvertisement{
		Solicited: solicited, Override: true, TargetAddress: target,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: on.MAC}},
	}
	body, err := ndp.MarshalMessageChecksum(message, from, to)
	if err != nil {
		return nil, fmt.Errorf("neighbor advertisement for %s: %w", target, err)
	}
	frame := appendEthernet(make([]byte, 0, icmpv6Offset+len(body)), toMAC, on.MAC, etherTypeIPv6)
	frame = append(frame, 0x60, 0, 0, 0, 0, byte(len(body)), nextICMPv6, hopLimitOnLink)
	frame = append(append(frame, from.AsSlice()...), to.AsSlice()...)
	return append(frame, body...), nil
}

// checksum sums the pseudo header (RFC 8200 section 8.1) and an ICMPv6
// message that contains its checksum: 0xffff when that is right.
func checksum(addresses, body []byte) uint16 {
	sum := uint32(len(body)) + nextICMPv6
	for _, part := range [][]byte{addresses, body} {
		for ; len(part) >= 2; part = part[2:] {
			sum += uint32(binary.BigEndian.Uint16(part))
		}
		if len(part) == 1 {
			sum += uint32(part[0]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

func allNodes() netip.Addr { return netip.IPv6LinkLocalAllNodes() }

func allNodesMAC() net.HardwareAddr { return net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1} }
