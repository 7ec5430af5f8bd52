package node

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Move is an address that this node has begun to answer for, or has given up and
// nobody else has, and why.
type Move struct {
	At      time.Time
	Address netip.Addr
	// From is the node that answered before, and To the one that answers now; empty
	// is nobody.
	From, To string
	Cause    v1beta1.MoveCause
	// Unowned is how long ago the last sign of life of From was, where it failed;
	// clients were without an owner for about as long. Else it is zero.
	Unowned time.Duration
}

const (
	// mostMoves are remembered, the last ones.
	mostMoves = 1000
	// goneFor is how long it is remembered who had what when it went.
	goneFor = time.Minute
)

// history is what a node remembers of moves.
type history struct {
	// gone are the addresses whose owner is not alive any more.
	gone map[netip.Addr]gone
	// last are the last moves, the latest at the end.
	last []Move
}

// gone is an owner that is not alive any more.
type gone struct {
	owner   string
	stopped bool // as planned
	at      time.Time
	heard   time.Time // its last sign of life
}

// note remembers what those had who have gone since the membership before.
func (h *history) note(now time.Time, before, members *model.Membership) {
	if before == nil || before == members {
		return
	}
	went := map[string]gone{}
	for _, name := range before.Alive {
		if _, alive := slices.BinarySearch(members.Alive, name); !alive {
			_, left := slices.BinarySearch(members.Left, name)
			went[name] = gone{name, left, now, members.LastHeard[name]}
		}
	}
	if len(went) == 0 {
		return
	}
	maps.DeleteFunc(h.gone, func(_ netip.Addr, of gone) bool { return now.Sub(of.at) > goneFor })
	if h.gone == nil {
		h.gone = map[netip.Addr]gone{}
	}
	for a, owner := range before.Owners {
		if of, has := went[owner]; has {
			h.gone[a] = of
		}
	}
}

// moved remembers what this node has taken, and what it has let go and nobody has.
func (n *Node) moved(now time.Time, taken, released []netip.Addr) (moves []Move) {
	for _, a := range taken {
		moves = append(moves, n.takes(now, a))
	}
	for _, a := range released {
		if owner := n.step.members.Owners[a]; owner == "" || owner == n.config.Name {
			moves = append(moves, Move{At: now, Address: a, From: n.config.Name, Cause: n.whyNobody(a)})
		}
	}
	last := append(n.history.last, moves...)
	n.history.last = slices.Clone(last[max(0, len(last)-mostMoves):])
	return moves
}

// takes is the move of an address that this node has begun to answer for.
func (n *Node) takes(now time.Time, a netip.Addr) Move {
	move := Move{At: now, Address: a, To: n.config.Name, From: n.step.members.Owners[a]}
	if d := n.step.decision(a); d != nil && len(d.Sharers) > 0 {
		move.From = "" // beside others
	}
	of, known := n.history.gone[a]
	delete(n.history.gone, a)
	switch {
	case move.From != "" && move.From != n.config.Name:
		move.Cause = n.whyNot(move.From, a)
	case !known || now.Sub(of.at) > goneFor:
		move.From, move.Cause = "", v1beta1.MoveAssigned
	case of.stopped:
		move.From, move.Cause = of.owner, v1beta1.MoveNodeStopped
	default:
		move.From, move.Cause = of.owner, v1beta1.MoveNodeFailed
		if !of.heard.IsZero() {
			move.Unowned = now.Sub(of.heard)
		}
	}
	return move
}

// whyNot is why a living node does not keep an address.
func (n *Node) whyNot(owner string, a netip.Addr) v1beta1.MoveCause {
	var services []*plan.Service
	if d := n.step.decision(a); d != nil {
		for _, key := range d.Services {
			services = append(services, n.step.services.Get(key))
		}
	}
	lacksEndpoint := func(s *plan.Service) bool { return s != nil && s.Local && !s.IPv4.Nodes[owner] && !s.IPv6.Nodes[owner] }
	handed := n.step.members.Successions[a]
	switch {
	case handed.By == owner && handed.To == n.config.Name:
		if slices.ContainsFunc(services, func(s *plan.Service) bool { return s != nil && s.PreferredNode == n.config.Name }) {
			return v1beta1.MoveRequested
		}
		return v1beta1.MoveRebalanced
	case n.step.nodes[owner].Excluded != "":
		return v1beta1.MoveNodeDrained
	case slices.ContainsFunc(services, lacksEndpoint):
		return v1beta1.MoveEndpointGone
	case slices.Contains(n.step.members.Unable[a], owner):
		return v1beta1.MoveOwnerUnable
	}
	return v1beta1.MovePolicyChanged
}

// whyNobody is why this node has let go an address that nobody else has.
func (n *Node) whyNobody(a netip.Addr) v1beta1.MoveCause {
	at, found := slices.BinarySearchFunc(n.step.made.Decisions, a, func(d plan.Decision, a netip.Addr) int { return d.Address.Compare(a) })
	if !found {
		return v1beta1.MoveReleased
	}
	d := &n.step.made.Decisions[at]
	switch {
	case n.step.fates[at] == inConflict:
		return v1beta1.MoveConflict
	case d.Announce:
		return v1beta1.MoveOwnerUnable
	case d.Reason == v1beta1.ReasonNoEndpoint, d.Reason == v1beta1.ReasonNoLocalEndpoint:
		return v1beta1.MoveEndpointGone
	case d.Reason == v1beta1.ReasonNodeExcluded:
		return v1beta1.MoveNodeDrained
	}
	return v1beta1.MovePolicyChanged
}

// Moves are the last ones, at most 1,000, the latest at the end. They must not be
// changed.
func (n *Node) Moves() []Move { return n.history.last }
