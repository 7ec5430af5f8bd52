package reconcile

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/ipam"
)

// decide finds out what should be said about a Service, and has it written if that
// is not what is observed.
func (r *Reconciler) decide(rec *record) {
	s := rec.object
	rec.written.forget(r.Now())
	if !s.served {
		r.takeBack(rec)
		return
	}
	if !s.shows() || s.asksForUs {
		r.unyield(rec)
	}
	if rec.yieldedTo == "" {
		r.adopt(rec)
	}
	if rec.yieldedTo != "" {
		r.leaveAlone(rec)
		return
	}
	a := r.ask(rec)
	if a.refusal == nil {
		r.pending.remove(rec)
	} else {
		r.pending.add(rec, r.showsUnallocated(rec))
	}
	a.announced = rec.stillAnnounced(a.given.Addresses)
	a.unannounced = rec.stillUnannounced(a.announced)
	a.note = rec.written.note
	a.others = len(a.given.Addresses) == 0 && r.mustVanish(rec)
	d := desire(s, &a, r.Now())
	r.setReason(rec, v1beta1.Reason(d.allocated.Reason))
	if d.allocated.Reason == string(v1beta1.ReasonAddressInUse) && len(d.addresses) > 0 {
		r.breakRing(rec)
	}
	r.propose(rec, d)
}

// answer is all that decides about a Service that is served, beside itself.
type answer struct {
	// given is what is allocated to it, and refusal why that is not all.
	given   ipam.Assignment
	refusal *ipam.Refusal
	// usedBy says of given addresses which the cluster itself has, and who.
	usedBy map[netip.Addr]string
	// unannounced are given addresses that no node has announced, and announced what
	// was last concluded from the speakers' reports.
	unannounced []netip.Addr
	announced   *metav1.Condition
	// others says that what the Service shows is allocated to others, or to itself
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
		addresses: a.given.Addresses, pool: a.given.Pool, unannounced: a.unannounced,
		allocated: s.condition(v1beta1.ConditionAllocated, says.status, says.reason, says.message+a.note, now),
		announced: a.announced,
		vanish:    a.others && len(a.given.Addresses) == 0,
	}
}

// ask puts the Service's request to the allocator.
func (r *Reconciler) ask(rec *record) answer {
	s := rec.object
	if s.malformed != nil {
		kept := r.allocator.Retain(s.request)
		rec.noteGiven(kept.Addresses, kept.Addresses)
		return answer{given: kept, refusal: ipam.Malformed(*s.malformed)}
	}
	before := r.allocator.Holding(rec.key).Addresses
	var a answer
	a.given, a.refusal = r.allocator.Assign(s.request, r.Cluster.NamespaceLabels(s.Namespace), r.Now())
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
	status  metav1.ConditionStatus
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
		s = statement{metav1.ConditionTrue, v1beta1.ReasonAllocated, has}
	case has == "":
		s = statement{metav1.ConditionFalse, refusal.Reason, refusal.Message}
	case refusal.Reason == v1beta1.ReasonPartiallyAllocated:
		s = statement{metav1.ConditionTrue, refusal.Reason, has + "; the other family is not available: " + refusal.Message}
	default:
		s = statement{metav1.ConditionFalse, refusal.Reason, "keeps " + has + "; what it asks for is not available: " + refusal.Message}
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

// takeBack takes everything back from a Service that is not served, if it has
// something of ours: what is allocated to it, or what it says that we gave it, which a
// new leader cannot allocate to two that may no longer share. A Service that we have
// nothing to do with is not touched.
func (r *Reconciler) takeBack(rec *record) {
	r.pending.remove(rec)
	r.setReason(rec, "")
	r.unyield(rec)
	r.allocator.GiveUp(rec.key, netip.Addr{})
	r.propose(rec, &desired{clean: true, vanish: r.showsOurs(rec) || rec.object.givenByUs()})
}
