package node

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
)

// An address whose Service names another node is handed to that one. And a speaker
// that departs as planned and is back soon finds its addresses with the others. In a
// rolling update the last one would stay without any: so those that have too many
// give back what they had from it. A node that died gets nothing back (see
// L2Advertisement failback).
const (
	// backWithin is how soon it has to be back.
	backWithin = 5 * time.Minute
	// backFor is how long it must have been ready.
	backFor = time.Second
	// A node gives back what it has beyond more than a quarter above the mean, and
	// more than spare above it.
	fairNumerator, fairDenominator = 5, 4
	spare                          = 2
	// succession is how long a node that is to get an address has to claim it; one
	// that has not gets it offered again after offerAgain.
	succession = 5 * time.Second
	offerAgain = time.Minute
)

// departure is what a speaker had when it departed as planned.
type departure struct {
	at   time.Time
	held map[netip.Addr]bool
}

// balance is what a node remembers of departures, and what it gives to whom.
type balance struct {
	departed map[string]departure
	given    map[netip.Addr]gift
}

// gift is an address that is offered to another node until it has had its time to
// claim it, and not again before.
type gift struct {
	to            string
	until, before time.Time
}

func giftTo(name string, now time.Time) gift {
	return gift{name, now.Add(succession), now.Add(offerAgain)}
}

func newBalance() balance {
	return balance{departed: map[string]departure{}, given: map[netip.Addr]gift{}}
}

// note remembers who has departed since the membership before, and what it had.
func (b *balance) note(now time.Time, before, members *model.Membership) {
	for name, d := range b.departed {
		if now.Sub(d.at) > backWithin {
			delete(b.departed, name)
		}
	}
	if before == nil {
		return
	}
	for _, name := range members.Left {
		_, wasAlive := slices.BinarySearch(before.Alive, name)
		if _, alive := slices.BinarySearch(members.Alive, name); alive || !wasAlive {
			continue
		}
		held := map[netip.Addr]bool{}
		for a, owner := range before.Owners {
			if owner == name {
				held[a] = true
			}
		}
		b.departed[name] = departure{now, held}
	}
}

// successions are the addresses that this node gives back, with those that are to
// have them, sorted. It returns when to ask again, or zero.
func (b *balance) successions(in *Input, ready []string, since map[string]time.Time) (all []model.Succession, again time.Duration) {
	for a, g := range b.given {
		if owner := in.Members.Owners[a]; owner != in.Members.Self && owner != "" || !in.Now.Before(g.before) {
			delete(b.given, a)
		}
	}
	if len(b.departed) > 0 {
		again = b.give(in, ready, since)
	}
	for a, g := range b.given {
		if left := g.until.Sub(in.Now); left > 0 {
			all = append(all, model.Succession{Address: a, Node: g.to})
			again = sooner(again, left)
		}
	}
	slices.SortFunc(all, func(x, y model.Succession) int { return x.Address.Compare(y.Address) })
	return all, again
}

// give finds what is too much.
func (b *balance) give(in *Input, ready []string, since map[string]time.Time) (again time.Duration) {
	loads := map[string]int{}
	var mine []netip.Addr
	for a, owner := range in.Members.Owners {
		loads[owner]++
		if owner == in.Members.Self {
			mine = append(mine, a)
		}
	}
	total := len(in.Members.Owners)
	fair := max(total*fairNumerator/(fairDenominator*len(ready)), total/len(ready)+spare)
	tooMany := loads[in.Members.Self] - len(b.given) - fair
	slices.SortFunc(mine, netip.Addr.Compare)
	for name, d := range b.departed {
		if _, back := slices.BinarySearch(ready, name); !back || name == in.Members.Self {
			continue
		}
		if left := backFor - in.Now.Sub(since[name]); left > 0 {
			again = sooner(again, left)
			continue
		}
		for _, a := range mine {
			if _, given := b.given[a]; given || !d.held[a] || tooMany <= 0 {
				continue
			}
			b.given[a] = giftTo(name, in.Now)
			tooMany--
		}
	}
	return again
}

// offer takes up what the plan says that this node is to hand to others, which is
// told with the next Step. It returns when that has to be, or zero.
func (b *balance) offer(now time.Time, moves []model.Succession, since map[string]time.Time) (again time.Duration) {
	for _, move := range moves {
		if before, given := b.given[move.Address]; given && before.to == move.Node {
			continue
		}
		if left := backFor - now.Sub(since[move.Node]); left > 0 {
			again = sooner(again, left)
			continue
		}
		b.given[move.Address] = giftTo(move.Node, now)
		again = sooner(again, time.Millisecond)
	}
	return again
}

// successions are those of all, and this node's own.
func successions(members *model.Membership, own []model.Succession) map[netip.Addr]model.Handing {
	if len(own) == 0 {
		return members.Successions
	}
	all := make(map[netip.Addr]model.Handing, len(members.Successions)+len(own))
	maps.Copy(all, members.Successions)
	for _, s := range own {
		all[s.Address] = model.Handing{By: members.Self, To: s.Node}
	}
	return all
}
