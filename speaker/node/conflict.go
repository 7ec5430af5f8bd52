package node

import (
	"fmt"
	"net/netip"
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
	// fresh is how long after it was taken another host's use counts at once:
	// its answer to the last probe may still be under way.
	fresh = 2 * time.Second
	// defendInterval of RFC 5227 section 2.4: the first use by another in it is
	// met with an announcement, the second ends ours.
	defendInterval = 10 * time.Second
	// burst is how long packets count as one use.
	burst = time.Second
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
	// defending: it is used, and was announced once more because another used
	// it, too (RFC 5227 section 2.4 (b)).
	defending
	// duplicate of RFC 4862 section 5.4: another host has it. It is not used.
	duplicate
)

// conflictingHost is another host that uses an address of ours.
type conflictingHost struct {
	mac   model.MAC
	on    string // the interface
	since time.Time
	// first says that the address had not been used before, as far as is
	// known here.
	first bool
}

func (h *conflictingHost) message() string {
	return fmt.Sprintf("%s answers for the address on %s and belongs to no node with a speaker", h.mac, h.on)
}

// detection is the machine of one address.
type detection struct {
	state state
	since time.Time // of the state
	// used says that some node has owned the address since this process
	// started, so that no probe is needed to take it.
	used bool
	// host is the last that was in conflict, until the address is free.
	host *conflictingHost
	turn uint64
}

// conflicts are those of all addresses that are planned for.
type conflicts struct {
	byAddress map[netip.Addr]*detection
	turn      uint64
	seen      int // in this turn
}

// begin and end enclose a turn in which rest or use is called for each address;
// what was not called for is forgotten.
func (c *conflicts) begin() { c.turn, c.seen = c.turn+1, 0 }

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

// rest is the turn of an address that this node is not to use.
func (c *conflicts) rest(a netip.Addr, owner string) {
	if owner == "" && c.byAddress[a] == nil {
		return
	}
	d := c.of(a)
	if d.state == probing {
		d.state = unassigned
		if d.host != nil {
			d.state, d.since = duplicate, time.Time{} // asked for as soon as it is wanted
		}
	}
	if owner != "" {
		d.used = true
		if d.host != nil { // another node can use it
			d.host, d.state = nil, unassigned
		}
	}
}

// verdict on an address that is to be used.
type verdict uint8

const (
	free verdict = iota
	// unsure: it is to be probed for.
	unsure
	// unsureAgain: the same, and it was in conflict before.
	unsureAgain
	taken
)

// use is the turn of an address that this node is to use; held says that it does
// already. It returns when the next turn is due, or zero.
func (c *conflicts) use(in *Input, a netip.Addr, owner string, held bool) (verdict, time.Duration) {
	d, now := c.of(a), in.Now
	d.used = d.used || owner != ""
	if d.host != nil && in.Members.MACs[d.host.mac] != "" {
		// Its claims came later than what it said on the LAN: it is another node,
		// which the membership settles with.
		d.state, d.used, d.host = unassigned, true, nil
	}
	if d.state == duplicate {
		if left := retryInterval - now.Sub(d.since); left > 0 {
			return taken, left
		}
		d.used = false // ask again
	}
	switch {
	case held:
		if d.state != assigned && d.state != defending {
			d.state = assigned
		}
		return free, 0
	case d.used:
		d.state, d.since = assigned, now
		return free, 0
	case d.state != probing:
		d.state, d.since = probing, now
	case now.Sub(d.since) >= probeNum*probeInterval:
		d.state, d.since, d.used, d.host = assigned, now, true, nil
		return free, 0
	}
	if d.host != nil {
		return unsureAgain, probeInterval
	}
	return unsure, probeInterval
}

// see takes in another host's use of an address.
func (c *conflicts) see(in *Input, s model.Sighting, held bool, out *Output) {
	if in.Members.MACs[s.MAC] != "" {
		return // an owner before or after us: the membership settles that
	}
	d := c.byAddress[s.Address]
	if d == nil || d.state != probing && !held {
		return
	}
	age, defend := in.Now.Sub(d.since), false
	switch d.state {
	case probing:
	case defending:
		if age < burst {
			return
		}
		defend = age > defendInterval
	case unassigned, assigned, duplicate:
		defend = age > fresh
	}
	pairs := []any{"address", s.Address, "mac", s.MAC.String(), "interface", s.Interface}
	if defend {
		d.state, d.since = defending, in.Now
		out.note(Warning, "address conflict: defending", pairs...)
		out.Reannounce = append(out.Reannounce, s.Address)
		return
	}
	found := &conflictingHost{mac: s.MAC, on: s.Interface, since: in.Now, first: d.state == probing}
	if d.host != nil {
		found.since, found.first = d.host.since, d.host.first
	}
	d.state, d.since, d.host = duplicate, in.Now, found
	out.note(Failure, "address conflict", pairs...)
}
