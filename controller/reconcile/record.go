package reconcile

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// record is what the loop knows of one Service.
type record struct {
	key string
	// object as last observed: from the cache, or from our last write.
	object *corev1.Service
	// want is what is to be written; nil when all is as it should be.
	want *desired
	// reason for the metric, empty for a Service that is not served.
	reason v1beta1.Reason
	queued bool
	// ahead says that the Service was read past the cache, which has not shown
	// it yet: that the cache shows nothing is no proof that it is gone.
	ahead bool
	// unsure says that a write may have arrived though it failed: the object
	// must be read before anything is concluded from it.
	unsure   bool
	attempts int
	retryAt  time.Time
	// force is set for one write: it replaces what others own.
	force bool
	// takeovers of foreign values, refills of an emptied status.
	takeovers, refills takeovers
	// filled says that addresses were written here, refillAt when they may be
	// again, after somebody emptied the status more than once.
	filled   bool
	refillAt time.Time
	// untried are the addresses that were given here, or by another
	// controller of ours, and that no node has announced yet.
	untried []netip.Addr
	// lostAt is since when nobody says any more that it announces the
	// addresses, while the condition still says that somebody does.
	lostAt time.Time
	// yielded is the message of the condition while another provider writes
	// this Service's status.
	yielded string
}

// desired is what should be said about a Service.
type desired struct {
	addresses []netip.Addr
	pool      string
	untried   []netip.Addr
	allocated *metav1.Condition
	announced *metav1.Condition
	// clean takes everything back.
	clean bool
}

func (d *desired) conditions() []metav1.Condition {
	var all []metav1.Condition
	for _, c := range []*metav1.Condition{d.allocated, d.announced} {
		if c != nil {
			all = append(all, *c)
		}
	}
	return all
}

// byAge orders records: the oldest Service first, then by key.
func byAge(a, b *record) int {
	return cmp.Or(a.object.CreationTimestamp.Compare(b.object.CreationTimestamp.Time), cmp.Compare(a.key, b.key))
}

// older tells whether a is an earlier state of the object than b, as far as
// their versions can be compared.
func older(a, b *corev1.Service) bool {
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && order < 0
}

// shown returns the addresses in a Service's status, without what is none.
func shown(svc *corev1.Service) []netip.Addr {
	var addresses []netip.Addr
	for _, entry := range svc.Status.LoadBalancer.Ingress {
		if a, err := config.ParseAddress(entry.IP); err == nil {
			addresses = append(addresses, a)
		}
	}
	return addresses
}

// conditionOf returns the Service's condition of a type, or nil.
func conditionOf(svc *corev1.Service, kind string) *metav1.Condition {
	return meta.FindStatusCondition(svc.Status.Conditions, kind)
}

// sameCondition compares what conditions say, not since when.
func sameCondition(a, b *metav1.Condition) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Status == b.Status && a.Reason == b.Reason && a.Message == b.Message && a.ObservedGeneration == b.ObservedGeneration
}

// marked tells whether the Service carries something that only we write.
func marked(svc *corev1.Service) bool {
	return svc.Annotations[v1beta1.AnnotationAllocatedPool] != "" ||
		conditionOf(svc, v1beta1.ConditionAllocated) != nil || conditionOf(svc, v1beta1.ConditionAnnounced) != nil
}

// sameMetadata tells whether the finalizer and the annotations are right.
// Without the annotation, the finalizer is not known to be ours.
func sameMetadata(svc *corev1.Service, d *desired) bool {
	if svc.Annotations[v1beta1.AnnotationAllocatedPool] != d.pool || svc.Annotations[v1beta1.AnnotationUntried] != kube.UntriedAnnotation(d.untried) {
		return false
	}
	return d.pool == "" || slices.Contains(svc.Finalizers, v1beta1.Finalizer)
}
