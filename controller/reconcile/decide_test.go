package reconcile

import (
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/ipam"
)

// What is said about a Service follows from it, from what the books answer and
// from what the speakers report, and from nothing else.
func TestDesire(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::1")
	has := ipam.Assignment{Addresses: []netip.Addr{a}, Pool: "lan"}
	announced := &metav1.Condition{Type: v1beta1.ConditionAnnounced, Status: metav1.ConditionTrue, Reason: "Announced"}
	earlier, now := metav1.Unix(1, 0), time.Unix(1000, 0)
	said := func(status metav1.ConditionStatus) []metav1.Condition {
		return []metav1.Condition{{Type: v1beta1.ConditionAllocated, Status: status, LastTransitionTime: earlier}}
	}
	for sentence, test := range map[string]struct {
		conditions []metav1.Condition
		problems   []config.Problem
		answer     answer
		want       string
		vanish     bool
		since      time.Time
	}{
		"what it asks for": {
			answer: answer{given: has, announced: announced},
			want:   "True Allocated: 192.0.2.10 from pool lan", since: now,
		},
		"both families": {
			answer: answer{given: ipam.Assignment{Addresses: []netip.Addr{a, b}, Pool: "lan"}},
			want:   "True Allocated: 192.0.2.10, 2001:db8::1 from pool lan", since: now,
		},
		"one family, and it waits for the other": {
			answer: answer{given: has, refusal: &ipam.Refusal{Reason: v1beta1.ReasonPartiallyAllocated, Message: "none left"}},
			want:   "True " + string(v1beta1.ReasonPartiallyAllocated) + ": 192.0.2.10 from pool lan; the other family is not available: none left", since: now,
		},
		"nothing": {
			answer: answer{refusal: &ipam.Refusal{Reason: v1beta1.ReasonPoolExhausted, Message: "none left"}},
			want:   "False PoolExhausted: none left", since: now,
		},
		"nothing, and what it shows is another's": {
			answer: answer{refusal: &ipam.Refusal{Reason: v1beta1.ReasonPoolExhausted, Message: "none left"}, others: true},
			want:   "False PoolExhausted: none left", vanish: true, since: now,
		},
		"it keeps what it has and asks for another": {
			answer: answer{given: has, refusal: &ipam.Refusal{Reason: v1beta1.ReasonAddressInUse, Message: "192.0.2.11 is held by default/api"}},
			want:   "False AddressInUse: keeps 192.0.2.10 from pool lan; what it asks for is not available: 192.0.2.11 is held by default/api", since: now,
		},
		"a warning": {
			problems: []config.Problem{{Reason: v1beta1.ReasonConflictingRequests, Message: "the annotation is used"}},
			answer:   answer{given: has},
			want:     "True Allocated: 192.0.2.10 from pool lan; " + string(v1beta1.ReasonConflictingRequests) + ": the annotation is used", since: now,
		},
		"what a node has (T03)": {
			answer: answer{given: has, usedBy: map[netip.Addr]string{a: "node n1"}},
			want:   "True UsedByCluster: 192.0.2.10 from pool lan; but 192.0.2.10 is of node n1: name another address, or delete the Service and make it anew",
			since:  now,
		},
		"it is written again and again (2)": {
			answer: answer{given: has, note: "; another writer keeps changing it"},
			want:   "True Allocated: 192.0.2.10 from pool lan; another writer keeps changing it", since: now,
		},
		"the status stays, and since when": {
			conditions: said(metav1.ConditionTrue), answer: answer{given: has},
			want: "True Allocated: 192.0.2.10 from pool lan", since: earlier.Time,
		},
		"the status changes": {
			conditions: said(metav1.ConditionFalse), answer: answer{given: has},
			want: "True Allocated: 192.0.2.10 from pool lan", since: now,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := &service{Service: &corev1.Service{Status: corev1.ServiceStatus{Conditions: test.conditions}}, problems: test.problems}
			d := desire(s, &test.answer, now)
			if got := string(d.allocated.Status) + " " + d.allocated.Reason + ": " + d.allocated.Message; got != test.want {
				t.Errorf("says %q, want %q", got, test.want)
			}
			if d.vanish != test.vanish || d.announced != test.answer.announced || d.clean {
				t.Errorf("%+v", d)
			}
			if len(d.addresses) != len(test.answer.given.Addresses) || d.pool != test.answer.given.Pool {
				t.Errorf("has %v of %s", d.addresses, d.pool)
			}
			if !d.allocated.LastTransitionTime.Time.Equal(test.since) {
				t.Errorf("since %s, want %s", d.allocated.LastTransitionTime, test.since)
			}
		})
	}
}
