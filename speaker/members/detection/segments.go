package detection

import (
	"net/netip"
	"slices"
	"strings"
	"time"
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
	// controls are the hosts that were asked for on it, by address, and proven when the
	// latest question was put that one of them has answered for sure: see controls.go.
	controls map[netip.Addr]*control
	proven   time.Time
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
		s := &segment{moved: now, controls: map[netip.Addr]*control{}}
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
// are others, it takes nothing until somebody has answered on a segment since or, where
// nobody is known to answer, any frame has come in.
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
		unproven = unproven && !s.proven.After(last) && (!s.frames.After(last) || s.gatewaySilent(last, now))
	}
	if unproven != m.unproven {
		m.unproven = unproven
		m.change(true, now)
	}
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
