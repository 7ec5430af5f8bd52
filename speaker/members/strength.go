package members

import "time"

// sureAfter is how long the membership must not have grown before a speaker
// counts itself part of what it sees (see Claims.Strength).
const sureAfter = 300 * time.Millisecond

// weigh keeps the strength of our claims (see Claims.Strength). It falls at
// once, with everybody from whom we part. It rises to the number of the living
// when what was claimed apart is settled, and not before: what was taken in
// solitude must not look like the word of all. The lock is held.
func (m *Members) weigh(now time.Time) {
	p := m.pulse
	together, alive := p.detector.together()
	strength := int(p.ledger.Claims().Strength)
	switch {
	case together == alive && strength == alive:
	case m.reconciled(now):
		for _, other := range p.detector.peers {
			other.apart = false
		}
		p.ledger.Weigh(alive)
	case together < strength:
		p.ledger.Weigh(together)
	}
}

// reconciled tells whether this speaker sees the whole, knows what each of the
// living claims, and claims nothing that another does. The lock is held.
func (m *Members) reconciled(now time.Time) bool {
	p := m.pulse
	if now.Sub(p.grown) < sureAfter || now.Sub(p.detector.partial) < sureAfter {
		return false
	}
	for name, other := range p.detector.peers {
		if other.alive && !p.ledger.Knows(name, other.version) {
			return false
		}
	}
	return !p.ledger.Disputed()
}

// believe takes over what another claims. The lock is held.
func (m *Members) believe(from *message, now time.Time) {
	p := m.pulse
	other := p.detector.peers[from.name]
	if other == nil || !other.alive || other.incarnation != from.incarnation || from.claims.Version < p.ledger.theirs[from.name].Version {
		return
	}
	m.part(other, from.parting, now)
	if from.parting < other.parting {
		// It does not know yet that we held it dead, and believes its claims to
		// be stronger than they are. It learns from our question.
		return
	}
	p.ledger.Hear(from.name, from.claims)
	signal(p.changes)
}

// part lets it count as a death if another held this speaker dead: whom it
// has lost has lost it, too, as far as claims go. The lock is held.
func (m *Members) part(from *peer, parting uint32, now time.Time) {
	if from.part(parting) {
		m.pulse.grown = now
		m.weigh(now)
	}
}
