package main

import (
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/plan"
)

const (
	// handOverWindow is how long an address that another node is to own is
	// answered for, at most, while that node does not say that it has it.
	handOverWindow = time.Second
	// overlap is how long both answer after it has: its announcement may
	// meet a busy moment, and is repeated.
	overlap = 200 * time.Millisecond
)

// handOver keeps answering, without announcing, for what this node held and
// another is to own now, until that one claims it: at no moment is nobody
// there. It returns when to look again, or zero.
func (s *speaker) handOver(now time.Time, made plan.Plan, owners map[netip.Addr]string, desired *l2.Desired) time.Duration {
	var again time.Duration
	leaving := map[netip.Addr]time.Time{}
	for _, d := range made.Decisions {
		on := s.held[d.Address]
		if d.Owner == "" || d.Owner == s.node || len(on) == 0 {
			continue
		}
		until, known := s.handing[d.Address]
		switch claimant := owners[d.Address]; {
		case !known && claimant == d.Owner:
			continue // it was there before us, as after a partition
		case !known:
			until = now.Add(handOverWindow)
		case claimant == d.Owner && until.After(now.Add(overlap)):
			until = now.Add(overlap)
		}
		leaving[d.Address] = until
		if !until.After(now) {
			continue
		}
		if desired.Quiet == nil {
			desired.Quiet = map[netip.Addr]bool{}
		}
		desired.Addresses[d.Address], desired.Quiet[d.Address] = on, true
		again = sooner(again, until.Sub(now))
	}
	s.handing = leaving
	return again
}

// takeNothing leaves what is held and adds nothing to it.
func (s *speaker) takeNothing(desired *l2.Desired) {
	for address := range desired.Addresses {
		if len(s.held[address]) == 0 {
			delete(desired.Addresses, address)
		}
	}
}

// insist tells the neighbours again of what another claimed, too, as after a
// partition: when that is seen, and when the other has let go.
func (s *speaker) insist(contested []netip.Addr) {
	if slices.Equal(contested, s.contested) {
		return
	}
	all := slices.Concat(contested, s.contested)
	slices.SortFunc(all, netip.Addr.Compare)
	s.contested = contested
	s.responder.Reannounce(slices.Compact(all))
}

// claimed is what this speaker says that it owns: what it holds and does not
// hand over.
func claimed(held map[netip.Addr][]string, quiet map[netip.Addr]bool) []netip.Addr {
	addresses := make([]netip.Addr, 0, len(held))
	for a := range held {
		if !quiet[a] {
			addresses = append(addresses, a)
		}
	}
	return addresses
}

// sooner of two waits, where zero is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
