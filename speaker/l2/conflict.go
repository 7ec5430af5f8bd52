package l2

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"

	"github.com/baliza-lb/baliza/speaker/model"
)

// sightings gathers what the readers see until it is taken. A flood of claims
// is one for each address.
type sightings struct {
	mu    sync.Mutex
	found map[netip.Addr]model.Sighting
	told  chan struct{}
}

func (s *sightings) add(one model.Sighting) {
	s.mu.Lock()
	s.found[one.Address] = one
	s.mu.Unlock()
	select {
	case s.told <- struct{}{}:
	default:
	}
}

func (s *sightings) take() []model.Sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.found) == 0 {
		return nil
	}
	all := make([]model.Sighting, 0, len(s.found))
	for _, one := range s.found {
		all = append(all, one)
	}
	clear(s.found)
	slices.SortFunc(all, func(a, b model.Sighting) int { return a.Address.Compare(b.Address) })
	return all
}

// sightARP reports whether an ARP packet claims an address that concerns us.
func sightARP(frame []byte, on *Interface, t *table) (address netip.Addr, mac net.HardwareAddr, sighted bool) {
	if len(frame) < arpFrame || binary.BigEndian.Uint16(frame[12:]) != etherTypeARP {
		return address, nil, false
	}
	address = netip.AddrFrom4([4]byte(frame[arpSender : arpSender+4]))
	if !t.concerns(address, on.Index) {
		return address, nil, false
	}
	mac = net.HardwareAddr(slices.Clone(frame[ethernetHeader+8 : ethernetHeader+14]))
	return address, mac, individual(mac) && !slices.Equal(mac, on.MAC) && !slices.Equal(net.HardwareAddr(frame[6:12]), on.MAC)
}

// sightNDP reports whether a neighbor advertisement is for an address that
// concerns us.
func sightNDP(frame []byte, on *Interface, t *table) (address netip.Addr, mac net.HardwareAddr, sighted bool) {
	if len(frame) < icmpv6Offset+shortestNS || binary.BigEndian.Uint16(frame[12:]) != etherTypeIPv6 {
		return address, nil, false
	}
	header := frame[ethernetHeader:]
	length := int(binary.BigEndian.Uint16(header[4:]))
	if header[6] != nextICMPv6 || frame[hopLimitByte] != hopLimitOnLink || length < shortestNS || len(frame) < icmpv6Offset+length {
		return address, nil, false
	}
	body := frame[icmpv6Offset : icmpv6Offset+length]
	address = netip.AddrFrom16([16]byte(body[8:24]))
	if body[0] != neighborAdvertisement || body[1] != 0 || !t.concerns(address, on.Index) || checksum(header[8:40], body) != 0xffff {
		return address, nil, false
	}
	if mac = advertiser(body); mac == nil {
		mac = net.HardwareAddr(slices.Clone(frame[6:12]))
	}
	return address, mac, individual(mac) && !slices.Equal(mac, on.MAC) && !slices.Equal(net.HardwareAddr(frame[6:12]), on.MAC)
}

// advertiser returns the target link-layer address of an advertisement, or nil.
func advertiser(body []byte) net.HardwareAddr {
	parsed, err := ndp.ParseMessage(body)
	message, ok := parsed.(*ndp.NeighborAdvertisement)
	if err != nil || !ok {
		return nil
	}
	for _, option := range message.Options {
		if a, ok := option.(*ndp.LinkLayerAddress); ok && a.Direction == ndp.Target {
			return a.Addr
		}
	}
	return nil
}

// probe makes the frame that asks whether an address is taken, in the name of
// nobody: RFC 5227 section 2.1.1 for IPv4, RFC 4862 section 5.4.2 for IPv6.
func probe(on *Interface, address netip.Addr) ([]byte, error) {
	if address.Is4() {
		nobody := net.HardwareAddr{0, 0, 0, 0, 0, 0}
		return arpMessage(arp.OperationRequest, on.MAC, netip.IPv4Unspecified(), nobody, address, broadcast())
	}
	return neighborSolicitation(on, netip.IPv6Unspecified(), &ndp.NeighborSolicitation{TargetAddress: address})
}

const neighborAdvertisement = 136
