package l2

import (
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
)

// Question is one for the MAC of a host on the segment, in the name of this
// one.
type Question struct {
	Interface      string
	Source, Target netip.Addr // of one family
}

// Solicit asks as the kernel would, but now. A kernel that could not reach a
// neighbour asks for it once a second only, and what waits for the answer waits
// as long; each kernel that is asked, and each that gets the answer, knows the
// other from then on. Interfaces on which nothing of the family is held are
// left out.
func (r *Responder) Solicit(questions []Question) {
	for _, p := range *r.ports.Load() {
		for _, q := range questions {
			on := p.on.Load()
			if q.Interface != on.Name {
				continue
			}
			conn, stats := p.arp.Load(), &p.stats.arp
			if q.Target.Is6() {
				conn, stats = p.nd.Load(), &p.stats.ndp
			}
			if conn == nil {
				continue
			}
			frame, err := question(on, q.Source, q.Target)
			if err == nil {
				_, err = conn.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]})
			}
			if err != nil {
				stats.failed.Add(1)
			}
		}
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
