package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/baliza-lb/baliza/speaker/bfd"
	"github.com/baliza-lb/baliza/speaker/bgp"
)

// Sessions are those of BGP.
type Sessions interface {
	Status() []bgp.Status
}

// routes are read from the sessions when they are asked for.
type routes struct {
	sessions Sessions

	up, sent, bfd, established, updates, dropped, panics *prometheus.Desc
}

func newRoutes(sessions Sessions) *routes {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("baliza_speaker_bgp_"+name, help, []string{"peer"}, nil)
	}
	return &routes{
		sessions:    sessions,
		up:          desc("session_up", "Whether the BGP session of a peer is established."),
		sent:        desc("routes_sent", "Prefixes that a peer has been told."),
		bfd:         desc("bfd_up", "Whether BFD sees the path to a peer; absent where it does not watch."),
		established: desc("sessions_established_total", "Sessions with a peer that were established."),
		updates:     desc("updates_sent_total", "UPDATE messages sent to a peer."),
		dropped:     desc("updates_dropped_total", "UPDATE messages of a peer, which are dropped unread."),
		panics:      desc("session_panics_total", "Faults of Baliza itself that ended a session with a peer; please report them."),
	}
}

// Describe implements prometheus.Collector.
func (m *routes) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.up, m.sent, m.bfd, m.established, m.updates, m.dropped, m.panics} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (m *routes) Collect(c chan<- prometheus.Metric) {
	truth := func(is bool) float64 {
		if is {
			return 1
		}
		return 0
	}
	for _, s := range m.sessions.Status() {
		c <- prometheus.MustNewConstMetric(m.up, prometheus.GaugeValue, truth(s.State == bgp.Established), s.Name)
		c <- prometheus.MustNewConstMetric(m.sent, prometheus.GaugeValue, float64(s.Sent), s.Name)
		if s.BFD != "" {
			c <- prometheus.MustNewConstMetric(m.bfd, prometheus.GaugeValue, truth(s.BFD == string(bfd.Up)), s.Name)
		}
		c <- prometheus.MustNewConstMetric(m.established, prometheus.CounterValue, float64(s.Established), s.Name)
		c <- prometheus.MustNewConstMetric(m.updates, prometheus.CounterValue, float64(s.Updates), s.Name)
		c <- prometheus.MustNewConstMetric(m.dropped, prometheus.CounterValue, float64(s.Heard), s.Name)
		c <- prometheus.MustNewConstMetric(m.panics, prometheus.CounterValue, float64(s.Panics), s.Name)
	}
}
