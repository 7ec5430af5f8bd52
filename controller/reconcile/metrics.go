package reconcile

import (
	"errors"
	"math/big"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/controller/ipam"
)

// Metrics of the controller. Labels grow with pools, not with addresses.
type Metrics struct {
	assigned, available *prometheus.GaugeVec
	services            *prometheus.GaugeVec
	writes              *prometheus.CounterVec
	statusFailures      prometheus.Counter
	multipleOwners      prometheus.Gauge
	duration            prometheus.Histogram
	leader              prometheus.Gauge
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		assigned:  gauge("baliza_pool_addresses_assigned", "Addresses of the pool that Services hold.", "pool", "family"),
		available: gauge("baliza_pool_addresses_available", "Addresses of the pool that can still be given.", "pool", "family"),
		services:  gauge("baliza_services", "Services served, by the reason of their condition baliza.io/Allocated.", "reason"),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "baliza_service_writes_total", Help: "Requests that wrote a Service, by what came of them.",
		}, []string{"result"}),
		statusFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "baliza_status_write_failures_total", Help: "Requests that failed to write the status of a pool or an advertisement.",
		}),
		multipleOwners: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "baliza_addresses_multiple_owners", Help: "Addresses for which several nodes answer at once, each of which should be the only one.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "baliza_reconcile_duration_seconds", Help: "Time of one pass over what changed, without the writes.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}),
		leader: prometheus.NewGauge(prometheus.GaugeOpts{Name: "baliza_leader", Help: "1 while this process leads, else 0."}),
	}
	registry.MustRegister(m.assigned, m.available, m.services, m.writes, m.statusFailures, m.multipleOwners, m.duration, m.leader)
	return m
}

// wrote counts a request; repeats says that what it wrote had been undone.
func (m *Metrics) wrote(done result, repeats bool) {
	var conflict *kube.FieldConflict
	err, label := done.err, "error"
	switch {
	case done.wrote == nil:
		return // it only read
	case repeats:
		label = "reverted"
	case err == nil:
		label = "ok"
	case errors.Is(err, kube.ErrStale):
		label = "stale"
	case errors.As(err, &conflict):
		label = "conflict"
	case errors.Is(err, errNotLeading):
		label = "not_leading"
	}
	m.writes.WithLabelValues(label).Inc()
}

// pool sets the figures of one pool.
func (m *Metrics) pool(name string, c ipam.Counters) {
	m.assigned.WithLabelValues(name, "ipv4").Set(float64(c.AssignedIPv4))
	m.assigned.WithLabelValues(name, "ipv6").Set(float64(c.AssignedIPv6))
	m.available.WithLabelValues(name, "ipv4").Set(float(c.AvailableIPv4))
	m.available.WithLabelValues(name, "ipv6").Set(float(c.AvailableIPv6))
}

// forgetPool drops the figures of a pool that is gone.
func (m *Metrics) forgetPool(name string) {
	m.assigned.DeletePartialMatch(prometheus.Labels{"pool": name})
	m.available.DeletePartialMatch(prometheus.Labels{"pool": name})
}

func float(n *big.Int) float64 {
	f, _ := new(big.Float).SetInt(n).Float64()
	return f
}

// setReason moves a Service to another reason in the metric; empty takes it
// out.
func (r *Reconciler) setReason(rec *record, reason v1beta1.Reason) {
	if rec.reason == reason {
		return
	}
	if rec.reason != "" {
		r.Metrics.services.WithLabelValues(string(rec.reason)).Dec()
	}
	if reason != "" {
		r.Metrics.services.WithLabelValues(string(reason)).Inc()
	}
	rec.reason = reason
}
