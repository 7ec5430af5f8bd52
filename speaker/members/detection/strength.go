package detection

import "time"

// sureAfter is how long the membership must not have grown before a speaker
// counts itself part of what it sees (see Claims.Strength).
const sureAfter = 300 * time.Millisecond

// weigh keeps the strength of our claims (see Claims.Strength). It falls at
// once, with everybody from whom we part. It rises to the number of the living
// when what was claimed apart is settled, and not before: what was taken in
// solitude must not look like the word of all.
func (m *Machine) weigh(now time.Time) {
	together, alive := m.detector.together()
	strength := int(m.ledger.Claims().Strength)
	switch {
	case together == alive && strength == alive:
	case m.reconciled(now):
		for _, other := range m.detector.peers {
			other.apart = false
		}
		if m.ledger.Weigh(alive) {
			m.change(false, now)
		}
	case together < strength:
		if m.ledger.Weigh(together) {
			m.change(false, now)
		}
	}
}

// reconciled reports whether this speaker sees the whole, knows what each of the
// living claims, and claims nothing that another does.
func (m *Machine) reconciled(now time.Time) bool {
	if now.Sub(m.lastJoin) < sureAfter || now.Sub(m.detector.partial) < sureAfter {
		return false
	}
	for name, other := range m.detector.peers {
		if other.alive && !m.ledger.Knows(name, other.version) {
			return false
		}
	}
	return !m.ledger.Disputed()
}

// believe takes over what another claims.
func (m *Machine) believe(from *message, now time.Time) {
	other := m.detector.peers[from.name]
	if other == nil || !other.alive || other.incarnation != from.incarnation || from.claims.Version < m.ledger.Version(from.name) {
		return
	}
	m.part(other, from.parting, now)
	if from.parting < other.parting {
		// It does not know yet that we held it dead, and believes its claims to
		// be stronger than they are. It learns from our question.
		return
	}
	m.ledger.Hear(from.name, from.claims)
	m.change(true, now)
}

// part lets it count as a death if another held this speaker dead: whom it
// has lost has lost it, too, as far as claims go.
func (m *Machine) part(from *peer, parting uint32, now time.Time) {
	if from.part(parting) {
		m.lastJoin = now
		m.weigh(now)
	}
}
