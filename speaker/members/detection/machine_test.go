package detection

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
)

// room is some speakers whose messages the test delivers, in steps of one pulse.
type room struct {
	t        *testing.T
	now      time.Time
	names    []string
	machines map[string]*Machine
	// kernels are those that answer for the address of their node, and on says
	// that all of them share a segment.
	kernels map[string]bool
	frames  uint64 // that each has received
	on      bool
	// gateways are those that answer, and waiting what the others would have
	// answered the first speaker.
	gateways map[netip.Addr]bool
	waiting  []func()
	// record is where the messages of one of them are kept.
	record string
	tape   [][]byte
}

func at(name string) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, name[0]}), 7946)
}

func macOf(name string) model.MAC { return model.MAC{2, 0, 0, 0, 0, name[0]} }

func newRoom(t *testing.T, names ...string) *room {
	t.Helper()
	r := &room{t: t, now: time.Unix(1_000_000, 0), names: names, machines: map[string]*Machine{}, kernels: map[string]bool{}}
	for _, name := range names {
		r.start(name, 100)
	}
	return r
}

// start starts a speaker, or starts it anew.
func (r *room) start(name string, incarnation uint64) {
	m := New(Config{Name: name, Address: at(name), Incarnation: incarnation, Settings: Default(), Random: func() float64 { return 1 }}, r.now)
	peers := map[string]netip.AddrPort{}
	for _, other := range r.names {
		if other != name {
			peers[other] = at(other)
		}
	}
	m.Seek(peers, r.now)
	m.SetReady(r.now)
	r.machines[name] = m
	r.kernels[name] = true
}

// share puts all of them on one segment.
func (r *room) share() {
	r.on = true
	for _, name := range r.names {
		addrs := []netip.Prefix{netip.PrefixFrom(at(name).Addr(), 24)}
		r.machines[name].SetSegments([]Segment{{Name: "eth0", MAC: macOf(name), Addrs: addrs, Gateways: slices.Collect(maps.Keys(r.gateways))}}, r.now)
		r.machines[name].Locate([]model.MAC{macOf(name)}, []model.Link{{Name: "eth0", Usable: true, Suitable: true, MAC: macOf(name), Addrs: addrs}}, r.now)
	}
}

// step lets a pulse pass; every message for which open says so arrives.
func (r *room) step(open func(from, to string) bool) {
	r.now = r.now.Add(Default().Pulse)
	for _, name := range r.names {
		if m := r.machines[name]; m != nil {
			m.Turn(r.now)
		}
	}
	for range 4 { // question and answer
		for _, from := range r.names {
			r.deliver(from, open)
		}
	}
}

func (r *room) deliver(from string, open func(from, to string) bool) {
	m := r.machines[from]
	if m == nil {
		return
	}
	out := m.Take()
	for _, p := range out.Packets {
		way := Way{At: at(from)}
		if p.On != "" {
			continue // by UDP only
		}
		if from == r.record {
			r.tape = append(r.tape, p.Bytes)
		}
		if to := r.machines[p.To]; to != nil && open(from, p.To) {
			if err := to.Receive(p.Bytes, way, r.now); err != nil {
				r.t.Fatalf("from %s to %s: %v", from, p.To, err)
			}
		}
	}
	for _, q := range out.Questions {
		for _, name := range r.names {
			if r.on && at(name).Addr() == q.Target && r.kernels[name] {
				m.Answered("eth0", macOf(name), q.Target, r.now)
			}
		}
		if answers, is := r.gateways[q.Target]; answers {
			m.Answered("eth0", macOf("g"), q.Target, r.now)
		} else if is && from == r.names[0] {
			r.waiting = append(r.waiting, func() { m.Answered("eth0", macOf("g"), q.Target, r.now) })
		}
	}
}

func (r *room) steps(n int, open func(from, to string) bool) {
	for range n {
		r.step(open)
	}
}

func (r *room) expect(of string, want ...string) {
	r.t.Helper()
	alive := slices.DeleteFunc(slices.Clone(r.machines[of].Alive()), func(name string) bool { return name == of })
	if !slices.Equal(alive, want) && len(alive)+len(want) > 0 {
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
	r.steps(Default().MissesAlone-1, not("c"))
	r.expect("a", "b", "c")
	r.steps(2, not("c")) // what waits in a socket is taken in before
	r.expect("a", "b")
	r.expect("b", "a")
	r.expect("c")
	r.steps(2, all)
	r.expect("a", "b", "c")
	r.expect("c", "a", "b")
}

// L16: one whose kernel answers is silent, and not dead, up to a bound; without
// its kernel it is dead sooner than one of whom a kernel never told.
func TestL16_TheSilentWhoseKernelAnswersKeepsItsTime(t *testing.T) {
	r := newRoom(t, "a", "b", "c")
	r.share()
	r.steps(20, all)
	bound := int(Default().Silence / Default().Pulse)
	r.steps(bound-1, not("c"))
	r.expect("a", "b", "c")
	r.steps(2, not("c"))
	r.expect("a", "b")
	r.steps(20, all)
	r.expect("a", "b", "c")
	r.kernels["c"] = false
	r.steps(Default().Misses-1, not("c"))
	r.expect("a", "b", "c")
	r.steps(2, not("c"))
	r.expect("a", "b")
}

// A process that has ended is known by its host's word, which counts only while
// it is silent.
// On a node that has too little processor time the pauses vary. Who came back from
// some is not dead as soon as one is a little longer; who never paused is.
func TestL16_WhoPausesNowAndThenGetsMoreTime(t *testing.T) {
	silence := int(Default().Silence / Default().Pulse)
	for _, test := range []struct {
		name   string
		before []int // pauses, in pulses
		then   int   // a longer one
		after  int   // pulses between them
		dies   bool
	}{
		{"never paused", nil, silence * 3 / 2, 40, true},
		{"paused shortly", []int{8, 12, 8}, silence * 3 / 2, 40, true},
		{"paused for long", []int{12, silence * 3 / 4, 12}, silence * 2, 40, false},
		{"paused for long, and hangs", []int{silence * 3 / 4}, silence * 5, 40, true},
		{"paused for long, and long ago", []int{silence * 3 / 4}, silence * 2, int(2 * time.Minute / Default().Pulse), true},
	} {
		r := newRoom(t, "a", "b", "c")
		r.share()
		r.steps(20, all)
		for _, pulses := range test.before {
			r.steps(pulses, not("b"))
			r.expect("a", "b", "c")
			r.steps(test.after, all)
		}
		died := false
		for range test.then {
			r.step(not("b"))
			died = died || !slices.Contains(r.machines["a"].Alive(), "b")
		}
		if died != test.dies {
			t.Errorf("%s: dead %v, want %v", test.name, died, test.dies)
		}
	}
}

func TestWhoseHostSaysThatNobodyListensIsDead(t *testing.T) {
	r := newRoom(t, "a", "b")
	r.share()
	r.steps(20, all)
	for range 10 {
		r.machines["a"].Refused(at("b"), r.now)
		r.step(all)
	}
	r.expect("a", "b")
	r.step(not("b"))
	r.machines["a"].Refused(at("b"), r.now)
	r.steps(2, not("b"))
	r.expect("a")
}

// What the kernel drops proves nothing, up to a bound.
func TestWhoIsDeafHoldsNobodyDead(t *testing.T) {
	r := newRoom(t, "a", "b")
	r.steps(20, all)
	for range int(Default().Silence/Default().Pulse) - 1 {
		r.machines["a"].Overflowed(r.now)
		r.step(not("b"))
	}
	r.expect("a", "b")
	for range 3 {
		r.machines["a"].Overflowed(r.now)
		r.step(not("b"))
	}
	r.expect("a")
}

// The path between two of them is broken: both hear of each other by way of
// the third, and nobody takes what its owner still holds. Who starts anew learns
// of the other, and of its claims, by way of the third, too (review 11).
// What came last from each of the others differs by a pulse, so that the time of one
// is over first: that it is dead and another alive must not be the verdict of who
// hears nobody any more (its interface sends, and receives nothing).
func TestL19_WhoReceivesNothingMoreHoldsNobodyDeadBeforeAllAre(t *testing.T) {
	for _, late := range []string{"b", "c"} {
		r := newRoom(t, "a", "b", "c")
		r.share()
		r.steps(20, all)
		r.kernels["b"], r.kernels["c"] = false, false // nor their answers
		r.step(func(from, to string) bool { return to != "a" || from == late })
		for range int(Default().Silence/Default().Pulse) + 5 {
			r.step(func(_, to string) bool { return to != "a" })
			if alive := r.machines["a"].Alive(); len(alive) == 2 {
				t.Fatalf("%s was heard last, and after that nothing: it and nobody else is alive: %v", late, alive)
			}
		}
		r.expect("a")
	}
}

// One that ended is dead as soon as it was, while others are heard.
func TestOneDeathWaitsForNobodyWhileOthersAreHeard(t *testing.T) {
	r := newRoom(t, "a", "b", "c")
	r.share()
	r.steps(20, all)
	r.machines["b"], r.kernels["b"] = nil, false
	r.steps(Default().Misses+1, all)
	r.expect("a", "c")
	r.expect("c", "a")
}

func TestAThirdVouchesForWhoIsHeardByNobodyElse(t *testing.T) {
	r := newRoom(t, "a", "b", "c")
	r.steps(3, all)
	open := func(from, to string) bool { return from+to != "bc" && from+to != "cb" }
	r.steps(50, open)
	r.expect("b", "a", "c")
	r.expect("c", "a", "b")
	r.machines["c"].Hold([]netip.Addr{netip.MustParseAddr("198.18.0.1")}, r.now)
	r.steps(10, open)
	if owner := r.machines["b"].Snapshot().Owners[netip.MustParseAddr("198.18.0.1")]; owner != "c" {
		t.Errorf("to b the address that c took is %q's", owner)
	}
	r.start("b", 200)
	r.steps(10, open)
	r.expect("b", "a", "c")
	if owner := r.machines["b"].Snapshot().Owners[netip.MustParseAddr("198.18.0.1")]; owner != "c" {
		t.Errorf("to b anew the address that c has is %q's", owner)
	}
	r.expect("c", "a", "b")
	// When c really dies, b knows as soon as a does.
	r.steps(Default().MissesAlone+1, func(from, to string) bool { return open(from, to) && not("c")(from, to) })
	r.expect("a", "b")
	r.expect("b", "a")
}

func TestOurOwnStandstillKillsNobody(t *testing.T) {
	r := newRoom(t, "a", "b")
	r.steps(3, all)
	m := r.machines["a"]
	r.now = r.now.Add(10 * time.Second)
	m.Turn(r.now)
	r.expect("a", "b")
	r.now = r.now.Add(Default().patienceAlone(0))
	for range 2 {
		m.planned = r.now
		m.Turn(r.now)
		r.now = r.now.Add(Default().Pulse / 4)
	}
	r.expect("a") // grace once, not indefinitely
}

// Review 18 and 19: what an earlier life has sent is never believed again, and
// who begins an earlier one, since its clock went backwards, learns of it.
func TestEarlierLivesAreNotBelieved(t *testing.T) {
	r := newRoom(t, "a", "b")
	r.record = "b"
	r.steps(3, all)
	r.record = ""
	r.machines["b"] = nil
	r.steps(20, all)
	replay := func(what string) {
		t.Helper()
		for _, b := range r.tape {
			if err := r.machines["a"].Receive(b, Way{At: at("b")}, r.now); err != nil {
				t.Fatal(err)
			}
		}
		r.expect("a")
		if t.Failed() {
			t.Fatal(what)
		}
	}
	replay("the same life")
	r.start("b", 200)
	r.steps(3, all)
	r.expect("a", "b")
	r.machines["b"] = nil
	r.steps(20, all)
	r.now = r.now.Add(time.Hour)
	replay("an earlier life, long after")
	r.start("b", 50) // its clock went backwards
	r.steps(10, all)
	r.expect("a", "b")
	r.expect("b", "a")
}

// Review 20: two processes of one name. The one of the earlier life is told, and
// says so.
func TestADoubledNameIsKnownToWhoIsNotHeard(t *testing.T) {
	r := newRoom(t, "a", "b")
	r.steps(3, all)
	older := r.machines["b"]
	r.start("b", 200)
	for range 20 {
		r.step(all)
		older.Turn(r.now)
		for _, p := range older.Take().Packets {
			_ = r.machines["a"].Receive(p.Bytes, Way{At: at("c")}, r.now)
		}
		for _, p := range r.machines["a"].Take().Packets {
			if to := r.machines[p.To]; to != nil {
				_ = to.Receive(p.Bytes, Way{At: at("a")}, r.now)
			}
			_ = older.Receive(p.Bytes, Way{At: at("a")}, r.now)
		}
	}
	if !older.Snapshot().Duplicate || r.machines["b"].Snapshot().Duplicate {
		t.Errorf("the older one knows %v, the newer %v", older.Snapshot().Duplicate, r.machines["b"].Snapshot().Duplicate)
	}
}

func TestWhoDepartsIsGoneAtOnce(t *testing.T) {
	r := newRoom(t, "a", "b")
	r.steps(3, all)
	r.machines["b"].Leave(r.now)
	r.step(all)
	r.expect("a")
	r.step(all)
	r.expect("a")
}

// Claims of any number come in packets (review 12), by question or, what changes,
// with the heartbeats.
func TestClaimsComeInPackets(t *testing.T) {
	r := newRoom(t, "a", "b")
	var many []netip.Addr
	for i := range 1000 {
		many = append(many, netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}))
	}
	r.machines["b"].Hold(many[:990], r.now)
	r.steps(4, all)
	if n := len(r.machines["a"].Snapshot().Owners); n != 990 {
		t.Errorf("%d of 990 are known", n)
	}
	for i := 990; i < 1000; i++ {
		r.machines["b"].Hold(many[:i+1], r.now)
		r.machines["b"].Turn(r.now)
		for _, p := range r.machines["b"].Take().Packets {
			if err := r.machines["a"].Receive(p.Bytes, Way{At: at("b")}, r.now); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range r.machines["a"].Take().Packets {
			if p.Bytes[1] == kindAsk {
				t.Fatalf("%d: somebody asks", i)
			}
		}
		if n := len(r.machines["a"].Snapshot().Owners); n != i+1 {
			t.Fatalf("%d of %d are known", n, i+1)
		}
	}
}

// Who knows of a speaker that something has changed, and not yet what, tells nobody
// what it was before as if it were the newest: a node would be held unable for good
// whose interfaces were not known at first.
func TestClaimsThatAreKnownInPartAreNotPassedOn(t *testing.T) {
	r := newRoom(t, "a", "b", "c")
	r.share()
	r.steps(20, all)
	a, b, c := r.machines["a"], r.machines["b"], r.machines["c"]
	asks := func() (answers int) {
		r.now = r.now.Add(askAgain)
		a.ask("c", "b", r.now)
		for _, p := range a.Take().Packets {
			if err := b.Receive(p.Bytes, Way{At: at("a")}, r.now); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range b.Take().Packets {
			if m, err := unmarshal(p.Bytes); err == nil && m.kind == kindClaims && p.To == "a" {
				answers++
			}
		}
		return answers
	}
	if asks() == 0 {
		t.Fatal("b does not say what c claims")
	}
	c.Locate([]model.MAC{macOf("d")}, nil, r.now)
	c.Turn(r.now)
	for _, p := range c.Take().Packets {
		if p.To == "b" && p.On == "" {
			if err := b.Receive(p.Bytes, Way{At: at("c")}, r.now); err != nil {
				t.Fatal(err)
			}
		}
	}
	if asks() != 0 {
		t.Error("b passes on claims of c that it knows in part")
	}
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
	for _, bad := range []Settings{{Pulse: time.Millisecond, Misses: 5}, {Pulse: s.Pulse, Misses: 1}, {Pulse: time.Minute, Misses: 5}, {Pulse: s.Pulse, Misses: 5, MissesAlone: 4}} {
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

// L16: a process that stands still for longer than an interface may be quiet does
// not take it for broken.
func TestL16_OurOwnStandstillBreaksNoInterface(t *testing.T) {
	r := newRoom(t, "a", "b")
	r.frames = 1 // it receives something with each look, until then
	for _, name := range r.names {
		r.machines[name].config.Received = func(string) uint64 { return r.frames }
	}
	r.share()
	r.steps(40, all)
	m := r.machines["a"]
	for range 20 {
		r.now = r.now.Add(quietFor + muteFor)
		m.Turn(r.now)
		m.Take()
		if broken := m.Snapshot().Broken; len(broken) > 0 {
			t.Fatalf("broken: %v", broken)
		}
		r.steps(3, all)
	}
	// Nothing at all, and not for want of looking, is another matter.
	r.kernels["b"] = false
	r.steps(int(2*quietFor/Default().Pulse), not("b"))
	if broken := m.Snapshot().Broken; broken["eth0"] == "" {
		t.Error("an interface that receives nothing works")
	}
}
