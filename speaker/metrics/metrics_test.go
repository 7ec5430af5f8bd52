package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/bgp"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/node"
)

// C07: the metrics pass promlint, and say what a pass has found.
func TestC07_SpeakerMetricsPassPromlint(t *testing.T) {
	m := New(Sources{
		Answers: func() l2.Stats { return l2.Stats{} }, Alive: func() int { return 3 }, Stalls: func() uint64 { return 1 }, Sessions: bgp.NewFake(),
	})
	m.Observe(&node.Counts{Held: 2, Drift: 2, Draining: 4, Withheld: map[v1beta1.Reason]int{v1beta1.ReasonNotOwner: 1}}, time.Millisecond)
	registry := prometheus.NewRegistry()
	if err := m.Register(registry); err != nil {
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
	want := `
# HELP baliza_speaker_addresses_draining Addresses that this node announces over BGP as the last choice, because it is being drained.
# TYPE baliza_speaker_addresses_draining gauge
baliza_speaker_addresses_draining 4
# HELP baliza_speaker_addresses_drift Addresses that this node should answer for and does not, or does and should not. Zero when all is well.
# TYPE baliza_speaker_addresses_drift gauge
baliza_speaker_addresses_drift 2
# HELP baliza_speaker_addresses_withheld Addresses that this node neither answers for nor announces, by reason.
# TYPE baliza_speaker_addresses_withheld gauge
baliza_speaker_addresses_withheld{reason="NotOwner"} 1
# HELP baliza_speaker_members_alive Speakers that this one sees alive, itself included.
# TYPE baliza_speaker_members_alive gauge
baliza_speaker_members_alive 3
`
	err = testutil.GatherAndCompare(registry, strings.NewReader(want), "baliza_speaker_addresses_draining", "baliza_speaker_addresses_drift",
		"baliza_speaker_addresses_withheld", "baliza_speaker_members_alive")
	if err != nil {
		t.Error(err)
	}
}
