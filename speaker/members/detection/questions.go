package detection

import (
	"time"
)

// ask asks one speaker for the claims of another, or for its own.
func (m *Machine) ask(subject, whom string, now time.Time) {
	p := m.detector.peers[subject]
	if p == nil || now.Sub(p.question.at) < askAgain {
		return
	}
	message := m.message(kindAsk)
	message.subject = subject
	p.question = question{message.sequence, now, whom, p.question.tries + 1}
	m.sendTo(whom, message.marshal(), p.question.tries%2 == 0, now)
}

// askAnew asks those that are heard, and whose claims did not come, without waiting
// for the next heartbeat: where most packets are lost that takes too long.
func (m *Machine) askAnew(now time.Time) {
	for _, name := range m.detector.names() {
		p := m.detector.peers[name]
		heard := p.alive && now.Sub(p.direct) < m.config.Settings.patienceAlone(p.pulse)
		if heard && p.question.tries > 0 && !m.ledger.Knows(name, p.version) && !p.unaware(now) {
			m.ask(name, name, now)
		}
	}
}

// sendTo sends a question by a way by which the speaker was heard a moment ago: UDP,
// unless it was heard by frames only. What is heard by a way need not hear by it: the
// next attempt takes the other one.
func (m *Machine) sendTo(name string, b []byte, other bool, now time.Time) {
	p := m.detector.peers[name]
	if p == nil {
		return
	}
	recently := now.Add(-m.config.Settings.patienceAlone(p.pulse))
	if p.udp.After(recently) == other {
		for _, s := range m.segments {
			if at := p.stations[s.Name]; at != nil && at.heard.After(recently) {
				m.send(Packet{To: name, On: s.Name, MAC: at.mac, Bytes: b})
				return
			}
		}
	}
	m.send(Packet{To: name, At: p.at, Bytes: b})
}

// answer sends the claims that somebody has asked for, if they are known, by the way
// by which the question came. One that was heard before is not answered again.
func (m *Machine) answer(from *message, way Way, now time.Time) {
	asker := m.detector.peers[from.name]
	if asker == nil || asker.incarnation != from.incarnation || from.sequence <= asker.asks {
		return
	}
	asker.asks = from.sequence
	reply := portrait{
		at: m.config.Address, pulse: m.config.Settings.Pace(len(m.Alive())), ready: m.fit(), strength: m.ledger.Strength(), claims: m.ledger.Claims(),
	}
	head := part{incarnation: m.config.Incarnation, echo: from.sequence}
	if from.subject != m.config.Name {
		p := m.detector.peers[from.subject]
		claims, strength, _ := m.ledger.Foreign(from.subject)
		if p == nil || !p.alive || !m.ledger.Knows(from.subject, claims.Version) { // whole, or not at all
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
		m.send(Packet{To: from.name, At: asker.at, On: way.On, MAC: way.MAC, Bytes: message.marshal()})
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
	p.question.tries = 0
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
