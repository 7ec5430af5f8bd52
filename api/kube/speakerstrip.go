package kube

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// speakerStripper is the transform at ingest: it copies what the speaker of a
// node needs of each kind, so that updates of anything else are no change to it.
func speakerStripper(node string, service func(*corev1.Service) *corev1.Service) func(any) (any, error) {
	return func(object any) (any, error) {
		switch o := object.(type) {
		case *corev1.Service:
			slim := service(o)
			// Of every type: what a BGPAdvertisement may announce beside pools.
			slim.Labels = o.Labels
			slim.Spec.ClusterIPs, slim.Spec.ExternalIPs = o.Spec.ClusterIPs, o.Spec.ExternalIPs
			slim.Spec.InternalTrafficPolicy, slim.Spec.ExternalTrafficPolicy = o.Spec.InternalTrafficPolicy, o.Spec.ExternalTrafficPolicy
			// What the controller says about a Service is not news to us, but for
			// one thing: that the Service is another provider's.
			leftAlone := meta.FindStatusCondition(slim.Status.Conditions, v1beta1.ConditionAllocated)
			slim.Status.Conditions, slim.Finalizers, slim.ManagedFields = nil, nil, nil
			if leftAlone != nil && leftAlone.Reason == string(v1beta1.ReasonWriteConflict) {
				slim.Status.Conditions = []metav1.Condition{{Type: leftAlone.Type, Reason: leftAlone.Reason}}
			}
			delete(slim.Annotations, v1beta1.AnnotationUnannounced)
			delete(slim.Annotations, v1beta1.AnnotationAllocatedAddresses)
			slim.Spec.Ports, slim.Spec.Selector, slim.Generation = nil, nil, 0
			return slim, nil
		case *discoveryv1.EndpointSlice:
			return stripSlice(o), nil
		case *corev1.Node:
			return stripNode(o, o.Name == node), nil
		case *v1beta1.Speaker:
			slim := &v1beta1.Speaker{ObjectMeta: identity(o.ObjectMeta)} // its own, which it has written
			slim.Status.Moves = o.Status.Moves                           // what it still knows when it is started again
			return slim, nil
		case *v1beta1.Member:
			return &v1beta1.Member{ObjectMeta: identity(o.ObjectMeta), Status: o.Status}, nil
		case *v1beta1.IPAddressPool:
			slim := &v1beta1.IPAddressPool{ObjectMeta: identity(o.ObjectMeta), Spec: o.Spec}
			slim.Labels = o.Labels
			return slim, nil
		case *v1beta1.L2Advertisement:
			slim := &v1beta1.L2Advertisement{ObjectMeta: identity(o.ObjectMeta), Spec: o.Spec}
			slim.Labels = o.Labels
			return slim, nil
		}
		if slim := stripBGP(object); slim != nil {
			return slim, nil
		}
		return object, nil
	}
}

// stripSlice keeps where endpoints are and whether they can be used; not
// their addresses, which are kube-proxy's business.
func stripSlice(o *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	slim := &discoveryv1.EndpointSlice{ObjectMeta: identity(o.ObjectMeta), AddressType: o.AddressType}
	slim.Generation = 0 // counts changes that are no news to us
	if name := o.Labels[discoveryv1.LabelServiceName]; name != "" {
		slim.Labels = map[string]string{discoveryv1.LabelServiceName: name}
	}
	slim.Endpoints = make([]discoveryv1.Endpoint, len(o.Endpoints))
	for i := range o.Endpoints {
		slim.Endpoints[i] = discoveryv1.Endpoint{Conditions: o.Endpoints[i].Conditions, NodeName: o.Endpoints[i].NodeName}
	}
	return slim
}

// stripNode keeps what takes a node out of load balancing, and the labels; of the
// speaker's own node also what BGP takes from it.
func stripNode(o *corev1.Node, own bool) *corev1.Node {
	slim := &corev1.Node{ObjectMeta: identity(o.ObjectMeta)}
	slim.Labels = o.Labels
	if own {
		slim.Annotations, slim.Spec.PodCIDRs = o.Annotations, o.Spec.PodCIDRs
	}
	for _, taint := range o.Spec.Taints {
		slim.Spec.Taints = append(slim.Spec.Taints, corev1.Taint{Key: taint.Key, Effect: taint.Effect})
	}
	for _, condition := range o.Status.Conditions {
		if condition.Type == corev1.NodeNetworkUnavailable {
			slim.Status.Conditions = append(slim.Status.Conditions, corev1.NodeCondition{Type: condition.Type, Status: condition.Status})
		}
	}
	return slim
}
