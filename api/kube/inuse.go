package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"
)

// InUse is a prefix of addresses that the cluster itself has.
type InUse struct {
	netip.Prefix
	// By says who: "node n1".
	By string
}

// inUse sees which addresses the cluster itself has.
type inUse struct {
	nodes corelisters.NodeLister
	// cidrs is nil where the API server does not serve ServiceCIDRs (before
	// Kubernetes 1.33).
	cidrs networkinglisters.ServiceCIDRLister
	// apiServer are the endpoints of the Service default/kubernetes.
	apiServer discoverylisters.EndpointSliceLister
	factory   informers.SharedInformerFactory
}

// apiServerName is the name of the API server's Service and EndpointSlice.
const apiServerName = "kubernetes"

// watchInUse prepares the caches. watch is called for each, with what hears of
// changes.
func watchInUse(clients Clients, core informers.SharedInformerFactory, watch func(cache.SharedIndexInformer)) (inUse, error) {
	u := inUse{
		nodes: core.Core().V1().Nodes().Lister(),
		factory: informers.NewSharedInformerFactoryWithOptions(clients.Kubernetes, 0, informers.WithNamespace(metav1.NamespaceDefault),
			informers.WithTransform(slimInUse), informers.WithTweakListOptions(func(o *metav1.ListOptions) {
				o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, apiServerName).String()
			})),
	}
	u.apiServer = u.factory.Discovery().V1().EndpointSlices().Lister()
	watch(core.Core().V1().Nodes().Informer())
	watch(u.factory.Discovery().V1().EndpointSlices().Informer())
	served, err := clients.Kubernetes.Discovery().ServerResourcesForGroupVersion(networkingv1.SchemeGroupVersion.String())
	if err != nil && !apierrors.IsNotFound(err) {
		return u, fmt.Errorf("asking whether the API server has ServiceCIDRs: %w", err)
	}
	for i := range serverResources(served) {
		if served.APIResources[i].Name == "servicecidrs" {
			cidrs := core.Networking().V1().ServiceCIDRs()
			u.cidrs = cidrs.Lister()
			watch(cidrs.Informer())
		}
	}
	return u, nil
}

func serverResources(list *metav1.APIResourceList) []metav1.APIResource {
	if list == nil {
		return nil
	}
	return list.APIResources
}

func (u *inUse) start(ctx context.Context) { u.factory.Start(ctx.Done()) }

// sameAddresses reports whether two nodes have the same addresses, and those alone count
// as in use.
func sameAddresses(before, after any) bool {
	a, aOK := before.(*corev1.Node)
	b, bOK := after.(*corev1.Node)
	return aOK && bOK && slices.Equal(a.Status.Addresses, b.Status.Addresses) && slices.Equal(a.Spec.PodCIDRs, b.Spec.PodCIDRs)
}

// slimInUse keeps the addresses of what the cluster consists of, and of a node what takes
// it out of load balancing.
func slimInUse(object any) (any, error) {
	switch o := object.(type) {
	case *corev1.Node:
		slim := stripNode(o, false)
		slim.Generation, slim.CreationTimestamp, slim.DeletionTimestamp = 0, metav1.Time{}, nil
		slim.Spec.PodCIDRs, slim.Status.Addresses = o.Spec.PodCIDRs, o.Status.Addresses
		slim.Spec.Unschedulable = o.Spec.Unschedulable // what the status page says beside
		for i := range slim.Spec.Taints {
			slim.Spec.Taints[i].Value = o.Spec.Taints[i].Value
		}
		for _, condition := range o.Status.Conditions {
			if condition.Type == corev1.NodeReady {
				slim.Status.Conditions = append(slim.Status.Conditions, corev1.NodeCondition{Type: condition.Type, Status: condition.Status})
			}
		}
		return slim, nil
	case *networkingv1.ServiceCIDR:
		return &networkingv1.ServiceCIDR{
			ObjectMeta: metav1.ObjectMeta{Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion}, Spec: o.Spec,
		}, nil
	case *discoveryv1.EndpointSlice:
		slim := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
			Name: o.Name, Namespace: o.Namespace, UID: o.UID, ResourceVersion: o.ResourceVersion,
		}}
		for i := range o.Endpoints {
			slim.Endpoints = append(slim.Endpoints, discoveryv1.Endpoint{Addresses: o.Endpoints[i].Addresses})
		}
		return slim, nil
	}
	return object, errors.New("not an object that has addresses")
}

// InUse returns the addresses that the cluster itself has, in any order.
func (v *ControllerView) InUse() []InUse {
	var cidrs []*networkingv1.ServiceCIDR
	if v.inUse.cidrs != nil {
		cidrs = all(v.inUse.cidrs.List)
	}
	return inUseOf(all(v.inUse.nodes.List), cidrs, all(v.inUse.apiServer.List))
}

// inUseOf are the addresses that these objects say the cluster has.
func inUseOf(nodes []*corev1.Node, cidrs []*networkingv1.ServiceCIDR, apiServer []*discoveryv1.EndpointSlice) []InUse {
	var found []InUse
	address := func(text, by string) {
		if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
			a = a.Unmap()
			found = append(found, InUse{netip.PrefixFrom(a, a.BitLen()), by})
		}
	}
	prefix := func(text, by string) {
		if p, err := netip.ParsePrefix(text); err == nil {
			found = append(found, InUse{p.Masked(), by})
		}
	}
	for _, node := range nodes {
		for _, a := range node.Status.Addresses {
			address(a.Address, "node "+node.Name)
		}
		for _, text := range node.Spec.PodCIDRs {
			prefix(text, "the pods of node "+node.Name)
		}
	}
	for _, cidr := range cidrs {
		for _, text := range cidr.Spec.CIDRs {
			prefix(text, "the cluster IPs of Services (ServiceCIDR "+cidr.Name+")")
		}
	}
	for _, slice := range apiServer {
		for i := range slice.Endpoints {
			for _, text := range slice.Endpoints[i].Addresses {
				address(text, "the API server")
			}
		}
	}
	return found
}
