package node

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
)

// Address conflict detection is RFC 5227 for IPv4 and duplicate address detection
// of RFC 4862 for IPv6, for addresses that no interface has. RFC 5227 probes for
// seconds, since it speaks for hosts that come and go on any network. Here a
// Service waits.
const (
	// probeInterval is the time between the probes for an address that nobody
	// has owned before; probeNum is how many there are (RFC 5227 section 1.1).
	probeInterval = 150 * time.Millisecond
	probeNum      = 3
	// probesPerSecond bounds how many are sent, and probesAtOnce at one time: a
	// broadcast is a packet for every port of the LAN.
	probesPerSecond, probesAtOnce = 2500, 250
	// claimDelay is how late a speaker's claim may come after its answer on the
	// LAN. An answer that stays without a claim for longer is its node's.
	claimDelay = time.Second
	// fresh is how long after its first use another host's use of an address
	// counts: its answer to the last probe may still be under way.
	fresh = 2 * time.Second
	// defendInterval is the least time between two announcements that defend an
	// address in use. It is defended for as long as it is used, as RFC 5227 section
	// 2.4 (c) wants it of a host that others depend on.
	defendInterval = time.Second
	// conflictLasts is how long a conflict of an address in use is reported after
	// the other host was seen.
	conflictLasts = time.Minute
	// retryInterval is when an address in conflict is probed for again.
	retryInterval = 30 * time.Second
)

// state of one address in conflict detection.
type state uint8

const (
	// unassigned: this node does not use it.
	unassigned state = iota
	// probing of RFC 5227 section 2.1, tentative in RFC 4862 section 2: it is
	// asked for, and not used yet.
	probing
	// assigned: it is used (RFC 5227 section 2.4, preferred in RFC 4862).
	assigned
	// duplicate of RFC 4862 section 5.4: another host has it. It is not used.
	duplicate
)

// conflictingHost is another host that uses an address of ours.
type conflictingHost struct {
	mac model.MAC
	// node is the one whose MAC it is, if it has a speaker.
	node string
	// own says that this node says itself that the address is its own.
	own         bool
	on          string // the interface
	since, seen time.Time
	// first says that the address had not been used before, as far as is
	// known here.
	first bool
}

func (h *conflictingHost) message() string {
	if h.node != "" {
		if h.own {
			return fmt.Sprintf("the address is node %s's own, which answers for it on %s", h.node, h.on)
		}
		return fmt.Sprintf("node %s itself answers for the address on %s (%s): it is an address of the node, or of kube-vip "+
			"or keepalived on it, or kube-proxy in IPVS mode has it without strictARP", h.node, h.on, h.mac)
	}
	return fmt.Sprintf("%s answers for the address on %s and belongs to no node with a speaker", h.mac, h.on)
}

// detection is the machine of one address.
type detection struct {
	state state
	since time.Time // of the state
	// used says that some node has owned the address since this process
	// started, so that no probe is needed to take it; first says that its present
	// use is the first.
	used, first bool
	// probes is how many were sent, the last of them at asked.
	probes int
	asked  time.Time
	// suspect is when a speaker's node was seen to answer that claims nothing.
	suspect time.Time
	// defended is when it was last.
	defended time.Time
	// host is the last that was in conflict, until the address is free.
	host *conflictingHost
	turn uint64
}

// conflicts are those of all addresses that are planned for.
type conflicts struct {
	byAddress map[netip.Addr]*detection
	turn      uint64
	seen      int // in this turn
	// budget is how many probes may be sent, as of budgetAt.
	budget   float64
	budgetAt time.Time
}

// begin and end enclose a turn in which rest or use is called for each address;
// what was not called for is forgotten.
func (c *conflicts) begin(now time.Time) {
	c.turn, c.seen = c.turn+1, 0
	c.budget = min(probesAtOnce, c.budget+probesPerSecond*now.Sub(c.budgetAt).Seconds())
	c.budgetAt = now
}

func (c *conflicts) end() {
	if c.seen == len(c.byAddress) {
		return
	}
	for a, d := range c.byAddress {
		if d.turn != c.turn {
			delete(c.byAddress, a)
		}
	}
}

func (c *conflicts) of(a netip.Addr) *detection {
	d := c.byAddress[a]
	if d == nil {
		d = &detection{}
		c.byAddress[a] = d
	}
	if d.turn != c.turn {
		d.turn = c.turn
		c.seen++
	}
	return d
}

// rest is the turn of an address that this node is not to use. It returns when the
// next is due, or zero.
func (c *conflicts) rest(in *Input, a netip.Addr, owner string) (again time.Duration) {
	if owner == "" && c.byAddress[a] == nil {
		return 0
	}
	d := c.of(a)
	if d.meet(in) {
		again = time.Millisecond
	}
	if d.state == probing {
		d.state = unassigned
		if d.host != nil {
			d.state, d.since = duplicate, time.Time{} // asked for as soon as it is wanted
		}
	}
	if owner != "" {
		d.used, d.first = true, false
		if d.host != nil { // another node can use it
			d.host, d.state = nil, unassigned
		}
	}
	return again
}

// meet forgets a conflict with a speaker whose claims came later than what it said
// on the LAN: it is another node, which the membership settles with.
func (d *detection) meet(in *Input) (met bool) {
	met = d.host != nil && d.host.node == "" && in.Members.MACs[d.host.mac] != ""
	if met {
		d.state, d.used, d.host = unassigned, true, nil
	}
	return met
}

// inConflict reports whether another host has the address, as far as is known.
func (c *conflicts) inConflict(a netip.Addr) bool {
	d := c.byAddress[a]
	return d != nil && d.state == duplicate
}

// verdict on an address that is to be used.
type verdict uint8

const (
	free verdict = iota
	// unsure: it is to be probed for. unsureAgain: the same, and it was in conflict
	// before.
	unsure
	unsureAgain
	taken
)

// use is the turn of an address that this node is to use; held says that it does
// already. It returns when the next turn is due, or zero, and whether a probe is.
func (c *conflicts) use(in *Input, a netip.Addr, owner string, held bool) (v verdict, again time.Duration, probe bool) {
	d, now := c.of(a), in.Now
	d.used = d.used || owner != ""
	d.meet(in)
	if d.state == duplicate {
		if left := retryInterval - now.Sub(d.since); left > 0 {
			return taken, left, false
		}
		d.used = false // ask again
	}
	switch {
	case held:
		if d.state != assigned {
			d.state = assigned
		}
		if d.host != nil && now.Sub(d.host.seen) > conflictLasts {
			d.host = nil
		}
		return free, 0, false
	case d.used:
		d.state, d.since, d.first = assigned, now, false
		return free, 0, false
	case d.state != probing:
		d.state, d.since, d.probes, d.suspect = probing, now, 0, time.Time{}
	case d.unanswered(now):
		d.state, d.since, d.used, d.first, d.host = assigned, now, true, true, nil
		return free, 0, false
	}
	return c.probe(d, now)
}

// unanswered reports whether all probes were sent, and nobody has answered.
func (d *detection) unanswered(now time.Time) bool {
	return d.probes >= probeNum && now.Sub(d.asked) >= probeInterval && (d.suspect.IsZero() || now.Sub(d.suspect) > 2*probeInterval)
}

// probe is the turn of an address that is probed for.
func (c *conflicts) probe(d *detection, now time.Time) (v verdict, again time.Duration, probe bool) {
	v, again = unsure, max(time.Millisecond, probeInterval-now.Sub(d.asked))
	if d.host != nil {
		v = unsureAgain
	}
	if d.probes > 0 && now.Sub(d.asked) < probeInterval {
		return v, again, false
	}
	if c.budget < 1 {
		return v, probesAtOnce * time.Second / probesPerSecond, false
	}
	c.budget--
	d.probes, d.asked = d.probes+1, now
	return v, probeInterval, true
}

// Seen is what follows from what other hosts were seen to use. It is carried out
// in the order of its fields.
type Seen struct {
	Notes []Note
	// Reannounce are addresses that the neighbors are told again, at once.
	Reannounce []netip.Addr
	// Changed says that a Step will decide otherwise than the last.
	Changed bool
}

// See takes in what other hosts were seen to use. It costs little: a flood of it
// makes no Step.
func (n *Node) See(all []model.Sighting, members *model.Membership, now time.Time) (out Seen) {
	for _, s := range all {
		own := slices.Contains(n.step.theirs[members.MACs[s.MAC]], s.Address)
		n.conflicts.see(s, members, len(n.held[s.Address]) > 0, own, now, &out)
	}
	return out
}

// see takes in one.
func (c *conflicts) see(s model.Sighting, members *model.Membership, held, own bool, now time.Time, out *Seen) {
	d := c.byAddress[s.Address]
	if d == nil || d.state != probing && !held {
		return
	}
	name, owner := members.MACs[s.MAC], members.Owners[s.Address]
	switch {
	case own:
		// Its word alone counts for nothing, or a node that was broken into could
		// keep every address from its Service; here it was seen to use it, too.
	case name != "" && !d.foreign(owner, members.Self, now):
		return
	case d.state == assigned && (name != "" || !d.first || now.Sub(d.since) > fresh):
		c.defend(d, s, name, now, out)
		return
	}
	pairs := []any{"address", s.Address, "mac", s.MAC.String(), "interface", s.Interface}
	found := &conflictingHost{
		mac: s.MAC, node: name, own: own, on: s.Interface, since: now, seen: now, first: d.state == probing || !own,
	}
	if d.host != nil {
		found.since, found.first = d.host.since, d.host.first
	}
	d.state, d.since, d.host = duplicate, now, found
	out.Notes = append(out.Notes, Note{Failure, "address conflict", pairs})
	out.Changed = true
}

// foreign reports whether the use of an address by another node with a speaker is one
// that nobody has the right to. What a node owns, or owned just now, the membership
// settles; whoever answers for what is probed for may claim it a moment later.
func (d *detection) foreign(owner, self string, now time.Time) bool {
	if d.state != probing {
		return owner == self
	}
	if owner != "" {
		return false
	}
	d.suspect = now
	return now.Sub(d.since) >= claimDelay
}

// defend tells the neighbors again of an address in use that another host uses,
// too, or another node says that it does, unless that was done a moment ago.
func (c *conflicts) defend(d *detection, s model.Sighting, name string, now time.Time, out *Seen) {
	if name == "" {
		if d.host == nil || d.host.mac != s.MAC {
			d.host = &conflictingHost{mac: s.MAC, on: s.Interface, since: now}
			pairs := []any{"address", s.Address, "mac", s.MAC.String(), "interface", s.Interface}
			out.Notes = append(out.Notes, Note{Warning, "address conflict: defending", pairs})
			out.Changed = true
		}
		d.host.seen = now
	}
	if now.Sub(d.defended) >= defendInterval {
		d.defended = now
		out.Reannounce = append(out.Reannounce, s.Address)
	}
}
