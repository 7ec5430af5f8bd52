package reports

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

const address = "192.0.2.10"

func speaker(name string, changes ...func(*v1beta1.Speaker)) *v1beta1.Speaker {
	s := &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, change := range changes {
		change(s)
	}
	return s
}

func holds(s *v1beta1.Speaker) {
	s.Status.Held = append(s.Status.Held, v1beta1.HeldAddress{Address: address})
	s.Status.HeldCount++
}

// again is for a Speaker that says something twice.
func again(change func(*v1beta1.Speaker)) func(*v1beta1.Speaker) { return change }

func sharesByClient(s *v1beta1.Speaker) {
	s.Status.Held = append(s.Status.Held, v1beta1.HeldAddress{Address: address, Balancing: v1beta1.BalancePerClient})
	s.Status.HeldCount++
}

func routes(s *v1beta1.Speaker) {
	s.Status.BGP = &v1beta1.BGPReport{AnnouncedCount: 1, Announced: []string{address}}
}

func routesInARange(s *v1beta1.Speaker) {
	s.Status.BGP = &v1beta1.BGPReport{AnnouncedCount: 3, Announced: []string{"192.0.2.9-192.0.2.11"}}
}

func truncated(s *v1beta1.Speaker) { s.Status.HeldCount += 2 }

func withholds(reason v1beta1.Reason) func(*v1beta1.Speaker) {
	return func(s *v1beta1.Speaker) {
		s.Status.Withheld = append(s.Status.Withheld, v1beta1.WithheldAddresses{
			Reason: reason, Message: "it answers", Count: 1, Addresses: []string{address},
		})
	}
}

func misses(name string, since int64) func(*v1beta1.Speaker) {
	return func(s *v1beta1.Speaker) {
		s.Status.Unreachable = append(s.Status.Unreachable, v1beta1.UnreachableSpeaker{Name: name, Since: metav1.Unix(since, 0)})
	}
}

func denies(name string) func(*v1beta1.Speaker) {
	return func(s *v1beta1.Speaker) {
		s.Status.ConfirmedAlive = append(s.Status.ConfirmedAlive, v1beta1.UnreachableSpeaker{Name: name, Since: metav1.Unix(1, 0)})
	}
}

// What is said of one address follows from the reports alone.
func TestVerdict(t *testing.T) {
	for sentence, test := range map[string]struct {
		speakers []*v1beta1.Speaker
		want     string
	}{
		"one announces it": {[]*v1beta1.Speaker{speaker("n1", holds), speaker("n2")}, "True Announced: announced by n1"},
		"one, in both ways": {
			[]*v1beta1.Speaker{speaker("n1", holds, routes)}, "True Announced: announced by n1",
		},
		"several, by BGP": {
			[]*v1beta1.Speaker{speaker("n2", routes), speaker("n1", routes)}, "True Announced: announced by n1, n2",
		},
		"one, by BGP, among others (7)": {[]*v1beta1.Speaker{speaker("n1", routesInARange)}, "True Announced: announced by n1"},
		"several, by client": {
			[]*v1beta1.Speaker{speaker("n2", sharesByClient), speaker("n1", sharesByClient)}, "True Announced: announced by n1, n2, per client",
		},
		"many (T24)": {
			[]*v1beta1.Speaker{speaker("n1", routes), speaker("n2", routes), speaker("n3", routes), speaker("n4", routes)},
			"True Announced: announced by more than 3 nodes",
		},
		"several that should be one (T05)": {
			[]*v1beta1.Speaker{speaker("n1", holds), speaker("n2", holds)}, "False MultipleOwners: " + address + " is answered for by n1, n2 at once",
		},
		"one that says it twice": {[]*v1beta1.Speaker{speaker("n1", holds, again(holds), routes)}, "True Announced: announced by n1"},
		"nobody":                 {[]*v1beta1.Speaker{speaker("n1")}, "False missing NoEligibleNode: no node announces " + address},
		"nobody, and why": {
			[]*v1beta1.Speaker{speaker("n1", withholds(v1beta1.ReasonNoEndpoint))}, "False missing NoEndpoint: no node announces " + address,
		},
		"nobody, and the owner knows best": {
			[]*v1beta1.Speaker{speaker("n1", withholds(v1beta1.ReasonNodeNotSelected)), speaker("n2", withholds(v1beta1.ReasonInterfaceUnavailable))},
			"False missing InterfaceUnavailable: no node announces " + address,
		},
		"nobody, and that others own it explains nothing (7)": {
			[]*v1beta1.Speaker{speaker("n1", withholds(v1beta1.ReasonNotOwner))}, "False missing NoEligibleNode: no node announces " + address,
		},
		"another host has it": {
			[]*v1beta1.Speaker{speaker("n1", withholds(v1beta1.ReasonAddressConflict))},
			"False missing AddressConflict: no node announces " + address + ": it answers",
		},
		"all are excluded (T19)": {
			[]*v1beta1.Speaker{speaker("n1", withholds(v1beta1.ReasonNodeExcluded))},
			"False missing NodeExcluded: no node announces " + address + "; nodes that could are excluded, by the label " + v1beta1.LabelExcludeNode,
		},
		"nobody, as far as one can see (8)": {[]*v1beta1.Speaker{speaker("n1", truncated)}, "nothing"},
		"nobody, whatever one cannot see": {
			[]*v1beta1.Speaker{speaker("n1", truncated, withholds(v1beta1.ReasonNoEndpoint))}, "False missing NoEndpoint: no node announces " + address,
		},
		"one that is dead": {[]*v1beta1.Speaker{speaker("n1", holds), speaker("n2", misses("n1", 1))}, "False missing NoEligibleNode"},
		"one that denies it": {
			[]*v1beta1.Speaker{speaker("n1", holds, denies("n2")), speaker("n2", misses("n1", 1))}, "True Announced: announced by n1",
		},
		"one that denied it once": {
			[]*v1beta1.Speaker{speaker("n1", holds, denies("n2")), speaker("n2", misses("n1", 2))}, "False missing NoEligibleNode",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			var r Reports
			now := time.Unix(1000, 0)
			r.Read(test.speakers, false, now)
			if r.Read(test.speakers, false, now.Add(severalFor)) {
				t.Error("it still depends on time")
			}
			got := "nothing"
			if v, proven := r.Verdict([]netip.Addr{netip.MustParseAddr(address)}); proven {
				got = string(v.Status)
				if v.Missing {
					got += " missing"
				}
				got += " " + string(v.Reason) + ": " + v.Message
			}
			if !strings.HasPrefix(got, test.want) {
				t.Errorf("it says %q, want %q", got, test.want)
			}
		})
	}
}

// Where no Speaker is ready nothing is concluded, and after a while nothing is known.
func TestVerdictWhileNoSpeakerIsReady(t *testing.T) {
	for sentence, said := range map[string]*v1beta1.Speaker{"they died": speaker("n1", holds), "they ended": speaker("n1")} {
		t.Run(sentence, func(t *testing.T) {
			var r Reports
			now := time.Unix(1000, 0)
			for _, step := range []struct {
				after     time.Duration
				noneReady bool
				want      string
				undecided bool
			}{
				{0, true, "", true},
				{silentFor - 1, true, "", true},
				{1, true, "Unknown NoSpeakerReady", false},
				{time.Hour, true, "Unknown NoSpeakerReady", false},
				{0, false, "known", false},
				{time.Second, true, "", true},
			} {
				now = now.Add(step.after)
				undecided := r.Read([]*v1beta1.Speaker{said}, step.noneReady, now)
				got := ""
				switch v, proven := r.Verdict([]netip.Addr{netip.MustParseAddr(address)}); {
				case proven && v.Status == metav1.ConditionUnknown:
					got = string(v.Status) + " " + string(v.Reason)
				case proven:
					got = "known"
				}
				if got != step.want || undecided != step.undecided {
					t.Errorf("after %s: %q, and to be read again: %t", step.after, got, undecided)
				}
			}
		})
	}
}

// What is said does not depend on the order of the reports, and never on what was
// read before longer ago than a hand-over takes.
func TestVerdictDoesNotDependOnOrderOrPast(t *testing.T) {
	changes := []func(*v1beta1.Speaker){
		holds, sharesByClient, routes, truncated, misses("n0", 1), misses("n1", 1), denies("n2"), denies("n0"),
		withholds(v1beta1.ReasonNoEndpoint), withholds(v1beta1.ReasonAddressConflict), withholds(v1beta1.ReasonNodeExcluded),
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := func() []*v1beta1.Speaker {
			var all []*v1beta1.Speaker
			for i := range rapid.IntRange(0, 3).Draw(t, "speakers") {
				all = append(all, speaker(fmt.Sprintf("n%d", i), rapid.SliceOfN(rapid.SampledFrom(changes), 0, 3).Draw(t, "says")...))
			}
			return all
		}
		says := func(r *Reports) string {
			v, proven := r.Verdict([]netip.Addr{netip.MustParseAddr(address)})
			v.Since = time.Time{}
			return fmt.Sprint(v, proven, r.Speakers(), r.Contested())
		}
		past, present := draw(), draw()
		now := time.Unix(1000, 0)
		var one, other Reports
		one.Read(past, false, now)
		one.Read(present, false, now)
		one.Read(present, false, now.Add(severalFor))
		other.Read(rapid.Permutation(present).Draw(t, "order"), false, now)
		other.Read(rapid.Permutation(present).Draw(t, "order"), false, now.Add(severalFor))
		if says(&one) != says(&other) {
			t.Fatalf("%s and %s", says(&one), says(&other))
		}
	})
}
