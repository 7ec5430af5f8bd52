package detection

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Call is a speaker that should be there and does not take part.
type Call struct {
	Name string
	At   netip.AddrPort
}

// Seek names all the speakers that there should be. Those that are not alive
// are called until they are, and also those that were alive before and are
// named no more, for some time.
func (m *Machine) Seek(peers map[string]netip.AddrPort, now time.Time) {
	m.Expect(peers, now)
	if maps.Equal(m.wanted, peers) {
		return
	}
	m.wanted = maps.Clone(peers)
	for _, p := range m.detector.peers {
		p.nextCall = time.Time{}
	}
}

// Calls returns who is to be called now, by name: those that should be there and
// are not alive, or are not listed where speakers find each other. Each gets no
// other call before Called. Nobody is called by one that leaves.
func (m *Machine) Calls(listed func(name string) bool, now time.Time) (due []Call) {
	for _, name := range m.detector.names() {
		p := m.detector.peers[name]
		at, wanted := m.wanted[name]
		if p.alive {
			p.lastSeen = now
		}
		since := p.lost
		if p.lastSeen.After(since) {
			since = p.lastSeen
		}
		switch {
		case p.alive && listed(name), m.leaving, p.calling, p.nextCall.After(now):
		case !wanted && now.Sub(since) > m.config.Settings.ForgetAfter:
			m.detector.forget(name)
		default:
			interval := m.config.Settings.SeekInterval
			if now.Sub(since) > time.Minute {
				interval = m.config.Settings.SeekSlowly
			}
			if !wanted {
				at = p.at
			}
			jittered := float64(interval) * (0.75 + 0.5*m.config.Random()) //nolint:mnd // from three quarters to five
			p.nextCall, p.calling = now.Add(time.Duration(jittered)), true
			due = append(due, Call{name, at})
		}
	}
	slices.SortFunc(due, func(a, b Call) int { return cmp.Compare(a.Name, b.Name) })
	return due
}

// Called says that a call has been answered, or not.
func (m *Machine) Called(name string) {
	if p := m.detector.peers[name]; p != nil {
		p.calling = false
	}
}
