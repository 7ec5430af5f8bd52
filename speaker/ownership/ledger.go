package ownership

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/baliza-lb/baliza/speaker/model"
)

// Bounds of what a speaker tells of itself.
const (
	MostMACs  = 255
	MostLinks = 255
)

// Claim is an address that a speaker answers for.
type Claim struct {
	Address netip.Addr
	// Epoch orders the takings of addresses: who takes one says an epoch
	// beyond every one that it has heard of.
	Epoch uint64
}

// Claims are all of a speaker's.
type Claims struct {
	// Version grows by one with each change.
	Version uint64
	// List is sorted by address.
	List []Claim
	// Unable are addresses, sorted, that would be the claimant's and that it
	// cannot or does not want to answer for: its sockets fail, it is in conflict
	// with another host, it is about to hand them over.
	Unable []netip.Addr
	// Successions are addresses, sorted, that the claimant hands to others.
	Successions []model.Succession
	// MACs are those that the claimant answers with.
	MACs []model.MAC
	// Links are the claimant's interfaces, sorted by name. Nothing is known of
	// names that it leaves out.
	Links []model.Link
}

// Change of somebody's claims, from one version to the next.
type Change struct {
	From uint64
	// Other says that something beside the addresses has changed, which has to be
	// asked for.
	Other bool
	// Added has what is new, and Removed what is no more, sorted by address.
	Added   []Claim
	Removed []netip.Addr
}

// mostChanges are remembered.
const mostChanges = 16

// MostUnable bounds what a speaker says that it cannot hold.
const MostUnable = 1024

// foreign is what another speaker claims.
type foreign struct {
	Claims
	strength uint16
	// partly says that only the addresses are those of the version.
	partly bool
}

// Ledger is who owns what, as far as one speaker knows. It is pure: no clock,
// no lock, no network.
type Ledger struct {
	self  string
	clock uint64
	mine  Claims
	// strength is how many speakers this one has not been parted from, itself
	// included, since it last agreed with all the living on who owns what; zero
	// before it did for the first time. Of two who claim one address after a
	// partition, the one that was among more keeps it: most clients are there.
	strength uint16
	// recent are the last changes of mine, up to its version.
	recent []Change
	theirs map[string]*foreign
	// macs outlive the claims: whom we hold dead may answer still.
	macs map[string][]model.MAC
}

// NewLedger makes the empty one of a speaker.
func NewLedger(self string) *Ledger {
	return &Ledger{self: self, mine: Claims{Version: 1}, theirs: map[string]*foreign{}, macs: map[string][]model.MAC{}}
}

// Hold says what this speaker answers for from now on, sorted. What is new
// gets an epoch beyond all others; what was claimed before keeps its own.
func (l *Ledger) Hold(addresses []netip.Addr) (changed bool) {
	list := make([]Claim, 0, len(addresses))
	change := Change{From: l.mine.Version}
	old, next := l.mine.List, l.clock+1
	for _, a := range addresses {
		for len(old) > 0 && old[0].Address.Less(a) {
			change.Removed, old = append(change.Removed, old[0].Address), old[1:]
		}
		if len(old) > 0 && old[0].Address == a {
			list, old = append(list, old[0]), old[1:]
			continue
		}
		one := Claim{Address: a, Epoch: next}
		list, change.Added = append(list, one), append(change.Added, one)
		l.clock = next
	}
	for _, c := range old {
		change.Removed = append(change.Removed, c.Address)
	}
	if len(change.Added)+len(change.Removed) == 0 {
		return false
	}
	l.mine.List = list
	l.note(change)
	return true
}

// note makes a new version, to which a change leads.
func (l *Ledger) note(change Change) {
	l.mine.Version++
	l.recent = append(l.recent, change)
	l.recent = l.recent[max(0, len(l.recent)-mostChanges):]
}

// Recent are the last changes of this speaker's claims, each from the version to
// which the one before it led, up to the present one.
func (l *Ledger) Recent() []Change { return l.recent }

// Forget drops the changes that led to versions up to this one.
func (l *Ledger) Forget(version uint64) {
	l.recent = slices.DeleteFunc(l.recent, func(c Change) bool { return c.From < version })
}

// Weigh sets the strength of this speaker's claims.
func (l *Ledger) Weigh(strength int) (changed bool) {
	s := uint16(min(max(strength, 0), 65535))
	changed = s != l.strength
	l.strength = s
	return changed
}

// Strength of this speaker's claims.
func (l *Ledger) Strength() uint16 { return l.strength }

// Cannot says which addresses this speaker cannot hold, and which it hands to
// whom, both sorted. Only the first MostUnable of either are told.
func (l *Ledger) Cannot(addresses []netip.Addr, successions []model.Succession) (changed bool) {
	addresses, successions = addresses[:min(len(addresses), MostUnable)], successions[:min(len(successions), MostUnable)]
	if slices.Equal(addresses, l.mine.Unable) && slices.Equal(successions, l.mine.Successions) {
		return false
	}
	l.mine.Unable, l.mine.Successions = addresses, successions
	l.note(Change{From: l.mine.Version, Other: true})
	return true
}

// Successions are what the others hand to whom.
func (l *Ledger) Successions() map[netip.Addr]model.Handing {
	all := map[netip.Addr]model.Handing{}
	for name, claims := range l.theirs {
		for _, s := range claims.Successions {
			if before, told := all[s.Address]; !told || name < before.By {
				all[s.Address] = model.Handing{By: name, To: s.Node}
			}
		}
	}
	return all
}

// Unable are the names of those that say that they cannot hold an address, by
// address, sorted; this speaker is not among them.
func (l *Ledger) Unable() map[netip.Addr][]string {
	all := map[netip.Addr][]string{}
	for name, claims := range l.theirs {
		for _, a := range claims.Unable {
			all[a] = append(all[a], name)
		}
	}
	for _, names := range all {
		slices.Sort(names)
	}
	return all
}

// Locate says with which MACs this speaker answers, and of which interfaces it
// can. Only the first MostMACs and MostLinks are told.
func (l *Ledger) Locate(macs []model.MAC, links []model.Link) (changed bool) {
	macs, links = macs[:min(len(macs), MostMACs)], links[:min(len(links), MostLinks)]
	if slices.Equal(macs, l.mine.MACs) && slices.EqualFunc(links, l.mine.Links, func(a, b model.Link) bool { return a.Equal(&b) }) {
		return false
	}
	l.mine.MACs, l.mine.Links = macs, links
	l.note(Change{From: l.mine.Version, Other: true})
	return true
}

// Links returns what each of the other speakers has said of its interfaces.
func (l *Ledger) Links() map[string][]model.Link {
	all := make(map[string][]model.Link, len(l.theirs))
	for name, claims := range l.theirs {
		all[name] = claims.Links
	}
	return all
}

// Hear takes over what a living speaker claims, and with which strength.
func (l *Ledger) Hear(name string, claims Claims, strength uint16) {
	if name == l.self {
		return
	}
	l.tick(claims.List)
	l.theirs[name] = &foreign{Claims: claims, strength: strength}
	if len(claims.MACs) > 0 {
		l.macs[name] = claims.MACs
	}
}

// tick brings the clock beyond the epochs of others.
func (l *Ledger) tick(claims []Claim) {
	for _, c := range claims {
		// An absurd epoch must not use up the numbers.
		if c.Epoch > l.clock && c.Epoch < 1<<62 {
			l.clock = c.Epoch
		}
	}
}

// Strengthen takes over the strength of a speaker whose claims are known.
func (l *Ledger) Strengthen(name string, strength uint16) (changed bool) {
	c, known := l.theirs[name]
	if !known || c.strength == strength {
		return false
	}
	c.strength = strength
	return true
}

// Follow takes over changes of a speaker's claims, as far as they go on from what
// is known.
func (l *Ledger) Follow(name string, changes []Change) (changed bool) {
	c, known := l.theirs[name]
	if !known {
		return false
	}
	for i := range changes {
		one := &changes[i]
		if one.From != c.Version {
			continue
		}
		list := make([]Claim, 0, len(c.List)+len(one.Added))
		for _, old := range c.List {
			if !slices.Contains(one.Removed, old.Address) {
				list = append(list, old)
			}
		}
		list = append(list, one.Added...)
		slices.SortFunc(list, func(a, b Claim) int { return a.Address.Compare(b.Address) })
		l.tick(one.Added)
		c.List, c.Version, c.partly, changed = list, one.From+1, c.partly || one.Other, true
	}
	return changed
}

// Foreign returns what another speaker claims, and with which strength.
func (l *Ledger) Foreign(name string) (claims Claims, strength uint16, known bool) {
	c, known := l.theirs[name]
	if !known {
		return Claims{}, 0, false
	}
	return c.Claims, c.strength, true
}

// MACs returns those of all speakers, alive or not, this one included.
func (l *Ledger) MACs() map[model.MAC]string {
	all := make(map[model.MAC]string, len(l.macs)+len(l.mine.MACs))
	for name, macs := range l.macs {
		for _, mac := range macs {
			all[mac] = name
		}
	}
	for _, mac := range l.mine.MACs {
		all[mac] = l.self
	}
	return all
}

// Lose forgets the claims of one that died: should it return, it must say
// them again. Until then they count for nothing.
func (l *Ledger) Lose(name string) { delete(l.theirs, name) }

// Disputed reports whether another claims what this speaker claims.
func (l *Ledger) Disputed() bool {
	claimed := make(map[netip.Addr]bool, len(l.mine.List))
	for _, c := range l.mine.List {
		claimed[c.Address] = true
	}
	for _, claims := range l.theirs {
		for _, c := range claims.List {
			if claimed[c.Address] {
				return true
			}
		}
	}
	return false
}

// Heard reports whether a speaker's claims are known, in whatever version.
func (l *Ledger) Heard(name string) bool {
	_, ok := l.theirs[name]
	return ok
}

// Version is that in which a speaker's claims are known, or zero.
func (l *Ledger) Version(name string) uint64 {
	if c := l.theirs[name]; c != nil {
		return c.Version
	}
	return 0
}

// Knows reports whether a speaker's claims are known, whole, in that version.
func (l *Ledger) Knows(name string, version uint64) bool {
	c, ok := l.theirs[name]
	return ok && c.Version == version && !c.partly
}

// Claims are this speaker's own.
func (l *Ledger) Claims() Claims { return l.mine }

type owner struct {
	name     string
	strength uint16
	epoch    uint64
}

// before orders claimants: strength, then the later taking, then the name.
func (o owner) before(other owner) bool {
	return cmp.Or(cmp.Compare(o.strength, other.strength), cmp.Compare(o.epoch, other.epoch), cmp.Compare(other.name, o.name)) > 0
}

// Owners returns who owns which address, this speaker included, which of its own
// another claims, too, and who claims what more than one does, sorted.
func (l *Ledger) Owners() (owners map[netip.Addr]string, contested []netip.Addr, claimants map[netip.Addr][]string) {
	best := make(map[netip.Addr]owner, len(l.mine.List))
	claimants = map[netip.Addr][]string{}
	for _, c := range l.mine.List {
		best[c.Address] = owner{l.self, l.strength, c.Epoch}
	}
	for name, claims := range l.theirs {
		for _, c := range claims.List {
			o := owner{name, claims.strength, c.Epoch}
			b, claimed := best[c.Address]
			if claimed && claimants[c.Address] == nil {
				claimants[c.Address] = []string{b.name}
			}
			if claimed {
				claimants[c.Address] = append(claimants[c.Address], name)
			}
			if !claimed || o.before(b) {
				best[c.Address] = o
			}
		}
	}
	owners = make(map[netip.Addr]string, len(best))
	for a, o := range best {
		owners[a] = o.name
	}
	for a, names := range claimants {
		slices.Sort(names)
		if owners[a] == l.self {
			contested = append(contested, a)
		}
	}
	slices.SortFunc(contested, netip.Addr.Compare)
	return owners, contested, claimants
}
