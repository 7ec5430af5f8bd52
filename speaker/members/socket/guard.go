package socket

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// mostLearned is how many addresses are known that nobody has named, and
	// learnedFor how long each is after its last authentic message.
	mostLearned = 4096
	learnedFor  = time.Hour
	// attachDelay gathers what is learned at a time, as after a start.
	attachDelay = 20 * time.Millisecond
)

// guard knows who may be a speaker.
type guard struct {
	// all are named and learned. It is never changed once it is in use.
	all     atomic.Pointer[map[netip.Addr]struct{}]
	unknown bucket

	mu      sync.Mutex
	named   map[string][]netip.Addr // by who names them
	learned map[netip.Addr]time.Time
	timer   *time.Timer
}

func (g *guard) knows(a netip.Addr) bool {
	all := g.all.Load()
	if all == nil {
		return false
	}
	_, known := (*all)[a.Unmap()]
	return known
}

// learn takes note of who has sent an authentic message, and reports whether it
// was not known.
func (g *guard) learn(a netip.Addr, now time.Time) bool {
	if g.knows(a) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.learned == nil {
		g.learned = map[netip.Addr]time.Time{}
	}
	maps.DeleteFunc(g.learned, func(_ netip.Addr, at time.Time) bool { return now.Sub(at) > learnedFor })
	if len(g.learned) >= mostLearned {
		return false
	}
	g.learned[a] = now
	g.gather()
	return true
}

// name replaces what one source names.
func (g *guard) name(by string, places []netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.named == nil {
		g.named = map[string][]netip.Addr{}
	}
	g.named[by] = places
	g.gather()
}

func (g *guard) gather() {
	all := make(map[netip.Addr]struct{}, len(g.learned))
	for a := range g.learned {
		all[a] = struct{}{}
	}
	for _, places := range g.named {
		for _, a := range places {
			all[a.Unmap()] = struct{}{}
		}
	}
	g.all.Store(&all)
}

// Expect says where speakers are, as one source has it that is called by a name;
// it replaces what that source said before.
func (s *Socket) Expect(by string, places map[string]netip.AddrPort) {
	addresses := make([]netip.Addr, 0, len(places))
	for _, at := range places {
		addresses = append(addresses, at.Addr())
	}
	s.guard.name(by, addresses)
	s.attachSoon()
}

// attachSoon lets the kernel know who is known.
func (s *Socket) attachSoon() {
	s.guard.mu.Lock()
	defer s.guard.mu.Unlock()
	if s.guard.timer == nil {
		s.guard.timer = time.AfterFunc(attachDelay, func() {
			s.guard.mu.Lock()
			s.guard.timer = nil
			s.guard.mu.Unlock()
			_ = s.attach() // what it did before is right, too, if slower
		})
	}
}

func (s *Socket) attach() error {
	var all []netip.Addr
	if known := s.guard.all.Load(); known != nil {
		all = slices.Collect(maps.Keys(*known))
	}
	raw, err := bpf.Assemble(program(all, s.address.Addr().Is6()))
	if err != nil {
		return fmt.Errorf("assemble the choice of a queue: %w", err)
	}
	filters := make([]unix.SockFilter, 0, len(raw))
	for _, one := range raw {
		filters = append(filters, unix.SockFilter{Code: one.Op, Jt: one.Jt, Jf: one.Jf, K: one.K})
	}
	var failed error
	if err := s.queues[known].raw.Control(func(fd uintptr) {
		fprog := &unix.SockFprog{Len: uint16(len(filters)), Filter: &filters[0]}
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, fprog)
	}); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("let the kernel tell speakers from unknown senders: %w", failed)
	}
	return nil
}

const (
	// networkHeader is where loads begin that count from the IP header on
	// (SKF_NET_OFF); without it they count from what UDP carries.
	networkHeader = 0xfff00000
	// mostCompared is how many addresses the kernel compares: a program has at
	// most 4,096 instructions (BPF_MAXINSNS).
	mostCompared = 3500
	// stretch is how many comparisons share one way out: a jump reaches 255 far.
	stretch = 200
)

// program chooses the queue of a datagram: it returns the number of the socket, in
// the order in which they were bound (SO_ATTACH_REUSEPORT_CBPF). Of an IPv6
// address it looks at the last four bytes only: who is taken for known by that is
// told apart in the reader. So is everybody when there are too many to compare.
func program(all []netip.Addr, v6 bool) []bpf.Instruction {
	offset := uint32(networkHeader + 12) // the source of an IPv4 header
	if v6 {
		offset = networkHeader + 8 + 12
	}
	var numbers []uint32
	for _, a := range all {
		if raw := a.Unmap().AsSlice(); a.Unmap().Is6() == v6 {
			numbers = append(numbers, binary.BigEndian.Uint32(raw[len(raw)-4:]))
		}
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	if len(numbers) > mostCompared {
		return []bpf.Instruction{bpf.RetConstant{Val: known}}
	}
	instructions := []bpf.Instruction{bpf.LoadAbsolute{Off: offset, Size: 4}}
	for some := range slices.Chunk(numbers, stretch) {
		for i, n := range some {
			// Behind the comparisons that are left comes a jump over the way out.
			instructions = append(instructions, bpf.JumpIf{Cond: bpf.JumpEqual, Val: n, SkipTrue: uint8(len(some) - i)})
		}
		instructions = append(instructions, bpf.Jump{Skip: 1}, bpf.RetConstant{Val: known})
	}
	return append(instructions, bpf.RetConstant{Val: unknown})
}

// bucket lets so many pass each second, and at most burst at a time.
type bucket struct {
	rate, burst float64

	mu     sync.Mutex
	tokens float64
	filled time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.burst, b.tokens+now.Sub(b.filled).Seconds()*b.rate)
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
