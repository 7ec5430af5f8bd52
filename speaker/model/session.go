package model

import (
	"net/netip"
	"time"
)

// Secret is text that is never written out.
type Secret string

// String hides it from logs.
func (Secret) String() string { return "(hidden)" }

// GoString hides it from %#v.
func (Secret) GoString() string { return "(hidden)" }

// MarshalText hides it from JSON and structured logs.
func (Secret) MarshalText() ([]byte, error) { return []byte("(hidden)"), nil }

// Gateways are where the default routes of a node lead; not valid without one.
type Gateways struct{ IPv4, IPv6 netip.Addr }

// Prefixes are what a router has been told.
type Prefixes interface {
	// Covers reports whether one of them has the address in it.
	Covers(a netip.Addr) bool
}

// Unsent is a prefix that a router is not told, and why.
type Unsent struct {
	Prefix netip.Prefix
	Why    string
}

// Session is what there is to know of a BGP session.
type Session struct {
	// Name of the BGPPeer, and Address of the router.
	Name    string
	Address netip.Addr
	// Established reports whether it stands, and Since is when it began to, or
	// was lost; zero before.
	Established bool
	Since       time.Time
	// PeerASN that the router has.
	PeerASN uint32
	// LastError is why it is not established, or was last lost.
	LastError string
	// BFD is the state of the path, empty when it is not watched, and BFDError
	// what keeps it from being up, empty unless that lasts.
	BFD, BFDError string
	// WhyIPv4 and WhyIPv6 are why an established session does not carry a family
	// that is wanted.
	WhyIPv4, WhyIPv6 string
	// GracefulRestart says that both ends agreed on it in this session.
	GracefulRestart bool
	// Told is what the router knows, and Sent how many prefixes that is. Unsent
	// are prefixes that the session cannot carry, the first of them.
	Told   Prefixes
	Sent   int
	Unsent []Unsent
}

// Why returns why the session does not carry an address's family.
func (s *Session) Why(a netip.Addr) string {
	if a.Is4() {
		return s.WhyIPv4
	}
	return s.WhyIPv6
}
