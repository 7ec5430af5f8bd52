package detection

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
)

// detector decides who is alive. It is pure: the time comes in.
//
// A speaker is alive while there is fresh evidence: a heartbeat of its own, by
// whatever way; its answer for an address that it claims; or the word of a living
// speaker that it has heard one. So a path that is broken between two of them
// alone makes nobody take what its owner still holds: all that hear each other by
// way of others agree. Evidence through others is never older than one's own
// would be, so it delays no detection.
//
// It is silent, and keeps what it has for some time, while its heartbeats are
// missing and its kernel answers for the node's own address: see Settings. It is
// dead when there is neither.
//
// Nobody is dead before another host has answered a question that was put when the
// time was over, if there is one that answers: see controls.go.
//
// Time that this process did not run counts for nobody: see stalled.
type detector struct {
	settings Settings
	self     string
	peers    map[string]*peer
	byID     map[uint64]*peer
	sorted   []string // see names
	// deafUntil is when messages that the kernel has dropped are forgotten.
	deafUntil time.Time
	// waiting says that somebody's time is over, and that it is not known whether
	// this node receives anything: see tick.
	waiting bool
	// deaf says that no control has answered for longer than an answer takes.
	deaf bool
}

// peer is another speaker, alive or not.
type peer struct {
	name        string
	at          netip.AddrPort
	alive       bool
	ready       bool
	incarnation uint64
	sequence    uint64 // of its last heartbeat
	asks        uint64 // the sequence of its last question
	version     uint64 // of its claims
	strength    uint16
	pulse       time.Duration
	key         uint32
	direct      time.Time // of its last heartbeat to us
	udp         time.Time // of the last that came by UDP
	evidence    time.Time // the latest of any
	witness     time.Time // of its kernel's last answer
	// pause is the longest time, of those since pauseAt and a little before, for which
	// it was silent and did not die.
	pause   time.Duration
	pauseAt time.Time
	// doubt is since when its time is over, and control when another host's answer came
	// to a question that was put since then; zero while there is none.
	doubt, control time.Time

	refused time.Time // when its host said that no process listens
	lost    time.Time // when it died, or was first heard of
	joined  time.Time // when it became alive
	left    bool
	// stations are where it was heard, by our interface.
	stations map[string]*station
	// hears is when it last said that it hears us, and where.
	hears   time.Time
	hearsOn byte
	// links and claimed are what it said last, alive or not: what can be asked for
	// on the LAN to find out how it is.
	links   []model.Link
	claimed []netip.Addr
	asked   int // how often was asked for one of claimed
	// nextQuestion is when its kernel is asked for next.
	nextQuestion time.Time
	// Calls of a speaker that does not take part: when the next is due, whether
	// one is under way, and when it was last seen alive.
	nextCall, lastSeen time.Time
	calling            bool
	// parting counts how often one of the two held the other dead while both
	// ran. Each adds one when it does, and takes over the other's count if it
	// is higher: so that who was held dead and did not notice learns of it.
	parting uint32
	// apart says that there was a parting, and that what both claimed
	// meanwhile is not compared yet: see Machine.weigh. ignorant says that it
	// does not know of the last one yet: it believes its claims to be stronger
	// than they are.
	apart, ignorant bool
	told            time.Time // that it is superseded
	question        question
	assembly        assembly
}

// station is where a speaker was heard on one of our segments.
type station struct {
	mac   model.MAC
	heard time.Time
}

// question for somebody's claims that is under way.
type question struct {
	sequence uint64
	at       time.Time
	to       string
	tries    int // since the last answer
}

func newDetector(self string, settings Settings) *detector {
	return &detector{settings: settings, self: self, peers: map[string]*peer{}, byID: map[uint64]*peer{}}
}

// names of the peers, sorted. What they are looked at for goes out in this
// order, so that the same history has the same outcome.
func (d *detector) names() []string {
	if d.sorted == nil {
		d.sorted = slices.Sorted(maps.Keys(d.peers))
	}
	return d.sorted
}

// expect takes note of where a speaker should be.
func (d *detector) expect(name string, at netip.AddrPort, now time.Time) *peer {
	if name == d.self || !at.IsValid() || at.Port() == 0 {
		return nil
	}
	p := d.peers[name]
	if p == nil {
		p = &peer{name: name, lost: now, stations: map[string]*station{}}
		d.peers[name], d.byID[identify(name)] = p, p
		d.sorted = nil
	}
	if !p.alive {
		p.at = at
	}
	return p
}

func (d *detector) forget(name string) {
	if p := d.peers[name]; p != nil && !p.alive {
		delete(d.peers, name)
		delete(d.byID, identify(name))
		d.sorted = nil
	}
}

// news is what a heartbeat or the time changed.
type news struct {
	changed bool // who is alive or ready
	joined  bool
	fresh   bool // the heartbeat is one that was not heard before
	// reborn are those whose claims are void: dead, gone, or started anew.
	reborn []string
	// superseded says that the sender is known under a later incarnation.
	superseded bool
}

// hear takes in a heartbeat.
func (d *detector) hear(m *message, from Way, now time.Time) (n news) {
	p := d.expect(m.name, m.at, now)
	if p == nil {
		return n
	}
	switch {
	case m.incarnation < p.incarnation:
		n.superseded = true
		return n
	case m.incarnation == p.incarnation && m.sequence <= p.sequence:
		if m.sequence == p.sequence && p.alive {
			p.came(from, now) // the same one by another way
		}
		return n
	case m.incarnation > p.incarnation:
		n = p.begin(m.name, m.incarnation)
	}
	n.fresh = true
	p.sequence, p.version, p.strength, p.pulse, p.key, p.at = m.sequence, m.beat.version, m.beat.strength, m.beat.pulse, m.beat.key, m.at
	p.came(from, now)
	if m.beat.leaving {
		p.left = true
		if p.alive {
			p.alive, p.ready, p.lost = false, false, now
			n.changed, n.reborn = true, []string{m.name}
		}
		return n
	}
	if p.left {
		return n
	}
	p.direct = now
	d.hearsAgain(now)
	d.resumes(p, now)
	p.lives(now, now, &n)
	if p.ready != m.beat.ready {
		p.ready, n.changed = m.beat.ready, true
	}
	return n
}

// begin is the first sign of another incarnation.
func (p *peer) begin(name string, incarnation uint64) (n news) {
	if p.alive {
		n.reborn, n.changed = append(n.reborn, name), true
	}
	p.incarnation, p.sequence, p.asks, p.left = incarnation, 0, 0, false
	p.parting, p.apart, p.ignorant, p.ready = 0, true, false, false
	p.witness, p.refused, p.hears, p.hearsOn = time.Time{}, time.Time{}, time.Time{}, 0
	p.pause, p.pauseAt = 0, time.Time{}
	return n
}

// came notes by which way it did.
func (p *peer) came(from Way, now time.Time) {
	if from.On == "" {
		p.udp = now
		return
	}
	p.on(from.On, from.MAC, now)
}

// on notes that the speaker was heard on an interface of ours.
func (p *peer) on(name string, mac model.MAC, now time.Time) {
	s := p.stations[name]
	if s == nil {
		s = &station{}
		p.stations[name] = s
	}
	s.mac, s.heard = mac, now
}

// lives is evidence, from a moment that may have passed, that it does.
func (p *peer) lives(at, now time.Time, n *news) {
	if at.After(p.evidence) {
		p.evidence = at
	}
	if !p.alive {
		p.alive, p.apart, p.joined = true, true, now
		n.changed, n.joined = true, true
	}
}

// heard is whom we heard ourselves, for our own heartbeats. Only fresh evidence
// is worth saying; the most recent comes first where not all fit.
func (d *detector) heard(now time.Time, segments func(p *peer) byte) []heard {
	var all []heard
	for _, name := range d.names() {
		p := d.peers[name]
		if age := now.Sub(p.direct); p.alive && age < d.settings.Patience(p.pulse) {
			all = append(all, heard{identify(name), age, uint16(p.version), byte(p.parting), segments(p)}) // the lowest bits
		}
	}
	slices.SortStableFunc(all, func(a, b heard) int { return int(a.age - b.age) })
	return all[:min(len(all), mostHeard)]
}

// limit is when a living speaker is dead unless there is new evidence.
func (d *detector) limit(p *peer, now time.Time) time.Time {
	if p.refused.After(p.evidence) && now.Sub(p.udp) < d.silence(p, now) {
		// Its process has ended, and what was under way has come.
		return d.extended(p, p.evidence.Add(d.settings.late(p.pulse)), now)
	}
	if p.witness.IsZero() {
		return d.extended(p, p.evidence.Add(d.settings.patienceAlone(p.pulse)), now)
	}
	patience := d.settings.Patience(p.pulse)
	until := p.evidence.Add(patience)
	if p.witness.After(p.evidence) {
		// It is silent: the kernel answers.
		until = p.witness.Add(patience)
		if bound := p.evidence.Add(d.silence(p, now)); until.After(bound) {
			until = bound
		}
	}
	return d.extended(p, until, now)
}

// silence is how long a speaker may be silent whose kernel answers. One that was
// silent before and came back gets no processor now and then, and hangs less likely
// than another: it gets three times as long as it took lately, up to a bound.
func (d *detector) silence(p *peer, now time.Time) time.Duration {
	least := d.settings.Silence
	if now.Sub(p.pauseAt) > pauseCounts {
		return least
	}
	return min(max(least, 3*p.pause), max(least, longestSilence)) //nolint:mnd // so much a pause differs from the last ones
}

// resumes notes that a silent speaker has not died, and how long it was silent.
func (d *detector) resumes(p *peer, now time.Time) {
	pause := now.Sub(p.evidence)
	if !p.alive || pause < d.settings.Patience(p.pulse) {
		return
	}
	if pause >= p.pause || now.Sub(p.pauseAt) > pauseCounts {
		p.pause, p.pauseAt = pause, now
	}
}

// extended gives more time while the kernel drops what comes.
func (d *detector) extended(p *peer, until, now time.Time) time.Time {
	if !now.Before(d.deafUntil) || until.After(d.deafUntil) {
		return until
	}
	until = d.deafUntil
	if bound := p.evidence.Add(d.silence(p, now)); until.After(bound) {
		until = bound
	}
	return until
}

// tick declares dead who has been silent for too long, and returns when to look
// again. controlled reports whether there are other hosts that should answer, if this
// node receives what comes from where the speaker is.
func (d *detector) tick(now time.Time, controlled func(*peer) bool) (n news, next time.Time) {
	var over []string // whose time is
	receiving, living := false, false
	for _, name := range d.names() {
		p := d.peers[name]
		if !p.alive {
			continue
		}
		until := d.limit(p, now)
		if now.Before(until) {
			p.doubt, p.control = time.Time{}, time.Time{}
		} else {
			if p.doubt.IsZero() {
				p.doubt = now
			}
			until = d.verdict(p, now, controlled)
		}
		if !now.Before(until) {
			over = append(over, name)
			continue
		}
		living, receiving = true, receiving || now.Sub(p.received()) < d.settings.late(p.pulse)
		if next.IsZero() || until.Before(next) {
			next = until
		}
	}
	// Where nothing comes from the others either, it may be that nothing comes in at
	// all. Then all are dead, or none: some of them were only heard a little later.
	if d.waiting = len(over) > 0 && living && !receiving; d.waiting {
		return n, next
	}
	for _, name := range over {
		p := d.peers[name]
		p.doubt, p.control = time.Time{}, time.Time{}
		p.alive, p.ready, p.lost = false, false, now
		p.parting++
		p.ignorant = true
		n.changed, n.reborn = true, append(n.reborn, name)
	}
	return n, next
}

// received is when anything came from the speaker's node last.
func (p *peer) received() time.Time {
	last := p.direct
	for _, at := range []time.Time{p.witness, p.refused} {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// together counts the living from whom this speaker was not parted, itself
// included, and all the living.
func (d *detector) together() (together, alive int) {
	together, alive = 1, 1
	for _, p := range d.peers {
		if p.alive {
			alive++
			if !p.apart {
				together++
			}
		}
	}
	return together, alive
}

// part takes in how often a speaker says, in its last 8 bits, that it and this
// one parted. That is news if it held this speaker dead and is not known to have.
func (p *peer) part(parting byte) (news bool) {
	behind := int8(parting - byte(p.parting)) // a difference of the lowest bits
	p.ignorant = behind < 0
	if behind <= 0 {
		return false
	}
	p.parting += uint32(behind)
	p.apart = true
	return true
}

// unaware reports whether the speaker was held dead and does not know it yet: what
// it claims is not as strong as it says. One that does not hear us never learns of
// it, and is not waited for.
func (p *peer) unaware(now time.Time) bool {
	return p.ignorant && now.Sub(p.joined) < introduction
}

// alone reports whether nobody else is alive, though others were.
func (d *detector) alone() bool {
	alone := false
	for _, p := range d.peers {
		if p.alive {
			return false
		}
		alone = alone || p.parting > 0 && !p.left
	}
	return alone
}

// stalled gives everybody the time that this process did not run.
func (d *detector) stalled(by time.Duration, now time.Time) {
	for _, p := range d.peers {
		for _, at := range []*time.Time{&p.evidence, &p.witness} {
			if at.IsZero() {
				continue
			}
			if *at = at.Add(by); at.After(now) {
				*at = now
			}
		}
	}
}

// departed returns the names of those that have departed as planned, sorted.
func (d *detector) departed() (left []string) {
	for _, name := range d.names() {
		if d.peers[name].left {
			left = append(left, name)
		}
	}
	return left
}

// lastHeard is when there was the last sign of life of those that are not alive.
func (d *detector) lastHeard() map[string]time.Time {
	all := map[string]time.Time{}
	for name, p := range d.peers {
		if !p.alive && !p.evidence.IsZero() {
			all[name] = p.evidence
		}
	}
	return all
}

// living returns the names of the living and of those that are ready, this
// speaker not included, sorted.
func (d *detector) living() (alive, ready []string) {
	for _, name := range d.names() {
		if p := d.peers[name]; p.alive {
			alive = append(alive, name)
			if p.ready {
				ready = append(ready, name)
			}
		}
	}
	return alive, ready
}
