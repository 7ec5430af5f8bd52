package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Move is an address that is to go to another node, and the Service, as
// namespace/name, whose annotation asks for it. All addresses of the Service go along
// that the node can own.
type Move struct {
	Address  netip.Addr
	Service  string
	From, To string
}

// MoveTo are the moves of an address, and of those that go along, to a node or, without
// one, to the least loaded of those that can own it. The EndpointSlices of its Services,
// and of those that share an address with them, must be among the objects. The error
// says why there is no such move.
func (c *Cluster) MoveTo(a netip.Addr, to string) ([]Move, error) {
	move, err := c.movable(a)
	if err != nil {
		return nil, err
	}
	if to == move.From {
		return nil, fmt.Errorf("%s is on node %s already", a, to)
	}
	loads := c.loads()
	for _, s := range c.Speakers() {
		if s.Node == move.From || to != "" && s.Node != to {
			continue
		}
		can, why := c.mayOwn(&s, &move)
		switch {
		case to != "" && !can:
			return nil, fmt.Errorf("node %s cannot own %s: %s", to, a, why)
		case can && (move.To == "" || loads[s.Node] < loads[move.To]):
			move.To = s.Node
		}
	}
	switch {
	case move.To == "" && to != "":
		return nil, fmt.Errorf("there is neither a node %s nor a Speaker of its name", to)
	case move.To == "":
		return nil, fmt.Errorf("no node but %s can own %s: see kubectl baliza explain address %s", move.From, a, a)
	}
	return c.along(&move), nil
}

// along are a move and those of the other addresses of its Service that go with it.
func (c *Cluster) along(with *Move) []Move {
	moves := []Move{*with}
	to := c.speaker(with.To)
	for _, a := range shown(c.services[with.Service]) {
		if a == with.Address {
			continue
		}
		move, err := c.movable(a)
		move.Service, move.To = with.Service, with.To
		if err != nil || move.From == move.To {
			continue
		}
		if can, _ := c.mayOwn(&to, &move); can {
			moves = append(moves, move)
		}
	}
	return moves
}

// movable is the move of an address that one node answers for, to no node yet.
func (c *Cluster) movable(a netip.Addr) (Move, error) {
	holders := c.holders[a]
	if len(holders) == 0 {
		return Move{}, fmt.Errorf("no Service has %s", a)
	}
	for _, svc := range holders {
		if node, _ := config.Annotation(svc, v1beta1.AnnotationPreferredNode); node != "" {
			return Move{}, fmt.Errorf("Service %s names node %s by its annotation %s: change that",
				config.ServiceKey(svc), node, v1beta1.AnnotationPreferredNode)
		}
	}
	switch owners := c.owners(a); len(owners) {
	case 0:
		return Move{}, fmt.Errorf("no node answers for %s on layer 2: see kubectl baliza explain address %s", a, a)
	case 1:
		return Move{Address: a, Service: config.ServiceKey(holders[0]), From: owners[0]}, nil
	default:
		return Move{}, fmt.Errorf("several nodes answer for %s: see kubectl baliza explain address %s", a, a)
	}
}

// mayOwn reports whether a node can own the address of a move, and why not.
func (c *Cluster) mayOwn(s *Speaker, move *Move) (can bool, why string) {
	view := plan.View{
		Config: c.snapshot, Services: c.planned(c.holders[move.Address]), Nodes: c.nodes, Owners: map[netip.Addr]string{move.Address: move.From},
	}
	on := c.l2View(s, move.Address, view)
	return on.Reason == v1beta1.ReasonNotOwner, cmp.Or(on.Message, string(on.Reason))
}

// loads are how many addresses each node answers for that may own any.
func (c *Cluster) loads() map[string]int {
	loads := map[string]int{}
	for _, s := range c.Speakers() {
		if s.Alive && s.Excluded == "" {
			loads[s.Node] = int(s.Held)
		}
	}
	return loads
}

// Rebalance are the moves after which the nodes answer for as many addresses as each
// other, as far as these can own them: as few as that takes. An address whose Service
// names a node stays. The EndpointSlices of all Services must be among the objects.
func (c *Cluster) Rebalance() []Move {
	loads, rest := c.loads(), map[string][]Move{}
	for a := range c.holders {
		if move, err := c.movable(a); err == nil {
			rest[move.From] = append(rest[move.From], move)
		}
	}
	var nodes []Speaker
	for _, s := range c.Speakers() {
		slices.SortFunc(rest[s.Node], func(x, y Move) int { return x.Address.Compare(y.Address) })
		if _, may := loads[s.Node]; may {
			nodes = append(nodes, s)
		}
	}
	var moves []Move
	moved := map[string]bool{} // Services
	for {
		// From the one with the most that has any left to give.
		from := ""
		for _, s := range nodes {
			if len(rest[s.Node]) > 0 && (from == "" || loads[s.Node] > loads[from]) {
				from = s.Node
			}
		}
		if from == "" {
			return moves
		}
		move := rest[from][0]
		rest[from] = rest[from][1:]
		if moved[move.Service] {
			continue
		}
		all := c.relieve(&move, nodes, loads)
		for _, one := range all {
			loads[one.From]--
			loads[one.To]++
			moved[move.Service] = true
		}
		moves = append(moves, all...)
	}
}

// relieve are the moves of an address, and of those that go along, to the least loaded
// of the nodes that can have them and then have fewer than the present one has; none if
// there is no such node.
func (c *Cluster) relieve(move *Move, nodes []Speaker, loads map[string]int) []Move {
	slices.SortStableFunc(nodes, func(x, y Speaker) int {
		return cmp.Or(cmp.Compare(loads[x.Node], loads[y.Node]), cmp.Compare(x.Node, y.Node))
	})
	for i := range nodes {
		to := &nodes[i]
		if loads[to.Node]+1 >= loads[move.From] {
			return nil
		}
		if can, _ := c.mayOwn(to, move); !can {
			continue
		}
		move.To = to.Node
		if all := c.along(move); loads[to.Node]+len(all) < loads[move.From] {
			return all
		}
	}
	return nil
}

// Arrived reports whether the node to which an address was to go says that it
// answers for it, and nobody else does.
func (c *Cluster) Arrived(move *Move) bool {
	owners := c.owners(move.Address)
	return len(owners) == 1 && owners[0] == move.To
}

// IgnoresExclude reports whether the installation does not look at the label that
// takes a node out of load balancing.
func (c *Cluster) IgnoresExclude() bool { return c.installation.ignoreExclude }

// SpeakerOf is what is known of a node's speaker; known says that there is the node.
func (c *Cluster) SpeakerOf(node string) (s Speaker, known bool) {
	_, known = c.nodes[node]
	return c.speaker(node), known
}
