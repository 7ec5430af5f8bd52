package main

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/members"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// RFC 5227 probes for seconds, since it speaks for hosts that come and go on
// any network. Here a Service waits.
const (
	// probeEvery is the time between the probes for an address that nobody
	// has owned before; probes is how many there are.
	probeEvery = 150 * time.Millisecond
	probes     = 3
	// fresh is how long after it was taken a claim of another counts at once.
	fresh = 2 * time.Second
	// defenceInterval of RFC 5227 section 2.4: the first claim of another in
	// it is met with an announcement, the second ends our use.
	defenceInterval = 10 * time.Second
	// burst is how long claims count as one.
	burst = time.Second
	// quarantine is when an address in conflict is probed for again.
	quarantine = 30 * time.Second
)

// conflicts is what is known of strangers.
type conflicts struct {
	owned    map[netip.Addr]bool      // by whomever, since this process started
	trying   map[netip.Addr]time.Time // when probing began
	taken    map[netip.Addr]time.Time
	defended map[netip.Addr]time.Time
	lost     map[netip.Addr]stranger
	asking   []netip.Addr // what is to be probed for after this pass
}

// stranger is somebody else who has an address of ours.
type stranger struct {
	mac   string
	on    string // the interface
	until time.Time
	since time.Time
	// first says that the address had not been used before, as far as is
	// known here.
	first bool
}

func (o stranger) message() string {
	return fmt.Sprintf("%s answers for the address on %s and belongs to no node with a speaker", o.mac, o.on)
}

func newConflicts() conflicts {
	return conflicts{
		owned: map[netip.Addr]bool{}, trying: map[netip.Addr]time.Time{}, taken: map[netip.Addr]time.Time{},
		defended: map[netip.Addr]time.Time{}, lost: map[netip.Addr]stranger{},
	}
}

// avoid keeps away from addresses that strangers have: what nobody owned
// before is probed for first, what is in conflict is withheld. It returns when
// to look again, or zero.
func (s *speaker) avoid(now time.Time, made *plan.Plan, owners map[netip.Addr]string, desired *l2.Desired) (again time.Duration) {
	c := &s.conflicts
	for _, sighting := range s.responder.Sightings() {
		s.sighted(now, sighting)
	}
	c.asking = nil
	desired.Probing = map[netip.Addr][]string{}
	known := make(map[netip.Addr]bool, len(c.owned))
	for i := range made.Decisions {
		d := &made.Decisions[i]
		if c.owned[d.Address] || owners[d.Address] != "" {
			known[d.Address] = true
		}
		if _, wanted := desired.Addresses[d.Address]; wanted && !desired.Quiet[d.Address] {
			again = sooner(again, s.beware(now, d, known, desired))
			continue
		}
		delete(c.trying, d.Address)
		if owners[d.Address] != "" {
			delete(c.lost, d.Address) // another can use it
		}
	}
	c.owned = known
	for a := range c.lost {
		byAddress := func(d plan.Decision, a netip.Addr) int { return d.Address.Compare(a) }
		if _, decided := slices.BinarySearchFunc(made.Decisions, a, byAddress); !decided {
			delete(c.lost, a)
		}
	}
	return again
}

// beware is avoid for one address that is to be answered for.
func (s *speaker) beware(now time.Time, d *plan.Decision, known map[netip.Addr]bool, desired *l2.Desired) (again time.Duration) {
	c := &s.conflicts
	lost, conflict := c.lost[d.Address]
	if conflict {
		if now.Before(lost.until) {
			delete(desired.Addresses, d.Address)
			withhold(d, lost)
			return lost.until.Sub(now)
		}
		known[d.Address] = false // ask again
	}
	switch held := len(s.held[d.Address]) > 0; {
	case held:
	case known[d.Address]:
		c.taken[d.Address] = now
	default:
		if wait := s.try(now, d.Address); wait > 0 {
			desired.Probing[d.Address] = desired.Addresses[d.Address]
			delete(desired.Addresses, d.Address)
			if conflict {
				withhold(d, lost)
			}
			return wait
		}
		delete(c.lost, d.Address)
		c.taken[d.Address], known[d.Address] = now, true
	}
	delete(c.trying, d.Address)
	return 0
}

// withhold says of an address why it is not answered for.
func withhold(d *plan.Decision, lost stranger) {
	d.Announce, d.Reason, d.Message = false, v1beta1.ReasonAddressConflict, lost.message()
}

// try goes on probing for an address; zero means that it is free.
func (s *speaker) try(now time.Time, address netip.Addr) (wait time.Duration) {
	c := &s.conflicts
	since, ok := c.trying[address]
	if !ok {
		since = now
		c.trying[address] = now
	}
	if now.Sub(since) >= probes*probeEvery {
		return 0
	}
	c.asking = append(c.asking, address)
	return probeEvery
}

// sighted acts on somebody's claim for an address of ours.
func (s *speaker) sighted(now time.Time, sighting l2.Sighting) {
	c := &s.conflicts
	a := sighting.Address
	if s.members.Speaks(members.Station(sighting.MAC)) {
		return // an owner before or after us: the membership settles that
	}
	_, probing := c.trying[a]
	if !probing && len(s.held[a]) == 0 {
		return
	}
	if since := now.Sub(c.defended[a]); !probing && now.Sub(c.taken[a]) > fresh && (since > defenceInterval || since < burst) {
		if since >= burst {
			c.defended[a] = now
			s.log.Warn("somebody else claims an address, which is defended",
				"address", a, "mac", sighting.MAC.String(), "interface", sighting.Interface)
			s.responder.Reannounce([]netip.Addr{a})
		}
		return
	}
	delete(c.trying, a)
	found := stranger{mac: sighting.MAC.String(), on: sighting.Interface, until: now.Add(quarantine), since: now, first: probing}
	if before, again := c.lost[a]; again {
		found.since, found.first = before.since, before.first
	}
	c.lost[a] = found
	s.log.Error("address conflict", "address", a, "mac", sighting.MAC.String(), "interface", sighting.Interface)
}
