package reports

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// severalFor is how long two nodes may answer for one address, as they do for a
// moment when it moves.
const severalFor = 10 * time.Second

// silentFor is how long no Speaker may be ready, as when all are restarted, before
// what they reported last counts for nothing.
const silentFor = 30 * time.Second

// Reports is what the living Speakers say, by address, as it was last read. The
// zero Reports has read nothing.
type Reports struct {
	// speakers is how many report at all.
	speakers int
	// announcers are the nodes that announce an address, in order, unchanged since
	// when the same did, and perClient the addresses that several of them share by
	// client.
	announcers map[netip.Addr][]string
	unchanged  map[netip.Addr]time.Time
	perClient  map[netip.Addr]bool
	// holders are the nodes that answer for an address in layer 2, where each
	// should be the only one; several is since when that is not so, and contested
	// are those of which it is so for longer than a hand-over takes.
	holders   map[netip.Addr][]string
	several   map[netip.Addr]time.Time
	contested map[netip.Addr]bool
	// memberPort is where speakers hear each other, or 0 where none has said yet.
	memberPort uint16
	// silentSince is since when no Speaker is ready, and silent that this is so for
	// too long to be a restart.
	silentSince time.Time
	silent      bool
	// truncated says that a Speaker holds or announces more than its report has
	// room for.
	truncated bool
	// withheld is why nobody announces an address, and detail more about it.
	withheld  map[netip.Addr]v1beta1.Reason
	detail    map[netip.Addr]string
	conflicts map[netip.Addr]Conflict
	// missed is since when Speakers are missed by others, by name.
	missed map[string]time.Time
}

// Conflict is what the Speakers say about an address that a host has which is none
// of ours.
type Conflict struct {
	// MAC of that host, or empty.
	MAC string
	// FirstUse says that nobody knows of an earlier use of the address by ours.
	FirstUse bool
}

// Read takes in the reports as they are now; noneReady says that no Speaker's pod is
// ready. It reports whether what they say depends on time: then they are to be read
// again, though none of them changes.
func (r *Reports) Read(speakers []*v1beta1.Speaker, noneReady bool, now time.Time) (again bool) {
	alive, missed, undecided := living(speakers, r.missed, now)
	before := *r
	*r = Reports{
		speakers: len(alive), missed: missed, several: r.several, silentSince: r.silentSince, contested: make(map[netip.Addr]bool),
		announcers: make(map[netip.Addr][]string), unchanged: make(map[netip.Addr]time.Time),
		perClient: make(map[netip.Addr]bool), holders: make(map[netip.Addr][]string),
		withheld: make(map[netip.Addr]v1beta1.Reason), detail: make(map[netip.Addr]string), conflicts: make(map[netip.Addr]Conflict),
	}
	slices.SortFunc(alive, func(a, b *v1beta1.Speaker) int { return cmp.Compare(a.Name, b.Name) }) // who is named first does not change
	for _, s := range alive {
		if at, err := netip.ParseAddrPort(s.Status.MemberAddress); err == nil {
			r.memberPort = at.Port() // the same for all
		}
		r.readHeld(s)
		r.readRoutes(s)
		r.readWithheld(s)
		r.readConflicts(s)
	}
	for a, nodes := range r.announcers {
		r.unchanged[a] = now
		if slices.Equal(nodes, before.announcers[a]) {
			r.unchanged[a] = before.unchanged[a]
		}
	}
	again = r.noteSeveral(now)
	return r.noteSilence(noneReady, now) || undecided || again
}

// readHeld notes for which addresses a node answers in layer 2.
func (r *Reports) readHeld(s *v1beta1.Speaker) {
	r.truncated = r.truncated || int(s.Status.HeldCount) > len(s.Status.Held)
	for _, held := range s.Status.Held {
		a, err := config.ParseAddress(held.Address)
		if err != nil {
			continue
		}
		note(r.announcers, a, s.Name)
		if held.Balancing == v1beta1.BalancePerClient {
			r.perClient[a] = true
		} else {
			note(r.holders, a, s.Name)
		}
	}
}

// note adds a node, whose report is being read, to those of an address.
func note(nodes map[netip.Addr][]string, a netip.Addr, name string) {
	if all := nodes[a]; len(all) == 0 || all[len(all)-1] != name {
		nodes[a] = append(all, name)
	}
}

// readRoutes notes from which nodes a router knows an address.
func (r *Reports) readRoutes(s *v1beta1.Speaker) {
	if s.Status.BGP == nil {
		return
	}
	announced := config.ParseAddresses(s.Status.BGP.Announced, config.MaxAnnounced)
	r.truncated = r.truncated || int(s.Status.BGP.AnnouncedCount) > len(announced)
	for _, a := range announced {
		note(r.announcers, a, s.Name)
	}
}

// readWithheld notes why a node does not announce an address.
func (r *Reports) readWithheld(s *v1beta1.Speaker) {
	for _, group := range s.Status.Withheld {
		for _, text := range group.Addresses {
			a, err := config.ParseAddress(text)
			if err != nil {
				continue
			}
			if before, known := r.withheld[a]; !known || rank(group.Reason) < rank(before) {
				r.withheld[a] = group.Reason
			}
			if group.Reason == v1beta1.ReasonAddressConflict {
				r.detail[a] = ": " + group.Message
			}
			if group.Reason == v1beta1.ReasonLocalAddress {
				r.detail[a] = ": on node " + s.Name + " " + group.Message
			}
		}
	}
}

// readConflicts notes which addresses of ours other hosts have.
func (r *Reports) readConflicts(s *v1beta1.Speaker) {
	for _, one := range s.Status.Conflicts {
		a, err := config.ParseAddress(one.Address)
		if err != nil {
			continue
		}
		known, again := r.conflicts[a]
		first := one.Found == v1beta1.FoundAtFirstUse && (!again || known.FirstUse)
		r.conflicts[a] = Conflict{MAC: cmp.Or(one.MAC, known.MAC), FirstUse: first}
	}
}

// noteSeveral notes since when several nodes answer for one address; it reports
// whether that is so of one for no longer than a hand-over takes.
func (r *Reports) noteSeveral(now time.Time) (undecided bool) {
	several := make(map[netip.Addr]time.Time)
	for a, nodes := range r.holders {
		if len(nodes) < 2 {
			continue
		}
		since, known := r.several[a]
		if !known {
			since = now
		}
		several[a] = since
		if now.Sub(since) < severalFor {
			undecided = true
		} else {
			r.contested[a] = true
		}
	}
	r.several = several
	return undecided
}

// noteSilence notes since when no Speaker is ready; it reports whether that may yet
// be a restart.
func (r *Reports) noteSilence(noneReady bool, now time.Time) (undecided bool) {
	switch {
	case !noneReady:
		r.silentSince = time.Time{}
		return false
	case r.silentSince.IsZero():
		r.silentSince = now
	}
	r.silent = now.Sub(r.silentSince) >= silentFor
	return !r.silent
}

// Speakers is how many report. Where none does, nothing follows from anything.
func (r *Reports) Speakers() int { return r.speakers }

// Contested counts the addresses for which several nodes answer in layer 2, each of
// which should be the only one, for longer than a hand-over takes.
func (r *Reports) Contested() int { return len(r.contested) }

// Announced reports whether any node announces the address.
func (r *Reports) Announced(a netip.Addr) bool { return len(r.announcers[a]) > 0 }

// Conflicts are the addresses that other hosts have, in any order.
func (r *Reports) Conflicts() iter.Seq2[netip.Addr, Conflict] { return maps.All(r.conflicts) }

// Conflicting reports whether another host has the address.
func (r *Reports) Conflicting(a netip.Addr) bool {
	_, is := r.conflicts[a]
	return is
}
