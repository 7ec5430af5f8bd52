package main

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/plan"
)

func address(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)}) }

// C07: the metrics pass promlint, and the drift tells of what is not held.
func TestC07_SpeakerMetricsPassPromlint(t *testing.T) {
	m := newMetrics(func() l2.Stats { return l2.Stats{} }, func() int { return 3 })
	on := []string{"eth0"}
	desired := map[netip.Addr][]string{address(1): on, address(2): on}
	m.observe(map[v1beta1.Reason]int{v1beta1.ReasonNotOwner: 1}, 4, map[netip.Addr][]string{address(1): on, address(9): on}, desired, time.Millisecond)

	registry := prometheus.NewRegistry()
	if err := m.register(registry); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	for _, family := range families {
		if family.GetName() == "baliza_speaker_addresses_drift" {
			if got := family.GetMetric()[0].GetGauge().GetValue(); got != 2 {
				t.Errorf("drift is %v, want 2: one is missing, one is too many", got)
			}
		}
	}
}

func TestWithheldAddressesAreGroupedByReason(t *testing.T) {
	var made plan.Plan
	for n := range 3000 {
		made.Decisions = append(made.Decisions, plan.Decision{
			Address: address(n), Reason: v1beta1.ReasonNotOwner, Message: "node n" + string(rune('1'+n%2)) + " owns the address",
		})
	}
	made.Decisions = append(made.Decisions,
		plan.Decision{Address: address(4000), Announce: true, Reason: v1beta1.ReasonAnnounced},
		plan.Decision{Address: address(4001), Announce: true, Reason: v1beta1.ReasonAnnounced})
	groups := new(speaker).withheld(made.Decisions, map[netip.Addr][]string{address(4001): {"eth0"}})
	if len(groups) != 3 {
		t.Fatalf("%d groups: %+v", len(groups), groups)
	}
	if groups[0].Count != 1500 || len(groups[0].Addresses) != maxAddresses || !strings.Contains(groups[0].Message, "n1") {
		t.Errorf("first group: %d of %d, %s", len(groups[0].Addresses), groups[0].Count, groups[0].Message)
	}
	if groups[2].Reason != v1beta1.ReasonSocketProblem || groups[2].Count != 1 {
		t.Errorf("what the sockets refuse: %+v", groups[2])
	}
}

func TestReadyConditionSaysWhatIsMissingAndSinceWhen(t *testing.T) {
	s := &speaker{parts: parts{node: "n1", log: slog.New(slog.DiscardHandler)}}
	first := time.Unix(1000, 0)
	made := plan.Plan{Decisions: []plan.Decision{{
		Address: address(1), Owner: "n1", Announce: true, Missing: []string{"eth9"}, Message: "interface eth9 does not exist here",
	}}}
	bad := s.readyCondition(first, made, nil)
	if bad.Status != metav1.ConditionFalse || bad.Reason != string(v1beta1.ReasonInterfaceMissing) || !strings.Contains(bad.Message, "eth9") {
		t.Errorf("%+v", bad)
	}
	if later := s.readyCondition(first.Add(time.Minute), made, nil); !later.LastTransitionTime.Time.Equal(first) {
		t.Errorf("the time of the transition moved: %+v", later)
	}
	nobody := plan.Plan{Decisions: []plan.Decision{{
		Address: address(1), Reason: v1beta1.ReasonInterfaceMissing, Message: "interface eth8 does not exist here",
	}}}
	if bad := s.readyCondition(first, nobody, nil); bad.Status != metav1.ConditionFalse || !strings.Contains(bad.Message, "eth8") {
		t.Errorf("an interface that no node has: %+v", bad)
	}
	good := s.readyCondition(first.Add(time.Hour), plan.Plan{}, nil)
	if good.Status != metav1.ConditionTrue || !good.LastTransitionTime.Time.Equal(first.Add(time.Hour)) {
		t.Errorf("%+v", good)
	}
}
