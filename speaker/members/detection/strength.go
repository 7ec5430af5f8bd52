package detection

import "time"

// sureAfter is how long the membership must not have grown before a speaker
// counts itself part of what it sees (see ownership.Ledger).
const sureAfter = 300 * time.Millisecond

// weigh keeps the strength of our claims (see ownership.Ledger). It falls at
// once, with everybody from whom we part. It rises to the number of the living
// when what was claimed apart is settled, and not before: what was taken in
// solitude must not look like the word of all.
func (m *Machine) weigh(now time.Time) {
	together, alive := m.detector.together()
	strength := int(m.ledger.Strength())
	switch {
	case together == alive && strength == alive:
	case m.reconciled(now):
		for _, other := range m.detector.peers {
			other.apart = false
		}
		m.strengthen(alive, now)
	case together < strength:
		m.strengthen(together, now)
	}
}

func (m *Machine) strengthen(to int, now time.Time) {
	if m.ledger.Weigh(to) {
		m.change(true, now) // it may decide who owns what
		m.output.Early = true
	}
}

// reconciled reports whether this speaker sees the whole, knows what each of the
// living claims, and claims nothing that another does.
func (m *Machine) reconciled(now time.Time) bool {
	if now.Sub(m.lastJoin) < sureAfter || now.Sub(m.partial) < sureAfter {
		return false
	}
	for name, other := range m.detector.peers {
		if other.alive && (!m.ledger.Knows(name, other.version) || other.ignorant) {
			return false
		}
	}
	return !m.ledger.Disputed()
}

// part lets it count as a death if another held this speaker dead: whom it
// has lost has lost it, too, as far as claims go. So have, for all that is known, those
// that were not heard meanwhile either: they live only for want of a control (see
// controls.go), and what they have done since is not known.
func (m *Machine) part(from *peer, parting byte, now time.Time) {
	if !from.part(parting) {
		return
	}
	for _, p := range m.detector.peers {
		if p.alive && now.Sub(p.evidence) >= m.config.Settings.Patience(p.pulse) {
			p.apart = true
		}
	}
	m.lastJoin = now
	m.weigh(now)
}
