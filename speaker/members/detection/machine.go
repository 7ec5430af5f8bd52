package detection

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/ownership"
)

const (
	// askAgain is when claims that did not come are asked for again.
	askAgain = 60 * time.Millisecond
	// onePacket is the most, in bytes, that is sent in a packet; what is
	// longer takes a stream.
	onePacket = 1200
	// introduction is how long a speaker waits, at most, before it takes
	// anything: for the claims of one that has just appeared and, if it is
	// alone and was not always, for anybody after its interfaces have changed.
	// Kernels that could not reach a neighbor ask for it again once a second.
	introduction = 1200 * time.Millisecond
	// seekClosely is how long a lost speaker gets every beat; then it gets
	// every tenth.
	seekClosely, seekEvery = time.Minute, 10
)

// Config of a Machine.
type Config struct {
	// Name of the Kubernetes node. No two speakers may share it.
	Name string
	// Address is where the others reach this speaker.
	Address netip.AddrPort
	// Incarnation is when this process started, in nanoseconds: later ones of
	// the same name count, earlier ones do not.
	Incarnation uint64
	// Settings, normally Default().
	Settings Settings
	// Random returns numbers from 0 to 1.
	Random func() float64
}

// Packet is one to be sent to another speaker.
type Packet struct {
	To string
	At netip.AddrPort
	// Bytes are not changed after.
	Bytes []byte
	// Stream says that it is too long for a packet. Sent must be called when
	// it was sent, or could not be: until then no other stream goes to the
	// same speaker.
	Stream bool
}

// Output is what follows from what a Machine was told.
type Output struct {
	// Packets are to be sent, in this order.
	Packets []Packet
	// Early says that Turn is to be called at once.
	Early bool
	// Changed says that Snapshot differs from before.
	Changed bool
}

// Machine is one speaker's part in the protocol between speakers. It is for one
// goroutine at a time. After each call of any other method Take says what is to
// be done.
type Machine struct {
	config   Config
	detector *detector
	ledger   *ownership.Ledger
	sequence uint64
	ready    bool
	leaving  bool
	// joined is when somebody joined last, or this process stood still;
	// unsettled until then plus a little: see Membership.UnsettledUntil.
	lastJoin       time.Time
	unsettledUntil time.Time
	// networkChanged is when the network has changed last.
	networkChanged time.Time
	sending        map[string]bool           // streams that are under way
	wanted         map[string]netip.AddrPort // see Seek

	planned time.Time // the next turn
	nextOwn time.Time // the next beat that is due by itself
	round   int       // of beats

	alive, living []string // living are those that are ready
	snapshot      *model.Membership
	changedAt     time.Time
	output        Output
	stalls        uint64
}

// New makes the machine of a speaker that is alone, until it has heard others.
func New(config Config, now time.Time) *Machine {
	m := &Machine{
		config: config, detector: newDetector(config.Name, config.Settings), ledger: ownership.NewLedger(config.Name),
		lastJoin: now, planned: now, sending: map[string]bool{},
	}
	m.publish(now)
	m.output, m.changedAt = Output{}, time.Time{}
	return m
}

// Take returns what is to be done, once. Early stays until the next Turn.
func (m *Machine) Take() Output {
	taken := m.output
	m.output = Output{Early: taken.Early}
	return taken
}

// Alive returns the names of the living, sorted, this speaker's own among them
// until it leaves. It must not be changed.
func (m *Machine) Alive() []string { return m.alive }

// Snapshot returns what is known now. It must not be changed.
func (m *Machine) Snapshot() *model.Membership {
	if m.snapshot == nil {
		owners, contested := m.ledger.Owners()
		m.snapshot = &model.Membership{
			Self: m.config.Name, Address: m.config.Address, Alive: m.alive, Ready: m.living, Owners: owners, Contested: contested,
			Links: m.ledger.Links(), MACs: m.ledger.MACs(), UnsettledUntil: m.unsettled(), Changed: m.changedAt, Stalls: m.stalls,
		}
	}
	return m.snapshot
}

// unsettled is until when this speaker does not know enough to take what seems
// to be free: it has not heard what each of the living claims, it or the network
// stood still a moment ago, or it is alone and the network has come back just
// now.
func (m *Machine) unsettled() time.Time {
	until := m.unsettledUntil
	if together := m.networkChanged.Add(introduction); together.After(until) && m.detector.isolated() {
		until = together
	}
	for name, peer := range m.detector.peers {
		if peer.alive && !m.ledger.Heard(name) {
			if limit := peer.joined.Add(introduction); limit.After(until) {
				until = limit
			}
		}
	}
	return until
}

// change notes that Snapshot has to be made anew, and whether that is to be told.
func (m *Machine) change(tell bool, now time.Time) {
	m.snapshot = nil
	if tell {
		m.output.Changed, m.changedAt = true, now
	}
}

// publish makes the set of the living known.
func (m *Machine) publish(now time.Time) {
	alive, ready := m.detector.living()
	if !m.leaving {
		alive = append(alive, m.config.Name)
		slices.Sort(alive)
	}
	if m.ready && !m.leaving {
		ready = append(ready, m.config.Name)
		slices.Sort(ready)
	}
	m.alive, m.living = alive, ready
	m.change(true, now)
}

// apply acts on what a beat or the time changed.
func (m *Machine) apply(n news, now time.Time) {
	for _, name := range n.reborn {
		m.ledger.Lose(name)
	}
	if n.joined {
		m.lastJoin = now
	}
	if n.changed {
		m.weigh(now)
		m.publish(now)
	}
}

// SetReady says to all that this speaker is ready from now on.
func (m *Machine) SetReady(now time.Time) {
	if !m.ready {
		m.ready = true
		m.publish(now)
		m.output.Early = true
	}
}

// Leave says to all, with each Turn from now on, that this speaker goes.
func (m *Machine) Leave(now time.Time) {
	m.leaving = true
	m.publish(now)
	m.output.Early = true
}

// Hold says which addresses this speaker answers for, in any order. The
// others are told at once.
func (m *Machine) Hold(addresses []netip.Addr, now time.Time) {
	if !slices.IsSortedFunc(addresses, netip.Addr.Compare) {
		addresses = slices.SortedFunc(slices.Values(addresses), netip.Addr.Compare)
	}
	if m.ledger.Hold(addresses) {
		m.change(false, now)
		m.output.Early = true
	}
}

// Locate says with which MACs this speaker answers, so that the others do not
// take it for another host, and whether it can answer on interfaces of these
// names; the empty name is whatever is used when none is asked for.
func (m *Machine) Locate(macs []model.MAC, links map[string]bool, now time.Time) {
	if m.ledger.Locate(macs, links) {
		m.change(false, now)
		m.output.Early = true
	}
}

// Expect takes note of where speakers should be.
func (m *Machine) Expect(places map[string]netip.AddrPort, now time.Time) {
	for name, at := range places {
		m.detector.expect(name, at, now)
	}
}

// NetworkChanged says that something has happened to the network: what others
// hold is taken only after they had time to answer, and the lost are called at
// once.
func (m *Machine) NetworkChanged(now time.Time) {
	m.networkChanged, m.unsettledUntil = now, now.Add(m.config.Settings.Patience(m.config.Settings.Pulse))
	for _, p := range m.detector.peers {
		p.nextCall = time.Time{}
		if !p.alive {
			p.lost = now
		}
	}
	m.change(false, now)
	m.output.Early = true
}

// Lost returns where the speakers are that were lost in the last minute, or
// since the network has changed.
func (m *Machine) Lost(now time.Time) []netip.Addr { return m.detector.missing(now) }

// Receive takes in a packet of another speaker. What is malformed changes
// nothing.
func (m *Machine) Receive(b []byte, now time.Time) error {
	from, err := unmarshal(b)
	if err != nil {
		return err
	}
	switch from.kind {
	case kindBeat:
		n := m.detector.hear(&from, now)
		m.apply(n, now)
		if n.joined {
			m.output.Early = true // it shall hear of us as soon as we of it
		}
		other := m.detector.peers[from.name]
		if other != nil && other.alive && !m.ledger.Knows(from.name, other.version) && now.Sub(other.asked) >= askAgain {
			other.asked = now
			m.ask(from.name, other)
		}
	case kindAsk:
		if other := m.detector.peers[from.name]; other != nil && other.incarnation == from.incarnation {
			m.part(other, from.parting, now)
		}
		m.answer(from.name, from.at)
	case kindClaims:
		m.believe(&from, now)
	}
	return nil
}

func (m *Machine) message(kind byte) *message {
	return &message{kind: kind, incarnation: m.config.Incarnation, name: m.config.Name, at: m.config.Address}
}

func (m *Machine) send(p Packet) { m.output.Packets = append(m.output.Packets, p) }

func (m *Machine) ask(name string, of *peer) {
	message := m.message(kindAsk)
	message.parting = of.parting
	m.send(Packet{To: name, At: of.at, Bytes: message.marshal()})
}

// answer sends our claims to who asked.
func (m *Machine) answer(name string, to netip.AddrPort) {
	message := m.message(kindClaims)
	message.claims = m.ledger.Claims()
	if of := m.detector.peers[name]; of != nil {
		message.parting = of.parting
	}
	b := message.marshal()
	stream := len(b) > onePacket
	if stream && m.sending[name] {
		return
	}
	if stream {
		m.sending[name] = true
	}
	m.send(Packet{To: name, At: to, Bytes: b, Stream: stream})
}

// Sent says that the stream to a speaker is at its end.
func (m *Machine) Sent(name string) { delete(m.sending, name) }

// Turn sends a beat if it is time to, or early, and looks who has died. It
// returns when it has to be called next, unless Output says early.
func (m *Machine) Turn(now time.Time) (next time.Time) {
	early := m.output.Early
	m.output.Early = false
	if early || !now.Before(m.nextOwn) {
		m.nextOwn = now.Add(m.sendBeats(now, m.planned, m.round))
		m.round++
	}
	m.planned = m.watch(now, m.planned)
	if m.planned.IsZero() || m.nextOwn.Before(m.planned) {
		m.planned = m.nextOwn
	}
	return m.planned
}

// watch declares dead who is, unless it was this process that was away.
func (m *Machine) watch(now, planned time.Time) (next time.Time) {
	if late := now.Sub(planned); late > m.config.Settings.Pulse/3 {
		m.detector.stalled(late, now)
		m.stalls++
		m.change(false, now)
	}
	n, next := m.detector.tick(now)
	m.apply(n, now)
	m.weigh(now)
	return next
}

// sendBeats sends one to everybody and returns the time to the next.
func (m *Machine) sendBeats(now, planned time.Time, round int) time.Duration {
	settings := m.config.Settings
	if late := now.Sub(planned); late > settings.Patience(settings.Pulse) {
		// The others may hold us dead and have taken over.
		m.lastJoin, m.unsettledUntil = now, now.Add(settings.Patience(settings.Pulse))
		m.change(false, now)
	}
	pace := settings.Pace(len(m.alive))
	m.sequence++
	message := m.message(kindBeat)
	message.beat = beat{
		sequence: m.sequence, pulse: pace, ready: m.ready, leaving: m.leaving,
		version: m.ledger.Claims().Version, heard: m.detector.heard(now),
	}
	b := message.marshal()
	for _, name := range m.detector.names() {
		peer := m.detector.peers[name]
		if peer.alive || !peer.left && now.Sub(peer.lost) < seekClosely || round%seekEvery == 0 {
			m.send(Packet{To: name, At: peer.at, Bytes: b})
		}
	}
	// Beats of different speakers should not fall into step.
	return time.Duration(float64(pace) * (0.9 + 0.1*m.config.Random())) //nolint:mnd // a tenth
}

// Call is a speaker that should be there and does not take part.
type Call struct {
	Name string
	At   netip.AddrPort
}

// Seek names all the speakers that there should be. Those that are not alive
// are called until they are, and also those that were alive before and are
// named no more, for some time.
func (m *Machine) Seek(peers map[string]netip.AddrPort, now time.Time) {
	m.Expect(peers, now)
	if maps.Equal(m.wanted, peers) {
		return
	}
	m.wanted = maps.Clone(peers)
	for _, p := range m.detector.peers {
		p.nextCall = time.Time{}
	}
}

// Calls returns who is to be called now, by name: those that should be there and
// are not alive, or are not listed where speakers find each other. Each gets no
// other call before Called. Nobody is called by one that leaves.
func (m *Machine) Calls(listed func(name string) bool, now time.Time) (due []Call) {
	for _, name := range m.detector.names() {
		p := m.detector.peers[name]
		at, wanted := m.wanted[name]
		if p.alive {
			p.lastSeen = now
		}
		since := p.lost
		if p.lastSeen.After(since) {
			since = p.lastSeen
		}
		switch {
		case p.alive && listed(name), m.leaving, p.calling, p.nextCall.After(now):
		case !wanted && now.Sub(since) > m.config.Settings.ForgetAfter:
			m.detector.forget(name)
		default:
			interval := m.config.Settings.SeekInterval
			if now.Sub(since) > time.Minute {
				interval = m.config.Settings.SeekSlowly
			}
			if !wanted {
				at = p.at
			}
			jittered := float64(interval) * (0.75 + 0.5*m.config.Random()) //nolint:mnd // from three quarters to five
			p.nextCall, p.calling = now.Add(time.Duration(jittered)), true
			due = append(due, Call{name, at})
		}
	}
	slices.SortFunc(due, func(a, b Call) int { return cmp.Compare(a.Name, b.Name) })
	return due
}

// Called says that a call has been answered, or not.
func (m *Machine) Called(name string) {
	if p := m.detector.peers[name]; p != nil {
		p.calling = false
	}
}
