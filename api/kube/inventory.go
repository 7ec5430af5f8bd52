package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Inventory is what there is in a cluster that Baliza has to do with, read once. It
// is for those who ask, not for those who serve: nothing of it is cached.
type Inventory struct {
	// Services are those of type LoadBalancer.
	Services    []*corev1.Service
	Nodes       []*corev1.Node
	Namespaces  []*corev1.Namespace
	Deployments []*appsv1.Deployment
	DaemonSets  []*appsv1.DaemonSet
	// Leases are those of the controller, of whichever namespace.
	Leases []*coordinationv1.Lease

	Pools            []*v1beta1.IPAddressPool
	L2Advertisements []*v1beta1.L2Advertisement
	BGP              BGPObjects
	Speakers         []*v1beta1.Speaker
	// InUse are the addresses that the cluster itself has.
	InUse []InUse
	// Unread are the kinds that could not be read, and why: the user may not, or the
	// cluster does not have them.
	Unread []Unread

	cidrs     []*networkingv1.ServiceCIDR
	apiServer []*discoveryv1.EndpointSlice
}

// Unread is a kind of which nothing was read.
type Unread struct {
	// Kind in the plural, as RBAC calls it: "leases".
	Kind string
	// Forbidden says that the user has no right to; else the cluster has no such kind.
	Forbidden bool
	// Why, in words.
	Why string
}

// The label by which the chart marks what it installs.
const (
	labelName = "app.kubernetes.io/name"
	ourName   = "baliza"
)

// ControllerLease is the name of the Lease by which replicas of the controller
// choose their leader.
const ControllerLease = "baliza-controller"

// cached has the API server answer a LIST from its cache, without asking etcd how fresh
// that is: it lags by milliseconds, and asking takes longer than all the rest.
const cached = "0"

// ReadInventory reads everything by one LIST for each kind, all at once. With a
// namespace only the Services of that one are read. A kind that may not be read, or
// that the cluster does not have, is noted in Unread; any other failure is an error.
func ReadInventory(ctx context.Context, clients Clients, namespace string) (*Inventory, error) {
	i := &Inventory{}
	r := &reading{}
	i.readKubernetes(ctx, clients, namespace, r)
	i.readOurs(ctx, clients, r)
	if err := r.wait(); err != nil {
		return nil, err
	}
	i.Unread = r.unread
	i.InUse = inUseOf(i.Nodes, i.cidrs, i.apiServer)
	return i, nil
}

func (i *Inventory) readKubernetes(ctx context.Context, clients Clients, namespace string, r *reading) {
	everything := metav1.ListOptions{ResourceVersion: cached}
	ours := metav1.ListOptions{ResourceVersion: cached, LabelSelector: labelName + "=" + ourName}
	named := func(name string) metav1.ListOptions {
		return metav1.ListOptions{
			ResourceVersion: cached, FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String(),
		}
	}
	core, apps := clients.Kubernetes.CoreV1(), clients.Kubernetes.AppsV1()
	r.list("services", func() error {
		list, err := core.Services(namespace).List(ctx, metav1.ListOptions{
			ResourceVersion: cached, FieldSelector: fields.OneTermEqualSelector("spec.type", string(corev1.ServiceTypeLoadBalancer)).String(),
		})
		return take(err, func() { i.Services = pointers(list.Items) })
	})
	r.list("nodes", func() error {
		list, err := core.Nodes().List(ctx, everything)
		return take(err, func() { i.Nodes = pointers(list.Items) })
	})
	r.list("namespaces", func() error {
		list, err := core.Namespaces().List(ctx, everything)
		return take(err, func() { i.Namespaces = pointers(list.Items) })
	})
	r.list("deployments", func() error {
		list, err := apps.Deployments(metav1.NamespaceAll).List(ctx, ours)
		return take(err, func() { i.Deployments = pointers(list.Items) })
	})
	r.list("daemonsets", func() error {
		list, err := apps.DaemonSets(metav1.NamespaceAll).List(ctx, ours)
		return take(err, func() { i.DaemonSets = pointers(list.Items) })
	})
	r.list("leases", func() error {
		list, err := clients.Kubernetes.CoordinationV1().Leases(metav1.NamespaceAll).List(ctx, named(ControllerLease))
		return take(err, func() { i.Leases = pointers(list.Items) })
	})
	r.list("servicecidrs", func() error {
		list, err := clients.Kubernetes.NetworkingV1().ServiceCIDRs().List(ctx, everything)
		if apierrors.IsNotFound(err) {
			return nil // before Kubernetes 1.33
		}
		return take(err, func() { i.cidrs = pointers(list.Items) })
	})
	r.list("endpointslices", func() error {
		list, err := clients.Kubernetes.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx, named(apiServerName))
		return take(err, func() { i.apiServer = pointers(list.Items) })
	})
}

func (i *Inventory) readOurs(ctx context.Context, clients Clients, r *reading) {
	everything, ours := metav1.ListOptions{ResourceVersion: cached}, clients.Baliza.BalizaV1beta1()
	r.list("ipaddresspools", func() error {
		list, err := ours.IPAddressPools().List(ctx, everything)
		return take(err, func() { i.Pools = pointers(list.Items) })
	})
	r.list("l2advertisements", func() error {
		list, err := ours.L2Advertisements().List(ctx, everything)
		return take(err, func() { i.L2Advertisements = pointers(list.Items) })
	})
	r.list("bgpadvertisements", func() error {
		list, err := ours.BGPAdvertisements().List(ctx, everything)
		return take(err, func() { i.BGP.Advertisements = pointers(list.Items) })
	})
	r.list("bgppeers", func() error {
		list, err := ours.BGPPeers().List(ctx, everything)
		return take(err, func() { i.BGP.Peers = pointers(list.Items) })
	})
	r.list("bfdprofiles", func() error {
		list, err := ours.BFDProfiles().List(ctx, everything)
		return take(err, func() { i.BGP.BFDProfiles = pointers(list.Items) })
	})
	r.list("communities", func() error {
		list, err := ours.Communities().List(ctx, everything)
		return take(err, func() { i.BGP.Communities = pointers(list.Items) })
	})
	r.list("speakers", func() error {
		list, err := ours.Speakers().List(ctx, everything)
		return take(err, func() { i.Speakers = pointers(list.Items) })
	})
}

// ReadEndpoints reads the EndpointSlices of Services, by namespace/name, by one
// LIST for each namespace.
func ReadEndpoints(ctx context.Context, clients Clients, services []NamespacedName) ([]*discoveryv1.EndpointSlice, error) {
	byNamespace := map[string][]string{}
	for _, one := range services {
		byNamespace[one.Namespace] = append(byNamespace[one.Namespace], one.Name)
	}
	var found []*discoveryv1.EndpointSlice
	for namespace, names := range byNamespace {
		selector := metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: discoveryv1.LabelServiceName, Operator: metav1.LabelSelectorOpIn, Values: names,
		}}}
		list, err := clients.Kubernetes.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{
			ResourceVersion: cached, LabelSelector: metav1.FormatLabelSelector(&selector),
		})
		if err != nil {
			return nil, fmt.Errorf("reading the endpointslices of namespace %s: %w", namespace, err)
		}
		found = append(found, pointers(list.Items)...)
	}
	return found, nil
}

// ReadSpeakers reads the Speakers alone.
func ReadSpeakers(ctx context.Context, clients Clients) ([]*v1beta1.Speaker, error) {
	list, err := clients.Baliza.BalizaV1beta1().Speakers().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return pointers(list.Items), nil
}

// ReadAllEndpoints reads the EndpointSlices of all Services.
func ReadAllEndpoints(ctx context.Context, clients Clients) ([]*discoveryv1.EndpointSlice, error) {
	ofServices := metav1.ListOptions{ResourceVersion: cached, LabelSelector: discoveryv1.LabelServiceName}
	list, err := clients.Kubernetes.DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List(ctx, ofServices)
	if err != nil {
		return nil, fmt.Errorf("reading the endpointslices of all namespaces: %w", err)
	}
	return pointers(list.Items), nil
}

// NamespacedName is the namespace and the name of an object.
type NamespacedName struct{ Namespace, Name string }

// reading is several LIST requests in flight at once.
type reading struct {
	group  sync.WaitGroup
	mu     sync.Mutex
	unread []Unread
	failed map[string]error
}

// list makes one request; what it fills in is its own.
func (r *reading) list(kind string, do func() error) {
	r.group.Go(func() {
		err := do()
		if err == nil {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case apierrors.IsForbidden(err):
			r.unread = append(r.unread, Unread{kind, true, "you may not list " + kind})
		case apierrors.IsNotFound(err):
			r.unread = append(r.unread, Unread{kind, false, "the cluster has no " + kind})
		default:
			if r.failed == nil {
				r.failed = map[string]error{}
			}
			r.failed[kind] = err
		}
	})
}

// wait returns when all have been answered.
func (r *reading) wait() error {
	r.group.Wait()
	slices.SortFunc(r.unread, func(a, b Unread) int { return strings.Compare(a.Kind, b.Kind) })
	for _, kind := range slices.Sorted(maps.Keys(r.failed)) {
		return fmt.Errorf("reading %s: %w", kind, r.failed[kind]) // the others failed alike
	}
	return nil
}

// take calls keep unless the request failed.
func take(err error, keep func()) error {
	if err == nil {
		keep()
	}
	return err
}

// pointers to the items of a list.
func pointers[T any](items []T) []*T {
	all := make([]*T, 0, len(items))
	for i := range items {
		all = append(all, &items[i])
	}
	return all
}
