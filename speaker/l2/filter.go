package l2

import (
	"fmt"

	"golang.org/x/net/bpf"
)

// otherHost is the kernel's packet type of frames that are not for this host:
// another station's unicast seen in promiscuous mode, and frames of a VLAN
// that has no interface here, whose tag the kernel has already taken off.
const otherHost = 3

// filterARP lets through what answerARP can answer and what sightARP must see:
// ARP requests and replies for IPv4 over Ethernet, but for what others send to
// each other alone.
func filterARP() ([]bpf.RawInstruction, error) {
	return assemble(
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: otherHost, SkipTrue: 8},
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherTypeARP, SkipTrue: 6},
		bpf.LoadAbsolute{Off: 16, Size: 4}, // protocol type, lengths
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0x08000604, SkipTrue: 4},
		bpf.LoadAbsolute{Off: 20, Size: 2}, // operation
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 1, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 2, SkipTrue: 1},
		bpf.RetConstant{Val: maxFrame},
		bpf.RetConstant{Val: 0},
	)
}

// filterNDP lets through neighbour solicitations and advertisements that have
// not been routed.
func filterNDP() ([]bpf.RawInstruction, error) {
	return assemble(
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: otherHost, SkipTrue: 8},
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
