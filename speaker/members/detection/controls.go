package detection

import (
	"net/netip"
	"slices"
	"time"
)

// Controls are other hosts than the one that is silent: gateways, and the kernels of
// other speakers' nodes. They are asked for in the same moment, by the same way. That
// one of them answers, and the silent one does not, says that it is the other's silence,
// and not this node that receives nothing for a while: its machine may lack a processor
// on which packets wait, while this process runs on another.
//
// What waited is no proof. An answer does not say which question it answers, so it is
// taken for the answer to the earliest that has none. One that comes much later proves
// too much, but by then it is known that this node was deaf: see hearsAgain.
const (
	// answerWithin is how many pulses an answer may be under way; then it is lost.
	answerWithin = 10
	// controlFor is how long after its last answer a host counts as one that would
	// answer. It is asked each witnessEvery.
	controlFor = 2 * witnessEvery
	// speakersAsked is how many other speakers' nodes are asked beside the gateways.
	speakersAsked = 2
	// deafFor is how long one that is alone trusts its gateway, which has answered
	// before, more than the number of frames that its interface has received.
	deafFor = 10 * time.Second
)

// control is a host that is asked for on a segment.
type control struct {
	// open are when the questions were put that have no answer, the earliest first.
	open []time.Time
	// asked is when it was asked last, and answered when it has answered.
	asked, answered time.Time
}

// put notes a question. What has no answer for so long never gets one.
func (c *control) put(now time.Time, lost time.Duration) {
	for len(c.open) > 0 && now.Sub(c.open[0]) > lost {
		c.open = c.open[1:]
	}
	c.open, c.asked = append(c.open, now), now
}

// takes notes an answer, and returns when the question was put, at the earliest.
func (c *control) takes(now time.Time) (put time.Time) {
	if len(c.open) > 0 {
		put, c.open, c.answered = c.open[0], c.open[1:], now
	}
	return put
}

// answers reports whether the host of an address has answered lately.
func (s *segment) answers(address netip.Addr, now time.Time) bool {
	c := s.controls[address]
	return c != nil && !c.answered.IsZero() && now.Sub(c.answered) < controlFor
}

// askHost asks for a host's own address.
func (m *Machine) askHost(s *segment, address netip.Addr, now time.Time) {
	c := s.controls[address]
	if c == nil {
		for a, old := range s.controls {
			if now.Sub(old.asked) > controlFor {
				delete(s.controls, a)
			}
		}
		c = &control{}
		s.controls[address] = c
	}
	c.put(now, answerWithin*m.config.Settings.Pulse)
	m.output.Questions = append(m.output.Questions, Question{On: s.Name, Target: address})
}

// concerns reports whether who is silent would be heard on the segment: a speaker that
// shares none of ours may be by any way.
func (m *Machine) concerns(s *segment, p *peer) bool {
	return len(s.own(p)) > 0 || !slices.ContainsFunc(m.segments, func(other *segment) bool { return len(other.own(p)) > 0 })
}

// controlled reports whether there are hosts beside a silent speaker's that should
// answer.
func (m *Machine) controlled(p *peer, now time.Time) bool {
	for _, s := range m.segments {
		if !m.concerns(s, p) {
			continue
		}
		if slices.ContainsFunc(s.Gateways, func(a netip.Addr) bool { return s.answers(a, now) }) {
			return true
		}
		for _, other := range m.detector.peers {
			if other != p && other.alive && slices.ContainsFunc(s.own(other), func(a netip.Addr) bool { return s.answers(a, now) }) {
				return true
			}
		}
	}
	return false
}

// askControls asks the controls where a heartbeat is missing, and the gateways now and
// then, so that it is known which answer.
func (m *Machine) askControls(now time.Time) {
	if len(m.detector.peers) == 0 {
		return
	}
	for _, s := range m.segments {
		missing := slices.ContainsFunc(m.detector.names(), func(name string) bool {
			p := m.detector.peers[name]
			return m.late(p, now) && m.concerns(s, p)
		})
		for _, gateway := range s.Gateways {
			if c := s.controls[gateway]; missing || c == nil || now.Sub(c.asked) >= askLostSlowly && now.Sub(c.answered) >= witnessEvery {
				m.askHost(s, gateway, now)
			}
		}
		if missing {
			m.askSpeakers(s, now)
		}
	}
}

// askSpeakers asks for the nodes of some that are heard. The others are asked for anyway.
func (m *Machine) askSpeakers(s *segment, now time.Time) {
	asked := 0
	for _, name := range m.detector.names() {
		p := m.detector.peers[name]
		if asked >= speakersAsked {
			return
		}
		if !p.alive || m.late(p, now) {
			continue
		}
		for _, a := range s.own(p) {
			if asked < speakersAsked && s.answers(a, now) {
				m.askHost(s, a, now)
				asked++
			}
		}
	}
}

// controlAnswered takes in the answer of a host that is no speaker, but a kernel.
func (m *Machine) controlAnswered(s *segment, address netip.Addr, now time.Time) {
	c := s.controls[address]
	if c == nil {
		return
	}
	if put := c.takes(now); put.After(s.proven) {
		s.proven = put
	}
	m.detector.hearsAgain(now)
	for _, p := range m.detector.peers {
		if !p.doubt.IsZero() && p.control.IsZero() && !s.proven.Before(p.doubt) && m.concerns(s, p) {
			p.control = now
			// Before that, a turn is due anyway.
			m.output.Early = m.output.Early || now.Sub(p.doubt) >= m.detector.moment()
		}
	}
}

// gatewaySilent reports whether there is a gateway that should answer, and that has not
// been waited for in vain long enough since the last sign of another speaker: what an
// interface counts as received may be held up.
func (s *segment) gatewaySilent(last, now time.Time) bool {
	return now.Sub(last) < deafFor && slices.ContainsFunc(s.Gateways, func(a netip.Addr) bool { return s.answers(a, now) })
}

// verdict returns when a speaker whose time is over is dead: where there is a control, a
// moment after its answer, or at a bound, unless the silent one's own host has said that
// no process listens.
func (d *detector) verdict(p *peer, now time.Time, controlled func(*peer) bool) time.Time {
	until := p.doubt.Add(d.moment())
	switch {
	case !p.control.IsZero():
		if after := p.control.Add(d.moment()); after.After(until) {
			until = after
		}
		return until
	case p.refused.After(p.evidence), !controlled(p):
		return until
	}
	if now.Sub(p.doubt) >= 2*d.settings.Pulse { //nolint:mnd // one answer may be lost
		d.deaf = true
	}
	if bound := p.evidence.Add(d.settings.Silence); bound.After(until) {
		until = bound
	}
	return until
}

// moment is for what has come already, to be taken in first: that somebody's time is
// over, or a control's answer, may be noticed before the message that waits in a socket.
func (d *detector) moment() time.Duration { return d.settings.Pulse / 4 } //nolint:mnd // a small part of the time to notice a death

// hearsAgain gives everybody time after nothing has come in: what was held up comes
// one after the other.
func (d *detector) hearsAgain(now time.Time) {
	if d.deaf {
		d.deaf, d.deafUntil = false, now.Add(d.settings.patienceAlone(0))
	}
}
