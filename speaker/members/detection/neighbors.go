package detection

import (
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
)

// What is asked by ARP and Neighbor Discovery.
const (
	// questionsAtOnce bounds what is asked in one turn, beside the controls.
	questionsAtOnce = 20
	// Questions for a speaker that is lost: how long each second, each of a tenth,
	// and after a minute.
	askLostClosely, askLost, askLostSlowly = 100 * time.Millisecond, time.Second, 10 * time.Second
	// witnessEvery is how often a kernel is asked whether it answers at all.
	witnessEvery = time.Minute
)

// askAround puts the questions that are due: for the kernels of those that are
// silent or lost, for what they claim, and for the gateways of one that is alone.
func (m *Machine) askAround(now time.Time) {
	m.askControls(now)
	most := len(m.output.Questions) + questionsAtOnce
	for _, name := range m.detector.names() {
		p := m.detector.peers[name]
		if p.left || len(m.output.Questions) >= most {
			continue
		}
		late := m.late(p, now)
		if !late && p.nextQuestion.After(now) {
			continue
		}
		p.nextQuestion = now.Add(m.pause(p, late, now))
		if !late && p.alive && now.Sub(p.witness) < witnessEvery {
			continue
		}
		for _, s := range m.segments {
			before := len(m.output.Questions)
			m.askFor(p, s, late, now)
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

// late reports whether a living speaker's heartbeat is missing.
func (m *Machine) late(p *peer, now time.Time) bool {
	return p.alive && now.Sub(p.evidence) >= m.config.Settings.late(p.pulse)
}

// askOnQuiet asks on the segments on which it is not clear whether anything comes in,
// or gets out.
func (m *Machine) askOnQuiet(now time.Time) {
	for _, s := range m.segments {
		quiet := s.samples > 0 && now.Sub(s.moved) >= quietFor/2 || now.Sub(s.muteSince) >= quietFor/2
		if (m.alone || quiet) && now.Sub(s.asked) >= m.config.Settings.Pulse {
			s.asked = now
			m.askAnybody(s, now)
		}
	}
}

// askAnybody asks on a segment for whoever should be there in any case: where nobody
// has a reason to say anything, nothing comes in.
func (m *Machine) askAnybody(s *segment, now time.Time) {
	for _, gateway := range s.Gateways {
		if len(m.output.Questions) < questionsAtOnce {
			m.askHost(s, gateway, now)
		}
	}
	for _, name := range m.detector.names() {
		if len(m.output.Questions) >= questionsAtOnce {
			return
		}
		if p := m.detector.peers[name]; p.alive {
			m.askFor(p, s, false, now)
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
func (m *Machine) askFor(p *peer, s *segment, late bool, now time.Time) {
	targets := s.own(p)
	for _, target := range targets {
		m.askHost(s, target, now)
	}
	if late && len(targets) > 0 && len(p.claimed) > 0 {
		m.output.Questions = append(m.output.Questions, Question{On: s.Name, Target: p.claimed[p.asked%len(p.claimed)]})
		p.asked++
	}
}

// own are a speaker's own addresses on a segment, sorted: where the others reach it, and
// of what its interfaces have so many that there may be one of each family.
func (s *segment) own(p *peer) (all []netip.Addr) {
	if s.holds(p.at.Addr()) {
		all = append(all, p.at.Addr())
	}
	for i := range p.links {
		for _, a := range p.links[i].Addrs {
			if s.holds(a.Addr()) && len(all) < 2 && !slices.Contains(all, a.Addr()) { //nolint:mnd // one of each family
				all = append(all, a.Addr())
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// Answered says who has answered for an address, by ARP or NDP, that was in
// Questions a moment ago, or has announced it.
func (m *Machine) Answered(on string, mac model.MAC, address netip.Addr, now time.Time) {
	kernel := false
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
			p.witness, kernel = now, true
		}
	}
	for _, s := range m.segments {
		if s.Name != on {
			continue
		}
		if kernel {
			s.answered = now
		}
		if kernel || slices.Contains(s.Gateways, address) {
			m.controlAnswered(s, address, now)
		}
	}
	m.output.Early = m.output.Early || m.detector.waiting
}

// has reports whether a speaker says that a MAC is its own.
func (p *peer) has(mac model.MAC) bool {
	return slices.ContainsFunc(p.links, func(l model.Link) bool { return l.MAC == mac })
}
