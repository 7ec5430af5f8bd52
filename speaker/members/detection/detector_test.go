package detection

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// room is some speakers whose beats the test delivers, in steps of one pulse.
type room struct {
	t     *testing.T
	now   time.Time
	names []string
	d     map[string]*detector
	seq   uint64
	lives map[string]uint64 // incarnations
}

func newRoom(t *testing.T, names ...string) *room {
	t.Helper()
	r := &room{t: t, now: time.Unix(1_000_000, 0), names: names, d: map[string]*detector{}, lives: map[string]uint64{}}
	for _, name := range names {
		r.d[name], r.lives[name] = newDetector(name, Default()), 100
	}
	return r
}

func (r *room) beatOf(name string) *message {
	r.seq++
	return &message{
		kind: kindBeat, name: name, incarnation: r.lives[name], at: netip.MustParseAddrPort("192.0.2.1:7946"),
		beat: beat{sequence: r.seq, pulse: Default().Pulse, ready: true, heard: r.d[name].heard(r.now)},
	}
}

// step lets a pulse pass; every beat for which open says so arrives.
func (r *room) step(open func(from, to string) bool) {
	r.now = r.now.Add(Default().Pulse)
	for _, from := range r.names {
		m := r.beatOf(from)
		for _, to := range r.names {
			if from != to && open(from, to) {
				r.d[to].hear(m, r.now)
			}
		}
	}
	for _, d := range r.d {
		d.tick(r.now)
	}
}

func (r *room) steps(n int, open func(from, to string) bool) {
	for range n {
		r.step(open)
	}
}

func (r *room) expect(of string, want ...string) {
	r.t.Helper()
	if alive, _ := r.d[of].living(); !slices.Equal(alive, want) {
		r.t.Errorf("%s sees %v alive, want %v", of, alive, want)
	}
}

func all(_, _ string) bool { return true }

func not(name string) func(from, to string) bool {
	return func(from, to string) bool { return from != name && to != name }
}

func TestTheSilentIsDeadAfterItsMissesAndNotBefore(t *testing.T) {
	r := newRoom(t, "a", "b", "c")
	r.steps(3, all)
	r.expect("a", "b", "c")
	r.steps(Default().Misses-1, not("c"))
	r.expect("a", "b", "c")
	r.step(not("c"))
	r.expect("a", "b")
	r.expect("b", "a")
	r.expect("c")
	r.step(all)
	r.expect("a", "b", "c")
	r.expect("c", "a", "b")
}

// The path between two of them is broken: both hear of each other by way of
// the third, and nobody takes what its owner still holds.
func TestAThirdVouchesForWhoIsHeardByNobodyElse(t *testing.T) {
	r := newRoom(t, "a", "b", "c")
	r.steps(3, all)
	r.steps(50, func(from, to string) bool { return from+to != "bc" && from+to != "cb" })
	r.expect("b", "a", "c")
	r.expect("c", "a", "b")
	// When c really dies, b knows as soon as a does.
	r.steps(Default().Misses+1, not("c"))
	r.expect("a", "b")
	r.expect("b", "a")
}

func TestOurOwnStandstillKillsNobody(t *testing.T) {
	r := newRoom(t, "a", "b")
	r.steps(3, all)
	const stood = 10 * time.Second
	r.now = r.now.Add(stood)
	r.d["a"].stalled(stood, r.now)
	r.d["a"].tick(r.now)
	r.expect("a", "b")
	r.now = r.now.Add(Default().Patience(0))
	r.d["a"].tick(r.now)
	r.expect("a") // grace once, not indefinitely
}

func TestOldBeatsAreNotBelieved(t *testing.T) {
	r := newRoom(t, "a", "b")
	recorded := r.beatOf("b")
	r.steps(3, all)
	r.steps(20, not("b"))
	r.d["a"].hear(recorded, r.now)
	r.expect("a") // the same incarnation, an old sequence
	r.lives["b"] = 200
	r.steps(2, all)
	r.steps(20, not("b"))
	recorded.beat.sequence = 1 << 60
	r.d["a"].hear(recorded, r.now)
	r.expect("a") // an old incarnation
	r.now = r.now.Add(2 * replayWindow)
	r.lives["b"] = 50 // its clock went backwards
	r.step(all)
	r.expect("a", "b")
}

func TestWhoDepartsIsGoneAtOnceAndWhoIsRebornClaimsAnew(t *testing.T) {
	r := newRoom(t, "a", "b")
	r.steps(3, all)
	r.lives["b"]++
	if n := r.d["a"].hear(r.beatOf("b"), r.now); !slices.Equal(n.reborn, []string{"b"}) {
		t.Errorf("news of a new incarnation: %+v", n)
	}
	farewell := r.beatOf("b")
	farewell.beat.leaving = true
	r.d["a"].hear(farewell, r.now)
	r.expect("a")
	r.d["a"].hear(r.beatOf("b"), r.now) // on its way since before
	r.expect("a")
}

func TestProfilesKeepTheirBounds(t *testing.T) {
	for _, name := range Profiles() {
		s, err := Profile(name)
		if err != nil || s.Check() != nil {
			t.Errorf("%s: %v, %v", name, err, s.Check())
		}
	}
	if _, err := Profile("reckless"); err == nil {
		t.Error("an unknown profile is accepted")
	}
	s := Default()
	for _, bad := range []Settings{{Pulse: time.Millisecond, Misses: 5}, {Pulse: s.Pulse, Misses: 1}, {Pulse: time.Minute, Misses: 5}} {
		if bad.Check() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	if got := s.Patience(time.Hour); got > longestPulse*time.Duration(s.Misses) {
		t.Errorf("whoever promises an hour is given %s", got)
	}
	if s.Pace(10) != s.Pulse || s.Pace(10*crowd) != 10*s.Pulse {
		t.Errorf("pulses among 10 and %d: %s, %s", 10*crowd, s.Pace(10), s.Pace(10*crowd))
	}
}
