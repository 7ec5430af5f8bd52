package reconcile

import (
	"net/netip"
	"slices"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Services that name each other's addresses, as two that swap theirs do, would
// wait for each other: each keeps what it has until it can have what it names.
// The youngest of such a ring leaves its address first.

// breakRing has the youngest of the ring that the Service closes, if it closes
// one, leave its address.
func (r *Reconciler) breakRing(rec *record) {
	var ring []*record
	var left []netip.Addr
	for at := rec; ; {
		next, a := r.blocking(at)
		if next == nil || slices.Contains(ring, next) {
			return
		}
		ring, left = append(ring, next), append(left, a)
		if next == rec {
			break
		}
		at = next
	}
	youngest := 0
	for i := range ring {
		if byAge(ring[i], ring[youngest]) > 0 {
			youngest = i
		}
	}
	r.Log.Info("Services name each other's addresses: the youngest leaves its own first", "service", ring[youngest].key, "address", left[youngest])
	r.allocator.GiveUp(ring[youngest].key, left[youngest])
	r.again(ring[youngest].key)
}

// blocking returns the Service that has an address which another names and that
// would leave it for one that it names itself, and that address; nil where there
// is none, or where something else is in the way, too.
func (r *Reconciler) blocking(rec *record) (*record, netip.Addr) {
	for _, a := range rec.object.request.Addresses {
		holders := r.allocator.Holders(a)
		if len(holders) != 1 || holders[0] == rec.key {
			continue
		}
		other := r.records[holders[0]]
		if other == nil || other.yieldedTo != "" || other.object.malformed != nil || other.reason != v1beta1.ReasonAddressInUse {
			return nil, a
		}
		named := other.object.request.Addresses
		wants := slices.ContainsFunc(named, func(n netip.Addr) bool { return n.BitLen() == a.BitLen() && n != a })
		if wants && slices.Contains(r.allocator.Holding(other.key).Addresses, a) {
			return other, a
		}
		return nil, a
	}
	return nil, netip.Addr{}
}
