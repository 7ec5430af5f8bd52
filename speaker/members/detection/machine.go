package detection

import (
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/ownership"
)

const (
	// askAgain is when claims that did not come are asked for again.
	askAgain = 60 * time.Millisecond
	// introduction is how long a speaker waits, at most, before it takes
	// anything: for the claims of one that has just appeared and, if it is
	// alone and was not always, for anybody after its interfaces have changed.
	// Kernels that could not reach a neighbor ask for it again once a second.
	introduction = 1200 * time.Millisecond
	// seekClosely is how long a lost speaker gets every heartbeat; then it gets
	// every tenth, and whoever is on a segment, too, if there are speakers that
	// were not heard there.
	seekClosely, seekEvery = time.Minute, 10
	// toldAgain is when one that is superseded is told so again.
	toldAgain = 100 * time.Millisecond
	// changesFor is how many heartbeats carry a change of the claims: so many may
	// be lost before somebody has to ask.
	changesFor = 3
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
	// Received is how many frames an interface has received, ever; it is asked
	// only by a speaker that hears nobody.
	Received func(on string) uint64
}

// Packet is one to be sent to another speaker: by UDP to At or, if On is set, as
// a frame on that interface (see segments.go).
type Packet struct {
	// To is the name of the speaker; empty for whoever is on the segment.
	To string
	At netip.AddrPort
	// On is the name of an interface, and MAC the destination of the frame; zero
	// is the group of all speakers.
	On  string
	MAC model.MAC
	// Bytes are not changed after. Those that go to several are the same slice.
	Bytes []byte
}

// Way is how a message came: by UDP from At or, if On is set, as a frame on that
// interface with MAC as its source.
type Way struct {
	At  netip.AddrPort
	On  string
	MAC model.MAC
}

// Segment is an interface of this node on which it announces, or could.
type Segment struct {
	Name  string
	MAC   model.MAC
	Addrs []netip.Prefix
	// Gateways are where default routes lead by it.
	Gateways []netip.Addr
}

// Question asks by ARP or NDP, on an interface, for an address. What answers is
// told to Answered.
type Question struct {
	On     string
	Target netip.Addr
	// MAC is whom alone it goes to; the zero MAC is everybody.
	MAC model.MAC
}

// Output is what follows from what a Machine was told.
type Output struct {
	// Packets are to be sent, in this order.
	Packets []Packet
	// Questions are to be asked now.
	Questions []Question
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
	segments []*segment
	sequence uint64
	ready    bool
	// unfit says that no interface of this node can be used.
	unfit   bool
	leaving bool
	key     uint32
	// joined is when somebody joined last, or this process stood still;
	// unsettled until then plus a little: see Membership.UnsettledUntil.
	lastJoin       time.Time
	unsettledUntil time.Time
	// networkChanged is when the network has changed last.
	networkChanged time.Time
	// partial is when a living speaker last said that it hears one whom we do not
	// know to be alive: we do not see the whole.
	partial time.Time
	// alone and unproven: see prove. duplicate: see superseded.
	alone, unproven, duplicate bool
	framesOnly                 []string                  // see portClosed
	wanted                     map[string]netip.AddrPort // see Seek

	planned time.Time // the next turn
	nextOwn time.Time // the next heartbeat that is due by itself
	round   int       // of heartbeats
	// versions are those of the claims at the last heartbeats.
	versions [changesFor]uint64

	// alive and living, those of them that are ready; nil before they are made anew.
	alive, living []string
	snapshot      *model.Membership
	changedAt     time.Time
	output        Output
	stalls        uint64
}

// New makes the machine of a speaker that is alone, until it has heard others.
func New(config Config, now time.Time) *Machine {
	m := &Machine{
		config: config, detector: newDetector(config.Name, config.Settings), ledger: ownership.NewLedger(config.Name),
		lastJoin: now, planned: now,
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
func (m *Machine) Alive() []string {
	if m.alive == nil {
		m.list()
	}
	return m.alive
}

// Snapshot returns what is known now. It must not be changed.
func (m *Machine) Snapshot() *model.Membership {
	if m.snapshot == nil {
		alive := m.Alive()
		owners, contested, claimants := m.ledger.Owners()
		m.snapshot = &model.Membership{
			Self: m.config.Name, Address: m.config.Address, Alive: alive, Ready: m.living, Owners: owners, Contested: contested,
			Claimants: claimants, Unable: m.ledger.Unable(), Successions: m.ledger.Successions(), Left: m.detector.departed(),
			LastHeard:  m.detector.lastHeard(),
			FramesOnly: m.framesOnly, Broken: m.broken(), Duplicate: m.duplicate,
			Links: m.ledger.Links(), MACs: m.ledger.MACs(), UnsettledUntil: m.unsettled(), Changed: m.changedAt, Stalls: m.stalls,
		}
	}
	return m.snapshot
}

// unsettled is until when this speaker does not know enough to take what seems
// to be free: it has not heard what each of the living claims, it or the network
// stood still a moment ago, or it is alone and the network has come back just
// now, or nothing has come in since.
func (m *Machine) unsettled() time.Time {
	until := m.unsettledUntil
	if m.unproven {
		return m.changedAt.Add(time.Hour) // until it is, which is told
	}
	if together := m.networkChanged.Add(introduction); together.After(until) && m.detector.alone() {
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

// publish makes the set of the living known. The lists are made once they are asked
// for: when a cluster starts, hundreds of changes come at a time.
func (m *Machine) publish(now time.Time) {
	m.alive, m.living = nil, nil
	m.change(true, now)
}

// list makes the lists of the living.
func (m *Machine) list() {
	alive, ready := m.detector.living()
	if alive == nil {
		alive = []string{} // nil is not made yet
	}
	if !m.leaving {
		alive = append(alive, m.config.Name)
		slices.Sort(alive)
	}
	if m.fit() {
		ready = append(ready, m.config.Name)
		slices.Sort(ready)
	}
	m.alive, m.living = alive, ready
}

// fit reports whether this speaker may own addresses.
func (m *Machine) fit() bool { return m.ready && !m.leaving && !m.unfit }

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

// Cannot says which addresses this speaker cannot hold, or is about to let go, and
// which it hands to whom, both sorted.
func (m *Machine) Cannot(addresses []netip.Addr, successions []model.Succession, now time.Time) {
	if m.ledger.Cannot(addresses, successions) {
		m.change(false, now)
		m.output.Early = true
	}
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
// names.
func (m *Machine) Locate(macs []model.MAC, links []model.Link, now time.Time) {
	unfit := len(links) > 0 && !slices.ContainsFunc(links, func(l model.Link) bool { return l.Usable })
	if m.unfit != unfit {
		m.unfit = unfit
		m.publish(now)
		m.output.Early = true
	}
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

// Turn does what is due and returns when to call it again. It is called then, and
// whenever Early was set.
func (m *Machine) Turn(now time.Time) (next time.Time) {
	m.output.Early = false
	if early := now.Before(m.planned); early || !now.Before(m.nextOwn) {
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
		for _, s := range m.segments {
			s.stalled(late, now)
		}
		m.stalls++
		m.change(false, now)
	}
	n, next := m.detector.tick(now, func(p *peer) bool { return m.controlled(p, now) })
	m.apply(n, now)
	m.weigh(now)
	m.judge(now)
	m.portClosed(now)
	m.prove(now)
	m.askAnew(now)
	m.askAround(now)
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
	pace := settings.Pace(len(m.Alive()))
	m.ledger.Forget(m.versions[round%changesFor])
	m.versions[round%changesFor] = m.ledger.Claims().Version
	message := m.message(kindBeat)
	message.beat = beat{
		pulse: pace, ready: m.fit(), leaving: m.leaving, strength: m.ledger.Strength(), key: m.key, version: m.ledger.Claims().Version,
		changes: lastChanges(m.ledger.Recent()), heard: m.detector.heard(now, func(p *peer) byte { return m.segmentsOf(p, now) }),
	}
	b := message.marshal()
	due := func(p *peer) bool {
		return p.alive || !p.left && now.Sub(p.lost) < seekClosely || round%seekEvery == 0
	}
	for _, name := range m.detector.names() {
		if p := m.detector.peers[name]; due(p) {
			m.send(Packet{To: name, At: p.at, Bytes: b})
		}
	}
	for place, s := range m.segments {
		message.beat.segment = byte(place + 1)
		b := message.marshal()
		unheard := false
		for _, name := range m.detector.names() {
			p := m.detector.peers[name]
			at := p.stations[s.Name]
			if at == nil || !p.alive {
				unheard = unheard || !p.left
				continue
			}
			m.send(Packet{To: name, On: s.Name, MAC: at.mac, Bytes: b})
		}
		if unheard && round%seekEvery == 0 {
			m.send(Packet{On: s.Name, Bytes: b})
		}
	}
	// Heartbeats of different speakers should not fall into step.
	return time.Duration(float64(pace) * (0.9 + 0.1*m.config.Random())) //nolint:mnd // a tenth
}

// SetKey says which key is the newest that this speaker has, by a number; 0 is
// none.
func (m *Machine) SetKey(newest uint32, _ time.Time) {
	if m.key != newest {
		m.key, m.output.Early = newest, true
	}
}

// AllHave reports whether every living speaker has said that this key is the
// newest that it has.
func (m *Machine) AllHave(key uint32) bool {
	for _, p := range m.detector.peers {
		if p.alive && p.key != key {
			return false
		}
	}
	return true
}
