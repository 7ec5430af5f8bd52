package kube

import (
	"encoding/json"
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
			switch c.Type {
			case v1beta1.ConditionAllocated, v1beta1.ConditionAnnounced, v1beta1.ConditionReconciling, v1beta1.ConditionStalled:
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
		keepOurFinalizers(slim, svc)
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

// keepOurFinalizers keeps of a Service's finalizers those that are ours to take
// off. Of the former one the record of field managers is the proof, and kept
// with it: a transform may run twice.
func keepOurFinalizers(slim, svc *corev1.Service) {
	if slim.Finalizers = ourFinalizers(svc); slices.Contains(slim.Finalizers, v1beta1.FormerFinalizer) {
		slim.ManagedFields = whoPutFormerFinalizer(svc)
	}
}

func ourFinalizers(svc *corev1.Service) []string {
	var ours []string
	if slices.Contains(svc.Finalizers, v1beta1.Finalizer) {
		ours = append(ours, v1beta1.Finalizer)
	}
	if proof := whoPutFormerFinalizer(svc); len(proof) == 1 && proof[0].Manager == FieldManager {
		ours = append(ours, v1beta1.FormerFinalizer)
	}
	return ours
}

// whoPutFormerFinalizer returns what the API server says of those who put the
// former finalizer on a Service.
func whoPutFormerFinalizer(svc *corev1.Service) []metav1.ManagedFieldsEntry {
	if !slices.Contains(svc.Finalizers, v1beta1.FormerFinalizer) {
		return nil
	}
	var entries []metav1.ManagedFieldsEntry
	for _, entry := range svc.ManagedFields {
		var owned struct {
			Metadata struct {
				Finalizers map[string]json.RawMessage `json:"f:finalizers"`
			} `json:"f:metadata"`
		}
		if entry.FieldsV1 == nil || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &owned) != nil {
			continue
		}
		if _, put := owned.Metadata.Finalizers[`v:"`+v1beta1.FormerFinalizer+`"`]; put {
			entries = append(entries, entry)
		}
	}
	return entries
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
