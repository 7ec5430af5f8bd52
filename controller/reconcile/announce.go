package reconcile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

const (
	// foldEvery is how often the speakers' reports are looked at.
	foldEvery = 2 * time.Second
	// foldGrace is how long an address may be new before nobody announcing
	// it is worth saying.
	foldGrace = 10 * time.Second
	// foldLoss is how long nobody must have announced an address before that
	// is said: an address that moves is told of by two speakers, in any order.
	foldLoss = 3 * time.Second
	// foldAtOnce is how many Services are written in one tick because of
	// reports: a failover that moves thousands of addresses does not become
	// thousands of writes at once.
	foldAtOnce = 25
)

// reports is what the speakers say, by address.
type reports struct {
	changed bool
	nextAt  time.Time
	// speakers is how many report at all; with none nothing is concluded.
	speakers int
	owners   map[netip.Addr][]string
	// perClient are addresses that their owners share by client.
	perClient map[netip.Addr]bool
	// holders are the nodes that answer for an address in layer 2, where each
	// should be the only one, and several since when that is not so.
	holders map[netip.Addr][]string
	several map[netip.Addr]time.Time
	// memberPort is where speakers hear each other, or 0 where none has said yet.
	memberPort uint16
	// cut says that a speaker holds or announces more than its report has room
	// for: that an address is in none proves nothing.
	cut      bool
	withheld map[netip.Addr]v1beta1.Reason
	// conflictingHosts are what speakers say about conflicts, with the MAC.
	conflictingHosts map[netip.Addr]string
	conflicts        map[netip.Addr]conflict
	// missed is since when speakers are said to be missing, by name.
	missed map[string]time.Time
	// behind are Services whose condition is to be brought up to date.
	behind []string
}

// severalFor is how long two nodes may answer for one address, as they do for a
// moment when it moves.
const severalFor = 10 * time.Second

// namesShown is how many nodes a message names. Where there are more, as in BGP,
// one that comes or goes is no news, and writes to no Service.
const namesShown = 3

// whyWithheld orders the reasons that explain a Service: first those of an
// owner that cannot announce, then those that concern every node alike; others
// mean that no node is eligible.
func whyWithheld() []v1beta1.Reason {
	return []v1beta1.Reason{
		v1beta1.ReasonAddressConflict, v1beta1.ReasonLocalAddress, v1beta1.ReasonInterfaceUnavailable, v1beta1.ReasonSocketError,
		v1beta1.ReasonNoAdvertisement, v1beta1.ReasonNoEndpoint, v1beta1.ReasonNoLocalEndpoint,
		v1beta1.ReasonCommunityUnresolved, v1beta1.ReasonTooManyCommunities, v1beta1.ReasonNoPeer, v1beta1.ReasonNoSession,
		v1beta1.ReasonNodeExcluded, v1beta1.ReasonNodeNotSelected,
	}
}

// readReports gathers the speakers' reports.
func (r *Reconciler) readReports() {
	p := &r.reports
	speakers := p.living(r.Configuration.Speakers(), r.Now())
	p.speakers = len(speakers)
	p.owners, p.withheld = make(map[netip.Addr][]string), make(map[netip.Addr]v1beta1.Reason)
	p.conflictingHosts, p.perClient, p.conflicts = make(map[netip.Addr]string), make(map[netip.Addr]bool), make(map[netip.Addr]conflict)
	p.holders, p.cut = make(map[netip.Addr][]string), false
	for _, s := range speakers {
		if at, err := netip.ParseAddrPort(s.Status.MemberAddress); err == nil {
			p.memberPort = at.Port() // the same for all
		}
		p.cut = p.cut || int(s.Status.HeldCount) > len(s.Status.Held) ||
			s.Status.BGP != nil && int(s.Status.BGP.AnnouncedCount) > len(s.Status.BGP.Announced)
		for _, held := range s.Status.Held {
			a, err := config.ParseAddress(held.Address)
			if err != nil {
				continue
			}
			p.owners[a] = append(p.owners[a], s.Name)
			if held.Balancing == v1beta1.BalancePerClient {
				p.perClient[a] = true
			} else {
				p.holders[a] = append(p.holders[a], s.Name)
			}
		}
		p.readRoutes(s)
		p.readWithheld(s)
		p.readConflicts(s)
	}
	for _, owners := range p.owners {
		slices.Sort(owners)
	}
	r.Metrics.multipleOwners.Set(float64(p.noteSeveral(r.Now())))
}

// noteSeveral notes since when several nodes answer for one address; it counts
// the addresses of which that is so for longer than a hand-over takes.
func (p *reports) noteSeveral(now time.Time) int {
	count := 0
	several := make(map[netip.Addr]time.Time)
	for a, holders := range p.holders {
		if len(holders) < 2 {
			continue
		}
		since, known := p.several[a]
		if !known {
			since = now
		}
		if several[a] = since; now.Sub(since) < severalFor {
			p.changed = true // look again
		} else {
			count++
		}
	}
	p.several = several
	return count
}

// readWithheld notes why an address is not announced, the gravest reason first.
func (p *reports) readWithheld(s *v1beta1.Speaker) {
	for _, group := range s.Status.Withheld {
		for _, text := range group.Addresses {
			a, err := config.ParseAddress(text)
			if err != nil {
				continue
			}
			p.withheld[a] = graver(p.withheld[a], group.Reason)
			if group.Reason == v1beta1.ReasonAddressConflict {
				p.conflictingHosts[a] = ": " + group.Message
			}
			if group.Reason == v1beta1.ReasonLocalAddress {
				p.conflictingHosts[a] = ": on node " + s.Name + " " + group.Message
			}
		}
	}
}

func graver(a, b v1beta1.Reason) v1beta1.Reason {
	for _, reason := range whyWithheld() {
		if a == reason || b == reason {
			return reason
		}
	}
	return v1beta1.ReasonNoEligibleNode
}

// tooSoon reports whether it may be a moment between two reports in which nobody
// says that it announces a Service's addresses.
func (r *Reconciler) tooSoon(rec *record) bool {
	now := r.Now()
	present, since := rec.object.announced, rec.object.allocated
	switch {
	case present == nil:
		return since != nil && now.Sub(since.LastTransitionTime.Time) < foldGrace
	case present.Status != metav1.ConditionTrue:
		return false
	case rec.lostAt.IsZero():
		rec.lostAt = now
	}
	return now.Sub(rec.lostAt) < foldLoss
}

// announcement is the condition to write along with whatever is written now:
// the one that is there, as long as the addresses are the same. Only
// foldReports brings it up to date.
func (r *Reconciler) announcement(rec *record, addresses []netip.Addr) *metav1.Condition {
	present := rec.object.announced
	if present == nil || len(addresses) == 0 || !kube.Shows(rec.object.Service, addresses) {
		return nil
	}
	if rec.want != nil && rec.want.announced != nil {
		return rec.want.announced
	}
	return present
}

// concluded is what the reports say about a Service; nil while it is too soon
// to say.
func (r *Reconciler) concluded(rec *record, addresses []netip.Addr) *metav1.Condition {
	p := &r.reports
	var by []string
	how := ""
	for _, a := range addresses {
		if p.perClient[a] {
			how = ", per client"
		}
		owners := p.owners[a]
		if len(owners) == 0 {
			return r.unannounced(rec, a)
		}
		for _, name := range owners {
			if !slices.Contains(by, name) {
				by = append(by, name)
			}
		}
	}
	slices.Sort(by)
	rec.lostAt = time.Time{}
	for _, a := range addresses {
		if since, is := p.several[a]; is && r.Now().Sub(since) >= severalFor {
			return rec.object.condition(v1beta1.ConditionAnnounced, false, v1beta1.ReasonMultipleOwners,
				fmt.Sprintf("%s is answered for by %s at once: these nodes do not hear each other; "+
					"open port %d, TCP and UDP, between them: their Speakers say which way it is closed",
					a, named(p.holders[a]), p.memberPort), r.Now())
		}
	}
	return rec.object.condition(v1beta1.ConditionAnnounced, true, v1beta1.ReasonAnnounced, "announced by "+named(by)+how, r.Now())
}

// named lists nodes by name, as long as they are few.
func named(nodes []string) string {
	if len(nodes) > namesShown {
		return fmt.Sprintf("more than %d nodes", namesShown)
	}
	return strings.Join(nodes, ", ")
}

func (r *Reconciler) unannounced(rec *record, a netip.Addr) *metav1.Condition {
	if r.tooSoon(rec) {
		r.reports.changed = true // look again
		return nil
	}
	reason := r.reports.withheld[a]
	if reason == "" {
		reason = v1beta1.ReasonNoEligibleNode
	}
	switch {
	case reason == v1beta1.ReasonNoEligibleNode && r.reports.cut:
		return nil // somebody may announce it
	case reason == v1beta1.ReasonNodeExcluded:
		return rec.object.condition(v1beta1.ConditionAnnounced, false, reason, fmt.Sprintf(
			"no node announces %s; nodes that could are excluded, by the label %s or by a taint", a, v1beta1.LabelExcludeNode), r.Now())
	}
	return rec.object.condition(v1beta1.ConditionAnnounced, false, reason,
		fmt.Sprintf("no node announces %s%s", a, r.reports.conflictingHosts[a]), r.Now())
}

// foldReports brings the Announced conditions up to date, a few at a time and
// only while nothing else is to be written.
func (r *Reconciler) foldReports(now time.Time) {
	p := &r.reports
	if p.changed && len(p.behind) == 0 && !now.Before(p.nextAt) {
		p.changed, p.nextAt = false, now.Add(foldEvery)
		r.readReports()
		if p.speakers > 0 {
			r.quarantineReported(now)
			r.moveAway() // while the reports are fresh
			p.behind = r.outdated()
		}
	}
	if r.queue.Busy() {
		return
	}
	for n := 0; n < foldAtOnce && len(p.behind) > 0; n++ {
		key := p.behind[0]
		p.behind = p.behind[1:]
		if rec := r.records[key]; rec != nil {
			r.fold(rec)
		}
	}
}

// outdated returns the Services whose condition differs from the reports, in
// order.
func (r *Reconciler) outdated() []string {
	var keys []string
	for key, rec := range r.records {
		addresses := r.settledAddresses(rec)
		if len(addresses) == 0 {
			continue
		}
		now := r.concluded(rec, addresses)
		if now != nil && !sameCondition(rec.object.announced, now) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// settledAddresses are a Service's addresses, once they are written.
func (r *Reconciler) settledAddresses(rec *record) []netip.Addr {
	s := rec.object
	if rec.want != nil || rec.yielded || !s.served {
		return nil
	}
	if !kube.Shows(s.Service, s.shown) || s.pool == "" {
		return nil
	}
	return s.shown
}

// fold queues a write that differs from what is there in one condition.
func (r *Reconciler) fold(rec *record) {
	addresses := r.settledAddresses(rec)
	if len(addresses) == 0 {
		return
	}
	announced := r.concluded(rec, addresses)
	if announced == nil {
		return
	}
	r.propose(rec, &desired{
		addresses: addresses, pool: rec.object.pool, unannounced: rec.stillUnannounced(announced),
		allocated: rec.object.allocated, announced: announced,
	})
}
