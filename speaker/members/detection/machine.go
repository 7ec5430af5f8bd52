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
	askedGateways              time.Time
	framesOnly                 []string                  // see portClosed
	wanted                     map[string]netip.AddrPort // see Seek

	planned time.Time // the next turn
	nextOwn time.Time // the next heartbeat that is due by itself
	round   int       // of heartbeats
	// versions are those of the claims at the last heartbeats.
	versions [changesFor]uint64

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
func (m *Machine) Alive() []string { return m.alive }

// Snapshot returns what is known now. It must not be changed.
func (m *Machine) Snapshot() *model.Membership {
	if m.snapshot == nil {
		owners, contested, claimants := m.ledger.Owners()
		m.snapshot = &model.Membership{
			Self: m.config.Name, Address: m.config.Address, Alive: m.alive, Ready: m.living, Owners: owners, Contested: contested,
			Claimants: claimants, Unable: m.ledger.Unable(), Successions: m.ledger.Successions(), Left: m.detector.departed(),
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

// publish makes the set of the living known.
func (m *Machine) publish(now time.Time) {
	alive, ready := m.detector.living()
	if !m.leaving {
		alive = append(alive, m.config.Name)
		slices.Sort(alive)
	}
	if m.fit() {
		ready = append(ready, m.config.Name)
		slices.Sort(ready)
	}
	m.alive, m.living = alive, ready
	m.change(true, now)
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

// Receive takes in a message of another speaker. What is malformed changes
// nothing. The bytes are not kept.
func (m *Machine) Receive(b []byte, way Way, now time.Time) error {
	from, err := unmarshal(b)
	if err != nil {
		return err
	}
	if from.name == m.config.Name {
		return nil
	}
	switch from.kind {
	case kindBeat:
		m.hear(&from, way, now)
	case kindAsk:
		m.answer(&from, now)
	case kindClaims:
		m.believe(&from, now)
	case kindSuperseded:
		m.superseded(&from, now)
	}
	return nil
}

// hear takes in a heartbeat.
func (m *Machine) hear(from *message, way Way, now time.Time) {
	n := m.detector.hear(from, way, now)
	m.apply(n, now)
	p := m.detector.peers[from.name]
	if n.superseded && now.Sub(p.told) >= toldAgain {
		p.told = now
		message := m.message(kindSuperseded)
		message.known, message.fresh = p.incarnation, now.Sub(p.direct) < m.config.Settings.Patience(p.pulse)
		packet := Packet{To: from.name, At: way.At, On: way.On, MAC: way.MAC, Bytes: message.marshal()}
		if way.On == "" {
			packet.At = from.at
		}
		m.send(packet)
	}
	if n.joined || m.detector.waiting {
		m.output.Early = true // it shall hear of us as soon as we of it
	}
	if !n.fresh || !p.alive {
		return
	}
	if m.ledger.Strengthen(from.name, p.strength) {
		m.change(true, now)
	}
	if m.ledger.Follow(from.name, from.beat.changes) {
		m.know(p, from.name)
		m.change(true, now)
	}
	m.hearsay(from, p, now)
	if !m.ledger.Knows(from.name, p.version) && !p.unaware(now) {
		m.ask(from.name, from.name, now)
	}
}

// hearsay takes the sender's word for others.
func (m *Machine) hearsay(from *message, sender *peer, now time.Time) {
	self := identify(m.config.Name)
	for _, h := range from.beat.heard {
		if h.id == self {
			sender.hears, sender.hearsOn = now.Add(-h.age), h.segments
			m.part(sender, h.parting, now)
			continue
		}
		name, known := m.detector.byID[h.id]
		p := m.detector.peers[name]
		if !known || p.left {
			continue
		}
		at := now.Add(-h.age)
		switch {
		case p.alive && at.After(p.evidence):
			p.evidence = at
		case !p.alive && at.After(p.evidence) && h.age < m.config.Settings.Patience(p.pulse):
			// It lives, and is not heard here. Who hears it knows its claims.
			m.partial = now
			m.ask(name, from.name, now)
			continue
		}
		lowest := m.ledger.Version(name) & 0xffff //nolint:mnd // as many bits as are told
		if p.alive && now.Sub(p.direct) > m.config.Settings.Patience(p.pulse) && lowest != uint64(h.version) {
			m.ask(name, from.name, now)
		}
	}
}

// superseded takes in that others know a later incarnation of this speaker: its
// clock went backwards, so that it takes a later one yet, or there are two of the
// name. An earlier answer, which somebody recorded, is of no use.
func (m *Machine) superseded(from *message, now time.Time) {
	if from.known <= m.config.Incarnation {
		return
	}
	if from.fresh {
		if !m.duplicate {
			m.duplicate = true
			m.change(true, now)
		}
		return
	}
	m.config.Incarnation = from.known + 1
	m.output.Early = true
	if m.duplicate {
		m.duplicate = false
		m.change(true, now)
	}
}

func (m *Machine) message(kind byte) *message {
	m.sequence++
	return &message{kind: kind, incarnation: m.config.Incarnation, sequence: m.sequence, name: m.config.Name, at: m.config.Address}
}

func (m *Machine) send(p Packet) { m.output.Packets = append(m.output.Packets, p) }

// sendTo sends by a way by which the speaker was heard a moment ago: UDP, unless
// it was heard by frames only.
func (m *Machine) sendTo(name string, b []byte, now time.Time) {
	p := m.detector.peers[name]
	if p == nil {
		return
	}
	recently := now.Add(-m.config.Settings.patienceAlone(p.pulse))
	if !p.udp.After(recently) {
		for _, s := range m.segments {
			if at := p.stations[s.Name]; at != nil && at.heard.After(recently) {
				m.send(Packet{To: name, On: s.Name, MAC: at.mac, Bytes: b})
				return
			}
		}
	}
	m.send(Packet{To: name, At: p.at, Bytes: b})
}

// ask asks one speaker for the claims of another, or for its own.
func (m *Machine) ask(subject, whom string, now time.Time) {
	p := m.detector.peers[subject]
	if p == nil || now.Sub(p.question.at) < askAgain {
		return
	}
	message := m.message(kindAsk)
	message.subject = subject
	p.question = question{message.sequence, now, whom}
	m.sendTo(whom, message.marshal(), now)
}

// answer sends the claims that somebody has asked for, if they are known. A
// question that was heard before is not answered again.
func (m *Machine) answer(from *message, now time.Time) {
	asker := m.detector.peers[from.name]
	if asker == nil || asker.incarnation != from.incarnation || from.sequence <= asker.asks {
		return
	}
	asker.asks = from.sequence
	reply := portrait{
		at: m.config.Address, pulse: m.config.Settings.Pace(len(m.alive)), ready: m.fit(), strength: m.ledger.Strength(), claims: m.ledger.Claims(),
	}
	head := part{incarnation: m.config.Incarnation, echo: from.sequence}
	if from.subject != m.config.Name {
		p := m.detector.peers[from.subject]
		claims, strength, known := m.ledger.Foreign(from.subject)
		if p == nil || !p.alive || !known {
			return
		}
		reply = portrait{p.at, p.pulse, p.ready, strength, claims}
		head.incarnation, head.age = p.incarnation, now.Sub(p.direct)
	}
	head.version = reply.claims.Version
	body := reply.marshal()
	head.of = uint16((len(body) + longestPart - 1) / longestPart)
	for i := range head.of {
		message := m.message(kindClaims)
		message.subject, message.part = from.subject, head
		message.part.number, message.part.body = i, body[int(i)*longestPart:min(len(body), (int(i)+1)*longestPart)]
		m.sendTo(from.name, message.marshal(), now)
	}
}

// believe takes over what a speaker, or another that has heard it, says that it
// claims.
func (m *Machine) believe(from *message, now time.Time) {
	p := m.detector.peers[from.subject]
	if p == nil || !m.asked(p, from) || m.outdated(p, from) {
		return
	}
	whole, done := p.assembly.add(&from.part)
	if !done {
		return
	}
	said, err := unmarshalPortrait(whole, from.part.version)
	if err != nil {
		return
	}
	if from.name != from.subject {
		m.introduce(p, from, &said, now)
	}
	if !p.alive || from.name == from.subject && p.unaware(now) {
		return
	}
	m.ledger.Hear(from.subject, said.claims, said.strength)
	m.know(p, from.subject)
	m.change(true, now)
}

// asked reports whether claims answer the last question, which nobody can have
// recorded before it was put.
func (m *Machine) asked(p *peer, from *message) bool {
	sender := m.detector.peers[from.name]
	return sender != nil && sender.alive && sender.incarnation == from.incarnation &&
		from.part.echo == p.question.sequence && from.name == p.question.to
}

// outdated reports whether claims are older than what is known.
func (m *Machine) outdated(p *peer, from *message) bool {
	if from.part.incarnation != p.incarnation {
		return from.part.incarnation < p.incarnation
	}
	return p.left || p.alive && from.part.version < m.ledger.Version(from.subject)
}

// introduce is another's word that a speaker lives which is not heard here.
func (m *Machine) introduce(p *peer, from *message, said *portrait, now time.Time) {
	at := now.Add(-from.part.age)
	if from.part.age >= m.config.Settings.Patience(said.pulse) || !at.After(p.evidence) && !p.alive {
		return
	}
	n := news{}
	if from.part.incarnation > p.incarnation {
		n = p.begin(from.subject, from.part.incarnation)
	}
	p.version, p.strength, p.pulse = said.claims.Version, said.strength, said.pulse
	if !p.alive {
		p.at = said.at
	}
	p.lives(at, now, &n)
	if p.ready != said.ready {
		p.ready, n.changed = said.ready, true
	}
	m.apply(n, now)
}

// know keeps of claims what questions are made of.
func (m *Machine) know(p *peer, name string) {
	claims, _, _ := m.ledger.Foreign(name)
	p.links, p.claimed = claims.Links, p.claimed[:0]
	for i := 0; i < len(claims.List) && i < 16; i++ {
		p.claimed = append(p.claimed, claims.List[i].Address)
	}
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
	n, next := m.detector.tick(now)
	m.apply(n, now)
	m.weigh(now)
	m.judge(now)
	m.portClosed(now)
	m.prove(now)
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
	pace := settings.Pace(len(m.alive))
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
