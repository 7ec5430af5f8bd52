package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ReadMetalLB reads MetalLB's objects, and the ConfigMaps beside them by which it is
// configured, each as JSON. What may not be read is noted; a kind that the cluster
// does not have is no error, for each version of MetalLB has others.
func ReadMetalLB(ctx context.Context, clients Clients) (documents [][]byte, unread []Unread, err error) {
	var namespaces []string
	for _, versions := range metallbKinds() {
		list, err := listFirst(ctx, clients, versions)
		switch {
		case apierrors.IsForbidden(err):
			unread = append(unread, Unread{versions[0].Resource, true, "you may not list " + versions[0].GroupResource().String()})
			continue
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("reading %s: %w", versions[0].GroupResource(), err)
		}
		for i := range list.Items {
			document, err := list.Items[i].MarshalJSON()
			if err != nil {
				return nil, nil, fmt.Errorf("%s %s: %w", versions[0].GroupResource(), list.Items[i].GetName(), err)
			}
			documents = append(documents, document)
			namespaces = append(namespaces, list.Items[i].GetNamespace())
		}
	}
	slices.Sort(namespaces)
	for _, namespace := range slices.Compact(namespaces) {
		found, err := metallbConfigMaps(ctx, clients, namespace)
		if apierrors.IsForbidden(err) {
			unread = append(unread, Unread{"configmaps", true, "you may not get configmaps in " + namespace})
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		documents = append(documents, found...)
	}
	return documents, unread, nil
}

// metallbKinds are the kinds, each with its versions, the newest first.
func metallbKinds() [][]schema.GroupVersionResource {
	const group = "metallb.io"
	of := func(resource string, versions ...string) (all []schema.GroupVersionResource) {
		for _, version := range versions {
			all = append(all, schema.GroupVersionResource{Group: group, Version: version, Resource: resource})
		}
		return all
	}
	return [][]schema.GroupVersionResource{
		of("ipaddresspools", "v1beta1"), of("l2advertisements", "v1beta1"), of("bgppeers", "v1beta2", "v1beta1"),
		of("bgpadvertisements", "v1beta1"), of("bfdprofiles", "v1beta1"), of("communities", "v1beta1"),
		of("addresspools", "v1beta1", "v1alpha1"), of("metallbs", "v1beta1"),
		{{Group: "frrk8s.metallb.io", Version: "v1beta1", Resource: "frrconfigurations"}},
	}
}

// listFirst lists the first version that the cluster has.
func listFirst(ctx context.Context, clients Clients, versions []schema.GroupVersionResource) (list *unstructured.UnstructuredList, err error) {
	for _, version := range versions {
		list, err = clients.Dynamic.Resource(version).List(ctx, metav1.ListOptions{})
		if !apierrors.IsNotFound(err) {
			break
		}
	}
	return list, err
}

// metallbConfigMaps are those that MetalLB's speakers read in its namespace.
func metallbConfigMaps(ctx context.Context, clients Clients, namespace string) (documents [][]byte, err error) {
	for _, name := range []string{"bgpextras", "metallb-excludel2"} {
		found, err := clients.Kubernetes.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", namespace, name, err)
		}
		found.TypeMeta = metav1.TypeMeta{APIVersion: corev1.SchemeGroupVersion.String(), Kind: "ConfigMap"}
		document, err := json.Marshal(found)
		if err != nil {
			return nil, fmt.Errorf("ConfigMap %s/%s: %w", namespace, name, err)
		}
		documents = append(documents, document)
	}
	return documents, nil
}
