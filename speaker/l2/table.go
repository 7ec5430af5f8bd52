package l2

import (
	"net"
	"net/netip"
	"slices"
)

// Interface is an Ethernet interface on which addresses can be answered for.
type Interface struct {
	Name  string
	Index int
	// MAC that neighbours are told, 6 bytes.
	MAC net.HardwareAddr
	// Epoch differs after each event that makes sockets, group memberships
	// and what the neighbours know doubtful: link down and up, a new MAC.
	Epoch uint64
}

// table says who is answered for where. It is never changed once it is in use.
type table struct {
	held   map[netip.Addr][]int // indexes of interfaces
	probed map[netip.Addr][]int // not answered for: we ask whether it is free
	// leaving are those of held that another takes over at this moment.
	leaving map[netip.Addr]bool
}

// concerns tells whether another's claim for the address matters here.
func (t *table) concerns(a netip.Addr, index int) bool {
	return t.holds(a, index) || slices.Contains(t.probed[a], index)
}

// holds tells whether the address is answered for on the interface.
func (t *table) holds(a netip.Addr, index int) bool { return slices.Contains(t.held[a], index) }

// verdict is what became of a received frame.
type verdict uint8

const (
	answered verdict = iota
	notHeld
	malformed
	notRequest
	otherMAC
	ownFrame
	badSender
	gratuitous
	badHopLimit
	badChecksum
	handedOver
	verdicts // how many there are
)

func (v verdict) String() string {
	return [...]string{
		"answered", "not held", "malformed", "not a request", "for another MAC", "our own frame", "impossible sender",
		"gratuitous", "hop limit is not 255", "wrong checksum",
		"probe by the next owner",
	}[v]
}

const (
	ethernetHeader = 14
	etherTypeARP   = 0x0806
	etherTypeIPv6  = 0x86dd
)

// appendEthernet appends an Ethernet header.
func appendEthernet(b []byte, dst, src net.HardwareAddr, etherType uint16) []byte {
	b = append(b, dst[:6]...)
	b = append(b, src[:6]...)
	return append(b, byte(etherType>>8), byte(etherType))
}

// individual tells whether a MAC can be that of one station.
func individual(mac net.HardwareAddr) bool {
	return len(mac) == 6 && mac[0]&1 == 0 && !slices.Equal(mac, net.HardwareAddr{0, 0, 0, 0, 0, 0})
}
