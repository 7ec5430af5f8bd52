package l2

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
)

// otherHost is the kernel's packet type of frames that are not for this host:
// another station's unicast seen in promiscuous mode, and frames of a VLAN
// that has no interface here, whose tag the kernel has already taken off.
const otherHost = 3

// mostSpans is how many stretches of addresses a filter tells apart at most.
const mostSpans = 8

// span is a stretch of IPv4 addresses, both ends included.
type span struct{ first, last uint32 }

// spansOf returns stretches, in order, that cover the addresses and as little
// else as mostSpans of them can.
func spansOf(addresses []netip.Addr) []span {
	numbers := make([]uint32, 0, len(addresses))
	for _, a := range addresses {
		b := a.As4()
		numbers = append(numbers, binary.BigEndian.Uint32(b[:]))
	}
	slices.Sort(numbers)
	var gaps []int // behind which number, the widest last
	for i := range len(numbers) - 1 {
		if numbers[i+1]-numbers[i] > 1 {
			gaps = append(gaps, i)
		}
	}
	slices.SortFunc(gaps, func(i, j int) int { return cmp.Compare(numbers[i+1]-numbers[i], numbers[j+1]-numbers[j]) })
	gaps = gaps[max(0, len(gaps)-mostSpans+1):]
	slices.Sort(gaps)
	var all []span
	begin := 0
	for _, i := range gaps {
		all = append(all, span{numbers[begin], numbers[i]})
		begin = i + 1
	}
	if len(numbers) > 0 {
		all = append(all, span{numbers[begin], numbers[len(numbers)-1]})
	}
	return all
}

// filterARP lets through ARP requests and replies for IPv4 over Ethernet that came
// in on the interface itself and have one of the fields within the spans: what
// answerARP can answer and what sightARP must see, if these are the target and the
// sender. What others send to each other alone stays out, so that what other hosts
// ask each other wakes nobody here. (What this host itself sends does not come back:
// the kernel shows it only to sockets of every protocol.)
//
// Frames of a VLAN, or of a macvlan, that has an interface of its own come to the
// lower interface's sockets, too, with the tag taken off; only the index of the
// interface tells them apart.
func filterARP(index int, spans []span, fields ...uint32) ([]bpf.RawInstruction, error) {
	const accept, perSpan = 2, 2
	rest := len(fields) * (1 + perSpan*len(spans)) // instructions that look at addresses
	drop := func(after int) uint8 { return uint8(after + rest) }
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: otherHost, SkipTrue: drop(9)},
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(index), SkipTrue: drop(7)},
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherTypeARP, SkipTrue: drop(5)},
		bpf.LoadAbsolute{Off: 16, Size: 4}, // protocol type, lengths
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0x08000604, SkipTrue: drop(3)},
		bpf.LoadAbsolute{Off: 20, Size: 2}, // operation
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 1, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 2, SkipTrue: drop(0)},
	}
	for _, field := range fields {
		program = append(program, bpf.LoadAbsolute{Off: field, Size: 4})
		rest--
		for _, s := range spans {
			rest -= perSpan
			program = append(program,
				bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: s.first, SkipFalse: 1},
				bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: s.last, SkipTrue: uint8(rest + accept - 1)})
		}
	}
	return assemble(append(program, bpf.RetConstant{Val: 0}, bpf.RetConstant{Val: maxFrame})...)
}

// filterNDP lets through neighbour solicitations and advertisements that came in on
// the interface itself and have not been routed.
func filterNDP(index int) ([]bpf.RawInstruction, error) {
	return assemble(
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: otherHost, SkipTrue: 10},
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(index), SkipTrue: 8},
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherTypeIPv6, SkipTrue: 6},
		bpf.LoadAbsolute{Off: ethernetHeader + 6, Size: 2}, // next header, hop limit
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nextICMPv6<<8 | hopLimitOnLink, SkipTrue: 4},
		bpf.LoadAbsolute{Off: icmpv6Offset, Size: 2}, // type, code
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: solicitation << 8, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: neighbourAdvertisement << 8, SkipTrue: 1},
		bpf.RetConstant{Val: maxFrame},
		bpf.RetConstant{Val: 0},
	)
}

func assemble(program ...bpf.Instruction) ([]bpf.RawInstruction, error) {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, fmt.Errorf("assemble packet filter: %w", err)
	}
	return raw, nil
}
