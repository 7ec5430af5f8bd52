package bgp

import (
	"net/netip"
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
}

// as is our number as the router knows it.
func (p *Peer) as() uint32 {
	if p.LocalASN != 0 {
		return p.LocalASN
	}
	return p.MyASN
}

// carries reports whether a session with the peer is to carry a family.
func (p *Peer) carries(f family) bool {
	return p.DualFamily || p.Interface != "" || p.Address.Is4() == (f == familyIPv4)
}

// sameRouter reports whether another peer leads to the same router, as far as
// can be told.
func (p *Peer) sameRouter(o *Peer) bool {
	return p.Address == o.Address && p.Interface == o.Interface && p.Port == o.Port
}

// needsNewSession reports whether a session that was opened for p cannot go on
// as one for o. Times between attempts and between KEEPALIVEs can change at any
// moment, and that graceful restart is no longer wanted only matters at the end.
func (p *Peer) needsNewSession(o *Peer) bool {
	kept := *p
	kept.ConnectTime, kept.KeepAlive = o.ConnectTime, o.KeepAlive
	kept.GracefulRestart = kept.GracefulRestart && o.GracefulRestart
	return kept != *o
}

// Desired is a session to have and what to tell the router.
type Desired struct {
	Peer  Peer
	Paths Paths
	// Missing is why the peer is not complete: its password or its gateway is
	// not known just now. A session that there is goes on as it was, for Grace,
	// or for as long as it takes where that is zero; none is begun.
	Missing string
	Grace   time.Duration
	// EditDelay is how long an established session that has to begin anew goes
	// on before it does: see EditDelay.
	EditDelay time.Duration
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

// FamilyStatus says what becomes of one address family in a session.
type FamilyStatus struct {
	// Wanted is asked for by the peer. Carried is agreed with the router, and
	// this node has a next hop for it.
	Wanted, Carried bool
	// NextHop that stands in the UPDATEs while it is carried.
	NextHop netip.Addr
	// Why an established session does not carry what is wanted.
	Why string
}

// Unsent is a prefix that the router is not told, and why.
type Unsent struct {
	Prefix netip.Prefix
	Why    string
}

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
	// BFD is the state of the path, empty when it is not watched, and BFDError
	// what keeps it from being Up, empty unless that lasts.
	BFD, BFDError string
	// IPv4 and IPv6 say which families the session carries.
	IPv4, IPv6 FamilyStatus
	// GracefulRestart says that both ends agreed on it in this session.
	GracefulRestart bool
	// Told is what the router has been sent and has not been taken back; nobody
	// changes it. Sent is its length.
	Told Paths
	Sent int
	// Unsent are prefixes that the session cannot carry though it carries their
	// family, in order, the first of them where there are many.
	Unsent []Unsent
	// Established, Updates and Heard count the sessions, the UPDATEs sent and
	// the UPDATEs received and dropped, since the speaker started.
	Established, Updates, Heard uint64
	// Panics counts the faults of ours that ended a session, and nothing else.
	Panics uint64
}

// Family returns the status of a prefix's or an address's family.
func (s *Status) Family(a netip.Addr) *FamilyStatus {
	if a.Is4() {
		return &s.IPv4
	}
	return &s.IPv6
}
