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
	"github.com/baliza-lb/baliza/controller/ipam"
)

// takeUp books what the Service shows, where the books do not say so: nothing is
// booked, another provider wrote it, or another replica. That comes before
// anything is given to anyone.
func (r *Reconciler) takeUp(rec *record) {
	switch {
	case rec.yielded && rec.object.served:
		r.bookForeign(rec)
	case !r.books.Known(rec.key):
		r.adopt(rec)
	case r.fromAnotherReplica(rec):
		r.adoptFromReplica(rec)
	}
}

// adopt books what a Service shows. Of a Service that is not served only what
// we gave it is booked, until it has been taken back.
func (r *Reconciler) adopt(rec *record) {
	s := rec.object
	if len(s.shown) == 0 || !s.served && !s.givenByUs() {
		return
	}
	if s.served && !s.classed && s.leftAlone() {
		rec.yielded = true
		r.bookForeign(rec)
		return
	}
	givenBy, _ := config.Annotation(s.Service, v1beta1.AnnotationAllocatedPool)
	for _, rejected := range r.books.Adopt(s.request, s.shown, givenBy) {
		if rec.warned == rejected.Address.String() {
			continue
		}
		rec.warned = rejected.Address.String()
		r.Log.Warn("a shown address cannot stay", "service", rec.key, "address", rejected.Address,
			"reason", rejected.Reason, "message", rejected.Message)
	}
}

// bookForeign books what another provider made a Service show: where that is
// of a pool of ours, nobody else may be given it. It reports whether all that is
// ours to book is booked.
func (r *Reconciler) bookForeign(rec *record) bool {
	rejected := r.books.AdoptOnly(rec.object.request, rec.object.shown, "")
	return !slices.ContainsFunc(rejected, func(one ipam.Rejection) bool { return one.Reason == v1beta1.ReasonAddressInUse })
}

// decide finds out what should be said about a Service, and queues the write
// if that is not what is observed.
func (r *Reconciler) decide(rec *record) {
	rec.written.forget(r.Now())
	if !rec.object.served {
		r.retire(rec)
		return
	}
	if rec.yielded && !rec.object.shows() {
		rec.yielded, rec.others = false, ""
		r.books.Release(rec.key)
	}
	if !rec.yielded {
		r.takeUp(rec)
	}
	if rec.yielded {
		r.leaveAlone(rec)
		return
	}
	a := r.ask(rec)
	if a.refusal == nil {
		r.pending.remove(rec)
	} else {
		r.pending.add(rec)
	}
	a.announced = r.announcement(rec, a.given.Addresses)
	a.untried = rec.stillUntried(a.announced)
	a.note = rec.written.note
	a.others = len(a.given.Addresses) == 0 && r.mustVanish(rec)
	d := desire(rec.object, &a, r.Now())
	r.setReason(rec, v1beta1.Reason(d.allocated.Reason))
	if d.allocated.Reason == string(v1beta1.ReasonAddressInUse) && len(d.addresses) > 0 {
		r.breakRing(rec)
	}
	r.propose(rec, d)
}

// answer is all that decides about a Service that is served, beside itself.
type answer struct {
	// given is what it has by the books, and refusal why that is not all.
	given   ipam.Assignment
	refusal *ipam.Refusal
	// usedBy says of given addresses which the cluster itself has, and who.
	usedBy map[netip.Addr]string
	// untried are given addresses that no node has announced, and announced what
	// was last concluded from the speakers' reports.
	untried   []netip.Addr
	announced *metav1.Condition
	// others says that what the Service shows is booked for others, or for itself
	// until it is gone.
	others bool
	// note is about the writing itself.
	note string
}

// desire decides what is to be said about a Service. It depends on nothing else.
func desire(s *service, a *answer, now time.Time) *desired {
	says := verdict(a.given, a.refusal, s.problems)
	for _, address := range a.given.Addresses {
		if by := a.usedBy[address]; by != "" {
			says.reason = v1beta1.ReasonUsedByCluster
			says.message += fmt.Sprintf("; but %s is of %s: name another address, or delete the Service and make it anew", address, by)
		}
	}
	return &desired{
		addresses: a.given.Addresses, pool: a.given.Pool, untried: a.untried,
		allocated: s.condition(v1beta1.ConditionAllocated, says.status, says.reason, says.message+a.note, now),
		announced: a.announced,
		vanish:    a.others && len(a.given.Addresses) == 0,
	}
}

// ask puts the Service's request to the books.
func (r *Reconciler) ask(rec *record) answer {
	s := rec.object
	if s.malformed != nil {
		kept := r.books.Retain(s.request)
		rec.noteGiven(kept.Addresses, kept.Addresses)
		return answer{given: kept, refusal: ipam.Malformed(*s.malformed)}
	}
	before := r.books.Holding(rec.key).Addresses
	var a answer
	a.given, a.refusal = r.books.Assign(s.request, r.Cluster.NamespaceLabels(s.Namespace), r.Now())
	rec.noteGiven(before, a.given.Addresses)
	for _, address := range a.given.Addresses {
		if by := r.snapshot.UsedBy(address); by != "" {
			if a.usedBy == nil {
				a.usedBy = make(map[netip.Addr]string, 1)
			}
			a.usedBy[address] = by
		}
	}
	return a
}

// statement is what the condition Allocated says.
type statement struct {
	status  bool
	reason  v1beta1.Reason
	message string
}

// verdict puts the outcome into a reason and a sentence. Problems that do not
// stand in the way are added.
func verdict(given ipam.Assignment, refusal *ipam.Refusal, problems []config.Problem) statement {
	has := ""
	if len(given.Addresses) > 0 {
		has = holds(given)
	}
	var s statement
	switch {
	case refusal == nil:
		s = statement{true, v1beta1.ReasonAllocated, has}
	case has == "":
		s = statement{false, refusal.Reason, refusal.Message}
	case refusal.Reason == v1beta1.ReasonPartlyAllocated:
		s = statement{true, refusal.Reason, has + "; the other family is not available: " + refusal.Message}
	default:
		s = statement{false, refusal.Reason, "keeps " + has + "; what it asks for is not available: " + refusal.Message}
	}
	for _, p := range problems {
		if p.Reason != v1beta1.ReasonInvalidRequest {
			s.message += "; " + string(p.Reason) + ": " + p.Message
		}
	}
	return s
}

// holds is how a condition says what a Service has.
func holds(given ipam.Assignment) string { return join(given.Addresses) + " from pool " + given.Pool }

func join(addresses []netip.Addr) string {
	texts := make([]string, 0, len(addresses))
	for _, a := range addresses {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ", ")
}

// retire takes everything back from a Service that is not served, if it has
// something of ours. A Service that we have nothing to do with is not touched.
func (r *Reconciler) retire(rec *record) {
	r.pending.remove(rec)
	r.setReason(rec, "")
	if rec.yielded {
		r.books.Release(rec.key) // what it shows is another's, not to be taken back
		rec.yielded, rec.others = false, ""
	}
	r.books.GiveUp(rec.key, netip.Addr{})
	if rec.unsure || r.queue.InFlight(rec.key) || r.ours(rec) {
		r.propose(rec, &desired{clean: true, vanish: r.showsOurs(rec)})
		return
	}
	rec.want = nil
	r.queue.Drop(rec.key)
	r.books.Release(rec.key)
}

// ours reports whether a Service that is not served still has something of ours.
func (r *Reconciler) ours(rec *record) bool { return rec.object.carriesOurs() || r.showsOurs(rec) }

// showsOurs reports whether the Service shows an address that is booked for it,
// be it that it is leaving it.
func (r *Reconciler) showsOurs(rec *record) bool {
	return slices.ContainsFunc(rec.object.shown, func(a netip.Addr) bool { return slices.Contains(r.books.Holders(a), rec.key) })
}

// mustVanish reports whether a Service that is to have nothing shows an address
// that is booked: for another, or for itself until it is gone. Anything else
// that it shows is left until there is something to put in its place.
func (r *Reconciler) mustVanish(rec *record) bool {
	return slices.ContainsFunc(rec.object.shown, func(a netip.Addr) bool { return len(r.books.Holders(a)) > 0 })
}

// propose sets what is wanted of a Service and queues the write it takes: at
// once, or after a while if the same was written before and did not last.
func (r *Reconciler) propose(rec *record, d *desired) {
	if rec.unsure || r.queue.InFlight(rec.key) {
		rec.want = d
		r.queue.Add(rec.key)
		return
	}
	if d.clean && !r.ours(rec) || !d.clean && len(rec.object.differences(d)) == 0 {
		rec.want = nil
		r.queue.Drop(rec.key)
		if d.clean {
			r.books.Release(rec.key)
			return
		}
		r.books.Settled(rec.key, rec.object.shown)
		return
	}
	rec.want = d
	if until := rec.written.until(d.content(rec.written.note)); until.After(r.Now()) {
		r.queue.Wait(rec.key, until)
		return
	}
	r.queue.Hurry(rec.key)
}

// request is what makes the Service as it is wanted. Where it names no class,
// addresses that others own are not replaced without asking whose they are.
func (r *Reconciler) request(rec *record) kube.ServiceWrite {
	d := rec.want
	replaces := len(d.addresses) > 0 && !kube.Shows(rec.object.Service, d.addresses) || d.vanish && !d.clean
	return kube.ServiceWrite{
		Before: rec.object.Service, Addresses: d.addresses, Pool: d.pool, Untried: d.untried, Conditions: d.conditions(),
		Vanish: d.vanish,
		Yield:  replaces && !rec.object.classed && rec.object.shows() && !r.showsOnlyOurs(rec),
	}
}
