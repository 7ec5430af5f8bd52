package node

import (
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/speaker/plan"
)

// The election has feedback: whoever cannot answer for an address that is its own
// says so, whoever does not say that it does is passed over, and whoever was told
// of a better claim lets go, though its own view of the cluster says otherwise.
const (
	// claimTime is how long a node has to claim what is its own to take.
	claimTime = 2 * time.Second
	// passedOver is for how long one that has not is no candidate for it.
	passedOver = 30 * time.Second
	// refusedFor is how long this node says that it cannot answer for what its
	// sockets have refused, after it tried last.
	refusedFor = 10 * time.Second
)

// ranks are what a node remembers of candidates for addresses.
type ranks struct {
	// waiting is since when an address waits for a node to claim it, and next
	// those of the Step that goes on.
	waiting, next map[candidacy]time.Time
	// skipped are the nodes that have had their time, until when.
	skipped map[candidacy]time.Time
	// own are the addresses that this node cannot answer for, until when; those in
	// conflict no longer than that lasts.
	own map[netip.Addr]refusal
	// yielded are the addresses that this node has let go because another had a
	// better claim, while the cluster looked as in version.
	yielded map[netip.Addr]bool
	version uint64
}

// refusal is that of this node's sockets, or of another host's.
type refusal struct {
	until    time.Time
	conflict bool
}

// candidacy is a node's for an address.
type candidacy struct {
	address netip.Addr
	node    string
}

func newRanks() ranks {
	return ranks{waiting: map[candidacy]time.Time{}, skipped: map[candidacy]time.Time{}, own: map[netip.Addr]refusal{}}
}

// begin takes note of what this node holds and another has the better claim to.
func (r *ranks) begin(in *Input, held map[netip.Addr][]string) {
	r.next = map[candidacy]time.Time{}
	if r.version != in.Cluster.Version {
		r.version, r.yielded = in.Cluster.Version, nil
	}
	for a := range r.yielded {
		if owner := in.Members.Owners[a]; owner == "" || owner == in.Members.Self {
			delete(r.yielded, a)
		}
	}
	for a := range in.Members.Claimants {
		if owner := in.Members.Owners[a]; owner != in.Members.Self && len(held[a]) > 0 {
			if r.yielded == nil {
				r.yielded = map[netip.Addr]bool{}
			}
			r.yielded[a] = true
		}
	}
}

func (r *ranks) end() { r.waiting = r.next }

// unable are the nodes that are no candidates for an address, by address.
func (r *ranks) unable(in *Input, of *conflicts) map[netip.Addr][]string {
	if len(r.skipped)+len(r.own) == 0 {
		return in.Members.Unable
	}
	all := make(map[netip.Addr][]string, len(in.Members.Unable)+len(r.skipped)+len(r.own))
	for a, names := range in.Members.Unable {
		all[a] = slices.Clip(names)
	}
	add := func(a netip.Addr, name string) {
		if !slices.Contains(all[a], name) {
			all[a] = append(all[a], name)
			slices.Sort(all[a])
		}
	}
	for c, until := range r.skipped {
		claimed := in.Members.Owners[c.address] == c.node || slices.Contains(in.Members.Claimants[c.address], c.node)
		if claimed || !in.Now.Before(until) {
			delete(r.skipped, c)
			continue
		}
		add(c.address, c.node)
	}
	for a, one := range r.own {
		if !in.Now.Before(one.until) || one.conflict && !of.inConflict(a) {
			delete(r.own, a)
			continue
		}
		add(a, in.Members.Self)
	}
	return all
}

// wait passes over nodes that have had their time to claim an address that is
// theirs. It returns when the next will have had, or zero. While this node is not
// settled it does not know what has been claimed, and nobody's time runs.
func (r *ranks) wait(in *Input, d *plan.Decision, settled bool) (again time.Duration) {
	if d.Owner == "" && len(d.Sharers) == 0 || !settled {
		return 0
	}
	owner := in.Members.Owners[d.Address]
	if len(d.Sharers) == 0 {
		if owner != "" || d.Owner == in.Members.Self {
			return 0
		}
		return r.waitFor(in, candidacy{d.Address, d.Owner})
	}
	claimants := in.Members.Claimants[d.Address]
	for _, name := range d.Sharers {
		if name != in.Members.Self && name != owner && !slices.Contains(claimants, name) {
			again = sooner(again, r.waitFor(in, candidacy{d.Address, name}))
		}
	}
	return again
}

func (r *ranks) waitFor(in *Input, c candidacy) (again time.Duration) {
	if until := r.skipped[c]; in.Now.Before(until) {
		return 0 // all others cannot, either
	}
	since, known := r.waiting[c]
	if !known {
		since = in.Now
	}
	r.next[c] = since
	if left := claimTime - in.Now.Sub(since); left > 0 {
		return left
	}
	r.skipped[c] = in.Now.Add(passedOver)
	delete(r.next, c)
	return time.Millisecond
}

// refused returns the addresses that this node would own and does not answer for,
// and those that it is about to hand over, sorted.
func (r *ranks) refused(n *Node, applied *Applied) (all []netip.Addr) {
	for i := range n.step.made.Decisions {
		d := &n.step.made.Decisions[i]
		held := len(applied.Held[d.Address]) > 0
		switch {
		case d.Announce && !held && n.step.fates[i] == inConflict:
			r.own[d.Address] = refusal{applied.Now.Add(retryInterval), true}
		case d.Announce && !held && n.step.fates[i] == asPlanned:
			r.own[d.Address] = refusal{applied.Now.Add(refusedFor), false}
		case held && d.Announce:
			delete(r.own, d.Address)
		}
		_, handing := n.handing[d.Address]
		if _, cannot := r.own[d.Address]; cannot || handing && !d.Announce {
			all = append(all, d.Address)
		}
	}
	return all
}
