package l2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"

	"github.com/baliza-lb/baliza/speaker/model"
)

// Reply is a host that has answered a neighbor request.
type Reply struct {
	MAC model.MAC
	// After is how long it took, from the last request before it.
	After time.Duration
}

// solicitedFlag of a neighbor advertisement (RFC 4861 section 4.4).
const solicitedFlag = 0x40

// Resolve asks on an interface who has an address, as any host there would (RFC 826,
// RFC 4861 section 7.2.2), at once and again after half of the time, and returns whose
// answers came within it: each MAC once, in the order in which they came. Only what
// answers this question counts, not what is announced meanwhile.
//
// Its socket is its own: a Responder on the same interface is not disturbed, and this
// node, which does not hear itself, does not answer.
func Resolve(from Asker, target netip.Addr, within time.Duration) ([]Reply, error) {
	question, err := from.question(target)
	switch {
	case err != nil:
		return nil, fmt.Errorf("interface %s: %w", from.Name, err)
	case question == nil:
		return nil, fmt.Errorf("interface %s has no address to ask for %s from", from.Name, target)
	}
	conn, err := listenForReplies(&from.Interface, target)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", from.Name, explain(err))
	}
	defer func() { _ = conn.Close() }()
	source := usableSource(from.Addrs, target)
	if !source.IsValid() {
		source = netip.IPv4Unspecified()
	}
	read := func(frame []byte) (model.MAC, bool) {
		if target.Is4() {
			return arpReply(frame, source, target)
		}
		return ndpReply(frame, &from.Interface, source, target)
	}
	var replies []Reply
	for range 2 {
		sent := time.Now()
		if _, err := conn.WriteTo(question, &packet.Addr{HardwareAddr: question[:6]}); err != nil {
			return replies, fmt.Errorf("interface %s: %w", from.Name, explain(err))
		}
		err := receiveUntil(conn, sent.Add(within/2), func(frame []byte) bool { //nolint:mnd // two rounds
			mac, ok := read(frame)
			if ok && !slices.ContainsFunc(replies, func(r Reply) bool { return r.MAC == mac }) {
				replies = append(replies, Reply{mac, time.Since(sent)})
			}
			return false
		})
		if err != nil {
			return replies, fmt.Errorf("interface %s: %w", from.Name, err)
		}
	}
	return replies, nil
}

// receiveUntil hands over the frames that come until a time, or until one of them is
// what was waited for.
func receiveUntil(conn *packet.Conn, deadline time.Time, is func(frame []byte) bool) error {
	if err := conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	buffer := make([]byte, maxFrame)
	for {
		n, _, err := conn.ReadFrom(buffer)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		case is(buffer[:n]):
			return nil
		}
	}
}

// listenForReplies opens a socket that hears little else than replies about the
// target.
func listenForReplies(on *Interface, target netip.Addr) (*packet.Conn, error) {
	etherType := etherTypeIPv6
	filter, err := filterNDP(on.Index)
	if target.Is4() {
		etherType = etherTypeARP
		filter, err = filterARP(on.Index, spansOf([]netip.Addr{target}), arpSender)
	}
	if err != nil {
		return nil, err
	}
	return packet.Listen(on.device(), packet.Raw, etherType, &packet.Config{Filter: filter})
}

// device is what package packet wants to know of an interface.
func (i *Interface) device() *net.Interface {
	return &net.Interface{Index: i.Index, Name: i.Name, HardwareAddr: i.MAC, Flags: net.FlagUp | net.FlagBroadcast | net.FlagMulticast}
}

// arpReply reads who answers a request for target that came from source.
func arpReply(frame []byte, source, target netip.Addr) (mac model.MAC, ok bool) {
	var reply arp.Packet
	if len(frame) < arpFrame || reply.UnmarshalBinary(frame[ethernetHeader:]) != nil {
		return mac, false
	}
	if reply.Operation != arp.OperationReply || reply.SenderIP != target || reply.TargetIP != source || !individual(reply.SenderHardwareAddr) {
		return mac, false
	}
	return model.MACOf(reply.SenderHardwareAddr), true
}

// ndpReply reads who answers a solicitation for target that came from source.
func ndpReply(frame []byte, on *Interface, source, target netip.Addr) (mac model.MAC, ok bool) {
	about := &table{probed: map[netip.Addr][]int{target: {on.Index}}}
	address, advertised, ok := sightNDP(frame, on, about)
	if !ok || address != target || frame[icmpv6Offset+4]&solicitedFlag == 0 {
		return mac, false
	}
	to := netip.AddrFrom16([16]byte(frame[ethernetHeader+24 : ethernetHeader+ipv6Header]))
	return model.MACOf(advertised), to == source.WithZone("")
}

// filterTCP lets through TCP segments from an address that came in on the interface.
func filterTCP(index int, from netip.Addr) ([]bpf.RawInstruction, error) {
	type field struct {
		load  bpf.Instruction
		value uint32
	}
	fields := []field{{bpf.LoadExtension{Num: bpf.ExtInterfaceIndex}, uint32(index)}}
	at, next, words := uint32(ethernetHeader+12), uint32(ethernetHeader+9), from.AsSlice() // of the source, of the protocol
	if from.Is6() {
		at, next = ethernetHeader+8, ethernetHeader+6
	}
	fields = append(fields, field{bpf.LoadAbsolute{Off: next, Size: 1}, nextTCP})
	for word := range slices.Chunk(words, 4) {
		fields = append(fields, field{bpf.LoadAbsolute{Off: at, Size: 4}, binary.BigEndian.Uint32(word)})
		at += 4
	}
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: otherHost, SkipTrue: uint8(2*len(fields) + 1)},
	}
	for i, f := range fields {
		program = append(program, f.load, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: f.value, SkipTrue: uint8(2*(len(fields)-i-1) + 1)})
	}
	return assemble(append(program, bpf.RetConstant{Val: maxFrame}, bpf.RetConstant{Val: 0})...)
}
