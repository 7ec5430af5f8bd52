package node

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/model"
)

// T05: where speakers that are alive do not hear each other, each says which way
// is closed, and which port is to be opened: the one that is in use.
func TestT05_ASpeakerSaysWhichWayIsClosed(t *testing.T) {
	const outwards = "this speaker is not heard by n2, which it hears: open port 7999, UDP and TCP, for what this node sends to theirs"
	const inwards = "this speaker does not hear n2, though they are alive: open port 7999, UDP and TCP, for what their nodes send to this one"
	for name, c := range map[string]struct {
		hears, said, answers bool
		want                 string
	}{
		"all is well":                              {hears: true},
		"the other is dead":                        {},
		"it died after it had lost this one":       {said: true},
		"the other does not hear this one":         {hears: true, said: true, want: outwards},
		"this one does not hear it, which answers": {answers: true, want: inwards},
		"neither hears the other": {
			said: true, answers: true, want: "this speaker and n2 do not hear each other: open port 7999, UDP and TCP, between their nodes, both ways",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.in.Members = &model.Membership{
				Self: "n1", Address: netip.MustParseAddrPort("192.0.2.11:7999"), Alive: []string{"n1", "n2"}, Ready: []string{"n1", "n2"},
			}
			r.in.Cluster.Peers = map[string]netip.AddrPort{"n2": netip.MustParseAddrPort("192.0.2.12:7999")}
			r.turn(0)
			r.turn(time.Second)
			if !c.hears {
				r.in.Members = &model.Membership{Self: "n1", Address: r.in.Members.Address, Alive: []string{"n1"}, Ready: []string{"n1"}}
			}
			r.turn(time.Second)
			lost := metav1.NewTime(r.in.Now)
			if c.said {
				r.in.Cluster.Missed = []Missed{{By: "n2", UnreachableSpeaker: v1beta1.UnreachableSpeaker{Name: "n1", Since: lost}}}
			}
			r.in.Cluster.Confirmed = map[string]metav1.Time{"n2": metav1.NewTime(lost.Add(-time.Hour))} // of another time
			if c.answers {
				r.in.Cluster.Confirmed["n2"] = lost
			}
			r.turn(time.Second)
			ready := func() metav1.Condition { return r.done.Status.Conditions[0] }
			if ready().Status != metav1.ConditionTrue {
				t.Errorf("it is said at once: %+v", ready())
			}
			if c.want != "" && (r.out.Again == 0 || r.out.Again > partitionAfter) {
				t.Errorf("it looks again in %s", r.out.Again)
			}
			r.turn(partitionAfter)
			switch got := ready(); {
			case c.want == "" && got.Status != metav1.ConditionTrue:
				t.Errorf("it says %s: %s", got.Reason, got.Message)
			case c.want != "" && (got.Status != metav1.ConditionFalse || got.Reason != string(v1beta1.ReasonPartitioned) || got.Message != c.want):
				t.Errorf("it says %s: %s, want %s", got.Reason, got.Message, c.want)
			}
			r.in.Members = &model.Membership{
				Self: "n1", Address: r.in.Members.Address, Alive: []string{"n1", "n2"}, Ready: []string{"n1", "n2"},
			}
			r.in.Cluster.Missed, r.in.Cluster.Confirmed = nil, nil
			r.turn(time.Second)
			if ready().Status != metav1.ConditionTrue {
				t.Errorf("after that it says %+v", ready())
			}
		})
	}
}

// Of many speakers three are named.
func TestT05_FewSpeakersAreNamed(t *testing.T) {
	if got := few(strings.Fields("a b c")); got != "a, b, c" {
		t.Error(got)
	}
	if got := few(strings.Fields("a b c d e")); got != "a, b, c and 2 more" {
		t.Error(got)
	}
}
