package node

import (
	"net/netip"
	"slices"
	"time"

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

// handOver reports whether to go on answering, without announcing, for what this
// node holds and another is to own now: until that one claims it, so that at no
// moment nobody is there.
func (n *Node) handOver(in *Input, d *plan.Decision, on []string, owner string, handing map[netip.Addr]time.Time, out *Output) bool {
	if d.Announce || d.Owner == "" || d.Owner == n.config.Name || len(on) == 0 {
		return false
	}
	until, known := n.handing[d.Address]
	switch {
	case !known && owner == d.Owner:
		return false // it was there before us, as after a partition
	case !known:
		until = in.Now.Add(handOverWindow)
	case owner == d.Owner && until.After(in.Now.Add(overlap)):
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

// decision returns the plan's for an address, or nil.
func (s *step) decision(a netip.Addr) *plan.Decision {
	at, found := slices.BinarySearchFunc(s.made.Decisions, a, func(d plan.Decision, a netip.Addr) int { return d.Address.Compare(a) })
	if !found {
		return nil
	}
	return &s.made.Decisions[at]
}
