package kube

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Environment is what a cluster has besides what Baliza works with: what decides
// whether it can be installed, and is what it should be. It is read once.
type Environment struct {
	// Version of the API server, as in "v1.32.1"; empty if it does not say.
	Version string
	// KubeProxy is the ConfigMap kube-system/kube-proxy, nil if there is none.
	KubeProxy *corev1.ConfigMap
	// DaemonSets are all, and SystemPods those of the namespace kube-system.
	DaemonSets []*appsv1.DaemonSet
	SystemPods []*corev1.Pod
	// NodeLeases are those by which kubelets say that they live.
	NodeLeases []*coordinationv1.Lease
	// CRDs are the definitions of Baliza's kinds and of CiliumPools, of any version.
	CRDs []*unstructured.Unstructured
	// CiliumPools are how many CiliumLoadBalancerIPPools there are.
	CiliumPools int

	ClusterRoles        []*rbacv1.ClusterRole
	ClusterRoleBindings []*rbacv1.ClusterRoleBinding
	// Roles and RoleBindings are those of Baliza's namespace.
	Roles        []*rbacv1.Role
	RoleBindings []*rbacv1.RoleBinding
	// MayNot are the kinds that the user may not create and an installation has.
	MayNot []string
	// Unread are the kinds that could not be read, and why.
	Unread []Unread
}

// Groups of the definitions that are kept.
const (
	ourGroup     = "baliza.io"
	ciliumPools  = "ciliumloadbalancerippools"
	systemSpace  = metav1.NamespaceSystem
	kubeProxyMap = "kube-proxy"
)

// ReadEnvironment reads it by one LIST for each kind, all at once. What may not be read,
// or what the cluster does not have, is noted in Unread; any other failure is an error.
func ReadEnvironment(ctx context.Context, clients Clients, namespace string) (*Environment, error) {
	e := &Environment{}
	r := &reading{}
	core, everything := clients.Kubernetes.CoreV1(), metav1.ListOptions{}
	r.list("version", func() error {
		version, err := clients.Kubernetes.Discovery().ServerVersion()
		return take(err, func() { e.Version = version.GitVersion })
	})
	r.list("configmaps", func() error {
		list, err := core.ConfigMaps(systemSpace).List(ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, kubeProxyMap).String(),
		})
		return take(err, func() {
			if i := slices.IndexFunc(list.Items, func(m corev1.ConfigMap) bool { return m.Name == kubeProxyMap }); i >= 0 {
				e.KubeProxy = &list.Items[i]
			}
		})
	})
	r.list("daemonsets", func() error {
		list, err := clients.Kubernetes.AppsV1().DaemonSets(metav1.NamespaceAll).List(ctx, everything)
		return take(err, func() { e.DaemonSets = pointers(list.Items) })
	})
	r.list("pods", func() error {
		list, err := core.Pods(systemSpace).List(ctx, everything)
		return take(err, func() { e.SystemPods = pointers(list.Items) })
	})
	r.list("leases", func() error {
		list, err := clients.Kubernetes.CoordinationV1().Leases(corev1.NamespaceNodeLease).List(ctx, everything)
		return take(err, func() { e.NodeLeases = pointers(list.Items) })
	})
	r.list("customresourcedefinitions", func() error { return e.readCRDs(ctx, clients) })
	e.readRBAC(ctx, clients, namespace, r)
	r.list("selfsubjectaccessreviews", func() (err error) {
		e.MayNot, err = mayNotCreate(ctx, clients, namespace)
		return err
	})
	if err := r.wait(); err != nil {
		return nil, err
	}
	e.Unread = r.unread
	return e, nil
}

func (e *Environment) readRBAC(ctx context.Context, clients Clients, namespace string, r *reading) {
	rbac, everything := clients.Kubernetes.RbacV1(), metav1.ListOptions{}
	r.list("clusterroles", func() error {
		list, err := rbac.ClusterRoles().List(ctx, everything)
		return take(err, func() { e.ClusterRoles = pointers(list.Items) })
	})
	r.list("clusterrolebindings", func() error {
		list, err := rbac.ClusterRoleBindings().List(ctx, everything)
		return take(err, func() { e.ClusterRoleBindings = pointers(list.Items) })
	})
	r.list("roles", func() error {
		list, err := rbac.Roles(namespace).List(ctx, everything)
		return take(err, func() { e.Roles = pointers(list.Items) })
	})
	r.list("rolebindings", func() error {
		list, err := rbac.RoleBindings(namespace).List(ctx, everything)
		return take(err, func() { e.RoleBindings = pointers(list.Items) })
	})
}

// readCRDs reads the definitions of Baliza's kinds, and how many pools Cilium has.
func (e *Environment) readCRDs(ctx context.Context, clients Clients) error {
	list, err := clients.Dynamic.Resource(crdResource()).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range list.Items {
		crd := &list.Items[i]
		group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
		plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
		switch {
		case group == ourGroup:
			e.CRDs = append(e.CRDs, crd)
		case plural == ciliumPools:
			pools, err := clients.Dynamic.Resource(schema.GroupVersionResource{
				Group: group, Version: storedVersion(crd), Resource: plural,
			}).List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			e.CiliumPools = len(pools.Items)
		}
	}
	return nil
}

// storedVersion is the version in which the API server keeps a kind.
func storedVersion(crd *unstructured.Unstructured) string {
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, one := range versions {
		version, _ := one.(map[string]any)
		if stored, _ := version["storage"].(bool); stored {
			name, _ := version["name"].(string)
			return name
		}
	}
	return ""
}

// mayNotCreate asks the API server which of the kinds that an installation consists of
// the user may not create.
func mayNotCreate(ctx context.Context, clients Clients, namespace string) ([]string, error) {
	var refused []string
	for _, one := range []authorizationv1.ResourceAttributes{
		{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"},
		{Group: rbacv1.GroupName, Resource: "clusterroles"},
		{Group: rbacv1.GroupName, Resource: "clusterrolebindings"},
		{Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicies"},
		{Group: appsv1.GroupName, Resource: "daemonsets", Namespace: namespace},
		{Group: appsv1.GroupName, Resource: "deployments", Namespace: namespace},
	} {
		allowed, err := mayCreate(ctx, clients, one)
		switch {
		case apierrors.IsForbidden(err):
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("asking for the right to create %s: %w", one.Resource, err)
		case !allowed:
			refused = append(refused, one.Resource)
		}
	}
	return refused, nil
}
