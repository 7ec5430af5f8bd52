package l2

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/mdlayher/arp"
	"golang.org/x/net/bpf"
	"pgregory.net/rapid"
)

// L06: the kernel hands up what is asked of an address of ours, or claimed of
// it, and nothing that is about others, as far as some stretches can tell.
func TestFilterPassesWhatIsAboutOurAddresses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		near := rapid.Custom(func(t *rapid.T) netip.Addr {
			return netip.AddrFrom4([4]byte{198, byte(rapid.IntRange(0, 3).Draw(t, "b")), 0, byte(rapid.IntRange(0, 99).Draw(t, "d"))})
		})
		ours := rapid.SliceOfN(near, 1, 40).Draw(t, "ours")
		spans := spansOf(ours)
		inSpan := func(a netip.Addr) bool {
			b := a.As4()
			n := binary.BigEndian.Uint32(b[:])
			return slices.ContainsFunc(spans, func(s span) bool { return s.first <= n && n <= s.last })
		}
		distinct := slices.Compact(slices.SortedFunc(slices.Values(ours), netip.Addr.Compare))
		for _, a := range ours {
			if !inSpan(a) || len(spans) > mostSpans {
				t.Fatalf("%s is not in %v", a, spans)
			}
		}
		program, err := filterARP(3, spans, arpTarget, arpSender)
		if err != nil {
			t.Fatal(err)
		}
		sender, target := near.Draw(t, "sender"), near.Draw(t, "target")
		operation := rapid.SampledFrom([]arp.Operation{1, 2, 3}).Draw(t, "operation")
		frame := request(func(_ *net.HardwareAddr, p *arp.Packet) {
			p.SenderIP, p.TargetIP, p.Operation = sender, target, operation
		})
		want := operation != 3 && (inSpan(sender) || inSpan(target))
		if passes(t, program, frame) != want {
			t.Fatalf("operation %d of %s for %s with %v: want %t", operation, sender, target, spans, want)
		}
		if outside := !slices.Contains(distinct, target) && !slices.Contains(distinct, sender); len(distinct) <= mostSpans && outside && want {
			t.Fatalf("%s for %s passes %v, though few addresses can be told apart", sender, target, spans)
		}
		if passesOn(t, 4, program, frame) {
			t.Fatal("S1: what came in on another interface passes")
		}
		frame[13]++ // another protocol
		if passes(t, program, frame) {
			t.Fatal("what is not ARP passes")
		}
	})
}

// passes runs a filter on a frame that came in on interface 3; the packet type, which
// is the kernel's, is this host.
func passes(t *rapid.T, program []bpf.RawInstruction, frame []byte) bool {
	return passesOn(t, 3, program, frame)
}

func passesOn(t *rapid.T, index uint32, program []bpf.RawInstruction, frame []byte) bool {
	instructions, ok := bpf.Disassemble(program)
	if !ok {
		t.Fatal("not a program")
	}
	if extension, ok := instructions[0].(bpf.LoadExtension); !ok || extension.Num != bpf.ExtType {
		t.Fatal("the packet type is not looked at")
	}
	instructions[0] = bpf.LoadConstant{Dst: bpf.RegA}
	if extension, ok := instructions[2].(bpf.LoadExtension); !ok || extension.Num != bpf.ExtInterfaceIndex {
		t.Fatal("the interface is not looked at")
	}
	instructions[2] = bpf.LoadConstant{Dst: bpf.RegA, Val: index}
	vm, err := bpf.NewVM(instructions)
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(frame)
	return err == nil && n > 0
}
