package l2

import "sync/atomic"

type counters struct{ arp, ndp familyCounters }

type familyCounters struct{ answered, ignored, announced, failed atomic.Uint64 }

// FamilyStats counts since the start, for ARP (IPv4) or NDP (IPv6).
type FamilyStats struct {
	// Answered requests.
	Answered uint64
	// Ignored frames that passed the kernel's filter: requests for addresses
	// that are not held, and the malformed.
	Ignored uint64
	// Announced addresses, repetitions included.
	Announced uint64
	// Failed sends.
	Failed uint64
}

// Stats are the counters of both families.
type Stats struct{ ARP, NDP FamilyStats }

func (c *familyCounters) read() FamilyStats {
	return FamilyStats{Answered: c.answered.Load(), Ignored: c.ignored.Load(), Announced: c.announced.Load(), Failed: c.failed.Load()}
}
