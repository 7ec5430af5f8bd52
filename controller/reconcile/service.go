package reconcile

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/status"
)

// service is one state of a Service, parsed once, when it is seen. It is never
// changed.
type service struct {
	*corev1.Service
	key string
	// served says that it is to have what it asks for, asksForUs that it names a
	// class or has an annotation of ours that asks for an address, so that nobody
	// else has a say in it.
	served, asksForUs bool
	// request is what it asks for, problems what is wrong with that, and
	// malformed the one because of which nothing may be given.
	request   config.Request
	problems  []config.Problem
	malformed *config.Problem
	// shown are the addresses in its status, without what is none.
	shown []netip.Addr
	// pool and given are what a controller of ours wrote that it gave, unannounced
	// what of that no node had announced.
	pool               string
	given, unannounced []netip.Addr
	// allocated and announced are our conditions, or nil.
	allocated, announced *metav1.Condition
}

func (r *Reconciler) parse(svc *corev1.Service) *service {
	s := &service{
		Service: svc, key: config.ServiceKey(svc),
		served: svc.DeletionTimestamp == nil && config.Wanted(svc, r.options.ServeClassless, r.options.Classes...),
		asksForUs: svc.Spec.LoadBalancerClass != nil ||
			svc.Annotations[v1beta1.AnnotationPool] != "" || svc.Annotations[v1beta1.AnnotationAddresses] != "",
		pool:  svc.Annotations[v1beta1.AnnotationAllocatedPool],
		given: addressesIn(svc, v1beta1.AnnotationAllocatedAddresses), unannounced: addressesIn(svc, v1beta1.AnnotationUnannounced),
		allocated: conditionOf(svc, v1beta1.ConditionAllocated), announced: conditionOf(svc, v1beta1.ConditionAnnounced),
	}
	for _, entry := range svc.Status.LoadBalancer.Ingress {
		if a, err := config.ParseAddress(entry.IP); err == nil {
			s.shown = append(s.shown, a)
		}
	}
	s.request, s.problems = config.ParseService(svc)
	for i, p := range s.problems {
		if p.Reason == v1beta1.ReasonInvalidRequest {
			s.malformed = &s.problems[i]
			break
		}
	}
	return s
}

// addressesIn reads an annotation that a controller of ours wrote.
func addressesIn(svc *corev1.Service, annotation string) []netip.Addr {
	text := svc.Annotations[annotation]
	if text == "" {
		return nil
	}
	var addresses []netip.Addr
	for one := range strings.SplitSeq(text, ",") {
		if a, err := config.ParseAddress(one); err == nil {
			addresses = append(addresses, a)
		}
	}
	return addresses
}

// conditionOf returns the Service's condition of a type, or nil.
func conditionOf(svc *corev1.Service, kind string) *metav1.Condition {
	return meta.FindStatusCondition(svc.Status.Conditions, kind)
}

// condition makes one of our conditions; it keeps the time of the last transition
// while the status stays.
func (s *service) condition(kind string, says metav1.ConditionStatus, reason v1beta1.Reason, message string, now time.Time) *metav1.Condition {
	c := &metav1.Condition{
		Type: kind, Status: says, Reason: string(reason), Message: status.Message(message),
		ObservedGeneration: s.Generation, LastTransitionTime: metav1.NewTime(now),
	}
	if before := conditionOf(s.Service, kind); before != nil && before.Status == c.Status {
		c.LastTransitionTime = before.LastTransitionTime
	}
	return c
}

// shows reports whether the status has any entry, be it no address.
func (s *service) shows() bool { return len(s.Status.LoadBalancer.Ingress) > 0 }

// givenByUs reports whether a controller of ours wrote what the Service shows.
func (s *service) givenByUs() bool {
	return s.pool != "" && len(s.shown) > 0 && slices.Equal(s.given, s.shown)
}

// leftAlone reports whether the Service says that another provider writes it.
func (s *service) leftAlone() bool {
	return s.allocated != nil && s.allocated.Reason == string(v1beta1.ReasonWriteConflict)
}

// carriesOurs reports whether the Service has something that only we write. Our
// annotations alone are no proof on a Service of another class: they come along
// where a manifest is copied.
func (s *service) carriesOurs() bool {
	annotated := slices.ContainsFunc(kube.WrittenAnnotations(), func(name string) bool { return s.Annotations[name] != "" })
	foreign := s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.LoadBalancerClass != nil && !s.served && s.DeletionTimestamp == nil
	bare := kube.ServiceWrite{Before: s.Service}
	return !bare.HasFinalizers() || s.allocated != nil || s.announced != nil || annotated && !foreign
}

// differences names the parts of a Service that are not as they are wanted.
func (s *service) differences(d *desired) []string {
	var parts []string
	w := kube.ServiceWrite{Before: s.Service, Addresses: d.addresses, Pool: d.pool, Unannounced: d.unannounced, Progress: d.progress}
	if !w.HasFinalizers() {
		parts = append(parts, "metadata.finalizers")
	}
	for name, value := range w.Annotations() {
		if s.Annotations[name] != value {
			parts = append(parts, "metadata.annotations")
			break
		}
	}
	if len(d.addresses) > 0 && !kube.Shows(s.Service, d.addresses) || d.vanish && s.shows() {
		parts = append(parts, "status.loadBalancer")
	}
	if !sameCondition(s.allocated, d.allocated) || !sameCondition(s.announced, d.announced) || !w.HasProgress() {
		parts = append(parts, "status.conditions")
	}
	return parts
}
