package l2

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/mdlayher/arp"
)

const (
	arpFrame  = ethernetHeader + 28
	arpSender = ethernetHeader + 14 // sender's protocol address
	arpTarget = ethernetHeader + 24 // target's protocol address
)

// answerARP decides what a frame that came in on the interface deserves:
// requests, broadcast or to our MAC, for an address in the table get a reply;
// everything else is left alone. A probe (RFC 5227 section 2.1, the sender is
// 0.0.0.0) is answered like any request: that is how the prober learns of us.
// Of an address whose clients are divided, who asks everybody is answered by
// one node; who asks us alone has us already and is told that we are there.
func answerARP(frame []byte, on *Interface, t *table) ([]byte, verdict) {
	if len(frame) < arpFrame || binary.BigEndian.Uint16(frame[12:]) != etherTypeARP {
		return nil, malformed
	}
	// The cheap and common way out comes first: somebody else's address.
	target := netip.AddrFrom4([4]byte(frame[arpTarget : arpTarget+4]))
	if !t.holds(target, on.Index) {
		return nil, notHeld
	}
	dst, src := net.HardwareAddr(frame[0:6]), net.HardwareAddr(frame[6:12])
	if !slices.Equal(dst, broadcast()) && !slices.Equal(dst, on.MAC) {
		return nil, otherMAC
	}
	if slices.Equal(src, on.MAC) {
		return nil, ownFrame
	}
	var request arp.Packet
	if err := request.UnmarshalBinary(frame[ethernetHeader:]); err != nil {
		return nil, malformed
	}
	switch {
	case request.HardwareType != 1, request.ProtocolType != 0x0800, request.HardwareAddrLength != 6, request.IPLength != 4:
		return nil, malformed
	case request.Operation != arp.OperationRequest:
		return nil, notRequest
	case slices.Equal(request.SenderHardwareAddr, on.MAC):
		return nil, ownFrame
	case !individual(request.SenderHardwareAddr), request.SenderIP.IsMulticast():
		return nil, badSender
	case request.SenderIP == request.TargetIP:
		return nil, gratuitous
	}
	if t.shuns(dst, on, request.SenderIP, target) {
		return nil, othersClient
	}
	reply, err := arpMessage(arp.OperationReply, on.MAC, target, request.SenderHardwareAddr, request.SenderIP, request.SenderHardwareAddr)
	if err != nil {
		return nil, malformed
	}
	return reply, answered
}

// askARP tells who asks for a shared address, and whether everybody. It is for
// frames that are answered, by us or another node.
func askARP(frame []byte, on *Interface, t *table) (a ask, from netip.Addr, everybody, ok bool) {
	a.address = netip.AddrFrom4([4]byte(frame[arpTarget : arpTarget+4]))
	from = netip.AddrFrom4([4]byte(frame[arpSender : arpSender+4]))
	if t.shares[a.address] == nil || from.IsUnspecified() {
		return a, from, false, false
	}
	a.mac = [6]byte(frame[ethernetHeader+8 : ethernetHeader+14])
	return a, from, !slices.Equal(net.HardwareAddr(frame[0:6]), on.MAC), true
}

// tellARP makes the frame that tells one client: a reply that it did not ask
// for.
func tellARP(on *Interface, a ask, client netip.Addr) ([]byte, error) {
	return arpMessage(arp.OperationReply, on.MAC, a.address, a.mac[:], client, a.mac[:])
}

// announceARP makes the two frames that tell every neighbor: the announcement
// of RFC 5227 section 2.3, and the same as a reply, since some listen to only
// one of them.
func announceARP(on *Interface, address netip.Addr) ([][]byte, error) {
	request, err := arpMessage(arp.OperationRequest, on.MAC, address, net.HardwareAddr{0, 0, 0, 0, 0, 0}, address, broadcast())
	if err != nil {
		return nil, err
	}
	reply, err := arpMessage(arp.OperationReply, on.MAC, address, broadcast(), address, broadcast())
	if err != nil {
		return nil, err
	}
	return [][]byte{request, reply}, nil
}

func arpMessage(
	op arp.Operation, mac net.HardwareAddr, ip netip.Addr, targetMAC net.HardwareAddr, targetIP netip.Addr, to net.HardwareAddr,
) ([]byte, error) {
	packet, err := arp.NewPacket(op, mac, ip, targetMAC, targetIP)
	if err != nil {
		return nil, fmt.Errorf("arp message for %s: %w", ip, err)
	}
	payload, err := packet.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("arp message for %s: %w", ip, err)
	}
	frame := make([]byte, 0, arpFrame)
	return append(appendEthernet(frame, to, mac, etherTypeARP), payload...), nil
}

func broadcast() net.HardwareAddr { return net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }
