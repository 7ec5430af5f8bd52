package status

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// awaited reports whether an object that is yet to come, or time alone, may end what
// has that reason: who applies a Service, its pool and its advertisement at once is not
// to be told that he has failed because one of them came first. Anything else waits for
// an operator.
func awaited(reason v1beta1.Reason) bool {
	return slices.Contains([]v1beta1.Reason{
		v1beta1.ReasonReferenceNotFound, v1beta1.ReasonNoMatch, // in the spec of another object
		v1beta1.ReasonNoPool, v1beta1.ReasonPoolNotFound, v1beta1.ReasonAddressInCooldown, // of an address
		v1beta1.ReasonNoAdvertisement, v1beta1.ReasonNoSpeakerReady, v1beta1.ReasonNoEndpoint, v1beta1.ReasonNoLocalEndpoint,
		v1beta1.ReasonNotOwner, v1beta1.ReasonDraining, v1beta1.ReasonNoAnswer, v1beta1.ReasonNoPeer, v1beta1.ReasonNoSession,
	}, reason)
}

// Progress is what the conditions of a Service come to for programs that wait for it
// (kstatus): Reconciling until it has its addresses and they are announced, Stalled
// where waiting is in vain, and nil once they are, or where another provider serves it.
func Progress(allocated, announced *metav1.Condition) *metav1.Condition {
	switch {
	case allocated == nil || allocated.Reason == string(v1beta1.ReasonWriteConflict):
		return nil
	case allocated.Status != metav1.ConditionTrue:
		return waiting(allocated)
	case announced == nil:
		c := *allocated
		c.Type, c.Message = v1beta1.ConditionReconciling, Message(allocated.Message+"; no speaker has announced it yet")
		return &c
	case announced.Status != metav1.ConditionTrue:
		return waiting(announced)
	}
	return nil
}

// waiting is the condition of a Service that another one holds up.
func waiting(because *metav1.Condition) *metav1.Condition {
	c := *because
	c.Type, c.Status = v1beta1.ConditionStalled, metav1.ConditionTrue
	if awaited(v1beta1.Reason(because.Reason)) {
		c.Type = v1beta1.ConditionReconciling
	}
	return &c
}
