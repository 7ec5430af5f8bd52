// Package v1beta1 holds what Baliza reads from and writes to the Kubernetes
// API: the custom resources of the group baliza.io and the names of the
// labels, annotations, finalizers, conditions and reasons it uses on Services.
//
// It is data only and may be imported by every other package; it imports
// nothing of Baliza. Values are not safe for concurrent mutation: whoever got
// an object from a cache copies it before writing to it.
//
// +kubebuilder:object:generate=true
// +groupName=baliza.io
// +k8s:openapi-gen=true
package v1beta1
