package bfd

import (
	"encoding/binary"
	"errors"
	"time"
)

// State of a session (RFC 5880 section 4.1).
type State string

// States of a session.
const (
	AdminDown State = "AdminDown"
	Down      State = "Down"
	Init      State = "Init"
	Up        State = "Up"
)

// Diagnostics: why the state is not Up any more (RFC 5880 section 4.1).
const (
	diagNone         = 0
	diagExpired      = 1
	diagNeighborDown = 3
	diagAdminDown    = 7
)

// controlSize of a packet without authentication, in bytes.
const controlSize = 24

// control is a BFD Control packet (RFC 5880 section 4.1). An interval has
// microseconds on the wire.
type control struct {
	state                                State
	diag                                 uint8
	poll, final, demand                  bool
	detectMult                           uint8
	myDiscriminator, yourDiscriminator   uint32
	desiredMinTx, requiredMinRx, minEcho time.Duration
}

func wireStates() [4]State { return [...]State{AdminDown, Down, Init, Up} }

// Bits of the second byte, beside the state. Control Plane Independent (0x08)
// tells nothing that is used here.
const (
	bitPoll, bitFinal, bitAuth, bitDemand, bitMultipoint = 0x20, 0x10, 0x04, 0x02, 0x01

	stateShift, versionShift = 6, 5
	version                  = 1
	diagMask                 = 0x1f
)

func (c *control) marshal() []byte {
	b := make([]byte, controlSize)
	b[0] = version<<versionShift | c.diag
	for i, s := range wireStates() {
		if s == c.state {
			b[1] = byte(i) << stateShift
		}
	}
	for bit, set := range map[byte]bool{bitPoll: c.poll, bitFinal: c.final, bitDemand: c.demand} {
		if set {
			b[1] |= bit
		}
	}
	b[2], b[3] = c.detectMult, controlSize
	binary.BigEndian.PutUint32(b[4:], c.myDiscriminator)
	binary.BigEndian.PutUint32(b[8:], c.yourDiscriminator)
	binary.BigEndian.PutUint32(b[12:], uint32(c.desiredMinTx/time.Microsecond))
	binary.BigEndian.PutUint32(b[16:], uint32(c.requiredMinRx/time.Microsecond))
	binary.BigEndian.PutUint32(b[20:], uint32(c.minEcho/time.Microsecond))
	return b
}

// parse reads a packet, and refuses what RFC 5880 section 6.8.6 says must be
// discarded before the session is looked for.
func parse(b []byte) (control, error) {
	if len(b) < controlSize || int(b[3]) < controlSize || int(b[3]) > len(b) {
		return control{}, errors.New("bad length")
	}
	interval := func(at int) time.Duration {
		return time.Duration(binary.BigEndian.Uint32(b[at:])) * time.Microsecond
	}
	c := control{
		state: wireStates()[b[1]>>stateShift], diag: b[0] & diagMask,
		poll: b[1]&bitPoll != 0, final: b[1]&bitFinal != 0, demand: b[1]&bitDemand != 0, detectMult: b[2],
		myDiscriminator: binary.BigEndian.Uint32(b[4:]), yourDiscriminator: binary.BigEndian.Uint32(b[8:]),
		desiredMinTx: interval(12), requiredMinRx: interval(16), minEcho: interval(20), //nolint:mnd // offsets of RFC 5880 section 4.1
	}
	switch {
	case b[0]>>versionShift != version:
		return control{}, errors.New("bad version")
	case c.detectMult == 0:
		return control{}, errors.New("detect multiplier of zero")
	case b[1]&bitMultipoint != 0:
		return control{}, errors.New("multipoint is reserved")
	case c.myDiscriminator == 0:
		return control{}, errors.New("no discriminator of the sender")
	case c.yourDiscriminator == 0 && c.state != Down && c.state != AdminDown:
		return control{}, errors.New("no discriminator of the receiver")
	case b[1]&bitAuth != 0:
		return control{}, errors.New("authentication is not in use")
	}
	return c, nil
}
