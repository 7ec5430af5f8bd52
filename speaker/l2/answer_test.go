package l2

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

var (
	ours    = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	theirs  = net.HardwareAddr{2, 0, 0, 0, 0, 2}
	zeroMAC = net.HardwareAddr{0, 0, 0, 0, 0, 0}
	held4   = netip.MustParseAddr("192.0.2.10")
	held6   = netip.MustParseAddr("2001:db8::10")
	asker4  = netip.MustParseAddr("192.0.2.100")
	asker6  = netip.MustParseAddr("2001:db8::100")
	on      = &Interface{Name: "eth0", Index: 3, MAC: ours}
)

func holding(index int) *table {
	return &table{held: map[netip.Addr][]int{held4: {index}, held6: {index}}}
}

// request is an ARP frame with the given differences from a plain request.
func request(change func(dst *net.HardwareAddr, p *arp.Packet)) []byte {
	dst := broadcast()
	p := &arp.Packet{
		HardwareType: 1, ProtocolType: 0x0800, HardwareAddrLength: 6, IPLength: 4, Operation: arp.OperationRequest,
		SenderHardwareAddr: theirs, SenderIP: asker4, TargetHardwareAddr: zeroMAC, TargetIP: held4,
	}
	change(&dst, p)
	body, _ := p.MarshalBinary()
	return append(appendEthernet(nil, dst, theirs, etherTypeARP), body...)
}

// L06: what is answered and what is not.
func TestARPAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		change func(dst *net.HardwareAddr, p *arp.Packet)
		index  int
		want   verdict
	}{
		"a broadcast request":                          {func(*net.HardwareAddr, *arp.Packet) {}, 3, answered},
		"a request to our MAC":                         {func(dst *net.HardwareAddr, _ *arp.Packet) { *dst = ours }, 3, answered},
		"a probe":                                      {func(_ *net.HardwareAddr, p *arp.Packet) { p.SenderIP = netip.IPv4Unspecified() }, 3, answered},
		"a request to another MAC":                     {func(dst *net.HardwareAddr, _ *arp.Packet) { *dst = theirs }, 3, otherMAC},
		"a request to a multicast MAC":                 {func(dst *net.HardwareAddr, _ *arp.Packet) { *dst = allNodesMAC() }, 3, otherMAC},
		"an address that is not held":                  {func(_ *net.HardwareAddr, p *arp.Packet) { p.TargetIP = asker4.Next() }, 3, notHeld},
		"an address that is held on another interface": {func(*net.HardwareAddr, *arp.Packet) {}, 4, notHeld},
		"a reply":                           {func(_ *net.HardwareAddr, p *arp.Packet) { p.Operation = arp.OperationReply }, 3, notRequest},
		"a gratuitous request":              {func(_ *net.HardwareAddr, p *arp.Packet) { p.SenderIP = held4 }, 3, gratuitous},
		"our own MAC as the sender":         {func(_ *net.HardwareAddr, p *arp.Packet) { p.SenderHardwareAddr = ours }, 3, ownFrame},
		"a zero MAC as the sender":          {func(_ *net.HardwareAddr, p *arp.Packet) { p.SenderHardwareAddr = zeroMAC }, 3, badSender},
		"a multicast MAC as the sender":     {func(_ *net.HardwareAddr, p *arp.Packet) { p.SenderHardwareAddr = allNodesMAC() }, 3, badSender},
		"a multicast address as the sender": {func(_ *net.HardwareAddr, p *arp.Packet) { p.SenderIP = netip.MustParseAddr("224.0.0.1") }, 3, badSender},
		"another protocol":                  {func(_ *net.HardwareAddr, p *arp.Packet) { p.ProtocolType = 0x0806 }, 3, malformed},
		"another kind of hardware":          {func(_ *net.HardwareAddr, p *arp.Packet) { p.HardwareType = 6 }, 3, malformed},
	} {
		t.Run(name, func(t *testing.T) {
			reply, got := answerARP(request(test.change), on, holding(test.index))
			if got != test.want {
				t.Fatalf("got %q, want %q", got, test.want)
			}
			if got == answered {
				checkARP(t, reply)
			}
		})
	}
}

func checkARP(t *testing.T, frame []byte) {
	t.Helper()
	var p arp.Packet
	if err := p.UnmarshalBinary(frame[ethernetHeader:]); err != nil {
		t.Fatal(err)
	}
	switch {
	case !bytes.Equal(frame[6:12], ours), !bytes.Equal(p.SenderHardwareAddr, ours), !individual(frame[0:6]):
		t.Errorf("wrong MACs: % x", frame)
	case !bytes.Equal(frame[0:6], p.TargetHardwareAddr), p.Operation != arp.OperationReply, p.SenderIP != held4:
		t.Errorf("wrong reply: %+v", p)
	}
}

// solicit is a neighbor solicitation with the given differences.
func solicit(from, to, target netip.Addr, dst net.HardwareAddr, options ...ndp.Option) []byte {
	body, _ := ndp.MarshalMessageChecksum(&ndp.NeighborSolicitation{TargetAddress: target, Options: options}, from, to)
	frame := appendEthernet(nil, dst, theirs, etherTypeIPv6)
	frame = append(frame, 0x60, 0, 0, 0, 0, byte(len(body)), nextICMPv6, hopLimitOnLink)
	frame = append(append(frame, from.AsSlice()...), to.AsSlice()...)
	return append(frame, body...)
}

func source(mac net.HardwareAddr) ndp.Option {
	return &ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac}
}

// L07: RFC 4861 sections 7.1.1 and 7.2.4.
func TestNDPAnswers(t *testing.T) {
	group, _ := ndp.SolicitedNodeMulticast(held6)
	groupMAC := net.HardwareAddr{0x33, 0x33, 0xff, 0, 0, 0x10}
	proxy := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	with := func(frame []byte, change func([]byte)) []byte { change(frame); return frame }
	plain := func() []byte { return solicit(asker6, group, held6, groupMAC, source(theirs)) }
	for name, test := range map[string]struct {
		frame     []byte
		want      verdict
		solicited bool
		to        net.HardwareAddr
	}{
		"a multicast solicitation":                {plain(), answered, true, theirs},
		"a unicast solicitation (NUD)":            {solicit(asker6, held6, held6, ours), answered, true, theirs},
		"from behind a proxy":                     {solicit(asker6, group, held6, groupMAC, source(proxy)), answered, true, proxy},
		"a duplicate address probe":               {solicit(netip.IPv6Unspecified(), group, held6, groupMAC), answered, false, allNodesMAC()},
		"a probe with a nonce":                    {solicit(netip.IPv6Unspecified(), group, held6, groupMAC, ndp.NewNonce()), answered, false, allNodesMAC()},
		"a probe with a source option":            {solicit(netip.IPv6Unspecified(), group, held6, groupMAC, source(theirs)), badSender, false, nil},
		"a probe that is not to the group":        {solicit(netip.IPv6Unspecified(), allNodes(), held6, allNodesMAC()), badSender, false, nil},
		"an address that is not held":             {solicit(asker6, group, asker6, groupMAC), notHeld, false, nil},
		"for another MAC":                         {solicit(asker6, held6, held6, proxy), otherMAC, false, nil},
		"from a multicast address":                {solicit(allNodes(), group, held6, groupMAC), badSender, false, nil},
		"with our MAC in the option":              {solicit(asker6, group, held6, groupMAC, source(ours)), ownFrame, false, nil},
		"with a multicast MAC in the option":      {solicit(asker6, group, held6, groupMAC, source(groupMAC)), badSender, false, nil},
		"that was routed":                         {with(plain(), func(f []byte) { f[hopLimitByte] = 254 }), badHopLimit, false, nil},
		"with a wrong checksum":                   {with(plain(), func(f []byte) { f[icmpv6Offset+2]++ }), badChecksum, false, nil},
		"with a code":                             {with(plain(), func(f []byte) { f[icmpv6Offset+1] = 1 }), notRequest, false, nil},
		"an advertisement":                        {with(plain(), func(f []byte) { f[icmpv6Offset] = 136 }), notRequest, false, nil},
		"longer than the frame":                   {with(plain(), func(f []byte) { binary.BigEndian.PutUint16(f[18:], 500) }), malformed, false, nil},
		"cut off":                                 {plain()[:70], malformed, false, nil},
		"with an option of no length":             {noLength(group, groupMAC), malformed, false, nil},
		"with Ethernet padding after the message": {append(solicit(asker6, group, held6, groupMAC), make([]byte, 10)...), answered, true, theirs},
	} {
		t.Run(name, func(t *testing.T) {
			reply, got := answerNDP(test.frame, on, holding(3))
			if got != test.want {
				t.Fatalf("got %q, want %q", got, test.want)
			}
			if got == answered {
				checkNDP(t, reply, test.solicited, test.to)
			}
		})
	}
}

// noLength is a solicitation whose option says that it has length 0, which
// RFC 4861 section 4.6 has discarded.
func noLength(group netip.Addr, groupMAC net.HardwareAddr) []byte {
	frame := solicit(asker6, group, held6, groupMAC, source(theirs))
	frame[icmpv6Offset+25] = 0
	binary.BigEndian.PutUint16(frame[icmpv6Offset+2:], 0)
	sum := ^checksum(frame[22:54], frame[icmpv6Offset:])
	binary.BigEndian.PutUint16(frame[icmpv6Offset+2:], sum)
	return frame
}

func checkNDP(t *testing.T, frame []byte, solicited bool, to net.HardwareAddr) {
	t.Helper()
	if !bytes.Equal(frame[0:6], to) || !bytes.Equal(frame[6:12], ours) || frame[hopLimitByte] != hopLimitOnLink {
		t.Errorf("wrong header: % x", frame[:icmpv6Offset])
	}
	if checksum(frame[22:54], frame[icmpv6Offset:]) != 0xffff {
		t.Error("wrong checksum")
	}
	message, err := ndp.ParseMessage(frame[icmpv6Offset:])
	if err != nil {
		t.Fatal(err)
	}
	na, ok := message.(*ndp.NeighborAdvertisement)
	if !ok || !na.Override || na.Router || na.Solicited != solicited || na.TargetAddress != held6 || len(na.Options) != 1 {
		t.Fatalf("wrong advertisement: %+v", message)
	}
	option, ok := na.Options[0].(*ndp.LinkLayerAddress)
	if !ok || option.Direction != ndp.Target || !bytes.Equal(option.Addr, ours) {
		t.Errorf("wrong target link-layer option: %+v", na.Options[0])
	}
}

// What answers must never loop: nothing that we send is answered by us, nor by
// another speaker that holds the address too.
func TestNothingThatWeSendIsAnswered(t *testing.T) {
	other := &Interface{Name: "eth0", Index: 3, MAC: theirs}
	arpFrames, err := announceARP(on, held4)
	if err != nil {
		t.Fatal(err)
	}
	ndpFrames, err := announceNDP(on, held6)
	if err != nil {
		t.Fatal(err)
	}
	reply, _ := answerARP(request(func(*net.HardwareAddr, *arp.Packet) {}), on, holding(3))
	for _, listener := range []*Interface{on, other} {
		for _, frame := range append(arpFrames, reply) {
			if _, v := answerARP(frame, listener, holding(3)); v == answered {
				t.Errorf("answered: % x", frame)
			}
		}
		for _, frame := range ndpFrames {
			if _, v := answerNDP(frame, listener, holding(3)); v == answered {
				t.Errorf("answered: % x", frame)
			}
		}
	}
}

func FuzzARP(f *testing.F) {
	f.Add(request(func(*net.HardwareAddr, *arp.Packet) {}))
	f.Add(request(func(_ *net.HardwareAddr, p *arp.Packet) { p.SenderIP = netip.IPv4Unspecified() }))
	f.Fuzz(func(t *testing.T, frame []byte) {
		before := bytes.Clone(frame)
		if address, mac, sighted := sightARP(frame, on, holding(3)); sighted && (!holding(3).holds(address, on.Index) || !individual(mac)) {
			t.Errorf("%s of %s is sighted", address, mac)
		}
		divided := shared("n1", "n1", "n2")
		if _, v := answerARP(frame, on, divided); v == answered || v == othersClient {
			if a, _, _, ok := askARP(frame, on, divided); ok && a.address != held4 {
				t.Errorf("%s is asked for", a.address)
			}
		}
		if reply, v := answerARP(frame, on, holding(3)); v == answered {
			checkARP(t, reply)
		} else if reply != nil {
			t.Errorf("a frame without an answer: %q", v)
		}
		if !bytes.Equal(before, frame) {
			t.Error("the frame was changed")
		}
	})
}

func FuzzNDP(f *testing.F) {
	group, _ := ndp.SolicitedNodeMulticast(held6)
	groupMAC := net.HardwareAddr{0x33, 0x33, 0xff, 0, 0, 0x10}
	f.Add(solicit(asker6, group, held6, groupMAC, source(theirs)), true)
	f.Add(solicit(netip.IPv6Unspecified(), group, held6, groupMAC, ndp.NewNonce()), false)
	f.Add(noLength(group, groupMAC), true)
	if other, err := advertisement(&Interface{Name: "eth0", Index: 3, MAC: theirs}, held6, allNodes(), allNodesMAC(), false); err == nil {
		f.Add(other, false)
	}
	f.Fuzz(func(t *testing.T, frame []byte, mend bool) {
		frame = bytes.Clone(frame)
		if mend && len(frame) > icmpv6Offset+4 && len(frame) < 1500 {
			// Get past length and checksum, to what is behind them.
			binary.BigEndian.PutUint16(frame[18:], uint16(len(frame)-icmpv6Offset))
			binary.BigEndian.PutUint16(frame[icmpv6Offset+2:], 0)
			binary.BigEndian.PutUint16(frame[icmpv6Offset+2:], ^checksum(frame[22:54], frame[icmpv6Offset:]))
		}
		if address, mac, sighted := sightNDP(frame, on, holding(3)); sighted && (address != held6 || !individual(mac)) {
			t.Errorf("%s of %s is sighted", address, mac)
		}
		divided := shared("n1", "n1", "n2")
		if _, v := answerNDP(frame, on, divided); v == answered || v == othersClient {
			a, from, _, ok := askNDP(frame, on, divided)
			if probe := from.IsUnspecified() || !from.IsValid(); ok && (probe || a.address != held6 || !individual(a.mac[:])) {
				t.Errorf("%s asks for %s from % x", from, a.address, a.mac)
			}
		}
		reply, v := answerNDP(frame, on, holding(3))
		if v == answered {
			probe := bytes.Equal(reply[0:6], allNodesMAC())
			if !probe && !individual(reply[0:6]) {
				t.Errorf("sent to % x", reply[0:6])
			}
			checkNDP(t, reply, !probe, reply[0:6])
		} else if reply != nil {
			t.Errorf("a frame without an answer: %q", v)
		}
	})
}

func BenchmarkAnswerARP(b *testing.B) {
	for name, size := range map[string]int{"10 addresses": 10, "10000 addresses": 10000} {
		held := &table{held: map[netip.Addr][]int{}}
		address := held4
		for range size {
			held.held[address] = []int{3}
			address = address.Next()
		}
		for kind, target := range map[string]netip.Addr{"held": held4, "not held": address} {
			frame := request(func(_ *net.HardwareAddr, p *arp.Packet) { p.TargetIP = target })
			b.Run(name+", "+kind, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					answerARP(frame, on, held)
				}
			})
		}
	}
}
