package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/bfd"
	"github.com/baliza-lb/baliza/speaker/bgp"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Limits of the Speaker object (see api/v1beta1).
const (
	maxPeers     = 256
	maxAnnounced = 16384
)

// withAbsent adds the peers that have no session to those that have.
func (r *routes) withAbsent(status []bgp.Status) []bgp.Status {
	for i := range r.made.Peers {
		p := r.made.Peers[i].Peer
		if why := r.absent[p.Name]; why != "" {
			status = append(status, bgp.Status{Name: p.Name, Address: p.Address, State: bgp.Idle, LastError: why})
		}
	}
	slices.SortFunc(status, func(a, b bgp.Status) int { return cmp.Compare(a.Name, b.Name) })
	return status
}

// report is the BGP part of the Speaker's status; nil where there are no
// peers.
func (r *routes) report() *v1beta1.BGPReport {
	if r == nil || len(r.made.Peers) == 0 {
		return nil
	}
	report := &v1beta1.BGPReport{}
	for i := range r.status[:min(len(r.status), maxPeers)] {
		report.Peers = append(report.Peers, sessionReport(&r.status[i]))
	}
	for i := range r.made.Decisions {
		d := &r.made.Decisions[i]
		if !r.heard(d) {
			continue
		}
		report.AnnouncedCount++
		if d.Reason == v1beta1.ReasonDraining {
			report.Draining++
		}
		if len(report.Announced) < maxAnnounced {
			report.Announced = append(report.Announced, d.Address.String())
		}
	}
	for i := range r.made.Others {
		if r.heard(&r.made.Others[i].BGPDecision) {
			report.OtherCount++
		}
	}
	return report
}

// othersUnheld calls unheld for each prefix beside those of load balancers that is
// to be announced, and is not. A host's is written as an address.
func (r *routes) othersUnheld(unheld func(w why, text string)) {
	if r == nil {
		return
	}
	for i := range r.made.Others {
		d := &r.made.Others[i]
		text := ""
		switch {
		case r.heard(&d.BGPDecision):
			continue
		case d.Prefix.IsValid() && d.Prefix.IsSingleIP():
			text = d.Prefix.Addr().String()
		case d.Prefix.IsValid():
			text = d.Prefix.String()
		}
		w := why{d.Reason, d.Message}
		if len(d.Peers) > 0 {
			w = r.unheard(&d.BGPDecision)
		}
		unheld(w, text)
	}
}

func sessionReport(s *bgp.Status) v1beta1.BGPSession {
	out := v1beta1.BGPSession{
		Name: s.Name, State: string(s.State), PeerASN: int64(s.PeerASN),
		LastError: clip(problemOf(s)), BFD: s.BFD, RoutesSent: int32(s.Sent),
	}
	if s.Address.IsValid() {
		out.Address = s.Address.String()
	}
	if s.State != bgp.Established {
		// In between attempts it goes to and fro, which is no news.
		out.State = string(bgp.Idle)
	}
	if !s.Since.IsZero() {
		since := metav1.NewTime(s.Since).Rfc3339Copy()
		out.Since = &since
	}
	return out
}

// problemOf is what an operator has to know of a session first: why there is
// none, or what of it does not work.
func problemOf(s *bgp.Status) string {
	switch {
	case s.LastError != "" || s.State != bgp.Established:
		return s.LastError
	case s.IPv4.Why != "" || s.IPv6.Why != "":
		return cmp.Or(s.IPv4.Why, s.IPv6.Why)
	case len(s.Unsent) > 0:
		return fmt.Sprintf("%s is not announced: %s", s.Unsent[0].Prefix, s.Unsent[0].Why)
	}
	return s.BFDError
}

// says tells whether a router knows an address, the one at a place of both
// plans, and if not why, unless that is only that no BGPAdvertisement selects it.
func (r *routes) says(place int) (told bool, w why) {
	if r == nil || len(r.made.Decisions) == 0 {
		return false, w
	}
	d := &r.made.Decisions[place]
	switch {
	case r.heard(d):
		return true, w
	case len(d.Peers) > 0:
		return false, r.unheard(d)
	case d.Reason == v1beta1.ReasonNoAdvertisement:
		return false, w
	}
	return false, why{d.Reason, d.Message}
}

// heard reports whether a router was sent a prefix with the address, in a session
// that stands.
func (r *routes) heard(d *plan.BGPDecision) bool {
	return slices.ContainsFunc(r.standing(d), func(s *bgp.Status) bool { return s.Told.Covers(d.Address) })
}

// standing are the established sessions of those that are told of an address.
// Decisions share the lists of these.
func (r *routes) standing(d *plan.BGPDecision) []*bgp.Status {
	if len(d.Peers) == 0 {
		return nil
	}
	all, known := r.known[&d.Peers[0]]
	if !known {
		for _, name := range d.Peers {
			if s := r.session(name); s != nil && s.State == bgp.Established {
				all = append(all, s)
			}
		}
		r.known[&d.Peers[0]] = all
	}
	return all
}

// session returns the status of a peer's.
func (r *routes) session(name string) *bgp.Status {
	at, found := slices.BinarySearchFunc(r.status, name, func(s bgp.Status, name string) int { return cmp.Compare(s.Name, name) })
	if !found {
		return nil
	}
	return &r.status[at]
}

// unheard says why no router knows an address that is to be announced.
func (r *routes) unheard(d *plan.BGPDecision) why {
	standing := r.standing(d)
	if len(standing) == 0 {
		return why{v1beta1.ReasonNoSession, "no BGP session to a peer that is to be told is established: see status.bgp"}
	}
	first := standing[0]
	cause := first.Family(d.Address).Why
	for _, u := range first.Unsent {
		if cause == "" && u.Prefix.Contains(d.Address) {
			cause = u.Why
		}
	}
	if cause == "" {
		return why{v1beta1.ReasonNoSession, fmt.Sprintf("the router of %s has not been told yet", first.Name)}
	}
	return why{v1beta1.ReasonNoSession, fmt.Sprintf("the BGP session with %s does not carry the address: %s", first.Name, cause)}
}

// routeMetrics are read from the sessions when they are asked for.
type routeMetrics struct {
	sessions announcer

	up, sent, bfd, established, updates, dropped, panics *prometheus.Desc
}

func newRouteMetrics(sessions announcer) *routeMetrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("baliza_speaker_bgp_"+name, help, []string{"peer"}, nil)
	}
	return &routeMetrics{
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
func (m *routeMetrics) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.up, m.sent, m.bfd, m.established, m.updates, m.dropped, m.panics} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (m *routeMetrics) Collect(c chan<- prometheus.Metric) {
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
