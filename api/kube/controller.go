package kube

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"

	"github.com/baliza-lb/baliza/api/client/informers/externalversions"
	balizalisters "github.com/baliza-lb/baliza/api/client/listers/api/v1beta1"
	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Kind of an object that changed.
type Kind string

// Kinds that the controller watches.
const (
	KindService   Kind = "Service"
	KindNamespace Kind = "Namespace"
	KindConfig    Kind = "Config" // pools and advertisements
	KindSpeaker   Kind = "Speaker"
	KindInUse     Kind = "InUse" // nodes, and whatever else has addresses
	KindNode      Kind = "Node"  // a node, in something else than its addresses
)

// ControllerView is what the controller sees of the cluster: caches of slim
// copies, kept up to date from the moment of Start. It may be read from any
// goroutine.
type ControllerView struct {
	clients Clients
	strip   func(*corev1.Service) *corev1.Service

	core   informers.SharedInformerFactory
	custom externalversions.SharedInformerFactory
	synced []cache.InformerSynced

	services   corelisters.ServiceLister
	namespaces corelisters.NamespaceLister
	pools      balizalisters.IPAddressPoolLister
	l2         balizalisters.L2AdvertisementLister
	speakers   balizalisters.SpeakerLister
	bgp        bgpListers
	inUse      inUse
	ready      readySpeakers
}

// NewControllerView prepares the caches; namespace is that of Baliza itself. changed
// is called, from several
// goroutines, with the kind and key (namespace/name, or name) of whatever
// changed. Of Services' annotations only those in keepAnnotations are kept.
func NewControllerView(clients Clients, namespace string, keepAnnotations []string, changed func(Kind, string)) (*ControllerView, error) {
	v := &ControllerView{clients: clients, strip: serviceStripper(keepAnnotations)}
	v.core = informers.NewSharedInformerFactoryWithOptions(clients.Kubernetes, 0, informers.WithTransform(v.slim))
	v.custom = externalversions.NewSharedInformerFactoryWithOptions(clients.Baliza, 0, externalversions.WithTransform(v.slim))

	services, namespaces := v.core.Core().V1().Services(), v.core.Core().V1().Namespaces()
	custom := v.custom.Baliza().V1beta1()
	v.services, v.namespaces = services.Lister(), namespaces.Lister()
	v.pools, v.l2, v.speakers = custom.IPAddressPools().Lister(), custom.L2Advertisements().Lister(), custom.Speakers().Lister()

	var failed error
	watch := func(kind Kind, informer cache.SharedIndexInformer) {
		handler := notify(kind, changed)
		if kind == KindInUse {
			handler.UpdateFunc = apartFromAddresses(handler.UpdateFunc, notify(KindNode, changed).UpdateFunc)
		}
		if kind == KindInUse || kind == KindSpeaker {
			handler.UpdateFunc = ifChanged(handler.UpdateFunc)
		}
		registration, err := informer.AddEventHandler(handler)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("watching %s: %w", kind, err))
			return
		}
		v.synced = append(v.synced, registration.HasSynced)
	}
	watch(KindService, services.Informer())
	watch(KindNamespace, namespaces.Informer())
	watch(KindConfig, custom.IPAddressPools().Informer())
	watch(KindConfig, custom.L2Advertisements().Informer())
	watch(KindSpeaker, custom.Speakers().Informer())
	v.bgp = watchBGP(custom, func(informer cache.SharedIndexInformer) { watch(KindConfig, informer) })
	var err error
	v.inUse, err = watchInUse(clients, v.core, func(informer cache.SharedIndexInformer) { watch(KindInUse, informer) })
	v.ready = watchReadySpeakers(clients, namespace, func(informer cache.SharedIndexInformer) { watch(KindSpeaker, informer) })
	return v, errors.Join(failed, err)
}

// ifChanged calls f only where something changed of what was kept.
func ifChanged(f func(before, after any)) func(before, after any) {
	return func(before, after any) {
		if !sameButVersion(before, after) {
			f(before, after)
		}
	}
}

// apartFromAddresses calls other for nodes whose addresses are the same, and f else.
func apartFromAddresses(f, other func(before, after any)) func(before, after any) {
	return func(before, after any) {
		if sameAddresses(before, after) {
			other(before, after)
			return
		}
		f(before, after)
	}
}

func notify(kind Kind, changed func(Kind, string)) cache.ResourceEventHandlerFuncs {
	tell := func(object any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			changed(kind, key)
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: tell, UpdateFunc: func(_, object any) { tell(object) }, DeleteFunc: tell}
}

// slim is the transform at ingest.
func (v *ControllerView) slim(object any) (any, error) {
	switch o := object.(type) {
	case *corev1.Service:
		return v.strip(o), nil
	case *corev1.Namespace:
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion, Labels: o.Labels,
		}}, nil
	case *corev1.Node, *networkingv1.ServiceCIDR:
		return slimInUse(o)
	case *v1beta1.Speaker:
		return slimReport(o), nil
	case metav1.Object:
		o.SetManagedFields(nil)
		o.SetAnnotations(nil)
	}
	return object, nil
}

// slimReport leaves out what a speaker says of addresses that others own: older
// ones list them, and the owners say all that there is to know.
func slimReport(o *v1beta1.Speaker) *v1beta1.Speaker {
	slim := &v1beta1.Speaker{ObjectMeta: identity(o.ObjectMeta), Status: o.Status}
	slim.Status.Withheld = nil
	for _, group := range o.Status.Withheld {
		if group.Reason == v1beta1.ReasonNotOwner {
			group.Addresses, group.Message = nil, ""
		}
		slim.Status.Withheld = append(slim.Status.Withheld, group)
	}
	return slim
}

// Start starts the caches; they stop with the context.
func (v *ControllerView) Start(ctx context.Context) {
	v.core.Start(ctx.Done())
	v.custom.Start(ctx.Done())
	v.inUse.start(ctx)
	v.ready.start(ctx)
}

// Synced reports whether every cache has been filled once.
func (v *ControllerView) Synced() bool {
	for _, synced := range v.synced {
		if !synced() {
			return false
		}
	}
	return true
}

// WaitSynced waits until Synced, and reports whether that came before the end of
// the context.
func (v *ControllerView) WaitSynced(ctx context.Context) bool {
	return cache.WaitForCacheSync(ctx.Done(), v.synced...)
}

// Wait returns when the goroutines of Start have ended.
func (v *ControllerView) Wait() {
	v.core.Shutdown()
	v.custom.Shutdown()
	v.inUse.factory.Shutdown()
	v.ready.factory.Shutdown()
}

// Service returns the cached Service, or nil.
func (v *ControllerView) Service(namespace, name string) *corev1.Service {
	svc, err := v.services.Services(namespace).Get(name)
	if err != nil {
		return nil
	}
	return svc
}

// pageSize of a full read: the API server encodes a page at a time.
const pageSize = 500

// ReadServices reads all Services from the API server itself, past every
// cache: a new leader must see the last write of the one before.
func (v *ControllerView) ReadServices(ctx context.Context) ([]*corev1.Service, error) {
	var all []*corev1.Service
	list := pager.New(pager.SimplePageFunc(func(o metav1.ListOptions) (object runtime.Object, err error) {
		return v.clients.Kubernetes.CoreV1().Services(metav1.NamespaceAll).List(ctx, o)
	}))
	list.PageSize = pageSize
	err := list.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		if svc, ok := object.(*corev1.Service); ok {
			all = append(all, v.strip(svc))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading Services: %w", err)
	}
	return all, nil
}

// ReadPools reads all pools from the API server itself, past every cache.
func (v *ControllerView) ReadPools(ctx context.Context) ([]*v1beta1.IPAddressPool, error) {
	list, err := v.clients.Baliza.BalizaV1beta1().IPAddressPools().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading IPAddressPools: %w", err)
	}
	pools := make([]*v1beta1.IPAddressPool, 0, len(list.Items))
	for i := range list.Items {
		pools = append(pools, &list.Items[i])
	}
	return pools, nil
}

// NamespaceLabels returns the labels of a namespace; nil when it is unknown.
func (v *ControllerView) NamespaceLabels(name string) labels.Set {
	namespace, err := v.namespaces.Get(name)
	switch {
	case err != nil:
		return nil
	case namespace.Labels == nil:
		return labels.Set{}
	}
	return namespace.Labels
}

// Inventory returns what the caches have of what ReadInventory reads. Nobody may change
// the objects. Of Nodes and the DaemonSet it has a part alone, and Deployments, Leases and
// EndpointSlices are not there.
func (v *ControllerView) Inventory() *Inventory {
	i := &Inventory{
		Nodes: all(v.inUse.nodes.List), Namespaces: all(v.namespaces.List), DaemonSets: all(v.ready.daemonSets.List),
		Pools: v.Pools(), L2Advertisements: v.L2Advertisements(), BGP: v.BGP(), Speakers: v.Speakers(), InUse: v.InUse(),
	}
	for _, svc := range all(v.services.List) {
		if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
			i.Services = append(i.Services, svc)
		}
	}
	for _, kind := range []string{"deployments", "endpointslices", "leases"} {
		i.Unread = append(i.Unread, Unread{Kind: kind, Why: "the controller does not read " + kind})
	}
	return i
}

// Pools returns the cached pools in any order.
func (v *ControllerView) Pools() []*v1beta1.IPAddressPool { return all(v.pools.List) }

// L2Advertisements returns the cached advertisements in any order.
func (v *ControllerView) L2Advertisements() []*v1beta1.L2Advertisement { return all(v.l2.List) }

// Speakers returns the cached reports of the speakers in any order.
func (v *ControllerView) Speakers() []*v1beta1.Speaker { return all(v.speakers.List) }

// all lists a cache, which cannot fail.
func all[T any](list func(labels.Selector) ([]T, error)) []T {
	items, err := list(labels.Everything())
	if err != nil {
		return nil
	}
	return items
}
