package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/members"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// crowd is a membership of which only who is there matters.
type crowd struct {
	membership
	alive []string
}

func (c *crowd) Alive() []string              { return c.alive }
func (c *crowd) Speaks(members.Station) bool  { return false }
func (c *crowd) Address() (at netip.AddrPort) { return at }

// register is a cluster of which only the Speakers matter.
type register struct {
	speakers []*v1beta1.Speaker
}

func (r *register) Synced() bool                                 { return true }
func (r *register) Changes() <-chan struct{}                     { return nil }
func (r *register) Take() kube.SpeakerChanges                    { return kube.SpeakerChanges{} }
func (r *register) Nodes() []*corev1.Node                        { return nil }
func (r *register) Pools() []*v1beta1.IPAddressPool              { return nil }
func (r *register) L2Advertisements() []*v1beta1.L2Advertisement { return nil }
func (r *register) Speakers() []*v1beta1.Speaker                 { return r.speakers }

func (r *register) Service(string) (*corev1.Service, []*discoveryv1.EndpointSlice) { return nil, nil }

func (r *register) has(name string, missing ...v1beta1.MissingSpeaker) {
	s := &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.Status.MemberAddress, s.Status.Missing = "192.0.2.1:7946", missing
	r.speakers = append(r.speakers, s)
}

// lone is a speaker without sockets that owns one address.
type lone struct {
	*speaker
	t   *testing.T
	now time.Time
}

func newLone(t *testing.T) *lone {
	s := newSpeaker(parts{log: slog.New(slog.DiscardHandler), node: "n1", members: &crowd{alive: []string{"n1"}}, cluster: &register{}, responder: l2.New()})
	return &lone{speaker: s, t: t, now: time.Unix(1_000_000, 0)}
}

// turn lets time pass and returns what would be reported: "held", "probing",
// or the conflict.
func (l *lone) turn(d time.Duration) string {
	l.t.Helper()
	l.now = l.now.Add(d)
	on := []string{"eth0"}
	made := plan.Plan{Decisions: []plan.Decision{{Address: address(1), Owner: "n1", Announce: true, Interfaces: on}}}
	desired := l2.Desired{Addresses: map[netip.Addr][]string{address(1): on}}
	l.avoid(l.now, &made, map[netip.Addr]string{}, &desired)
	l.held = desired.Addresses
	if len(l.held) > 0 {
		return "held"
	}
	said := l.withheld(made.Decisions, l.held)
	conflicts := l.conflictReport(made.Decisions)
	if len(said) == 0 && len(conflicts) == 0 {
		return "probing"
	}
	if len(said) != 1 || said[0].Reason != v1beta1.ReasonAddressConflict || len(conflicts) != 1 {
		l.t.Fatalf("reports %+v and %+v", said, conflicts)
	}
	c := conflicts[0]
	return fmt.Sprintf("%s %s %s %s %d", c.Address, c.MAC, c.Interface, c.Found, l.now.Unix()-c.Since.Unix())
}

func (l *lone) stranger() {
	mac, _ := net.ParseMAC("02:00:00:00:00:99")
	l.sighted(l.now, l2.Sighting{Address: address(1), MAC: mac, Interface: "eth0"})
}

func (l *lone) expect(d time.Duration, expected string) {
	l.t.Helper()
	if got := l.turn(d); got != expected {
		l.t.Fatalf("reports %q, want %q", got, expected)
	}
}

func TestL13_AConflictThatTheProbeFindsIsReportedAsOfFirstUse(t *testing.T) {
	l := newLone(t)
	l.expect(0, "probing")
	l.stranger()
	l.expect(0, "198.18.0.1 02:00:00:00:00:99 eth0 FirstUse 0")
	l.expect(29*time.Second, "198.18.0.1 02:00:00:00:00:99 eth0 FirstUse 29")
	// It is probed for again, and goes on being in conflict meanwhile.
	l.expect(time.Second, "198.18.0.1 02:00:00:00:00:99 eth0 FirstUse 30")
	l.stranger()
	l.expect(probeEvery, "198.18.0.1 02:00:00:00:00:99 eth0 FirstUse 30")
	l.expect(quarantine, "198.18.0.1 02:00:00:00:00:99 eth0 FirstUse 60")
	l.expect(probes*probeEvery, "held") // the stranger is gone
	if len(l.conflicts.lost) > 0 {
		t.Errorf("left behind: %+v", l.conflicts.lost)
	}
}

func TestL13_AConflictOfAnAddressInUseIsReportedAsThat(t *testing.T) {
	l := newLone(t)
	l.expect(0, "probing")
	l.expect(time.Second, "held")
	l.expect(time.Hour, "held")
	l.stranger()
	l.expect(0, "held") // it is defended once
	l.now = l.now.Add(2 * time.Second)
	l.stranger()
	l.expect(0, "198.18.0.1 02:00:00:00:00:99 eth0 InUse 0")
	l.expect(quarantine, "198.18.0.1 02:00:00:00:00:99 eth0 InUse 30")
	l.stranger()
	l.expect(0, "198.18.0.1 02:00:00:00:00:99 eth0 InUse 30")
}

func TestTheFirstThreeSpeakersTellWhoIsMissingOnceItIsLong(t *testing.T) {
	for node, tells := range map[string]bool{"a": true, "b": true, "c": true, "d": false} {
		everybody := &register{}
		for _, name := range []string{"a", "b", "c", "d", "dead"} {
			everybody.has(name)
		}
		s := newSpeaker(parts{log: slog.New(slog.DiscardHandler), node: node, cluster: everybody, responder: l2.New()})
		s.alive = []string{"a", "b", "c", "d"}
		begin := time.Unix(1_000_000, 0)
		if again := s.noteAway(begin); again != missingAfter || len(s.missing(begin)) > 0 {
			t.Errorf("%s: again in %s, missing at once: %v", node, again, s.missing(begin))
		}
		later := begin.Add(missingAfter)
		s.noteAway(later)
		told := s.missing(later)
		if tells && (len(told) != 1 || told[0].Name != "dead" || !told[0].Since.Time.Equal(begin)) || !tells && len(told) > 0 {
			t.Errorf("%s tells %v", node, told)
		}
		s.alive = append(s.alive, "dead")
		s.noteAway(later)
		if told := s.missing(later); len(told) > 0 {
			t.Errorf("%s misses who is back: %v", node, told)
		}
	}
}

func TestWhoIsMissedInErrorSaysSo(t *testing.T) {
	since := metav1.NewTime(time.Unix(1_000_000, 0))
	everybody := &register{}
	everybody.has("n1", v1beta1.MissingSpeaker{Name: "n9", Since: since})
	everybody.has("n3", v1beta1.MissingSpeaker{Name: "n1", Since: since}, v1beta1.MissingSpeaker{Name: "n2", Since: since})
	everybody.has("n2", v1beta1.MissingSpeaker{Name: "n1", Since: metav1.NewTime(since.Add(time.Second))})
	s := newSpeaker(parts{log: slog.New(slog.DiscardHandler), node: "n1", cluster: everybody, responder: l2.New()})
	if got := fmt.Sprint(s.refuted()); got != fmt.Sprint([]v1beta1.MissingSpeaker{{Name: "n2", Since: metav1.NewTime(since.Add(time.Second))}, {Name: "n3", Since: since}}) {
		t.Errorf("refutes %s", got)
	}
}
