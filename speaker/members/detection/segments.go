package detection

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
)

// Heartbeats also go over every segment on which this node announces, as frames:
// so a member network that fails, or a firewall, is not taken for a death, and a
// node that nothing gets to, or from, on a segment learns of it. Where heartbeats
// are missing, ARP and Neighbor Discovery ask how the node is.
const (
	// mostSegments have a bit in a heartbeat.
	mostSegments = 8
	// quietFor is how long an interface has received nothing at all when it counts
	// as broken, if other speakers were heard on it before; muteFor is how long
	// nobody must have heard us on a segment where others hear each other. It is
	// more, so that of two who do not hear each other the one that is deaf says so
	// first.
	quietFor, muteFor = time.Second, 2 * time.Second
	// quietSamples is how often at least that was looked at: a process that gets no
	// processor does not know how long nothing came.
	quietSamples = 10
	// questionsAtOnce bounds what is asked in one turn.
	questionsAtOnce = 20
	// Questions for a speaker that is lost: how long each second, each of a tenth,
	// and after a minute.
	askLostClosely, askLost, askLostSlowly = 100 * time.Millisecond, time.Second, 10 * time.Second
	// witnessEvery is how often a kernel is asked whether it answers at all.
	witnessEvery = time.Minute
)

// segment is one of ours, and what is known of it.
type segment struct {
	Segment
	// peersHeard says that another speaker was heard on it, ever, and usHeard
	// that one has said that it heard us.
	peersHeard, usHeard bool
	// moved is when a speaker was heard on it last, or anything was received.
	moved time.Time
	// count is how many frames it had received when that was looked at last, and
	// frames when it was found to be more. It is looked at only while no other speaker
	// is heard on it.
	count   uint64
	frames  time.Time
	samples int // since it is looked at
	// asked is when anybody was asked for on it last: see askAnybody. answered is when
	// another node's kernel answered last, so that what we send arrives.
	asked, answered time.Time
	// muteSince is since when nobody hears us.
	muteSince time.Time
	why       string // it is broken; empty otherwise
}

// SetSegments says which interfaces heartbeats go over, beside the member
// address.
func (m *Machine) SetSegments(all []Segment, now time.Time) {
	var next []*segment
	for _, one := range all {
		at := slices.IndexFunc(m.segments, func(s *segment) bool { return s.Name == one.Name && s.MAC == one.MAC })
		s := &segment{moved: now}
		if at >= 0 {
			s = m.segments[at]
		}
		s.Segment = one
		next = append(next, s)
	}
	slices.SortFunc(next, func(a, b *segment) int { return strings.Compare(a.Name, b.Name) })
	m.segments = next[:min(len(next), mostSegments)]
	for _, p := range m.detector.peers {
		p.nextQuestion = time.Time{}
	}
	m.output.Early = true
}

// shares reports whether a speaker says that it has a usable interface on a
// segment of ours.
func (s *segment) shares(p *peer) bool {
	for i := range p.links {
		if on := &p.links[i]; on.Usable && s.holdsOne(on.Addrs) {
			return true
		}
	}
	return false
}

func (s *segment) holdsOne(of []netip.Prefix) bool {
	return slices.ContainsFunc(of, func(a netip.Prefix) bool { return s.holds(a.Addr()) })
}

// holds reports whether an address is in a subnet of the segment. Link-local
// subnets are everywhere.
func (s *segment) holds(a netip.Addr) bool {
	return !a.IsLinkLocalUnicast() && slices.ContainsFunc(s.Addrs, func(p netip.Prefix) bool {
		return p.Bits() < p.Addr().BitLen() && !p.Addr().IsLinkLocalUnicast() && p.Masked().Contains(a)
	})
}

// heardHere reports whether a speaker was heard on the segment since a moment: by
// a frame, or by UDP from an address that is there.
func (s *segment) heardHere(p *peer, since time.Time) bool {
	if at := p.stations[s.Name]; at != nil && at.heard.After(since) {
		return true
	}
	return p.udp.After(since) && s.holds(p.at.Addr())
}

// segmentsOf says on which of its segments a speaker was heard: the bits of a
// heartbeat. What it announces on is sorted by name on either side.
func (m *Machine) segmentsOf(p *peer, now time.Time) (bits byte) {
	place := 0
	for i := range p.links {
		on := &p.links[i]
		if !on.Usable {
			continue
		}
		for _, s := range m.segments {
			if place < mostSegments && s.holdsOne(on.Addrs) && s.heardHere(p, now.Add(-m.config.Settings.Patience(p.pulse))) {
				bits |= 1 << place
			}
		}
		place++
	}
	return bits
}

// stalled gives the segments the time that this process did not run.
func (s *segment) stalled(by time.Duration, now time.Time) {
	for _, at := range []*time.Time{&s.moved, &s.muteSince} {
		if *at = at.Add(by); at.After(now) {
			*at = now
		}
	}
}

// hearing is how many of the living that share a segment were heard on it, just now
// and lately, how many said anything at all lately, and how many that they hear us.
type hearing struct{ justNow, lately, talking, us int }

func (m *Machine) hearing(s *segment, place int, now time.Time) (h hearing) {
	lately := now.Add(-2 * m.config.Settings.Patience(0))
	justNow := now.Add(-m.config.Settings.Pace(len(m.Alive())) * 3 / 2)
	for _, p := range m.detector.peers {
		if !p.alive || !s.shares(p) {
			continue
		}
		h.justNow += count(s.heardHere(p, justNow))
		h.lately += count(s.heardHere(p, lately))
		// One that receives nothing itself says that it is not ready, and nothing of us.
		h.talking += count(p.ready && p.direct.After(lately))
		h.us += count(p.hears.After(lately) && p.hearsOn&(1<<place) != 0)
	}
	return h
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

// judge decides which segments are broken.
func (m *Machine) judge(now time.Time) {
	for place, s := range m.segments {
		h := m.hearing(s, place, now)
		s.peersHeard, s.usHeard = s.peersHeard || h.lately > 0, s.usHeard || h.us > 0
		m.sample(s, h.justNow > 0, now)
		// Who is not heard at all says nothing of us, and the network may drop frames.
		if h.talking == 0 || h.us > 0 || !s.usHeard || now.Sub(s.answered) < quietFor {
			s.muteSince = now
		}
		why := ""
		switch {
		case s.peersHeard && now.Sub(s.moved) >= quietFor && s.samples >= quietSamples:
			why = "receives nothing, though other speakers were heard on it before"
		case now.Sub(s.muteSince) >= muteFor:
			why = "sends nothing that another speaker hears, though it has carrier"
		}
		if why != s.why {
			s.why = why
			m.change(true, now)
		}
	}
}

// portClosedAfter is how long a living speaker is not heard by UDP before that is
// worth a word.
const portClosedAfter = 5 * time.Second

// portClosed keeps which of the living are not heard at the member port: a firewall
// is the usual reason. Heartbeats go on as frames.
func (m *Machine) portClosed(now time.Time) {
	var all []string
	for _, name := range m.detector.names() {
		p := m.detector.peers[name]
		if p.alive && now.Sub(p.direct) < portClosedAfter && now.Sub(p.udp) >= portClosedAfter && now.Sub(p.joined) >= portClosedAfter {
			all = append(all, name)
		}
	}
	if !slices.Equal(all, m.framesOnly) {
		m.framesOnly = all
		m.change(true, now)
	}
}

// sample looks at how many frames the segment has received, unless other speakers
// are heard on it.
func (m *Machine) sample(s *segment, heard bool, now time.Time) {
	nobody := !s.peersHeard && len(m.detector.peers) == 0 // it is of no use, and costs a question to the kernel
	if heard || nobody || m.config.Received == nil {
		s.moved, s.samples = now, 0
		return
	}
	count := m.config.Received(s.Name)
	if s.samples > 0 && count != s.count {
		s.moved, s.frames, s.samples = now, now, 0
	}
	s.count = count
	s.samples++
}

// broken says what of the segments is.
func (m *Machine) broken() map[string]string {
	var all map[string]string
	for _, s := range m.segments {
		if s.why != "" {
			if all == nil {
				all = map[string]string{}
			}
			all[s.Name] = s.why
		}
	}
	return all
}

// prove keeps whether this speaker may act alone: if it hears nobody, though there
// are others, it takes nothing until any frame has come in by a segment since.
func (m *Machine) prove(now time.Time) {
	m.alone = len(m.Alive()) <= 1 && !m.leaving && (m.detector.alone() || len(m.wanted) > 0)
	unproven := m.alone && len(m.segments) > 0 && m.config.Received != nil
	var last time.Time
	for _, p := range m.detector.peers {
		if p.evidence.After(last) {
			last = p.evidence
		}
	}
	for _, s := range m.segments {
		unproven = unproven && !s.frames.After(last)
	}
	if unproven != m.unproven {
		m.unproven = unproven
		m.change(true, now)
	}
}

// askAround puts the questions that are due: for the kernels of those that are
// silent or lost, for what they claim, and for the gateways of one that is alone.
func (m *Machine) askAround(now time.Time) {
	for _, name := range m.detector.names() {
		p := m.detector.peers[name]
		if p.left || len(m.output.Questions) >= questionsAtOnce {
			continue
		}
		late := p.alive && now.Sub(p.evidence) >= m.config.Settings.late(p.pulse)
		if !late && p.nextQuestion.After(now) {
			continue
		}
		p.nextQuestion = now.Add(m.pause(p, late, now))
		if !late && p.alive && now.Sub(p.witness) < witnessEvery {
			continue
		}
		for _, s := range m.segments {
			before := len(m.output.Questions)
			m.askFor(p, s, late)
			if p.alive && !late {
				s.direct(p, m.output.Questions[before:], now.Add(-m.config.Settings.Patience(p.pulse)))
			}
		}
	}
	m.askOnQuiet(now)
}

// direct has questions for a speaker go to it alone if it was heard on the segment
// since a moment, so that its MAC is known: each of a thousand speakers asks each other
// one every minute, and a broadcast is a frame for every port of the LAN.
func (s *segment) direct(p *peer, questions []Question, since time.Time) {
	at := p.stations[s.Name]
	if at == nil || !at.heard.After(since) {
		return
	}
	for i := range questions {
		questions[i].MAC = at.mac
	}
}

// askOnQuiet asks on the segments on which it is not clear whether anything comes in,
// or gets out.
func (m *Machine) askOnQuiet(now time.Time) {
	for _, s := range m.segments {
		quiet := s.samples > 0 && now.Sub(s.moved) >= quietFor/2 || now.Sub(s.muteSince) >= quietFor/2
		if (m.alone || quiet) && now.Sub(s.asked) >= m.config.Settings.Pulse {
			s.asked = now
			m.askAnybody(s)
		}
	}
}

// askAnybody asks on a segment for whoever should be there in any case: where nobody
// has a reason to say anything, nothing comes in.
func (m *Machine) askAnybody(s *segment) {
	for _, gateway := range s.Gateways {
		if len(m.output.Questions) < questionsAtOnce {
			m.output.Questions = append(m.output.Questions, Question{On: s.Name, Target: gateway})
		}
	}
	for _, name := range m.detector.names() {
		if len(m.output.Questions) >= questionsAtOnce {
			return
		}
		if p := m.detector.peers[name]; p.alive {
			m.askFor(p, s, false)
		}
	}
}

// pause is the time to the next question for a speaker.
func (m *Machine) pause(p *peer, late bool, now time.Time) time.Duration {
	switch {
	case late:
		return m.config.Settings.Pulse
	case p.alive && p.witness.IsZero() && now.Sub(p.joined) < 5*time.Second, !p.alive && now.Sub(p.lost) < askLost:
		return askLostClosely
	case p.alive:
		return askLost
	case now.Sub(p.lost) < seekClosely:
		return askLost
	}
	return askLostSlowly
}

// askFor asks for a speaker's own addresses on a segment and, if its heartbeats
// are late, for one of those that it claims.
func (m *Machine) askFor(p *peer, s *segment, late bool) {
	targets := map[netip.Addr]bool{}
	if s.holds(p.at.Addr()) {
		targets[p.at.Addr()] = true
	}
	for i := range p.links {
		for _, a := range p.links[i].Addrs {
			if s.holds(a.Addr()) && len(targets) < 2 { //nolint:mnd // one of each family
				targets[a.Addr()] = true
			}
		}
	}
	shared := len(targets) > 0
	if late && shared && len(p.claimed) > 0 {
		targets[p.claimed[p.asked%len(p.claimed)]] = true
		p.asked++
	}
	for _, target := range slices.SortedFunc(maps.Keys(targets), netip.Addr.Compare) {
		m.output.Questions = append(m.output.Questions, Question{On: s.Name, Target: target})
	}
}

// Answered says who has answered for an address, by ARP or NDP, that was in
// Questions a moment ago, or has announced it.
func (m *Machine) Answered(on string, mac model.MAC, address netip.Addr, now time.Time) {
	for _, name := range m.detector.names() {
		p := m.detector.peers[name]
		if !p.has(mac) {
			continue
		}
		if slices.Contains(p.claimed, address) {
			// No kernel has the address: it was the speaker.
			p.on(on, mac, now)
			if p.alive {
				p.evidence = now
			}
			continue
		}
		if p.at.Addr() == address || slices.ContainsFunc(p.links, func(l model.Link) bool {
			return slices.ContainsFunc(l.Addrs, func(a netip.Prefix) bool { return a.Addr() == address })
		}) {
			p.witness = now
			for _, s := range m.segments {
				if s.Name == on {
					s.answered = now
				}
			}
		}
	}
	m.output.Early = m.output.Early || m.detector.waiting
}

// has reports whether a speaker says that a MAC is its own.
func (p *peer) has(mac model.MAC) bool {
	return slices.ContainsFunc(p.links, func(l model.Link) bool { return l.MAC == mac })
}

// Refused says that a host has answered a UDP packet with port unreachable: no
// process listens there (RFC 1122 section 4.1.3.1). Who sends it is not proven:
// it shortens how long one is waited for who is silent, and nothing else.
func (m *Machine) Refused(at netip.AddrPort, now time.Time) {
	for _, p := range m.detector.peers {
		if p.alive && p.at == at {
			// The first time only: a turn sends heartbeats, which are answered so again.
			m.output.Early = m.output.Early || !p.refused.After(p.evidence)
			p.refused = now
		}
	}
}

// Overflowed says that the kernel has dropped messages for want of room: what was
// not heard proves nothing for a while.
func (m *Machine) Overflowed(now time.Time) {
	m.detector.deafUntil = now.Add(m.config.Settings.patienceAlone(0))
}
