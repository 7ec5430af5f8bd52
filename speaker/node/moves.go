package node

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/model"
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
	// lostFor is for how long it is remembered who had what nobody has.
	lostFor = time.Minute
)

// history is what a node remembers of moves.
type history struct {
	// lost are the addresses that nobody claims any more.
	lost map[netip.Addr]loss
	// leaving is why this node hands addresses over, while it does.
	leaving map[netip.Addr]v1beta1.MoveCause
	// last are the last moves, the latest at the end.
	last []Move
}

// loss is who claimed an address last, and when that ended.
type loss struct {
	owner string
	at    time.Time
}

// note remembers who has claimed what nobody claims in the present membership.
func (h *history) note(now time.Time, before, members *model.Membership) {
	if before == nil || before == members {
		return
	}
	maps.DeleteFunc(h.lost, func(a netip.Addr, of loss) bool { return members.Owners[a] != "" || now.Sub(of.at) > lostFor })
	for a, owner := range before.Owners {
		if members.Owners[a] != "" {
			continue
		}
		if h.lost == nil {
			h.lost = map[netip.Addr]loss{}
		}
		h.lost[a] = loss{owner, now}
	}
}

// from is who answered for an address before this node, empty where nobody did: it is
// claimed yet, or was a moment ago. Of the living it has to be as long ago as they hand
// it over; else it was free meanwhile.
func (n *Node) from(now time.Time, a netip.Addr) (owner string, alive bool) {
	owner = n.step.members.Owners[a]
	of, lost := n.history.lost[a]
	if owner == "" && lost {
		owner = of.owner
	}
	_, alive = slices.BinarySearch(n.step.members.Alive, owner)
	if owner == n.config.Name || lost && alive && now.Sub(of.at) > succession {
		return "", false
	}
	return owner, alive
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
		at, planned := n.step.place(a)
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
	last := slices.Concat(n.history.last, moves)
	n.history.last = last[max(0, len(last)-mostMoves):]
	return moves
}

// takes is the move of an address that this node has begun to answer for, unless a
// living node tells of it.
func (n *Node) takes(now time.Time, a netip.Addr) (move Move, told bool) {
	members := n.step.members
	move = Move{At: now, Address: a, To: n.config.Name, Cause: v1beta1.MoveAssigned}
	if d := n.step.decision(a); d != nil && len(d.Sharers) > 0 {
		return move, true // beside others
	}
	var alive bool
	move.From, alive = n.from(now, a)
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
	given := func(s model.Succession) bool { return s.Address == d.Address }
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
	case slices.ContainsFunc(n.step.given, given):
		return v1beta1.MoveRebalanced
	}
	return v1beta1.MovePolicyChanged
}

// Moves are the last ones, at most 1,000, the latest at the end. They must not be
// changed.
func (n *Node) Moves() []Move { return n.history.last }
