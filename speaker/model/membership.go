package model

import (
	"fmt"
	"net/netip"
	"time"
)

// MAC is an Ethernet address.
type MAC [6]byte

// String writes it as "02:00:00:00:00:01".
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// MACOf takes the first six bytes; what has fewer is the zero MAC.
func MACOf(b []byte) (m MAC) {
	if len(b) >= len(m) {
		copy(m[:], b)
	}
	return m
}

// Membership is what one speaker knows of all speakers at one moment. It is
// made once for each change and never changed after: a pass that has taken one
// sees one moment.
type Membership struct {
	// Self is this speaker, and Address where the others reach it.
	Self    string
	Address netip.AddrPort
	// Alive are the names of the living, sorted, this speaker among them until
	// it leaves. Ready are those of Alive that have said that they are ready to
	// take addresses.
	Alive, Ready []string
	// Owners are the present owners of addresses, as far as it is known.
	Owners map[netip.Addr]string
	// Contested are the addresses that this speaker owns and that another
	// living one claims, too; sorted.
	Contested []netip.Addr
	// Claimants are those that claim an address, sorted, where several do.
	Claimants map[netip.Addr][]string
	// Unable are the others that say that they cannot hold an address, sorted.
	Unable map[netip.Addr][]string
	// Successions are those that the others have told of addresses that they own,
	// or have owned just now.
	Successions map[netip.Addr]Handing
	// Left are those that have departed as planned, sorted.
	Left []string
	// LastHeard is when there was the last sign of life of those that are not alive.
	LastHeard map[string]time.Time
	// FramesOnly are the living, sorted, that are heard over a segment and not at the
	// member port.
	FramesOnly []string
	// Broken are this speaker's interfaces over which nothing comes from the
	// others, or nothing gets to them, and why, in words.
	Broken map[string]string
	// Duplicate says that another process of the same name runs elsewhere.
	Duplicate bool
	// Links are the interfaces of the others, by speaker, sorted by name, as far
	// as they are known; see plan.View.
	Links map[string][]Link
	// MACs are those with which speakers answer, living or not, with the name
	// of the speaker.
	MACs map[MAC]string
	// UnsettledUntil is when this speaker will know enough to take what seems
	// to be free, unless something changes before; a time that has passed if it
	// does already.
	UnsettledUntil time.Time
	// Stalls counts how often this process found itself late.
	Stalls uint64
	// Changed is when anything else of this changed last.
	Changed time.Time
}

// Succession is whom the owner of an address hands it to.
type Succession struct {
	Address netip.Addr
	Node    string
}

// Handing is a Succession, and whose word it is.
type Handing struct{ By, To string }

// Settled reports whether this speaker may take what seems to be free, and if
// not how long it has to wait, at most.
func (m *Membership) Settled(now time.Time) (wait time.Duration, settled bool) {
	if m.UnsettledUntil.After(now) {
		return m.UnsettledUntil.Sub(now), false
	}
	return 0, true
}
