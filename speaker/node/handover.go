package node

import (
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/speaker/plan"
)

// overlap is how long both answer after the next owner says that it has an address:
// its announcement may meet a busy moment, and is repeated.
const overlap = 200 * time.Millisecond

// handOver reports whether to go on answering, without announcing, for what this
// node holds and another is to own now: until one claims it, however long that
// takes, so that at no moment nobody is there.
func (n *Node) handOver(in *Input, d *plan.Decision, on []string, owner string, handing map[netip.Addr]time.Time, out *Output) bool {
	if d.Announce || d.Owner == "" || d.Owner == n.config.Name || len(on) == 0 || in.Members.Duplicate {
		return false
	}
	until, known := n.handing[d.Address]
	claimed := owner != "" && owner != n.config.Name
	switch {
	case !claimed:
		handing[d.Address] = time.Time{} // it has no end yet
		return true
	case !known:
		return false // it was there before us, as after a partition
	case until.IsZero():
		until = in.Now.Add(overlap)
	}
	handing[d.Address] = until
	if !until.After(in.Now) {
		return false
	}
	out.Again = sooner(out.Again, until.Sub(in.Now))
	return true
}

// reannounceContested tells the neighbors again of what another claimed, too, as
// after a partition: when that is seen, and when the other has let go. The
// clients of a shared address know their node.
func (n *Node) reannounceContested(in *Input, out *Output) {
	var contested []netip.Addr
	for _, a := range in.Members.Contested {
		if d := n.step.decision(a); d == nil || !d.Announce || len(d.Sharers) == 0 {
			contested = append(contested, a)
		}
	}
	if slices.Equal(contested, n.contested) {
		return
	}
	all := slices.Concat(contested, n.contested, out.Reannounce)
	slices.SortFunc(all, netip.Addr.Compare)
	n.contested, out.Reannounce = contested, slices.Compact(all)
}

// place is where the plan's decision on an address stands, if there is one.
func (s *step) place(a netip.Addr) (at int, found bool) {
	return slices.BinarySearchFunc(s.made.Decisions, a, func(d plan.Decision, a netip.Addr) int { return d.Address.Compare(a) })
}

// decision returns the plan's for an address, or nil.
func (s *step) decision(a netip.Addr) *plan.Decision {
	at, found := s.place(a)
	if !found {
		return nil
	}
	return &s.made.Decisions[at]
}
