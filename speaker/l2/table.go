package l2

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
)

// Interface is an Ethernet interface on which addresses can be answered for.
type Interface struct {
	Name  string
	Index int
	// MAC that neighbors are told, 6 bytes.
	MAC net.HardwareAddr
	// Epoch differs after each event that makes sockets, group memberships
	// and what the neighbors know doubtful: link down and up, a new MAC.
	Epoch uint64
}

// table says who is answered for where. It is never changed once it is in use.
type table struct {
	held   map[netip.Addr][]int  // indexes of interfaces
	probed map[netip.Addr][]int  // not answered for: we ask whether it is free
	shares map[netip.Addr]*share // those of held whose clients are divided
	self   string                // this node in shares
	// leaving are those of held that another takes over at this moment.
	leaving map[netip.Addr]bool
}

// concerns reports whether another's claim for the address matters here.
func (t *table) concerns(a netip.Addr, index int) bool {
	return t.holds(a, index) || slices.Contains(t.probed[a], index)
}

// holds reports whether the address is answered for on the interface.
func (t *table) holds(a netip.Addr, index int) bool { return slices.Contains(t.held[a], index) }

// shuns reports whether a client that asks everybody, and not on alone, is another
// node's.
func (t *table) shuns(dst net.HardwareAddr, on *Interface, client, address netip.Addr) bool {
	s := t.shares[address]
	return s != nil && !slices.Equal(dst, on.MAC) && s.pick(client) != t.self
}

// share divides the clients of what is held and desired as shared. It returns
// what differs from before, nil for what is not shared any more.
func (t *table) share(desired *Desired, before *table, now time.Time) (changed map[netip.Addr]*share) {
	t.self, t.shares, changed = desired.Self, map[netip.Addr]*share{}, map[netip.Addr]*share{}
	for i := range desired.Answers {
		one := &desired.Answers[i]
		if one.Mode != model.Shared || t.held[one.Address] == nil {
			continue
		}
		s := before.shares[one.Address]
		if !s.among(one.Sharers) {
			s = newShare(one.Address, one.Sharers, s, now)
			changed[one.Address] = s
		}
		t.shares[one.Address] = s
	}
	for address := range before.shares {
		if t.shares[address] == nil {
			changed[address] = nil
		}
	}
	return changed
}

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
	othersClient
	handedOver
	verdicts // how many there are
)

func (v verdict) String() string {
	return [...]string{
		"answered", "not held", "malformed", "not a request", "for another MAC", "our own frame", "impossible sender",
		"gratuitous", "hop limit is not 255", "wrong checksum",
		"another node's client",
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

// individual reports whether a MAC can be that of one station.
func individual(mac net.HardwareAddr) bool {
	return len(mac) == 6 && mac[0]&1 == 0 && !slices.Equal(mac, net.HardwareAddr{0, 0, 0, 0, 0, 0})
}
