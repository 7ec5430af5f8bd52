package metrics

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/node"
)

// Metrics of the speaker.
type Metrics struct {
	held     prometheus.Gauge
	drift    prometheus.Gauge
	withheld *withheld
	draining prometheus.Gauge
	passes   prometheus.Histogram
	moves    *prometheus.CounterVec
	unowned  prometheus.Histogram
	others   []prometheus.Collector
}

// Sources are asked when the metrics are.
type Sources struct {
	// Answers counts what was answered and announced.
	Answers func() l2.Stats
	// Alive is how many speakers live, and Stalls how often this process found
	// itself late.
	Alive  func() int
	Stalls func() uint64
	// Sessions may be nil, without BGP.
	Sessions Sessions
}

// New makes metrics that nothing was observed of.
func New(from Sources) *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "baliza_speaker_" + name, Help: help})
	}
	m := &Metrics{
		held:     gauge("addresses_held", "Addresses that this node answers for."),
		drift:    gauge("addresses_drift", "Addresses that this node should answer for and does not, or does and should not. Zero when all is well."),
		withheld: newWithheld(),
		draining: gauge("addresses_draining", "Addresses that this node announces over BGP as the last choice, because it is being drained."),
		passes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "baliza_speaker_reconcile_duration_seconds", Help: "Time from a change to its having been acted on, in this process.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 8), //nolint:mnd // 0.1 ms to 1.6 s
		}),
		moves: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "baliza_speaker_moves_total",
			Help: "Addresses that this node has let go, or has taken from nobody or from a node that is gone, by cause.",
		}, []string{"cause"}),
		unowned: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "baliza_speaker_failover_duration_seconds",
			Help:    "Time from the last sign of life of a node that failed to the announcement of each of its addresses that this one took over.",
			Buckets: []float64{0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5}, //nolint:mnd // around what is promised
		}),
	}
	for _, cause := range v1beta1.MoveCauses() {
		m.moves.WithLabelValues(string(cause))
	}
	m.others = append(m.others, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "baliza_speaker_members_alive", Help: "Speakers that this one sees alive, itself included.",
	}, func() float64 { return float64(from.Alive()) }), prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "baliza_speaker_stalls_total", Help: "Times that this process ran later than it should have, so that it trusted no other's silence.",
	}, func() float64 { return float64(from.Stalls()) }))
	counter := func(name, help, protocol string, read func() uint64) {
		m.others = append(m.others, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "baliza_speaker_" + name, Help: help, ConstLabels: prometheus.Labels{"protocol": protocol},
		}, func() float64 { return float64(read()) }))
	}
	for protocol, of := range map[string]func() l2.FamilyStats{
		"arp": func() l2.FamilyStats { return from.Answers().ARP }, "ndp": func() l2.FamilyStats { return from.Answers().NDP },
	} {
		counter("requests_answered_total", "Requests of neighbors that were answered.", protocol, func() uint64 { return of().Answered })
		counter("requests_ignored_total", "Requests that were for others, or malformed.", protocol, func() uint64 { return of().Ignored })
		counter("announcements_total", "Announcements to neighbors, repetitions included.", protocol, func() uint64 { return of().Announced })
		counter("send_failures_total", "Answers and announcements that could not be sent.", protocol, func() uint64 { return of().Failed })
	}
	if from.Sessions != nil {
		m.others = append(m.others, newRoutes(from.Sessions))
	}
	return m
}

// Register makes them known.
func (m *Metrics) Register(registry prometheus.Registerer) error {
	for _, c := range append([]prometheus.Collector{m.held, m.drift, m.withheld, m.draining, m.passes, m.moves, m.unowned}, m.others...) {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	return nil
}

// Moved counts moves.
func (m *Metrics) Moved(moves []node.Move) {
	for i := range moves {
		m.moves.WithLabelValues(string(moves[i].Cause)).Inc()
		if moves[i].Unowned > 0 {
			m.unowned.Observe(moves[i].Unowned.Seconds())
		}
	}
}

// Observe takes over the outcome of a pass.
func (m *Metrics) Observe(counts *node.Counts, took time.Duration) {
	m.held.Set(float64(counts.Held))
	m.drift.Set(float64(counts.Drift))
	m.draining.Set(float64(counts.Draining))
	m.withheld.counts.Store(&counts.Withheld)
	m.passes.Observe(took.Seconds())
}
