package detection

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// detector decides who is alive. It is pure: the time comes in.
//
// A member is alive while there is fresh evidence: a beat of its own, or the
// word of a living member that it has heard one. So a path that is broken
// between two of them alone makes nobody take what its owner still holds: all
// that hear each other by way of others agree. Evidence through others is
// never older than one's own would be, so it delays no detection.
//
// Time that this process did not run counts for nobody: see stalled.
type detector struct {
	settings Settings
	self     string
	peers    map[string]*peer
	byID     map[uint64]string
	sorted   []string // see names
	// partial is when a living member last said that it hears one whom we do
	// not: we do not see the whole.
	partial time.Time
}

// peer is another speaker, alive or not.
type peer struct {
	at          netip.AddrPort
	alive       bool
	ready       bool
	incarnation uint64
	sequence    uint64
	version     uint64
	pulse       time.Duration
	direct      time.Time // of its last beat to us
	evidence    time.Time // the latest of any
	lost        time.Time // when it died, or was first heard of
	joined      time.Time // when it became alive
	asked       time.Time // for its claims
	left        bool
	// Calls of a speaker that does not take part: when the next is due, whether
	// one is under way, and when it was last seen alive.
	nextCall, lastSeen time.Time
	calling            bool
	// parting counts how often one of the two held the other dead while both
	// ran. Each adds one when it does, and takes over the other's count if it
	// is higher: so that who was held dead and did not notice learns of it.
	parting uint32
	// apart says that there was a parting, and that what both claimed
	// meanwhile is not compared yet: see Machine.weigh.
	apart bool
}

// replayWindow is how long after its death an older incarnation of a member
// is not believed. A node whose clock went backwards is believed after it.
const replayWindow = time.Minute

func newDetector(self string, settings Settings) *detector {
	return &detector{settings: settings, self: self, peers: map[string]*peer{}, byID: map[uint64]string{}}
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
func (d *detector) expect(name string, at netip.AddrPort, now time.Time) {
	if name == d.self || !at.IsValid() || at.Port() == 0 {
		return
	}
	p := d.peers[name]
	if p == nil {
		p = &peer{lost: now}
		d.peers[name], d.byID[identify(name)] = p, name
		d.sorted = nil
	}
	if !p.alive {
		p.at = at
	}
}

func (d *detector) forget(name string) {
	if p := d.peers[name]; p != nil && !p.alive {
		delete(d.peers, name)
		delete(d.byID, identify(name))
		d.sorted = nil
	}
}

// news is what a beat or the time changed.
type news struct {
	changed bool // who is alive or ready
	joined  bool
	// reborn are those whose claims are void: dead, gone, or started anew.
	reborn []string
}

// hear takes in a beat.
func (d *detector) hear(m *message, now time.Time) (n news) {
	if m.name == d.self || !m.at.IsValid() {
		return n
	}
	d.expect(m.name, m.at, now)
	p := d.peers[m.name]
	if p == nil || d.stale(p, m, now) {
		return n
	}
	if m.incarnation != p.incarnation {
		if p.alive {
			n.reborn, n.changed = append(n.reborn, m.name), true
		}
		p.incarnation, p.left, p.parting, p.apart = m.incarnation, false, 0, true
	}
	p.sequence, p.version, p.pulse, p.at = m.beat.sequence, m.beat.version, m.beat.pulse, m.at
	p.direct, p.evidence = now, now
	if m.beat.leaving {
		p.left = true
		if p.alive {
			p.alive, p.ready, p.lost = false, false, now
			return news{changed: true, reborn: []string{m.name}}
		}
		return n
	}
	if p.left {
		return n
	}
	if !p.alive {
		p.alive, p.apart, p.joined, n.changed, n.joined = true, true, now, true, true
	}
	if p.ready != m.beat.ready {
		p.ready, n.changed = m.beat.ready, true
	}
	d.hearsay(m, now)
	return n
}

// stale reports whether a beat is an old one: late, doubled or replayed.
func (d *detector) stale(p *peer, m *message, now time.Time) bool {
	if m.incarnation == p.incarnation {
		return m.beat.sequence <= p.sequence
	}
	return m.incarnation < p.incarnation && (p.alive || now.Sub(p.lost) < replayWindow)
}

// hearsay takes the sender's word for others that are alive already.
func (d *detector) hearsay(m *message, now time.Time) {
	for _, h := range m.beat.heard {
		if h.id == identify(d.self) {
			continue
		}
		p := d.peers[d.byID[h.id]]
		if p == nil || !p.alive {
			if p == nil || !p.left {
				d.partial = now
			}
			continue
		}
		if at := now.Add(-h.age); at.After(p.evidence) {
			p.evidence = at
		}
	}
}

// heard is whom we heard ourselves, for our own beats. Only fresh evidence is
// worth saying; the most recent comes first where not all fit.
func (d *detector) heard(now time.Time) []heard {
	var all []heard
	for _, name := range d.names() {
		p := d.peers[name]
		if age := now.Sub(p.direct); p.alive && age < d.settings.Patience(p.pulse) {
			all = append(all, heard{identify(name), age})
		}
	}
	slices.SortStableFunc(all, func(a, b heard) int { return int(a.age - b.age) })
	return all[:min(len(all), mostHeard)]
}

// tick declares dead who has been silent for too long, and returns when to
// look again.
func (d *detector) tick(now time.Time) (n news, next time.Time) {
	for _, name := range d.names() {
		p := d.peers[name]
		if !p.alive {
			continue
		}
		until := p.evidence.Add(d.settings.Patience(p.pulse))
		if !now.Before(until) {
			p.alive, p.ready, p.lost = false, false, now
			p.parting++
			n.changed, n.reborn = true, append(n.reborn, name)
			continue
		}
		if next.IsZero() || until.Before(next) {
			next = until
		}
	}
	return n, next
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

// part takes in how often a member says that it and this speaker parted. That
// is news if it held this speaker dead and is not known to have.
func (p *peer) part(parting uint32) (news bool) {
	if parting <= p.parting {
		return false
	}
	p.parting, p.apart = parting, true
	return true
}

// isolated reports whether nobody else is alive, though others were.
func (d *detector) isolated() bool {
	isolated := false
	for _, p := range d.peers {
		if p.alive {
			return false
		}
		isolated = isolated || p.parting > 0 && !p.left
	}
	return isolated
}

// missing returns where those are that were lost less than seekClosely ago.
func (d *detector) missing(now time.Time) (at []netip.Addr) {
	for _, name := range d.names() {
		p := d.peers[name]
		if !p.alive && !p.left && now.Sub(p.lost) < seekClosely {
			at = append(at, p.at.Addr())
		}
	}
	return at
}

// stalled gives everybody the time that this process did not run.
func (d *detector) stalled(by time.Duration, now time.Time) {
	for _, p := range d.peers {
		if p.evidence = p.evidence.Add(by); p.evidence.After(now) {
			p.evidence = now
		}
	}
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
