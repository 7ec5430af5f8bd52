package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config/daemon"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Limits of the Speaker object (see api/v1beta1).
const (
	maxHeld          = 4096
	maxServices      = 256
	maxGroups        = 256
	maxAddresses     = 1024
	maxMessage       = 1024
	maxConflicts     = 256
	maxMissing       = 256
	maxLoggedChanges = 5
)

// reasonAnnouncing is that of a Ready condition that is True.
const reasonAnnouncing v1beta1.Reason = "Announcing"

// readiness is what /readyz asks for; it is read by other goroutines.
type readiness struct {
	settled  atomic.Bool
	problems atomic.Pointer[string]
}

// speakerGeneration of every Speaker: it has no spec that could change.
const speakerGeneration = 1

// condition remembers since when the Ready condition is what it is.
type condition struct {
	status metav1.ConditionStatus
	since  metav1.Time
}

func (s *speaker) addChecks(health *daemon.Health) {
	health.Live("loop", s.pulse.Check)
	health.Ready("caches", func() error {
		if !s.cluster.Synced() {
			return errors.New("the cluster's objects have not been read yet")
		}
		return nil
	})
	health.Ready("membership", func() error {
		if !s.ready.settled.Load() {
			return errors.New("still looking for the other speakers")
		}
		return nil
	})
	health.Ready("sockets", func() error {
		if text := s.ready.problems.Load(); text != nil {
			return errors.New(*text)
		}
		return nil
	})
}

// introduce makes this speaker known before it has anything to say.
func (s *speaker) introduce() {
	s.reports.Report(v1beta1.SpeakerStatus{
		MemberAddress: s.members.Address().String(), Version: s.version, MembersAlive: int32(len(s.members.Alive())),
	}, s.nodeUID)
}

// lastReport is what is left to say when this speaker has stopped as planned.
func (s *speaker) lastReport(now time.Time) v1beta1.SpeakerStatus {
	return v1beta1.SpeakerStatus{
		MemberAddress: s.members.Address().String(), Version: s.version,
		Conditions: []metav1.Condition{{
			Type: v1beta1.ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: speakerGeneration,
			Reason: string(v1beta1.ReasonDeparted), Message: "the speaker was told to stop, and has", LastTransitionTime: seconds(now),
		}},
	}
}

// report hands what this speaker does to the writer, and returns it.
func (s *speaker) report(now time.Time, made plan.Plan, held map[netip.Addr][]string, problems []l2.Problem) v1beta1.SpeakerStatus {
	status := v1beta1.SpeakerStatus{
		MemberAddress: s.members.Address().String(), Version: s.version,
		MembersAlive: int32(len(s.alive)), HeldCount: int32(len(held)),
		Withheld: s.withheld(made.Decisions, held), BGP: s.routes.report(),
		Conflicts: s.conflictReport(made.Decisions), Missing: s.missing(now), Refuted: s.refuted(),
	}
	for _, d := range made.Decisions {
		if on := held[d.Address]; len(on) > 0 && len(status.Held) < maxHeld {
			one := v1beta1.HeldAddress{
				Address: d.Address.String(), Services: d.Services[:min(len(d.Services), maxServices)], Interfaces: on,
			}
			if len(d.Sharers) > 0 {
				one.Balancing = v1beta1.BalancePerClient
			}
			status.Held = append(status.Held, one)
		}
	}
	status.Conditions = []metav1.Condition{s.readyCondition(now, made, problems)}
	if ready := &status.Conditions[0]; ready.Status == metav1.ConditionTrue && status.BGP != nil && status.BGP.Draining > 0 {
		ready.Reason = string(v1beta1.ReasonDraining)
		ready.Message = "this node is being drained: over BGP it is the last choice, until its paths are withdrawn"
	}
	s.reports.Report(status, s.nodeUID)
	return status
}

// counts are how many addresses a status says are withheld for each reason, and
// how many are announced as the last choice: the metrics say the same.
func counts(status *v1beta1.SpeakerStatus) (byReason map[v1beta1.Reason]int, draining int32) {
	byReason = map[v1beta1.Reason]int{}
	for i := range status.Withheld {
		byReason[status.Withheld[i].Reason] += int(status.Withheld[i].Count)
	}
	if status.BGP != nil {
		draining = status.BGP.Draining
	}
	return byReason, draining
}

// why an address is not held.
type why struct {
	reason  v1beta1.Reason
	message string
}

// unheld tells why an address, the one at a place of the plan, is not held, or
// that there is nothing to say: it is held, by either protocol, or being probed
// for at this moment: in half a second it is held or in conflict.
func (s *speaker) unheld(place int, d *plan.Decision, held map[netip.Addr][]string) (w why, is bool) {
	if len(held[d.Address]) > 0 {
		return w, false
	}
	if d.Announce {
		// Planned, but the sockets refuse; the Ready condition has the details.
		_, probing := s.conflicts.trying[d.Address]
		return why{v1beta1.ReasonSocketProblem, "no socket could be opened for the address"}, !probing
	}
	told, instead := s.routes.says(place)
	if d.Reason == v1beta1.ReasonNoAdvertisement && instead.reason != "" {
		return instead, !told
	}
	return why{d.Reason, d.Message}, !told
}

// conflictReport lists the strangers that keep this node from answering.
func (s *speaker) conflictReport(decisions []plan.Decision) []v1beta1.AddressConflict {
	var all []v1beta1.AddressConflict
	for _, d := range decisions {
		if d.Reason != v1beta1.ReasonAddressConflict || len(all) == maxConflicts {
			continue
		}
		lost := s.conflicts.lost[d.Address]
		one := v1beta1.AddressConflict{
			Address: d.Address.String(), MAC: lost.mac, Interface: lost.on, Found: v1beta1.FoundInUse, Since: seconds(lost.since),
		}
		if lost.first {
			one.Found = v1beta1.FoundAtFirstUse
		}
		all = append(all, one)
	}
	return all
}

// seconds is a time as the API server keeps it, so that what is read back is
// equal to what was written.
func seconds(t time.Time) metav1.Time { return metav1.NewTime(t.UTC().Truncate(time.Second)) }

// withheld groups the addresses that are not held by why.
func (s *speaker) withheld(decisions []plan.Decision, held map[netip.Addr][]string) []v1beta1.WithheldAddresses {
	var all withheldGroups
	for place := range decisions {
		d := &decisions[place]
		if w, is := s.unheld(place, d, held); is {
			all.add(w, d.Address.String())
		}
	}
	s.routes.othersUnheld(all.add)
	return all.groups
}

// withheldGroups are addresses and prefixes by why they are withheld.
type withheldGroups struct {
	places map[why]int
	groups []v1beta1.WithheldAddresses
}

// add adds one; of what has no address, which is written as nothing, there is one
// of each why.
func (g *withheldGroups) add(w why, text string) {
	i, ok := g.places[w]
	if !ok {
		if len(g.groups) == maxGroups {
			return
		}
		if g.places == nil {
			g.places = map[why]int{}
		}
		i = len(g.groups)
		g.places[w] = i
		g.groups = append(g.groups, v1beta1.WithheldAddresses{Reason: w.reason, Message: clip(w.message)})
	}
	g.groups[i].Count++
	if len(g.groups[i].Addresses) < maxAddresses && text != "" {
		g.groups[i].Addresses = append(g.groups[i].Addresses, text)
	}
}

// readyCondition is False when something that should be held cannot be.
func (s *speaker) readyCondition(now time.Time, made plan.Plan, problems []l2.Problem) metav1.Condition {
	ready := metav1.Condition{
		Type: v1beta1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: speakerGeneration,
		Reason: string(reasonAnnouncing), Message: "every address of this node is answered for",
	}
	var complaints []string
	for _, d := range made.Decisions {
		nobody := d.Owner == "" && len(d.Sharers) == 0
		if len(d.Missing) > 0 || nobody && d.Reason == v1beta1.ReasonInterfaceMissing {
			ready.Reason = string(v1beta1.ReasonInterfaceMissing)
			complaints = append(complaints, d.Message)
		}
	}
	for _, problem := range problems {
		ready.Reason = string(v1beta1.ReasonSocketProblem)
		complaints = append(complaints, problem.Error())
	}
	if len(complaints) > 0 {
		slices.Sort(complaints)
		ready.Status, ready.Message = metav1.ConditionFalse, clip(strings.Join(slices.Compact(complaints), "; "))
	}
	if s.condition.status != ready.Status {
		s.condition = condition{ready.Status, metav1.NewTime(now.Truncate(time.Second))}
	}
	ready.LastTransitionTime = s.condition.since
	return ready
}

// logChanges tells the operator what this node took and let go.
func (s *speaker) logChanges(held map[netip.Addr][]string) {
	taken, released := newKeys(held, s.held), newKeys(s.held, held)
	s.held = held
	if len(taken)+len(released) > 0 {
		s.log.Info("addresses changed", "taken", shorten(taken), "released", shorten(released), "held", len(held))
	}
}

// logProblems logs, and exposes to /readyz, what the sockets refuse; once as
// long as it stays the same.
func (s *speaker) logProblems(problems []l2.Problem) {
	if len(problems) == 0 {
		s.ready.problems.Store(nil)
		return
	}
	var texts []string
	for _, p := range problems {
		texts = append(texts, p.Error())
	}
	text := strings.Join(texts, "; ")
	if before := s.ready.problems.Swap(&text); before == nil || *before != text {
		s.log.Error("addresses cannot be answered for", "error", text)
	}
}

// newKeys returns what a has and b lacks, in order.
func newKeys(a, b map[netip.Addr][]string) []netip.Addr {
	var keys []netip.Addr
	for address := range a {
		if _, ok := b[address]; !ok {
			keys = append(keys, address)
		}
	}
	slices.SortFunc(keys, netip.Addr.Compare)
	return keys
}

func shorten(addresses []netip.Addr) []string {
	var texts []string
	for i, a := range addresses {
		if i == maxLoggedChanges {
			return append(texts, fmt.Sprintf("and %d more", len(addresses)-i))
		}
		texts = append(texts, a.String())
	}
	return texts
}

func clip(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return message[:maxMessage-3] + "..."
}
