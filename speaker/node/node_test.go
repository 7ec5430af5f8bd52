package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/plan"
)

func address(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)}) }

// rig is one node on a network that the test makes.
type rig struct {
	*Node
	t  *testing.T
	in Input
	// refused are the addresses that no socket can be opened for.
	refused map[netip.Addr]bool
	// unanswered is why the kernel does not answer ping.
	unanswered string
	// sightings of other hosts, until the next turn.
	sightings []model.Sighting
	seen      Seen
	out       Output
	done      Result
}

// newRig makes node n1, alone, with that many Services; they are announced on
// eth0, which it has.
func newRig(t *testing.T, services int) *rig {
	t.Helper()
	r := &rig{Node: New(Config{Name: "n1", Version: "test"}), t: t, refused: map[netip.Addr]bool{}}
	all := make([]plan.Service, services)
	for i := range all {
		all[i] = plan.Service{Key: fmt.Sprintf("default/s%d", i+1), Addresses: []netip.Addr{address(i + 1)}, IPv4: plan.Endpoints{Any: true}}
	}
	r.in = Input{
		Now:        time.Unix(1_000_000, 0),
		Members:    &model.Membership{Self: "n1", Alive: []string{"n1"}, Ready: []string{"n1"}},
		Interfaces: []model.Interface{{Name: "eth0", Index: 2, Usable: true, Suitable: true}},
		Cluster:    Cluster{Synced: true, Services: plan.ServicesOf(all...), Nodes: map[string]plan.Node{}},
	}
	r.advertise(v1beta1.L2AdvertisementSpec{})
	return r
}

func (r *rig) advertise(spec v1beta1.L2AdvertisementSpec) {
	r.in.Cluster.Config, _ = config.Build(config.Objects{
		Pools: []*v1beta1.IPAddressPool{{
			ObjectMeta: metav1.ObjectMeta{Name: "lan"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []v1beta1.AddressRange{"198.18.0.0/15"}},
		}},
		L2Advertisements: []*v1beta1.L2Advertisement{{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: spec}},
	})
}

// The last moves outlive the speaker: it takes them over from its own report, and says
// them in each of its reports, the first and the last, too.
func TestMovesOutliveTheSpeaker(t *testing.T) {
	r := newRig(t, 40)
	r.in.Cluster.Moves = Reported([]Move{
		{At: r.in.Now.Add(-time.Hour), Address: address(99), From: "n2", To: "n1", Cause: v1beta1.MoveNodeFailed, Unowned: 80 * time.Millisecond},
	})
	r.in.Cluster.Moves = append(r.in.Cluster.Moves, v1beta1.AddressMove{Address: "nonsense"})
	r.out = r.Step(r.in)
	if first := r.out.Introduction; first == nil || !slices.Equal(first.Moves, r.in.Cluster.Moves[:1]) {
		t.Fatalf("the first report is %+v", first)
	}
	if got := r.Moves(); len(got) != 1 || got[0].Address != address(99) || got[0].Unowned != 80*time.Millisecond || got[0].From != "n2" {
		t.Errorf("it remembers %+v", got)
	}
	for range 6 {
		r.turn(time.Second)
	}
	if got := r.Moves(); len(got) != 41 || got[0].Cause != v1beta1.MoveNodeFailed || got[40].Cause != v1beta1.MoveAssigned {
		t.Errorf("it remembers %d moves", len(got))
	}
	for what, status := range map[string]v1beta1.SpeakerStatus{"a": r.done.Status, "the last": r.Departed(netip.AddrPort{}, r.in.Now)} {
		if len(status.Moves) != reportedMoves || status.Moves[reportedMoves-1].To != "n1" {
			t.Errorf("%s report has %d moves", what, len(status.Moves))
		}
	}
}

// turn lets time pass, and the node look and act.
func (r *rig) turn(d time.Duration) {
	r.t.Helper()
	r.in.Now = r.in.Now.Add(d)
	r.seen = r.See(r.sightings, r.in.Members, r.in.Now)
	r.sightings = nil
	r.out = r.Step(r.in)
	if !r.out.Acting {
		return
	}
	if !slices.IsSortedFunc(r.out.Answers, func(a, b model.Answer) int { return a.Address.Compare(b.Address) }) {
		r.t.Fatalf("not in order: %v", r.out.Answers)
	}
	held := map[netip.Addr][]string{}
	for _, a := range r.out.Answers {
		if a.Mode != model.Probe && !r.refused[a.Address] {
			held[a.Address] = a.Interfaces
		}
	}
	r.done = r.Done(Applied{Now: r.in.Now, Held: held, Ping: r.unanswered})
	for _, a := range r.done.Claims {
		if _, own := r.in.Local[a]; len(held[a]) == 0 && !own {
			r.t.Fatalf("%s is claimed and not held", a)
		}
	}
}

// expect lets time pass and says what is to become of the first address: "held",
// "probing", or the conflict.
func (r *rig) expect(d time.Duration, expected string) {
	r.t.Helper()
	r.turn(d)
	got := "probing"
	switch status := &r.done.Status; {
	case len(status.Held) > 0:
		got = "held"
	case len(status.Withheld) > 0 || len(status.Conflicts) > 0:
		if len(status.Withheld) != 1 || status.Withheld[0].Reason != v1beta1.ReasonAddressConflict || len(status.Conflicts) != 1 {
			r.t.Fatalf("reports %+v and %+v", status.Withheld, status.Conflicts)
		}
		c := status.Conflicts[0]
		got = fmt.Sprintf("%s %s %s %s %d", c.Address, c.MAC, c.Interface, c.Found, r.in.Now.Unix()-c.Since.Unix())
	}
	if got != expected {
		r.t.Fatalf("reports %q, want %q", got, expected)
	}
}

// probed lets the first address be probed for, and says what comes of it.
func (r *rig) probed(expected string) {
	r.t.Helper()
	for range probeNum {
		r.turn(probeInterval)
	}
	r.expect(probeInterval, expected)
}

// intrude makes another host use the first address.
func (r *rig) intrude() {
	r.sightings = append(r.sightings, model.Sighting{Address: address(1), MAC: model.MAC{2, 0, 0, 0, 0, 0x99}, Interface: "eth0"})
}

// RFC 5227 section 2.1.1, RFC 4862 section 5.4.
func TestL13_AConflictThatTheProbeFindsIsReportedAsOfFirstUse(t *testing.T) {
	r := newRig(t, 1)
	r.expect(0, "probing")
	r.intrude()
	r.expect(0, "198.18.0.1 02:00:00:00:00:99 eth0 FirstUse 0")
	r.expect(29*time.Second, "198.18.0.1 02:00:00:00:00:99 eth0 FirstUse 29")
	// It is probed for again, and goes on being in conflict meanwhile.
	r.expect(time.Second, "198.18.0.1 02:00:00:00:00:99 eth0 FirstUse 30")
	r.intrude()
	r.expect(probeInterval, "198.18.0.1 02:00:00:00:00:99 eth0 FirstUse 30")
	r.expect(retryInterval, "198.18.0.1 02:00:00:00:00:99 eth0 FirstUse 60")
	r.probed("held") // the other host is gone
	if host := r.conflicts.byAddress[address(1)].host; host != nil {
		t.Errorf("left behind: %+v", host)
	}
}

// RFC 5227 section 2.4 (c): an address in use is defended, at most once a second,
// however often another host uses it; that is reported until it is over.
func TestL13_AnAddressInUseIsDefendedIndefinitely(t *testing.T) {
	r := newRig(t, 1)
	r.probed("held")
	r.turn(time.Hour)
	for i := range 100 {
		r.intrude()
		r.turn(defendInterval / 2)
		if defended := len(r.seen.Reannounce) == 1; defended != (i%2 == 0) {
			t.Fatalf("use %d: announced again: %v", i, defended)
		}
		if len(r.done.Status.Held) != 1 || len(r.done.Status.Conflicts) != 1 || r.done.Status.Conflicts[0].Found != v1beta1.FoundInUse {
			t.Fatalf("use %d: held %v, conflicts %v", i, r.done.Status.Held, r.done.Status.Conflicts)
		}
		if r.seen.Changed != (i == 0) {
			t.Fatalf("use %d makes a Step: %v", i, r.seen.Changed)
		}
	}
	r.turn(conflictLasts + time.Second)
	if len(r.done.Status.Conflicts) > 0 {
		t.Errorf("reported indefinitely: %v", r.done.Status.Conflicts)
	}
}

// Review 9: what answers the last probe ends a first use, and only that.
func TestL13_AFirstUseGivesWayForTwoSeconds(t *testing.T) {
	r := newRig(t, 1)
	r.probed("held")
	r.intrude()
	r.expect(0, "198.18.0.1 02:00:00:00:00:99 eth0 FirstUse 0")
	r = newRig(t, 1)
	r.in.Members.Owners = map[netip.Addr]string{address(1): "n2"} // which has died just now
	r.turn(0)
	r.in.Members.Owners = nil
	r.expect(0, "held")
	r.intrude()
	r.turn(0)
	if len(r.done.Status.Held) != 1 {
		t.Error("one packet after a take-over ends it")
	}
}

// Review 10: a node whose kernel answers for an address that no speaker owns has
// it itself. Its claim may come a second later.
func TestR10_ANodesOwnAddressIsAConflictAtFirstUse(t *testing.T) {
	r := newRig(t, 1)
	r.in.Members.MACs = map[model.MAC]string{{2, 0, 0, 0, 0, 0x99}: "n2"}
	for range 6 {
		r.intrude()
		r.expect(probeInterval, "probing")
	}
	r.intrude()
	r.turn(probeInterval)
	r.intrude()
	r.turn(probeInterval)
	if w := r.done.Status.Withheld; len(w) != 1 || w[0].Reason != v1beta1.ReasonAddressConflict || !strings.Contains(w[0].Message, "node n2 itself") {
		t.Errorf("%+v", w)
	}
	// One that claims it a moment after its answer has it by rights.
	r = newRig(t, 1)
	r.in.Members.MACs = map[model.MAC]string{{2, 0, 0, 0, 0, 0x99}: "n2"}
	r.expect(0, "probing")
	r.intrude()
	r.turn(probeInterval)
	r.in.Members.Owners = map[netip.Addr]string{address(1): "n2"}
	r.in.Members.Alive, r.in.Members.Ready = []string{"n1", "n2"}, []string{"n1", "n2"}
	r.turn(probeInterval)
	if len(r.done.Status.Held)+len(r.done.Status.Conflicts) > 0 {
		t.Errorf("%+v", r.done.Status)
	}
}

// A speaker that is heard on the LAN before its claims have come is no other host
// for longer than that. (Found by a random world: a node that was cut off since
// its start kept an address from everybody for 30 s after the heal.)
func TestL13_ASpeakerWhoseClaimsComeLaterIsNoConflict(t *testing.T) {
	r := newRig(t, 1)
	r.probed("held")
	r.intrude()
	r.expect(0, "198.18.0.1 02:00:00:00:00:99 eth0 FirstUse 0")
	r.in.Members = &model.Membership{
		Self: "n1", Alive: []string{"n1", "n9"}, Ready: []string{"n1", "n9"}, MACs: map[model.MAC]string{{2, 0, 0, 0, 0, 0x99}: "n9"},
		Owners: map[netip.Addr]string{address(1): "n1"},
	}
	r.turn(100 * time.Millisecond)
	r.expect(r.out.Again, "held")
}

// What is known of addresses is forgotten with their Services (review 20).
func TestR20_ConflictsAreForgottenWithTheirAddresses(t *testing.T) {
	r := newRig(t, 3)
	r.turn(0)
	r.turn(time.Second)
	r.in.Cluster.Services.Update(map[string]*plan.Service{"default/s1": nil, "default/s2": nil})
	r.turn(time.Second)
	if got := len(r.conflicts.byAddress); got != 1 {
		t.Errorf("%d addresses are remembered, want 1", got)
	}
}

// R13: a Speaker says nothing of what others own.
func TestR13_WithheldAddressesAreGroupedByReason(t *testing.T) {
	r := newRig(t, 3100)
	r.in.Members.Alive, r.in.Members.Ready = []string{"n1", "n2"}, []string{"n1", "n2"}
	r.in.Members.Owners = map[netip.Addr]string{}
	var none []string
	for i := range 3100 {
		switch {
		case i < 50:
			r.in.Members.Owners[address(i+1)] = "n1"
		case i < 100:
			r.in.Members.Owners[address(i+1)] = "n2"
		default:
			none = append(none, fmt.Sprintf("default/s%d", i+1))
		}
	}
	changed := map[string]*plan.Service{}
	for i, key := range none {
		changed[key] = &plan.Service{Key: key, Addresses: []netip.Addr{address(i + 101)}}
	}
	r.in.Cluster.Services.Update(changed)
	r.refused[address(1)] = true
	r.turn(0)
	r.turn(together)
	status := &r.done.Status
	if len(status.Held) != 49 || len(status.Withheld) != 1 {
		t.Fatalf("%d held; groups: %d", len(status.Held), len(status.Withheld))
	}
	// The others take what the sockets of this one refuse (review 5).
	if !slices.Equal(r.done.Unable, []netip.Addr{address(1)}) {
		t.Errorf("told to the others as refused: %v", r.done.Unable)
	}
	endpoints := status.Withheld[0]
	if endpoints.Reason != v1beta1.ReasonNoEndpoint || endpoints.Count != 3000 || len(endpoints.Addresses) != maxAddresses {
		t.Errorf("what no node can serve: %d of %d, %s", len(endpoints.Addresses), endpoints.Count, endpoints.Message)
	}
	// The metrics say the same, and count what others own.
	want := map[v1beta1.Reason]int{v1beta1.ReasonNoEndpoint: 3000, v1beta1.ReasonNotOwner: 51}
	if got := fmt.Sprint(r.done.Counts.Withheld); got != fmt.Sprint(want) {
		t.Errorf("counted: %s, want %v", got, want)
	}
	if r.done.Counts.Held != 49 || r.done.Counts.Drift != 0 {
		t.Errorf("%+v", r.done.Counts)
	}
}

func TestReadyConditionSaysWhatIsMissingAndSinceWhen(t *testing.T) {
	r := newRig(t, 1)
	r.advertise(v1beta1.L2AdvertisementSpec{Interfaces: []string{"eth0", "eth9"}})
	r.turn(0)
	first := r.in.Now
	ready := func() metav1.Condition { return r.done.Status.Conditions[0] }
	if bad := ready(); bad.Status != metav1.ConditionFalse || bad.Reason != string(v1beta1.ReasonInterfaceUnavailable) || !strings.Contains(bad.Message, "eth9") {
		t.Errorf("%+v", bad)
	}
	r.turn(time.Minute)
	if later := ready(); !later.LastTransitionTime.Time.Equal(first) {
		t.Errorf("the time of the transition moved: %+v", later)
	}
	// Of an interface that no node has the node says why (link.Interface.Why).
	r.in.Interfaces = append(r.in.Interfaces, model.Interface{Name: "eth8", Why: "is down or has no carrier"})
	r.advertise(v1beta1.L2AdvertisementSpec{Interfaces: []string{"eth8"}})
	r.turn(time.Minute)
	if bad := ready(); bad.Status != metav1.ConditionFalse || !strings.Contains(bad.Message, "eth8 is down or has no carrier") {
		t.Errorf("an interface that no node has: %+v", bad)
	}
	r.advertise(v1beta1.L2AdvertisementSpec{})
	r.turn(time.Hour)
	if good := ready(); good.Status != metav1.ConditionTrue || !good.LastTransitionTime.Time.Equal(r.in.Now) {
		t.Errorf("%+v", good)
	}
}

// R13: that this node lacks an interface is said, whoever owns the addresses, and
// in few words.
func TestR13_AMissingInterfaceIsSaidOnce(t *testing.T) {
	r := newRig(t, 2000)
	r.in.Members.Alive, r.in.Members.Ready = []string{"n1", "n2"}, []string{"n1", "n2"}
	r.advertise(v1beta1.L2AdvertisementSpec{Interfaces: []string{"eth9"}})
	r.turn(0)
	r.turn(together)
	w := r.done.Status.Withheld
	if len(w) != 1 || w[0].Reason != v1beta1.ReasonInterfaceUnavailable || w[0].Message != "interface eth9 does not exist here" || w[0].Count != 2000 || len(w[0].Addresses) > 0 {
		t.Errorf("withheld: %d groups: %.300s", len(w), fmt.Sprint(w))
	}
}

func TestTheFirstThreeSpeakersTellWhoIsMissingOnceItIsLong(t *testing.T) {
	for self, tells := range map[string]bool{"a": true, "b": true, "c": true, "d": false} {
		r := newRig(t, 0)
		r.Node = New(Config{Name: self})
		r.in.Cluster.Peers = map[string]netip.AddrPort{}
		for _, name := range []string{"a", "b", "c", "d", "dead"} {
			if name != self {
				r.in.Cluster.Peers[name] = netip.MustParseAddrPort("192.0.2.1:7946")
			}
		}
		alive := []string{"a", "b", "c", "d"}
		r.in.Members = &model.Membership{Self: self, Alive: alive, Ready: alive}
		begin := r.in.Now
		r.turn(0)
		if !r.out.Acting || r.out.Again != unreachableAfter || len(r.done.Status.Unreachable) > 0 {
			t.Errorf("%s: again in %s, missing at once: %v", self, r.out.Again, r.done.Status.Unreachable)
		}
		r.turn(unreachableAfter)
		told := r.done.Status.Unreachable
		if tells && (len(told) != 1 || told[0].Name != "dead" || !told[0].Since.Time.Equal(begin)) || !tells && len(told) > 0 {
			t.Errorf("%s tells %v", self, told)
		}
		alive = append(alive, "dead")
		r.in.Members = &model.Membership{Self: self, Alive: alive, Ready: alive}
		r.turn(0)
		if told := r.done.Status.Unreachable; len(told) > 0 {
			t.Errorf("%s misses who is back: %v", self, told)
		}
	}
}

func TestWhoIsMissedInErrorSaysSo(t *testing.T) {
	since := metav1.NewTime(time.Unix(1_000_000, 0))
	later := metav1.NewTime(since.Add(time.Second))
	r := newRig(t, 0)
	says := func(by, name string, since metav1.Time) {
		r.in.Cluster.Missed = append(r.in.Cluster.Missed, Missed{by, v1beta1.UnreachableSpeaker{Name: name, Since: since}})
	}
	says("n1", "n9", since)
	says("n3", "n1", since)
	says("n3", "n2", since)
	says("n2", "n1", later)
	r.turn(0)
	want := fmt.Sprint([]v1beta1.UnreachableSpeaker{{Name: "n2", Since: later}, {Name: "n3", Since: since}})
	if got := fmt.Sprint(r.done.Status.ConfirmedAlive); got != want {
		t.Errorf("refutes %s, want %s", got, want)
	}
}

// What is cut to fit stays text.
func TestClipCutsBetweenCharacters(t *testing.T) {
	for n := range 4 {
		if got := clip(strings.Repeat("a", n) + strings.Repeat("ä", maxMessage)); len(got) > maxMessage || strings.ContainsRune(got, '\uFFFD') || !strings.HasSuffix(got, "ä...") {
			t.Errorf("%d bytes, ends with %q", len(got), got[len(got)-8:])
		}
	}
}
