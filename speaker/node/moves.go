package node

import (
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Move is an address that went from one node to another, or to none, and why. Whoever
// let it go remembers that; of a node that died or was stopped, and of an address that
// nobody had, whoever took it.
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
	// spareOwners are how many owners are remembered of addresses that are no more,
	// before they are forgotten.
	spareOwners = 1000
)

// history is what a node remembers of moves.
type history struct {
	// owners are who claimed each address last, living or not.
	owners map[netip.Addr]string
	// leaving is why this node hands addresses over, while it does.
	leaving map[netip.Addr]v1beta1.MoveCause
	// last are the last moves, the latest at the end.
	last []Move
}

// note remembers who claims what, now that the membership has changed.
func (h *history) note(before, members *model.Membership) {
	if before == members {
		return
	}
	if h.owners == nil {
		h.owners = make(map[netip.Addr]string, len(members.Owners))
	}
	for a, owner := range members.Owners {
		if h.owners[a] != owner {
			h.owners[a] = owner
		}
	}
}

// forget drops the owners of addresses that are no more, if there are many.
func (h *history) forget(made *plan.Plan) {
	if len(h.owners) < 2*len(made.Decisions)+spareOwners {
		return
	}
	kept := make(map[netip.Addr]string, len(made.Decisions))
	for i := range made.Decisions {
		if owner, known := h.owners[made.Decisions[i].Address]; known {
			kept[made.Decisions[i].Address] = owner
		}
	}
	h.owners = kept
}

// leave remembers why this node begins to hand over the address at a place of the plan.
func (n *Node) leave(place int) {
	if n.history.leaving == nil {
		n.history.leaving = map[netip.Addr]v1beta1.MoveCause{}
	}
	a := n.step.made.Decisions[place].Address
	if _, known := n.history.leaving[a]; !known {
		n.history.leaving[a] = n.whyNot(place)
	}
}

// moved remembers what this node has taken and let go.
func (n *Node) moved(now time.Time, taken, released []netip.Addr) (moves []Move) {
	for _, a := range taken {
		if move, told := n.takes(now, a); told {
			moves = append(moves, move)
		}
	}
	for _, a := range released {
		move := Move{At: now, Address: a, From: n.config.Name, Cause: v1beta1.MoveReleased}
		if owner := n.step.members.Owners[a]; owner != n.config.Name {
			move.To = owner
		}
		at, planned := slices.BinarySearchFunc(n.step.made.Decisions, a, func(d plan.Decision, a netip.Addr) int { return d.Address.Compare(a) })
		cause, handed := n.history.leaving[a]
		switch {
		case handed:
			move.Cause = cause
		case planned:
			move.Cause = n.whyNot(at)
		}
		moves = append(moves, move)
	}
	for a := range n.history.leaving {
		if _, handing := n.handing[a]; !handing {
			delete(n.history.leaving, a)
		}
	}
	n.history.forget(&n.step.made)
	last := slices.Concat(n.history.last, moves)
	n.history.last = last[max(0, len(last)-mostMoves):]
	return moves
}

// takes is the move of an address that this node has begun to answer for, unless a
// living node tells of it.
func (n *Node) takes(now time.Time, a netip.Addr) (move Move, told bool) {
	members := n.step.members
	move = Move{At: now, Address: a, To: n.config.Name, From: n.history.owners[a], Cause: v1beta1.MoveAssigned}
	if d := n.step.decision(a); d != nil && len(d.Sharers) > 0 || move.From == n.config.Name {
		move.From = "" // it answers beside others, or again
	}
	_, alive := slices.BinarySearch(members.Alive, move.From)
	_, left := slices.BinarySearch(members.Left, move.From)
	switch {
	case move.From == "":
	case alive:
		return move, false
	case left:
		move.Cause = v1beta1.MoveNodeStopped
	default:
		move.Cause = v1beta1.MoveNodeFailed
		if heard, known := members.LastHeard[move.From]; known {
			move.Unowned = now.Sub(heard)
		}
	}
	return move, true
}

// whyNot is why this node does not keep the address at a place of the plan.
func (n *Node) whyNot(place int) v1beta1.MoveCause {
	d := &n.step.made.Decisions[place]
	given := slices.ContainsFunc(n.step.given, func(s model.Succession) bool { return s.Address == d.Address })
	wanted := func(key string) bool {
		s := n.step.services.Get(key)
		return s != nil && s.PreferredNode != "" && s.PreferredNode == d.Owner
	}
	switch {
	case n.step.fates[place] == inConflict:
		return v1beta1.MoveConflict
	case n.ranks.yielded[d.Address]:
		return v1beta1.MovePartitionHealed
	case d.Reason == v1beta1.ReasonNodeExcluded:
		return v1beta1.MoveNodeDrained
	case d.Reason == v1beta1.ReasonNoEndpoint, d.Reason == v1beta1.ReasonNoLocalEndpoint:
		return v1beta1.MoveEndpointGone
	case d.Announce, d.Reason == v1beta1.ReasonInterfaceUnavailable:
		return v1beta1.MoveOwnerUnable
	case slices.ContainsFunc(d.Services, wanted):
		return v1beta1.MoveRequested
	case given:
		return v1beta1.MoveRebalanced
	}
	return v1beta1.MovePolicyChanged
}

// Moves are the last ones, at most 1,000, the latest at the end. They must not be
// changed.
func (n *Node) Moves() []Move { return n.history.last }
