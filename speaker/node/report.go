package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
)

// Limits of the Speaker object (see api/v1beta1).
const (
	maxHeld      = 4096
	maxServices  = 256
	maxGroups    = 256
	maxAddresses = 1024
	maxMessage   = 1024
	maxConflicts = 256
	maxPeers     = 256
)

// maxLoggedChanges is how many addresses a line of the log names.
const maxLoggedChanges = 5

// speakerGeneration of every Speaker: it has no spec that could change.
const speakerGeneration = 1

// condition remembers since when the Ready condition is what it is.
type condition struct {
	status metav1.ConditionStatus
	since  metav1.Time
}

// Done takes in what became of the last Step's Output.
func (n *Node) Done(applied Applied) Result {
	n.routes.took(applied.Sessions)
	problems := applied.Problems
	if n.step.members.Duplicate {
		problems = append(problems, "another speaker of the name "+n.config.Name+" runs elsewhere, which started later: this one answers for nothing")
	}
	r := Result{Claims: n.claims(applied.Held), Problems: strings.Join(problems, "; ")}
	r.Unable, r.Successions = n.ranks.refused(n, &applied), n.step.given
	n.noteChanges(&applied, &r)
	if r.Problems != n.problems && r.Problems != "" {
		r.note(Failure, "addresses cannot be answered for", "error", r.Problems)
	}
	n.problems = r.Problems
	if applied.Ping != n.ping && applied.Ping != "" {
		r.note(Failure, "ping is not answered", "error", applied.Ping)
	}
	n.ping = applied.Ping
	n.report(&applied, &r)
	r.Counts.Held, r.Counts.Drift = len(applied.Held), n.drift(applied.Held)
	return r
}

func (r *Result) note(level Level, message string, pairs ...any) {
	r.Notes = append(r.Notes, Note{level, message, pairs})
}

// claims are what this node says that it owns.
func (n *Node) claims(held map[netip.Addr][]string) []netip.Addr {
	claims := make([]netip.Addr, 0, len(held))
	for i := range n.step.answers {
		if a := &n.step.answers[i]; (a.Mode == model.Announce || a.Mode == model.Shared) && len(held[a.Address]) > 0 {
			claims = append(claims, a.Address)
		}
	}
	before := len(claims)
	for i, fate := range n.step.fates {
		if fate == ownAddress {
			// Its kernel answers for it as a host: another that took it would cut the
			// node off (T03).
			claims = append(claims, n.step.made.Decisions[i].Address)
		}
	}
	if len(claims) > before {
		slices.SortFunc(claims, netip.Addr.Compare)
	}
	return claims
}

// drift is how many addresses are not held as they should be.
func (n *Node) drift(held map[netip.Addr][]string) int {
	drift, wanted := 0, 0
	for i := range n.step.answers {
		a := &n.step.answers[i]
		if a.Mode == model.Probe {
			continue
		}
		on := held[a.Address]
		if len(on) > 0 {
			wanted++
		}
		if !slices.Equal(on, a.Interfaces) {
			drift++
		}
	}
	return drift + len(held) - wanted
}

// report fills in the status, and the counts that say the same.
func (n *Node) report(applied *Applied, r *Result) {
	r.Counts.Withheld = map[v1beta1.Reason]int{}
	r.Status = v1beta1.SpeakerStatus{
		MemberAddress: n.step.members.Address.String(), Version: n.config.Version,
		MembersAlive: int32(len(n.alive)), HeldCount: int32(len(applied.Held)),
		Unreachable: n.unreachable(applied.Now), ConfirmedAlive: n.step.missed, LocalAddresses: n.step.ofPools,
		Moves: n.reported(),
	}
	if len(n.routes.made.Peers) > 0 {
		r.Status.BGP = n.routes.report()
	}
	var withheld withheldGroups
	var announced []netip.Addr
	for i := range n.step.made.Decisions {
		d := n.decision(i, applied.Held)
		if c := n.conflicts.byAddress[d.Address]; c != nil && c.host != nil && (n.step.fates[i] == inConflict || d.L2.Announced) {
			n.reportConflict(d.Address, r)
		}
		if d.L2.Announced {
			n.reportHeld(i, &d, applied.Held[d.Address], r)
		}
		if d.BGP.Announced {
			countAnnounced(&d, r)
			announced = append(announced, d.Address)
		}
		reason, message := d.Reason()
		if d.Announced() || reason == "" {
			continue
		}
		r.Counts.Withheld[reason]++
		switch {
		case !d.Elsewhere:
			withheld.add(reason, message, d.Address.String())
		case reason == v1beta1.ReasonInterfaceUnavailable:
			// It concerns this node, whoever owns the addresses; they are not listed.
			withheld.add(reason, n.step.made.Decisions[i].Obstacle, "")
		}
	}
	n.routes.others(func(text string, v Verdict) {
		if v.Announced {
			r.Status.BGP.OtherCount++
			return
		}
		r.Counts.Withheld[v.Reason]++
		withheld.add(v.Reason, v.Message, text)
	})
	if len(announced) > 0 {
		r.Status.BGP.Announced = config.FormatAddresses(announced[:min(len(announced), config.MaxAnnounced)])
	}
	shareInterfaces(&r.Status)
	r.Status.Withheld = withheld.groups
	r.Status.Conditions = []metav1.Condition{n.readyCondition(applied, r)}
}

func (n *Node) reportHeld(place int, d *Decision, on []string, r *Result) {
	if len(r.Status.Held) == maxHeld {
		return
	}
	one := v1beta1.HeldAddress{Address: d.Address.String(), Services: d.Services[:min(len(d.Services), maxServices)], Interfaces: on}
	if len(n.step.made.Decisions[place].Sharers) > 0 {
		one.Balancing = v1beta1.BalancePerClient
	}
	r.Status.Held = append(r.Status.Held, one)
}

// shareInterfaces says once where most of the addresses are answered for: on most
// nodes all are on one interface, whose name would be a quarter of the report.
func shareInterfaces(status *v1beta1.SpeakerStatus) {
	counts, most := map[string]int{}, ""
	for i := range status.Held {
		key := strings.Join(status.Held[i].Interfaces, " ")
		counts[key]++
		if counts[key] > counts[most] || counts[key] == counts[most] && key < most {
			most, status.Interfaces = key, status.Held[i].Interfaces
		}
	}
	for i := range status.Held {
		if slices.Equal(status.Held[i].Interfaces, status.Interfaces) {
			status.Held[i].Interfaces = nil
		}
	}
}

func countAnnounced(d *Decision, r *Result) {
	report := r.Status.BGP
	report.AnnouncedCount++
	if d.BGP.Reason == v1beta1.ReasonDraining {
		report.DrainingCount++
		r.Counts.Draining++
	}
}

// reportConflict lists another host that keeps this node from answering.
func (n *Node) reportConflict(a netip.Addr, r *Result) {
	if len(r.Status.Conflicts) == maxConflicts {
		return
	}
	host := n.conflicts.byAddress[a].host
	one := v1beta1.AddressConflict{
		Address: a.String(), MAC: host.mac.String(), Interface: host.on, Found: v1beta1.FoundInUse, Since: seconds(host.since),
	}
	if host.first {
		one.Found = v1beta1.FoundAtFirstUse
	}
	r.Status.Conflicts = append(r.Status.Conflicts, one)
}

// report is the BGP part of the status, but for the addresses.
func (r *routes) report() *v1beta1.BGPReport {
	report := &v1beta1.BGPReport{}
	for i := range r.sessions[:min(len(r.sessions), maxPeers)] {
		report.Peers = append(report.Peers, sessionReport(&r.sessions[i]))
	}
	return report
}

func sessionReport(s *model.Session) v1beta1.BGPSession {
	out := v1beta1.BGPSession{
		Name: s.Name, State: "Idle", PeerASN: int64(s.PeerASN), LastError: clip(problemOf(s)), BFD: s.BFD, RoutesSent: int32(s.Sent),
	}
	if s.Address.IsValid() {
		out.Address = s.Address.String()
	}
	// In between attempts the state goes to and fro, which is no news.
	if s.Established {
		out.State = "Established"
	}
	if !s.Since.IsZero() {
		since := metav1.NewTime(s.Since).Rfc3339Copy()
		out.Since = &since
	}
	return out
}

// withheldGroups are addresses and prefixes by why they are withheld.
type withheldGroups struct {
	places map[withheldKey]int
	groups []v1beta1.WithheldAddresses
}

type withheldKey struct {
	reason  v1beta1.Reason
	message string
}

// add adds one; of what has no address, which is written as nothing, there is one
// of each key.
func (g *withheldGroups) add(reason v1beta1.Reason, message, text string) {
	key := withheldKey{reason, message}
	i, ok := g.places[key]
	if !ok {
		if len(g.groups) == maxGroups {
			return
		}
		if g.places == nil {
			g.places = map[withheldKey]int{}
		}
		i = len(g.groups)
		g.places[key] = i
		g.groups = append(g.groups, v1beta1.WithheldAddresses{Reason: reason, Message: clip(message)})
	}
	g.groups[i].Count++
	if len(g.groups[i].Addresses) < maxAddresses && text != "" {
		g.groups[i].Addresses = append(g.groups[i].Addresses, text)
	}
}

// readyCondition is False when something that should be held cannot be.
func (n *Node) readyCondition(applied *Applied, r *Result) metav1.Condition {
	ready := metav1.Condition{
		Type: v1beta1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: speakerGeneration,
		Reason: string(v1beta1.ReasonAnnouncing), Message: "every address of this node is answered for",
	}
	var complaints []string
	for i := range n.step.made.Decisions {
		d := &n.step.made.Decisions[i]
		nobody := d.Owner == "" && len(d.Sharers) == 0
		if len(d.Missing) > 0 || nobody && d.Reason == v1beta1.ReasonInterfaceUnavailable {
			ready.Reason = string(v1beta1.ReasonInterfaceUnavailable)
			complaints = append(complaints, d.Message)
		}
	}
	if unanswered := n.unanswered(applied.Ping); len(unanswered) > 0 {
		ready.Reason = string(v1beta1.ReasonPingUnanswered)
		complaints = append(complaints, unanswered...)
	}
	if len(applied.Problems) > 0 {
		ready.Reason = string(v1beta1.ReasonSocketError)
		complaints = append(complaints, applied.Problems...)
	}
	if len(n.step.parts) > 0 {
		ready.Reason = string(v1beta1.ReasonPartitioned)
		complaints = append(complaints, n.step.parts...)
	}
	switch {
	case len(complaints) > 0:
		slices.Sort(complaints)
		ready.Status, ready.Message = metav1.ConditionFalse, clip(strings.Join(slices.Compact(complaints), "; "))
	case r.Counts.Draining > 0:
		ready.Reason = string(v1beta1.ReasonDraining)
		ready.Message = "this node is being drained: over BGP it is the last choice, until its paths are withdrawn"
	}
	if n.condition.status != ready.Status {
		n.condition = condition{ready.Status, metav1.NewTime(applied.Now.Truncate(time.Second))}
	}
	ready.LastTransitionTime = n.condition.since
	return ready
}

// Departed is what is left to say when this speaker has stopped as planned.
func (n *Node) Departed(at netip.AddrPort, now time.Time) v1beta1.SpeakerStatus {
	return v1beta1.SpeakerStatus{
		MemberAddress: at.String(), Version: n.config.Version, Moves: n.reported(),
		Conditions: []metav1.Condition{{
			Type: v1beta1.ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: speakerGeneration,
			Reason: string(v1beta1.ReasonStopped), Message: "the speaker was told to stop, and has", LastTransitionTime: seconds(now),
		}},
	}
}

// seconds is a time as the API server keeps it, so that what is read back is
// equal to what was written.
func seconds(t time.Time) metav1.Time { return metav1.NewTime(t.UTC().Truncate(time.Second)) }

// noteChanges tells the operator what this node took and let go.
func (n *Node) noteChanges(applied *Applied, r *Result) {
	held := applied.Held
	taken, released := newKeys(held, n.held), newKeys(n.held, held)
	n.held = held
	if len(taken)+len(released) > 0 {
		r.Moves = n.moved(applied.Now, taken, released)
		r.note(Info, "addresses changed", "taken", shorten(taken), "released", shorten(released), "held", len(held))
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

// clip shortens a message to what the API takes, between two characters.
func clip(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	end := maxMessage - len("...")
	for !utf8.RuneStart(message[end]) {
		end--
	}
	return message[:end] + "..."
}
