package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// withheld are the addresses that are not announced, by reason. They are replaced
// as a whole: whoever asks in between sees all or none of a pass.
type withheld struct {
	desc   *prometheus.Desc
	counts atomic.Pointer[map[v1beta1.Reason]int]
}

func newWithheld() *withheld {
	w := &withheld{desc: prometheus.NewDesc("baliza_speaker_addresses_withheld",
		"Addresses that this node neither answers for nor announces, by reason.", []string{"reason"}, nil)}
	w.counts.Store(&map[v1beta1.Reason]int{})
	return w
}

// Describe implements prometheus.Collector.
func (w *withheld) Describe(c chan<- *prometheus.Desc) { c <- w.desc }

// Collect implements prometheus.Collector.
func (w *withheld) Collect(c chan<- prometheus.Metric) {
	for reason, count := range *w.counts.Load() {
		c <- prometheus.MustNewConstMetric(w.desc, prometheus.GaugeValue, float64(count), string(reason))
	}
}
