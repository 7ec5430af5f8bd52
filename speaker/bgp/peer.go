package bgp

import (
	"net/netip"
	"slices"
	"time"
)

// Side of the AS border that a peer of unknown AS number must be on.
type Side string

// Sides.
const (
	External Side = "external"
	Internal Side = "internal"
)

// Secret is text that is never written out.
type Secret string

// String hides it from logs.
func (Secret) String() string { return "(hidden)" }

// GoString hides it from %#v.
func (Secret) GoString() string { return "(hidden)" }

// MarshalText hides it from JSON and structured logs.
func (Secret) MarshalText() ([]byte, error) { return []byte("(hidden)"), nil }

// Peer is a session to have. Two that are equal are the same session.
type Peer struct {
	Name string
	// Address of the router, with a zone where it is link-local. It is not
	// valid where Interface says at whose other end the router is; then the
	// session finds it by router advertisements.
	Address   netip.Addr
	Interface string
	Port      uint16
	// Source and RouterID are not valid unless they are wanted.
	Source, RouterID netip.Addr
	// MyASN is ours. LocalASN, unless it is zero, is what the router knows us
	// by. PeerASN is zero when any is taken that is on the side Dynamic.
	MyASN, LocalASN, PeerASN uint32
	Dynamic                  Side
	// HoldTime is zero or at least 3 s. KeepAlive is zero when it follows from
	// the hold time.
	HoldTime, KeepAlive, ConnectTime time.Duration
	Password                         Secret
	// GracefulRestart asks the router to keep our paths while we restart.
	GracefulRestart       bool
	MultiHop, TTLSecurity bool
	// DualFamily carries both families, and so does an Interface; otherwise
	// only Address's.
	DualFamily bool
	// BFD watches the path unless its Multiplier is zero.
	BFD BFD
}

// BFD has the times by which a path is watched.
type BFD struct {
	Receive, Transmit time.Duration
	Multiplier        uint8
	// MinTTL is what packets must have that come over several hops.
	MinTTL uint8
	// Passive waits for the router to begin.
	Passive bool
}

// detection is how long the router hears nothing before it gives the path up,
// unless it asks for fewer packets (RFC 5880 section 6.8.4).
func (b BFD) detection() time.Duration { return time.Duration(b.Multiplier) * b.Transmit }

// as is our number as the router knows it.
func (p *Peer) as() uint32 {
	if p.LocalASN != 0 {
		return p.LocalASN
	}
	return p.MyASN
}

// Path is what goes with a prefix.
type Path struct {
	// LocalPref, for peers of our AS, and MED are nil unless they are wanted.
	LocalPref, MED *uint32
	// Prepend is how often our number is put in front once more.
	Prepend          int
	Communities      []uint32
	LargeCommunities [][3]uint32
	// Bandwidth of the link behind us in bytes a second, by which a router
	// weighs next hops; zero means none is told.
	Bandwidth float32
}

// Equal reports whether two paths are the same to a router; nil, which is no
// path, equals nil alone.
func (p *Path) Equal(o *Path) bool {
	if p == nil || o == nil {
		return p == o
	}
	return same(p.LocalPref, o.LocalPref) && same(p.MED, o.MED) && p.Prepend == o.Prepend && p.Bandwidth == o.Bandwidth &&
		slices.Equal(p.Communities, o.Communities) && slices.Equal(p.LargeCommunities, o.LargeCommunities)
}

func same(a, b *uint32) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// Route is a path to a prefix.
type Route struct {
	Prefix netip.Prefix
	Path   *Path
}

// Paths are one Route for each prefix, in the order of netip.Prefix.Compare.
// They may be shared; nobody changes them.
type Paths []Route

// compare calls changed for each route that is not in before as it is in p,
// and gone for each prefix of before that p lacks.
func (p Paths) compare(before Paths, changed func(Route), gone func(netip.Prefix)) {
	for len(p) > 0 || len(before) > 0 {
		order := 0
		switch {
		case len(p) == 0:
			order = 1
		case len(before) == 0:
			order = -1
		case p[0].Prefix != before[0].Prefix:
			order = p[0].Prefix.Compare(before[0].Prefix)
		}
		if order > 0 {
			gone(before[0].Prefix)
			before = before[1:]
			continue
		}
		if order < 0 || p[0].Path != before[0].Path && !p[0].Path.Equal(before[0].Path) {
			changed(p[0])
		}
		if order == 0 {
			before = before[1:]
		}
		p = p[1:]
	}
}

// Desired is a session to have and what to tell the router.
type Desired struct {
	Peer  Peer
	Paths Paths
}

// State of a session (RFC 4271, section 8.2.2).
type State string

// States.
const (
	Idle        State = "Idle"
	Connect     State = "Connect"
	OpenSent    State = "OpenSent"
	OpenConfirm State = "OpenConfirm"
	Established State = "Established"
)

// Status of a session.
type Status struct {
	Name    string
	Address netip.Addr
	State   State
	// Since is when it was established, or lost; zero before.
	Since time.Time
	// PeerASN that the router has.
	PeerASN uint32
	// LastError is why it is not established, or was last lost.
	LastError string
	// BFD is the state of the path, empty when it is not watched.
	BFD BFDState
	// Sent is how many prefixes the router has been told.
	Sent int
	// Established, Updates and Heard count the sessions, the UPDATEs sent and
	// the UPDATEs received and dropped, since the speaker started.
	Established, Updates, Heard uint64
	// Panics counts the faults of ours that ended a session, and nothing else.
	Panics uint64
}
