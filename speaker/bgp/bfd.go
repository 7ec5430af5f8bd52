package bgp

import (
	"encoding/binary"
	"errors"
	"time"
)

// BFDState of a path (RFC 5880 section 4.1).
type BFDState string

// States of a path.
const (
	BFDAdminDown BFDState = "AdminDown"
	BFDDown      BFDState = "Down"
	BFDInit      BFDState = "Init"
	BFDUp        BFDState = "Up"
)

// Diagnostics: why the state is not Up any more.
const (
	diagNone         = 0
	diagExpired      = 1
	diagNeighborDown = 3
	diagAdminDown    = 7
)

// slowly is the least time between packets while a path is not Up
// (RFC 5880 section 6.8.3).
const slowly = time.Second

// controlSize of a packet without authentication.
const controlSize = 24

// control is a BFD control packet.
type control struct {
	state             BFDState
	diag              uint8
	poll, final       bool
	multiplier        uint8
	mine, yours       uint32 // discriminators
	transmit, receive time.Duration
}

func wireStates() [4]BFDState { return [...]BFDState{BFDAdminDown, BFDDown, BFDInit, BFDUp} }

// Bits of the second byte, beside the state.
const (
	bitPoll, bitFinal, bitAuth, bitMultipoint = 0x20, 0x10, 0x04, 0x01
	stateShift, versionShift                  = 6, 5
	bfdVersion                                = 1
)

func (c *control) marshal() []byte {
	b := make([]byte, controlSize)
	b[0] = bfdVersion<<versionShift | c.diag
	for i, s := range wireStates() {
		if s == c.state {
			b[1] = byte(i) << stateShift
		}
	}
	if c.poll {
		b[1] |= bitPoll
	}
	if c.final {
		b[1] |= bitFinal
	}
	b[2], b[3] = c.multiplier, controlSize
	binary.BigEndian.PutUint32(b[4:], c.mine)
	binary.BigEndian.PutUint32(b[8:], c.yours)
	binary.BigEndian.PutUint32(b[12:], uint32(c.transmit/time.Microsecond))
	binary.BigEndian.PutUint32(b[16:], uint32(c.receive/time.Microsecond))
	return b
}

// parseControl reads a packet and refuses what RFC 5880 section 6.8.6 says is
// to be discarded.
func parseControl(b []byte) (control, error) {
	if len(b) < controlSize || int(b[3]) < controlSize || int(b[3]) > len(b) {
		return control{}, errors.New("bad length")
	}
	c := control{
		state: wireStates()[b[1]>>stateShift], diag: b[0] & 0x1f, poll: b[1]&bitPoll != 0, final: b[1]&bitFinal != 0,
		multiplier: b[2], mine: binary.BigEndian.Uint32(b[4:]), yours: binary.BigEndian.Uint32(b[8:]),
		transmit: time.Duration(binary.BigEndian.Uint32(b[12:])) * time.Microsecond,
		receive:  time.Duration(binary.BigEndian.Uint32(b[16:])) * time.Microsecond,
	}
	switch {
	case b[0]>>versionShift != bfdVersion:
		return control{}, errors.New("bad version")
	case c.multiplier == 0, c.mine == 0, b[1]&bitMultipoint != 0:
		return control{}, errors.New("bad packet")
	case b[1]&bitAuth != 0:
		return control{}, errors.New("authentication is not in use")
	case c.yours == 0 && c.state != BFDDown && c.state != BFDAdminDown:
		return control{}, errors.New("no discriminator")
	}
	return c, nil
}

// machine is the state of one path (RFC 5880 section 6.8.1). It has no clock
// and no socket: time comes in as an argument.
type machine struct {
	times  BFD
	state  BFDState
	diag   uint8
	mine   uint32 // never zero
	yours  uint32
	remote control // the last packet
	heard  time.Time
	poll   bool
	admin  bool
}

func newMachine(times BFD, discriminator uint32) *machine {
	return &machine{times: times, state: BFDDown, mine: discriminator}
}

// retime changes the times; the other end is polled about them.
func (m *machine) retime(times BFD) {
	m.times = times
	m.poll = m.state == BFDUp
}

// shut turns the path off for good.
func (m *machine) shut() { m.state, m.diag, m.admin = BFDAdminDown, diagAdminDown, true }

// receive takes in a packet that is for this path. It returns an answer to
// send at once, if there is one.
func (m *machine) receive(c *control, now time.Time) (answer *control) {
	if c.yours != 0 && c.yours != m.mine || m.admin {
		return nil
	}
	m.remote, m.yours, m.heard = *c, c.mine, now
	if c.final {
		m.poll = false
	}
	m.step(c)
	if c.poll {
		reply := m.packet()
		reply.poll, reply.final = false, true
		return &reply
	}
	return nil
}

// step is the state machine of RFC 5880 section 6.2.
func (m *machine) step(c *control) {
	switch {
	case c.state == BFDAdminDown:
		if m.state != BFDDown {
			m.down(diagNeighborDown)
		}
	case m.state == BFDDown && c.state == BFDDown:
		m.state = BFDInit
	case m.state == BFDDown && c.state == BFDInit, m.state == BFDInit && (c.state == BFDInit || c.state == BFDUp):
		m.state, m.diag, m.poll = BFDUp, diagNone, true // the pace changes
	case m.state == BFDUp && c.state == BFDDown:
		m.down(diagNeighborDown)
	}
}

func (m *machine) down(why uint8) {
	m.state, m.diag, m.poll = BFDDown, why, false
}

// expire tells whether the other end has been silent for too long, and notes
// that it has.
func (m *machine) expire(now time.Time) bool {
	if m.state != BFDUp && m.state != BFDInit || now.Before(m.heard.Add(m.detection())) {
		return false
	}
	wasUp := m.state == BFDUp
	m.down(diagExpired)
	m.yours = 0
	return wasUp
}

// detection is after how much silence the path is down.
func (m *machine) detection() time.Duration {
	return time.Duration(m.remote.multiplier) * max(m.times.Receive, m.remote.transmit)
}

// pace is the time between our packets, before jitter.
func (m *machine) pace() time.Duration { return max(m.transmit(), m.remote.receive) }

func (m *machine) transmit() time.Duration {
	if m.state != BFDUp {
		return max(m.times.Transmit, slowly)
	}
	return m.times.Transmit
}

// speaks tells whether packets are to be sent (RFC 5880 section 6.8.7).
func (m *machine) speaks() bool {
	if m.times.Passive && m.yours == 0 {
		return false
	}
	return !m.heard.IsZero() && m.remote.receive > 0 || m.heard.IsZero()
}

func (m *machine) packet() control {
	return control{
		state: m.state, diag: m.diag, poll: m.poll, multiplier: m.times.Multiplier, mine: m.mine, yours: m.yours,
		transmit: m.transmit(), receive: m.times.Receive,
	}
}
