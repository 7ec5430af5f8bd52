package members

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// askAgain is when claims that did not come are asked for again.
	askAgain = 60 * time.Millisecond
	// onePacket is the most, in bytes, that is sent in a packet; what is
	// longer takes a TCP connection.
	onePacket = 1200
	// introduction is how long a speaker waits, at most, before it takes
	// anything: for the claims of one that has just appeared and, if it is
	// alone and was not always, for anybody after its interfaces have changed.
	// Kernels that could not reach a neighbour ask for it again once a second.
	introduction = 1200 * time.Millisecond
	// seekClosely is how long a lost speaker gets every beat; then it gets
	// every tenth.
	seekClosely, seekEvery = time.Minute, 10
	// farewells is how often a departure is said, since packets get lost.
	farewells = 3
)

// pulse is the state behind the heartbeats. The goroutine of beat and those
// of memberlist share it.
type pulse struct {
	mu       sync.Mutex
	detector *detector
	ledger   *Ledger
	sequence uint64
	ready    bool
	leaving  bool
	// grown is when somebody joined last, or this process stood still;
	// doubtful until then plus a little: see Members.Settled.
	grown    time.Time
	doubtful time.Time
	// nudged is when the network has changed last.
	nudged  time.Time
	sending map[string]bool // claims on their way by TCP

	wake    chan struct{}
	changes chan struct{}
	alive   atomic.Pointer[[]string]
	living  atomic.Pointer[[]string] // that are ready
	stalls  atomic.Uint64
}

func newPulse(name string, settings Settings, now time.Time) *pulse {
	p := &pulse{
		detector: newDetector(name, settings), ledger: NewLedger(name), grown: now, sending: map[string]bool{},
		wake: make(chan struct{}, 1), changes: make(chan struct{}, 1),
	}
	p.alive.Store(&[]string{name})
	p.living.Store(&[]string{})
	return p
}

func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// publish makes the set of the living known. The lock is held.
func (m *Members) publish() {
	p := m.pulse
	alive, ready := p.detector.living()
	if !p.leaving {
		alive = append(alive, m.name)
		slices.Sort(alive)
	}
	if p.ready && !p.leaving {
		ready = append(ready, m.name)
		slices.Sort(ready)
	}
	p.alive.Store(&alive)
	p.living.Store(&ready)
	signal(p.changes)
}

// apply acts on what a beat or the time changed. The lock is held.
func (m *Members) apply(n news, now time.Time) {
	p := m.pulse
	for _, name := range n.reborn {
		p.ledger.Lose(name)
	}
	if n.joined {
		p.grown = now
	}
	if n.changed {
		m.weigh(now)
		m.publish()
	}
}

// expect takes note of where speakers should be.
func (m *Members) expect(places map[string]netip.AddrPort) {
	m.pulse.mu.Lock()
	defer m.pulse.mu.Unlock()
	now := time.Now()
	for name, at := range places {
		m.pulse.detector.expect(name, at, now)
	}
}

// receive takes in a message of another speaker.
func (m *Members) receive(from *message, now time.Time) {
	p := m.pulse
	p.mu.Lock()
	defer p.mu.Unlock()
	switch from.kind {
	case kindBeat:
		n := p.detector.hear(from, now)
		m.apply(n, now)
		if n.joined {
			signal(p.wake) // it shall hear of us as soon as we of it
		}
		other := p.detector.peers[from.name]
		if other != nil && other.alive && !p.ledger.Knows(from.name, other.version) && now.Sub(other.asked) >= askAgain {
			other.asked = now
			m.ask(from.name, other)
		}
	case kindAsk:
		if other := p.detector.peers[from.name]; other != nil && other.incarnation == from.incarnation {
			m.part(other, from.parting, now)
		}
		m.answer(from.name, from.at)
	case kindClaims:
		m.believe(from, now)
	}
}

func (m *Members) message(kind byte) *message {
	return &message{kind: kind, incarnation: m.incarnation, name: m.name, at: m.address}
}

func (m *Members) send(name string, to netip.AddrPort, b []byte) {
	if err := m.deliver(name, to, b); err != nil {
		m.logger.Debug("membership message not sent", "to", name, "error", err)
	}
}

func (m *Members) ask(name string, of *peer) {
	message := m.message(kindAsk)
	message.parting = of.parting
	m.send(name, of.at, message.marshal())
}

// answer sends our claims to who asked. The lock is held.
func (m *Members) answer(name string, to netip.AddrPort) {
	p := m.pulse
	message := m.message(kindClaims)
	message.claims = p.ledger.Claims()
	if to := p.detector.peers[name]; to != nil {
		message.parting = to.parting
	}
	b := message.marshal()
	if len(b) <= onePacket {
		m.send(name, to, b)
		return
	}
	if p.sending[name] {
		return
	}
	p.sending[name] = true
	node := &memberlist.Node{Name: name, Addr: to.Addr().AsSlice(), Port: to.Port()}
	m.wait.Go(func() {
		if err := m.list.SendReliable(node, b); err != nil {
			m.logger.Debug("claims not sent", "to", name, "error", err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.sending, name)
	})
}

// beat sends the heartbeats and watches those of the others until ctx ends.
func (m *Members) beat(ctx context.Context) {
	r := rhythm{planned: time.Now()}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		early := false
		select {
		case <-ctx.Done():
			return
		case <-m.pulse.wake:
			early = true
		case <-timer.C:
		}
		m.expect(m.hooks.take())
		m.turn(&r, time.Now(), early)
		timer.Reset(time.Until(r.planned))
	}
}

// rhythm is when the goroutine of beat has its turns.
type rhythm struct {
	planned time.Time // the next turn
	next    time.Time // the next beat that is due by itself
	round   int       // of beats
}

// turn sends a beat if it is time to, or early, and looks who has died.
func (m *Members) turn(r *rhythm, now time.Time, early bool) {
	if early || !now.Before(r.next) {
		r.next = now.Add(m.sendBeats(now, r.planned, r.round))
		r.round++
	}
	r.planned = m.watch(now, r.planned)
	if r.planned.IsZero() || r.next.Before(r.planned) {
		r.planned = r.next
	}
}

// watch declares dead who is, unless it was this process that was away.
func (m *Members) watch(now, planned time.Time) (next time.Time) {
	p := m.pulse
	p.mu.Lock()
	defer p.mu.Unlock()
	if late := now.Sub(planned); late > m.settings.Pulse/3 {
		p.detector.stalled(late, now)
		p.stalls.Add(1)
	}
	n, next := p.detector.tick(now)
	m.apply(n, now)
	m.weigh(now)
	return next
}

// sendBeats sends one to everybody and returns the time to the next.
func (m *Members) sendBeats(now, planned time.Time, round int) time.Duration {
	p := m.pulse
	p.mu.Lock()
	defer p.mu.Unlock()
	if late := now.Sub(planned); late > m.settings.patience(m.settings.Pulse) {
		// The others may hold us dead and have taken over.
		p.grown, p.doubtful = now, now.Add(m.settings.patience(m.settings.Pulse))
	}
	pace := m.settings.pace(len(*p.alive.Load()))
	p.sequence++
	message := m.message(kindBeat)
	message.beat = beat{
		sequence: p.sequence, pulse: pace, ready: p.ready, leaving: p.leaving,
		version: p.ledger.Claims().Version, heard: p.detector.heard(now),
	}
	b := message.marshal()
	for name, peer := range p.detector.peers {
		if peer.alive || !peer.left && now.Sub(peer.lost) < seekClosely || round%seekEvery == 0 {
			m.send(name, peer.at, b)
		}
	}
	// Beats of different speakers should not fall into step.
	return time.Duration(float64(pace) * (0.9 + 0.1*m.random())) //nolint:mnd // not a secret
}

// Hold says which addresses this speaker answers for, in any order. The
// others are told at once.
func (m *Members) Hold(addresses []netip.Addr) {
	sorted := slices.SortedFunc(slices.Values(addresses), netip.Addr.Compare)
	m.pulse.mu.Lock()
	changed := m.pulse.ledger.Hold(sorted)
	m.pulse.mu.Unlock()
	if changed {
		signal(m.pulse.wake)
	}
}

// Locate says with which MACs this speaker answers, so that the others do not
// take it for a stranger, and whether it can answer on interfaces of these
// names; the empty name is whatever is used when none is asked for.
func (m *Members) Locate(macs []Station, links map[string]bool) {
	m.pulse.mu.Lock()
	changed := m.pulse.ledger.Locate(macs, links)
	m.pulse.mu.Unlock()
	if changed {
		signal(m.pulse.wake)
	}
}

// Links returns what each of the other living speakers has said with Locate.
// Nothing is known of names that are missing.
func (m *Members) Links() map[string]map[string]bool {
	m.pulse.mu.Lock()
	defer m.pulse.mu.Unlock()
	return m.pulse.ledger.Links()
}

// Speaks tells whether a MAC is that of a speaker, this one included.
func (m *Members) Speaks(mac Station) bool {
	m.pulse.mu.Lock()
	defer m.pulse.mu.Unlock()
	return m.pulse.ledger.Speaks(mac)
}

// Ownership returns who owns which address as far as it is known, and which
// of this speaker's own another living speaker still claims, too.
func (m *Members) Ownership() (owners map[netip.Addr]string, contested []netip.Addr) {
	m.pulse.mu.Lock()
	defer m.pulse.mu.Unlock()
	return m.pulse.ledger.Owners()
}

// Settled tells whether this speaker knows enough to take what seems to be
// free: it has heard what each of the living claims, neither it nor the network
// stood still a moment ago, and if it is alone the network has not come back
// just now. If not, it says when to ask again; changes
// are told as always.
func (m *Members) Settled() (again time.Duration, settled bool) { return m.settled(time.Now()) }

func (m *Members) settled(now time.Time) (again time.Duration, settled bool) {
	p := m.pulse
	p.mu.Lock()
	defer p.mu.Unlock()
	until := p.doubtful
	if together := p.nudged.Add(introduction); together.After(until) && p.detector.deserted() {
		until = together
	}
	for name, peer := range p.detector.peers {
		if _, known := p.ledger.theirs[name]; peer.alive && !known {
			if limit := peer.joined.Add(introduction); limit.After(until) {
				until = limit
			}
		}
	}
	if !until.After(now) {
		return 0, true
	}
	return until.Sub(now), false
}

// Stalls counts how often this process found itself late.
func (m *Members) Stalls() uint64 { return m.pulse.stalls.Load() }
