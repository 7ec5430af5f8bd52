package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Request is what a Service asks for.
type Request struct {
	// Key is namespace/name.
	Key       string
	Namespace string
	Labels    labels.Set
	// Families wanted, in the Service's order, one or two.
	Families []corev1.IPFamily
	// Policy decides what happens when one of two families cannot be had.
	Policy corev1.IPFamilyPolicy
	// Addresses named by the user, at most one of each family.
	Addresses []netip.Addr
	// Preferred are addresses that the Service was given before: where it has
	// none and names none, it is to have these again if they are free.
	Preferred []netip.Addr
	// Pool named by the user, or empty.
	Pool string
	// SharingKey, or empty when the Service does not share.
	SharingKey string
	// Ports, for sharing.
	Ports []Port
	// Local is externalTrafficPolicy: Local.
	Local bool
	// Selector of the Service's pods, for sharing under Local.
	Selector labels.Set
}

// Port is what two Services that share an address may not both have.
type Port struct {
	Protocol corev1.Protocol
	Number   int32
}

// annotationAliases are the spellings of each annotation, the winning one
// first.
var annotationAliases = map[string][]string{
	v1beta1.AnnotationAddresses:     {v1beta1.AnnotationAddresses, "metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"},
	v1beta1.AnnotationPool:          {v1beta1.AnnotationPool, "metallb.io/address-pool", "metallb.universe.tf/address-pool"},
	v1beta1.AnnotationSharingKey:    {v1beta1.AnnotationSharingKey, "metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip"},
	v1beta1.AnnotationPreferredNode: {v1beta1.AnnotationPreferredNode},
	v1beta1.AnnotationAllocatedPool: {
		v1beta1.AnnotationAllocatedPool, "metallb.io/ip-allocated-from-pool", "metallb.universe.tf/ip-allocated-from-pool",
	},
	v1beta1.AnnotationAllocatedAddresses: {v1beta1.AnnotationAllocatedAddresses},
	v1beta1.AnnotationUnannounced:        {v1beta1.AnnotationUnannounced},
}

// ServiceAnnotations are all annotations of Services that mean something to
// Baliza, aliases included; the others need not be kept in memory.
func ServiceAnnotations() []string {
	return slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Values(annotationAliases))...)))
}

// Annotation returns the value of one of our annotations on a Service, or of
// its alias, and the spelling it was found under. An empty value counts as
// absent.
func Annotation(svc *corev1.Service, name string) (value, spelling string) {
	for _, spelling := range annotationAliases[name] {
		if value := strings.TrimSpace(svc.Annotations[spelling]); value != "" {
			return value, spelling
		}
	}
	return "", ""
}

// Wanted reports whether Baliza serves the Service: it is of type LoadBalancer
// and names one of the classes (v1beta1.LoadBalancerClass where there are none),
// or no class while serveClassless is set.
func Wanted(svc *corev1.Service, serveClassless bool, classes ...string) bool {
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return false
	}
	class := svc.Spec.LoadBalancerClass
	switch {
	case class == nil:
		return serveClassless
	case len(classes) == 0:
		return *class == v1beta1.LoadBalancerClass
	}
	return slices.Contains(classes, *class)
}

// CheckClasses refuses what cannot be a loadBalancerClass: a name as labels have
// (example.com/lb). It is what --load-balancer-class of both programs means.
func CheckClasses(classes []string) error {
	for _, class := range classes {
		if wrong := validation.IsQualifiedName(class); len(wrong) > 0 {
			return fmt.Errorf("--load-balancer-class %q: %s", class, strings.Join(wrong, "; "))
		}
	}
	return nil
}

// ServiceKey is namespace/name.
func ServiceKey(svc *corev1.Service) string { return svc.Namespace + "/" + svc.Name }

// ParseService reads what a Service asks for. A Problem with reason
// InvalidRequest means that nothing may be given until it is corrected;
// ConflictingRequests is only a warning.
func ParseService(svc *corev1.Service) (Request, []Problem) {
	r := Request{
		Key: ServiceKey(svc), Namespace: svc.Namespace, Labels: svc.Labels,
		Families: svc.Spec.IPFamilies, Policy: corev1.IPFamilyPolicySingleStack,
		Local:    svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		Selector: svc.Spec.Selector,
	}
	if svc.Spec.IPFamilyPolicy != nil {
		r.Policy = *svc.Spec.IPFamilyPolicy
	}
	if len(r.Families) == 0 {
		r.Families = familiesOf(svc)
	}
	for _, port := range svc.Spec.Ports {
		r.Ports = append(r.Ports, Port{Protocol: port.Protocol, Number: port.Port})
	}
	r.Pool, _ = Annotation(svc, v1beta1.AnnotationPool)
	r.SharingKey, _ = Annotation(svc, v1beta1.AnnotationSharingKey)
	problems := r.parseAddresses(svc)
	if given, _ := Annotation(svc, v1beta1.AnnotationAllocatedAddresses); given != "" {
		// Whatever cannot be read is no wish: it is not the user who wrote it.
		r.Preferred, _ = r.readAddresses("", given)
	}
	return r, problems
}

// familiesOf infers the families of a Service that does not state them from
// its cluster IPs; IPv4 when it has none.
func familiesOf(svc *corev1.Service) []corev1.IPFamily {
	var families []corev1.IPFamily
	for _, text := range svc.Spec.ClusterIPs {
		if address, err := netip.ParseAddr(text); err == nil {
			families = append(families, Family(address))
		}
	}
	if len(families) == 0 {
		return []corev1.IPFamily{corev1.IPv4Protocol}
	}
	return families
}

// Family of an address, in Kubernetes' words.
func Family(a netip.Addr) corev1.IPFamily {
	if a.Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// parseAddresses reads the annotation and spec.loadBalancerIP; the annotation
// wins.
func (r *Request) parseAddresses(svc *corev1.Service) []Problem {
	var problems []Problem
	fromSpec, specProblems := r.readAddresses("spec.loadBalancerIP", strings.TrimSpace(svc.Spec.LoadBalancerIP))
	value, spelling := Annotation(svc, v1beta1.AnnotationAddresses)
	if value == "" {
		r.Addresses = fromSpec
		return specProblems
	}
	field := fmt.Sprintf("metadata.annotations[%s]", spelling)
	r.Addresses, problems = r.readAddresses(field, value)
	disagree := len(specProblems) > 0 || slices.ContainsFunc(fromSpec, func(a netip.Addr) bool { return !slices.Contains(r.Addresses, a) })
	if len(problems) == 0 && disagree {
		problems = append(problems, Problem{
			KindService, r.Key, "spec.loadBalancerIP", v1beta1.ReasonConflictingRequests,
			fmt.Sprintf("spec.loadBalancerIP names %s, the annotation %s names %s: the annotation is used", svc.Spec.LoadBalancerIP, spelling, value),
		})
	}
	return problems
}

// readAddresses reads a comma-separated list of at most one address of each
// of the Service's families. Any error makes the whole list void.
func (r *Request) readAddresses(field, text string) ([]netip.Addr, []Problem) {
	if text == "" {
		return nil, nil
	}
	refuse := func(format string, args ...any) ([]netip.Addr, []Problem) {
		return nil, []Problem{{KindService, r.Key, field, v1beta1.ReasonInvalidRequest, fmt.Sprintf(format, args...)}}
	}
	parts := strings.Split(text, ",")
	if len(parts) > 2 {
		return refuse("%d addresses are named: one of each family at most", len(parts))
	}
	var addresses []netip.Addr
	for _, part := range parts {
		address, err := ParseAddress(strings.TrimSpace(part))
		if err != nil {
			return refuse("%s", err)
		}
		if slices.ContainsFunc(addresses, func(a netip.Addr) bool { return a.BitLen() == address.BitLen() }) {
			return refuse("%s and %s are of the same family: one of each family at most", addresses[0], address)
		}
		if !slices.Contains(r.Families, Family(address)) {
			return refuse("%s is %s, but the Service's ipFamilies are %v", address, Family(address), r.Families)
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}
