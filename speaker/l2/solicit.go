package l2

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"golang.org/x/sys/unix"
)

// sender sends frames. Its socket is bound to no protocol: it receives nothing, and
// serves every interface. The zero value has none open.
type sender struct {
	fd   int
	open bool
}

func (a *sender) send(index int, frame []byte) error {
	if !a.open {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return explain(err)
		}
		a.fd, a.open = fd, true
	}
	to := &unix.SockaddrLinklayer{Ifindex: index, Halen: 6}
	copy(to.Addr[:], frame[:6])
	// In network byte order, as it stands in the frame.
	to.Protocol = binary.NativeEndian.Uint16(frame[12:14])
	return unix.Sendto(a.fd, frame, 0, to)
}

func (a *sender) close() {
	if a.open {
		_ = unix.Close(a.fd)
		a.open = false
	}
}

// question makes an ARP request (RFC 826) or a neighbour solicitation (RFC 4861
// section 4.3).
func question(on *Interface, source, target netip.Addr) ([]byte, error) {
	if target.Is4() {
		return arpMessage(arp.OperationRequest, on.MAC, source, net.HardwareAddr{0, 0, 0, 0, 0, 0}, target, broadcast())
	}
	return neighbourSolicitation(on, source, &ndp.NeighborSolicitation{
		TargetAddress: target, Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: on.MAC}},
	})
}

// neighbourSolicitation puts one into a frame to the target's group.
func neighbourSolicitation(on *Interface, source netip.Addr, message *ndp.NeighborSolicitation) ([]byte, error) {
	group, err := ndp.SolicitedNodeMulticast(message.TargetAddress)
	if err != nil {
		return nil, err
	}
	body, err := ndp.MarshalMessageChecksum(message, source, group)
	if err != nil {
		return nil, err
	}
	to := group.As16()
	toMAC := net.HardwareAddr{0x33, 0x33, to[12], to[13], to[14], to[15]}
	frame := appendEthernet(make([]byte, 0, icmpv6Offset+len(body)), toMAC, on.MAC, etherTypeIPv6)
	frame = append(frame, 0x60, 0, 0, 0, 0, byte(len(body)), nextICMPv6, hopLimitOnLink)
	frame = append(append(frame, source.AsSlice()...), group.AsSlice()...)
	return append(frame, body...), nil
}
