package kube

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// identity is the part of an object's metadata that every kind keeps.
func identity(meta metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: meta.Name, Namespace: meta.Namespace, UID: meta.UID, ResourceVersion: meta.ResourceVersion,
		Generation: meta.Generation, CreationTimestamp: meta.CreationTimestamp, DeletionTimestamp: meta.DeletionTimestamp,
	}
}

// serviceStripper returns a function that copies what the controller needs of
// a Service: of one that is no load balancer and was none of ours, only who
// it is.
func serviceStripper(keepAnnotations []string) func(*corev1.Service) *corev1.Service {
	return func(svc *corev1.Service) *corev1.Service {
		slim := &corev1.Service{ObjectMeta: identity(svc.ObjectMeta)}
		slim.Spec.Type = svc.Spec.Type
		for _, c := range svc.Status.Conditions {
			if c.Type == v1beta1.ConditionAllocated || c.Type == v1beta1.ConditionAnnounced {
				slim.Status.Conditions = append(slim.Status.Conditions, c)
			}
		}
		for _, name := range keepAnnotations {
			if value, found := svc.Annotations[name]; found {
				if slim.Annotations == nil {
					slim.Annotations = make(map[string]string, 1)
				}
				slim.Annotations[name] = value
			}
		}
		if slices.Contains(svc.Finalizers, v1beta1.Finalizer) {
			slim.Finalizers = []string{v1beta1.Finalizer}
		}
		if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
			return slim
		}
		slim.Labels = svc.Labels
		slim.Status.LoadBalancer.Ingress = svc.Status.LoadBalancer.Ingress
		stripSpec(&slim.Spec, &svc.Spec)
		if len(slim.Annotations) > 0 || svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
			slim.Spec.Selector = svc.Spec.Selector // decides about sharing
		}
		return slim
	}
}

func stripSpec(slim, spec *corev1.ServiceSpec) {
	slim.LoadBalancerClass, slim.LoadBalancerIP = spec.LoadBalancerClass, spec.LoadBalancerIP
	slim.IPFamilies, slim.IPFamilyPolicy = spec.IPFamilies, spec.IPFamilyPolicy
	if len(spec.IPFamilies) == 0 {
		slim.ClusterIPs = spec.ClusterIPs
	}
	slim.ExternalTrafficPolicy = spec.ExternalTrafficPolicy
	slim.Ports = make([]corev1.ServicePort, len(spec.Ports))
	for i, p := range spec.Ports {
		slim.Ports[i] = corev1.ServicePort{Protocol: p.Protocol, Port: p.Port}
	}
}
