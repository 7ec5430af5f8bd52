package main

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/l2"
)

// metrics of the speaker. None has a label that grows with addresses.
type metrics struct {
	held     prometheus.Gauge
	drift    prometheus.Gauge
	withheld *prometheus.GaugeVec
	draining prometheus.Gauge
	passes   prometheus.Histogram
	others   []prometheus.Collector
}

func newMetrics(stats func() l2.Stats, alive func() int) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "baliza_speaker_" + name, Help: help})
	}
	m := &metrics{
		held:  gauge("addresses_held", "Addresses that this node answers for."),
		drift: gauge("addresses_drift", "Addresses that this node should answer for and does not, or does and should not. Zero when all is well."),
		withheld: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "baliza_speaker_addresses_withheld", Help: "Addresses that this node neither answers for nor announces, by reason.",
		}, []string{"reason"}),
		draining: gauge("addresses_draining", "Addresses that this node announces over BGP as the last choice, because it is being drained."),
		passes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "baliza_speaker_pass_duration_seconds", Help: "Time from a change to its having been acted on, in this process.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 8), //nolint:mnd // 0.1 ms to 1.6 s
		}),
	}
	m.others = append(m.others, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "baliza_speaker_members_alive", Help: "Speakers that this one sees alive, itself included.",
	}, func() float64 { return float64(alive()) }))
	counter := func(name, help, protocol string, read func() uint64) {
		m.others = append(m.others, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "baliza_speaker_" + name, Help: help, ConstLabels: prometheus.Labels{"protocol": protocol},
		}, func() float64 { return float64(read()) }))
	}
	for protocol, of := range map[string]func() l2.FamilyStats{
		"arp": func() l2.FamilyStats { return stats().ARP }, "ndp": func() l2.FamilyStats { return stats().NDP },
	} {
		counter("requests_answered_total", "Requests of neighbours that were answered.", protocol, func() uint64 { return of().Answered })
		counter("requests_ignored_total", "Requests that were for others, or malformed.", protocol, func() uint64 { return of().Ignored })
		counter("announcements_total", "Announcements to neighbours, repetitions included.", protocol, func() uint64 { return of().Announced })
		counter("send_failures_total", "Answers and announcements that could not be sent.", protocol, func() uint64 { return of().Failed })
	}
	return m
}

func (m *metrics) register(registry prometheus.Registerer) error {
	for _, c := range append([]prometheus.Collector{m.held, m.drift, m.withheld, m.draining, m.passes}, m.others...) {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	return nil
}

// observe takes over the outcome of a pass: how many addresses are withheld for
// each reason, how many are announced as the last choice, and what is and should
// be answered for.
func (m *metrics) observe(byReason map[v1beta1.Reason]int, draining int32, held, desired map[netip.Addr][]string, took time.Duration) {
	m.draining.Set(float64(draining))
	m.withheld.Reset()
	for reason, count := range byReason {
		m.withheld.WithLabelValues(string(reason)).Set(float64(count))
	}
	drift := 0
	for address, on := range desired {
		if !slices.Equal(on, held[address]) {
			drift++
		}
	}
	for address := range held {
		if _, ok := desired[address]; !ok {
			drift++
		}
	}
	m.held.Set(float64(len(held)))
	m.drift.Set(float64(drift))
	m.passes.Observe(took.Seconds())
}
