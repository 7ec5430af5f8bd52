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
	// Version grows with each change.
	Version uint64
	// Strength is how many speakers the claimant has not been parted from,
	// itself included, since it last agreed with all the living on who owns
	// what; zero before it did for the first time. Of two who claim one
	// address after a partition, the one that was among more keeps it: most
	// clients are there.
	Strength uint16
	// List is sorted by address.
	List []Claim
	// MACs are those that the claimant answers with.
	MACs []model.MAC
	// Links are the claimant's interfaces, sorted by name. Nothing is known of
	// names that it leaves out.
	Links []model.Link
}

// Ledger is who owns what, as far as one speaker knows. It is pure: no clock,
// no lock, no network.
type Ledger struct {
	self   string
	clock  uint64
	mine   Claims
	theirs map[string]Claims
	// macs outlive the claims: whom we hold dead may answer still.
	macs map[string][]model.MAC
}

// NewLedger makes the empty one of a speaker.
func NewLedger(self string) *Ledger {
	return &Ledger{self: self, mine: Claims{Version: 1}, theirs: map[string]Claims{}, macs: map[string][]model.MAC{}}
}

// Hold says what this speaker answers for from now on, sorted. What is new
// gets an epoch beyond all others; what was claimed before keeps its own.
func (l *Ledger) Hold(addresses []netip.Addr) (changed bool) {
	list := make([]Claim, 0, len(addresses))
	old, next := l.mine.List, l.clock+1
	for _, a := range addresses {
		for len(old) > 0 && old[0].Address.Less(a) {
			old, changed = old[1:], true
		}
		if len(old) > 0 && old[0].Address == a {
			list, old = append(list, old[0]), old[1:]
			continue
		}
		list, changed = append(list, Claim{Address: a, Epoch: next}), true
		l.clock = next
	}
	if changed = changed || len(old) > 0; changed {
		l.mine.List = list
		l.mine.Version++
	}
	return changed
}

// Weigh sets the strength of this speaker's claims.
func (l *Ledger) Weigh(strength int) (changed bool) {
	s := uint16(min(max(strength, 0), 65535))
	if s == l.mine.Strength {
		return false
	}
	l.mine.Strength = s
	l.mine.Version++
	return true
}

// Locate says with which MACs this speaker answers, and of which interfaces it
// can. Only the first MostMACs and MostLinks are told.
func (l *Ledger) Locate(macs []model.MAC, links []model.Link) (changed bool) {
	macs, links = macs[:min(len(macs), MostMACs)], links[:min(len(links), MostLinks)]
	if slices.Equal(macs, l.mine.MACs) && slices.EqualFunc(links, l.mine.Links, func(a, b model.Link) bool { return a.Equal(&b) }) {
		return false
	}
	l.mine.MACs, l.mine.Links = macs, links
	l.mine.Version++
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

// Hear takes over what a living speaker claims.
func (l *Ledger) Hear(name string, claims Claims) {
	if name == l.self {
		return
	}
	for _, c := range claims.List {
		// An absurd epoch must not use up the numbers.
		if c.Epoch > l.clock && c.Epoch < 1<<62 {
			l.clock = c.Epoch
		}
	}
	l.theirs[name] = claims
	if len(claims.MACs) > 0 {
		l.macs[name] = claims.MACs
	}
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
// them again. Until then they count for nothing. Our own become a new version,
// so that it asks for them and learns that it was held dead.
func (l *Ledger) Lose(name string) {
	delete(l.theirs, name)
	l.mine.Version++
}

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
func (l *Ledger) Version(name string) uint64 { return l.theirs[name].Version }

// Knows reports whether a speaker's claims are known in that version.
func (l *Ledger) Knows(name string, version uint64) bool {
	c, ok := l.theirs[name]
	return ok && c.Version == version
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

// Owners returns who owns which address, this speaker included, and which of
// its own another claims, too.
func (l *Ledger) Owners() (owners map[netip.Addr]string, contested []netip.Addr) {
	best := make(map[netip.Addr]owner, len(l.mine.List))
	claimed := make(map[netip.Addr]bool, len(l.mine.List))
	for _, c := range l.mine.List {
		best[c.Address], claimed[c.Address] = owner{l.self, l.mine.Strength, c.Epoch}, true
	}
	twice := map[netip.Addr]bool{}
	for name, claims := range l.theirs {
		for _, c := range claims.List {
			o := owner{name, claims.Strength, c.Epoch}
			if claimed[c.Address] {
				twice[c.Address] = true
			}
			if b, ok := best[c.Address]; !ok || o.before(b) {
				best[c.Address] = o
			}
		}
	}
	owners = make(map[netip.Addr]string, len(best))
	for a, o := range best {
		owners[a] = o.name
		if twice[a] && o.name == l.self {
			contested = append(contested, a)
		}
	}
	slices.SortFunc(contested, netip.Addr.Compare)
	return owners, contested
}
