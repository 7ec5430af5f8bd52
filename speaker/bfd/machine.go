package bfd

import "time"

// Profile has the times by which a path is watched. Two that are equal are the
// same. The zero Profile watches nothing.
type Profile struct {
	// Receive and Transmit are RequiredMinRxInterval and DesiredMinTxInterval;
	// on the wire they have whole microseconds.
	Receive, Transmit time.Duration
	// Multiplier is DetectMult, 1 to 255; zero watches nothing.
	Multiplier uint8
	// MinTTL is what packets must have, at least, that come over several hops.
	MinTTL uint8
	// Passive leaves the first packet to the router.
	Passive bool
}

// Detection is how long the router hears nothing before it gives the path up,
// unless it asks for fewer packets (RFC 5880 section 6.8.4).
func (p Profile) Detection() time.Duration { return time.Duration(p.Multiplier) * p.Transmit }

// slowly is the least DesiredMinTxInterval of a session that is not Up
// (RFC 5880 section 6.8.3).
const slowly = time.Second

// pollState is how far a Poll Sequence is (RFC 5880 section 6.5).
type pollState int

const (
	pollNone pollState = iota
	// pollAsks has the P bit in every packet until a Final comes.
	pollAsks
	// pollAsksAgain does too, but something changed since: another sequence
	// has to follow.
	pollAsksAgain
	// pollGap sends one packet without the P bit, so that a late Final of the
	// last sequence is not taken for one of the next.
	pollGap
)

// machine is the state of one session, with the names of RFC 5880 section
// 6.8.1. It has no clock and no socket: time and packets come in as arguments.
//
// What must hold: txInUse is never longer, and rxInUse never shorter, than any
// value that the router may still go by, until a Final says that it goes by the
// profile's (section 6.8.3).
type machine struct {
	profile Profile

	state     State
	diag      uint8
	local     uint32 // LocalDiscr, never zero
	remote    uint32 // RemoteDiscr, zero when unknown
	remoteRx  time.Duration
	remoteTx  time.Duration
	mult      uint8 // the router's
	remoteUp  bool
	demand    bool // RemoteDemandMode
	heard     time.Time
	poll      pollState
	txInUse   time.Duration // while Up
	rxInUse   time.Duration
	nextTx    time.Time // when the next periodic packet is due
	lastState time.Time // when state changed
}

func newMachine(p Profile, discriminator uint32, now time.Time) *machine {
	return &machine{
		profile: p, state: Down, local: discriminator, remoteRx: time.Microsecond,
		txInUse: p.Transmit, rxInUse: p.Receive, nextTx: now, lastState: now,
	}
}

// configure takes another profile over (section 6.8.3, 6.8.10 to 6.8.12). A
// session that is Up asks the router in a Poll Sequence, at once. Until the
// answer a slower pace is not used for sending, nor a shorter interval for the
// detection time: the router may not know of them yet.
func (m *machine) configure(p Profile, now time.Time) {
	before := m.profile
	m.profile = p
	if m.state == AdminDown || before == p {
		return
	}
	m.nextTx = now
	if m.state != Up {
		m.txInUse, m.rxInUse = p.Transmit, p.Receive
		return
	}
	if before.Transmit == p.Transmit && before.Receive == p.Receive {
		return // a multiplier needs no poll (section 6.8.12)
	}
	m.txInUse, m.rxInUse = min(m.txInUse, p.Transmit), max(m.rxInUse, p.Receive)
	switch m.poll {
	case pollNone:
		m.poll = pollAsks
	case pollAsks:
		m.poll = pollAsksAgain
	case pollAsksAgain, pollGap: // another sequence follows anyway
	}
}

// disable turns the session off for good (section 6.8.16).
func (m *machine) disable(now time.Time) {
	m.enter(AdminDown, diagAdminDown, now)
}

// receive takes in a packet that is for this session, in the order of section
// 6.8.6. It returns the answer to a Poll, if there is one.
func (m *machine) receive(c *control, now time.Time) (answer control, ok bool) {
	if c.yourDiscriminator != 0 && c.yourDiscriminator != m.local {
		return control{}, false
	}
	if m.state == AdminDown {
		return control{}, false
	}
	interval := m.interval()
	m.remote, m.remoteRx, m.remoteTx, m.mult = c.myDiscriminator, c.requiredMinRx, c.desiredMinTx, c.detectMult
	m.remoteUp, m.demand, m.heard = c.state == Up, c.demand, now
	if c.final {
		m.finish()
	}
	m.transit(c.state, now)
	if quicker := now.Add(m.interval()); m.interval() < interval && quicker.Before(m.nextTx) {
		m.nextTx = quicker // the router may count on it from now on
	}
	if !c.poll {
		return control{}, false
	}
	answer = m.packet()
	answer.poll, answer.final = false, true
	return answer, true
}

// finish ends a Poll Sequence: the router goes by our values now.
func (m *machine) finish() {
	switch m.poll {
	case pollAsks:
		m.poll = pollNone
		m.txInUse, m.rxInUse = m.profile.Transmit, m.profile.Receive
	case pollAsksAgain:
		m.poll = pollGap
	case pollNone, pollGap: // a late one
	}
}

// transit is the state machine of section 6.2, as section 6.8.6 has it.
func (m *machine) transit(said State, now time.Time) {
	switch {
	case said == AdminDown:
		if m.state != Down {
			m.enter(Down, diagNeighborDown, now)
		}
	case m.state == Down && said == Down:
		m.enter(Init, m.diag, now)
	case m.state == Down && said == Init, m.state == Init && (said == Init || said == Up):
		m.enter(Up, diagNone, now)
	case m.state == Up && said == Down:
		m.enter(Down, diagNeighborDown, now)
	}
}

// enter another state. What differs from the last packet is said at once
// (section 6.8.7); the pace of Up is negotiated by a Poll Sequence.
func (m *machine) enter(state State, diag uint8, now time.Time) {
	m.state, m.diag, m.lastState, m.nextTx = state, diag, now, now
	m.txInUse, m.rxInUse, m.poll = m.profile.Transmit, m.profile.Receive, pollNone
	if state == Up {
		m.poll = pollAsks
	}
}

// expiry is when the detection time is over (section 6.8.4), or zero while
// nothing is known of the router.
func (m *machine) expiry() time.Time {
	if m.remote == 0 {
		return time.Time{}
	}
	return m.heard.Add(m.detection())
}

func (m *machine) detection() time.Duration {
	return time.Duration(m.mult) * max(m.rxInUse, m.remoteTx)
}

// tick does what is due. It returns a packet to send, if there is one, and
// whether the session was Up and the router has been silent for the detection
// time. The jitter is a random number from 0 to 1, 1 excluded.
func (m *machine) tick(now time.Time, jitter float64) (packet control, send, silent bool) {
	if end := m.expiry(); !end.IsZero() && !now.Before(end) {
		// In every state: a router that restarted knows none of the
		// discriminators of before (section 6.8.1), and what the last one
		// wanted of us does not hold for the next.
		silent = m.state == Up
		m.remote, m.remoteRx, m.remoteUp, m.demand = 0, time.Microsecond, false, false
		if m.state == Up || m.state == Init {
			m.enter(Down, diagExpired, now)
		}
	}
	if now.Before(m.nextTx) {
		return control{}, false, silent
	}
	if send = m.speaks(); send {
		packet = m.packet()
		if m.poll == pollGap {
			m.poll = pollAsks
		}
	}
	m.nextTx = now.Add(jittered(m.interval(), m.profile.Multiplier, jitter))
	return packet, send, silent
}

// next is when tick has something to do.
func (m *machine) next() time.Time {
	if end := m.expiry(); !end.IsZero() && end.Before(m.nextTx) {
		return end
	}
	return m.nextTx
}

// interval between our packets, before jitter (section 6.8.7).
func (m *machine) interval() time.Duration {
	tx := m.txInUse
	if m.state != Up {
		tx = max(m.profile.Transmit, slowly)
	}
	return max(tx, m.remoteRx)
}

// speaks reports whether periodic packets are to be sent (section 6.8.7).
func (m *machine) speaks() bool {
	passive := m.profile.Passive && m.remote == 0
	quiet := m.demand && m.state == Up && m.remoteUp && m.poll == pollNone
	return !passive && !quiet && m.remoteRx > 0
}

// packet is what is said (section 6.8.7).
func (m *machine) packet() control {
	tx := m.profile.Transmit
	if m.state != Up {
		tx = max(tx, slowly)
	}
	return control{
		state: m.state, diag: m.diag, poll: m.poll == pollAsks || m.poll == pollAsksAgain, detectMult: m.profile.Multiplier,
		myDiscriminator: m.local, yourDiscriminator: m.remote, desiredMinTx: tx, requiredMinRx: m.profile.Receive,
	}
}

// jittered shortens an interval by up to a quarter, and by a tenth at least
// where one lost packet is one too many (section 6.8.7).
func jittered(interval time.Duration, mult uint8, jitter float64) time.Duration {
	const least, most, mostOfOne = 0.75, 1.0, 0.9
	top := most
	if mult == 1 {
		top = mostOfOne
	}
	return time.Duration(float64(interval) * (least + jitter*(top-least)))
}
