package metallb

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	ours "github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// Prefixes of MetalLB's annotations on Services, the winning one first.
func Prefixes() []string { return []string{"metallb.io/", "metallb.universe.tf/"} }

// Annotations are MetalLB's annotations on Services, without a prefix, and ours of
// the same meaning.
func Annotations() map[string]string {
	return map[string]string{
		"address-pool": ours.AnnotationPool, "loadBalancerIPs": ours.AnnotationAddresses,
		"allow-shared-ip": ours.AnnotationSharingKey, allocatedFrom: ours.AnnotationAllocatedPool,
	}
}

// allocatedFrom is written by MetalLB: the pool of a Service's address.
const allocatedFrom = "ip-allocated-from-pool"

// gave reports whether MetalLB says on a Service that it gave it an address.
func gave(svc *corev1.Service) bool {
	for _, prefix := range Prefixes() {
		if svc.Annotations[prefix+allocatedFrom] != "" {
			return true
		}
	}
	return false
}

// ServedClass is the loadBalancerClass that MetalLB serves alone: Class, or that of a
// Service that it gave an address. It is empty where it serves those of no class.
func (o *Objects) ServedClass(services []*corev1.Service) string {
	if o.Class != "" {
		return o.Class
	}
	for _, svc := range services {
		if class := svc.Spec.LoadBalancerClass; class != nil && gave(svc) {
			return *class
		}
	}
	return ""
}

// ServiceFindings are what of a Service means something else to Baliza than to
// MetalLB. The annotations that mean the same are read as they are.
func ServiceFindings(svc *corev1.Service) []Finding {
	var found []Finding
	key := config.ServiceKey(svc)
	note := func(outcome Outcome, field, format string, args ...any) {
		found = append(found, Finding{outcome, config.KindService, key, field, fmt.Sprintf(format, args...)})
	}
	field := func(annotation string) string { return "metadata.annotations[" + annotation + "]" }
	for _, prefix := range Prefixes() {
		for name := range svc.Annotations {
			short, is := strings.CutPrefix(name, prefix)
			if is && Annotations()[short] == "" {
				note(Lost, field(name), "this annotation is not known here")
			}
		}
	}
	for short := range Annotations() {
		first, second := svc.Annotations[Prefixes()[0]+short], svc.Annotations[Prefixes()[1]+short]
		if first != "" && second != "" && first != second {
			note(Differs, field(Prefixes()[1]+short), "%q is not used beside %s%s: %q", second, Prefixes()[0], short, first)
		}
	}
	if named, spelling := config.Annotation(svc, ours.AnnotationAddresses); named != "" && svc.Spec.LoadBalancerIP != "" {
		note(Differs, "spec.loadBalancerIP", "it is not used beside %s; MetalLB gives nothing to a Service that has both", spelling)
	}
	SortFindings(found)
	return found
}
