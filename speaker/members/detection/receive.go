package detection

import (
	"time"
)

// Message is what a speaker has sent, taken apart. It is never changed: several
// Machines may be given the same.
type Message struct{ message }

// Parse takes a message apart. The bytes are kept, and must not be changed after.
func Parse(b []byte) (*Message, error) {
	m, err := unmarshal(b)
	if err != nil {
		return nil, err
	}
	return &Message{m}, nil
}

// Receive takes in a message of another speaker. What is malformed changes
// nothing. The bytes are not kept.
func (m *Machine) Receive(b []byte, way Way, now time.Time) error {
	from, err := unmarshal(b)
	if err != nil {
		return err
	}
	m.accept(&from, way, now)
	return nil
}

// Accept is Receive of a message that has been taken apart.
func (m *Machine) Accept(from *Message, way Way, now time.Time) { m.accept(&from.message, way, now) }

func (m *Machine) accept(from *message, way Way, now time.Time) {
	if from.name == m.config.Name {
		return
	}
	switch from.kind {
	case kindBeat:
		m.hear(from, way, now)
	case kindAsk:
		m.answer(from, way, now)
	case kindClaims:
		m.believe(from, now)
	case kindSuperseded:
		m.superseded(from, now)
	}
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
		p := m.detector.byID[h.id]
		if p == nil || p.left {
			continue
		}
		at := now.Add(-h.age)
		switch {
		case p.alive && at.After(p.evidence):
			p.evidence = at
		case !p.alive && at.After(p.evidence) && h.age < m.config.Settings.Patience(p.pulse):
			// It lives, and is not heard here. Who hears it knows its claims.
			m.partial = now
			m.ask(p.name, from.name, now)
			continue
		}
		unheard := p.alive && now.Sub(p.direct) > m.config.Settings.Patience(p.pulse)
		const lowest = 0xffff // as many bits as are told
		if unheard && m.ledger.Version(p.name)&lowest != uint64(h.version) {
			m.ask(p.name, from.name, now)
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
