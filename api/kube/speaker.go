package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/baliza-lb/baliza/api/client/informers/externalversions"
	balizalisters "github.com/baliza-lb/baliza/api/client/listers/api/v1beta1"
	"github.com/baliza-lb/baliza/api/v1beta1"
)

// SpeakerChanges is what changed since it was last taken.
type SpeakerChanges struct {
	// Services whose object or endpoints changed, by namespace/name.
	Services map[string]struct{}
	// Nodes, Config (pools and advertisements) or Members changed.
	Nodes, Config, Members bool
}

// SpeakerView is what a speaker sees of the cluster: caches of slim copies of
// the Services of type LoadBalancer, those of other types once WatchOtherServices
// was called, the endpoints, nodes, configuration and
// Members. They outlive the API server. It may be read from any goroutine.
type SpeakerView struct {
	factories []starter
	synced    []cache.InformerSynced
	changes   chan struct{}

	services  cache.Indexer
	others    otherServices
	endpoints cache.Indexer
	nodes     corelisters.NodeLister
	pools     balizalisters.IPAddressPoolLister
	l2        balizalisters.L2AdvertisementLister
	members   memberLists
	bgp       bgpListers
	passwords cache.Indexer

	mu      sync.Mutex
	pending SpeakerChanges
}

// starter is what informer factories of both clients can do.
type starter interface {
	Start(stop <-chan struct{})
	Shutdown()
}

// byService indexes EndpointSlices by the namespace/name of their Service.
const byService = "service"

// NewSpeakerView prepares the caches for the speaker of a node. Of Services'
// annotations only those in keepAnnotations are kept.
func NewSpeakerView(clients Clients, node string, keepAnnotations []string) (*SpeakerView, error) {
	v := &SpeakerView{changes: make(chan struct{}, 1), pending: SpeakerChanges{Services: map[string]struct{}{}}}
	strip := informers.WithTransform(speakerStripper(node, serviceStripper(keepAnnotations)))
	v.others.prepare(clients, strip)
	factory := func(tweak func(*metav1.ListOptions)) informers.SharedInformerFactory {
		f := informers.NewSharedInformerFactoryWithOptions(clients.Kubernetes, 0, strip, informers.WithTweakListOptions(tweak))
		v.factories = append(v.factories, f)
		return f
	}
	services := factory(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.type", string(corev1.ServiceTypeLoadBalancer)).String()
	}).Core().V1().Services().Informer()
	endpoints := factory(func(o *metav1.ListOptions) { o.LabelSelector = discoveryv1.LabelServiceName }).Discovery().V1().EndpointSlices().Informer()
	nodes := factory(func(*metav1.ListOptions) {}).Core().V1().Nodes()
	objects := externalversions.NewSharedInformerFactoryWithOptions(clients.Baliza, 0,
		externalversions.WithTransform(speakerStripper(node, serviceStripper(nil))))
	v.factories = append(v.factories, objects)
	custom := objects.Baliza().V1beta1()

	failed := endpoints.AddIndexers(cache.Indexers{byService: serviceOfSlice})
	v.services, v.endpoints, v.nodes = services.GetIndexer(), endpoints.GetIndexer(), nodes.Lister()
	v.pools, v.l2 = custom.IPAddressPools().Lister(), custom.L2Advertisements().Lister()
	watch := func(informer cache.SharedIndexInformer, note func(object any)) {
		registration, err := informer.AddEventHandler(v.handler(note))
		if err != nil {
			failed = errors.Join(failed, err)
			return
		}
		v.synced = append(v.synced, registration.HasSynced)
	}
	watch(services, v.noteService)
	watch(endpoints, v.noteEndpoints)
	watch(nodes.Informer(), v.noteNode)
	watch(custom.IPAddressPools().Informer(), func(any) { v.pending.Config = true })
	watch(custom.L2Advertisements().Informer(), func(any) { v.pending.Config = true })
	v.watchMembers(clients, node, custom.Members(), func(informer cache.SharedIndexInformer) {
		watch(informer, func(any) { v.pending.Members = true })
	})
	v.bgp = watchBGP(custom, func(informer cache.SharedIndexInformer) { watch(informer, func(any) { v.pending.Config = true }) })
	if failed != nil {
		return nil, fmt.Errorf("watching for the speaker: %w", failed)
	}
	return v, nil
}

// handler notes each object that changed in something that was kept of it.
func (v *SpeakerView) handler(note func(object any)) cache.ResourceEventHandler {
	tell := func(object any) {
		if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		v.mu.Lock()
		note(object)
		v.mu.Unlock()
		v.wake()
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: tell, DeleteFunc: tell,
		UpdateFunc: func(before, after any) {
			if !sameButVersion(before, after) {
				tell(after)
			}
		},
	}
}

func (v *SpeakerView) wake() {
	select {
	case v.changes <- struct{}{}:
	default:
	}
}

func (v *SpeakerView) noteService(object any) {
	if key, err := cache.MetaNamespaceKeyFunc(object); err == nil {
		v.pending.Services[key] = struct{}{}
	}
}

func (v *SpeakerView) noteEndpoints(object any) {
	keys, err := serviceOfSlice(object)
	if err != nil {
		return
	}
	for _, key := range keys {
		// Most endpoints belong to Services that are no load balancers. If
		// the Service comes later, its own event brings the endpoints along.
		if v.service(key) != nil {
			v.pending.Services[key] = struct{}{}
		}
	}
}

func serviceOfSlice(object any) ([]string, error) {
	slice, ok := object.(*discoveryv1.EndpointSlice)
	if !ok || slice.Labels[discoveryv1.LabelServiceName] == "" {
		return nil, nil
	}
	return []string{slice.Namespace + "/" + slice.Labels[discoveryv1.LabelServiceName]}, nil
}

func sameButVersion(before, after any) bool {
	a, aOK := before.(runtime.Object)
	b, bOK := after.(runtime.Object)
	if !aOK || !bOK {
		return false
	}
	a, b = a.DeepCopyObject(), b.DeepCopyObject()
	for _, object := range []runtime.Object{a, b} {
		if meta, ok := object.(metav1.Object); ok {
			meta.SetResourceVersion("")
		}
	}
	return equality.Semantic.DeepEqual(a, b)
}

// Start starts the caches; they stop with the context.
func (v *SpeakerView) Start(ctx context.Context) {
	for _, f := range v.factories {
		f.Start(ctx.Done())
	}
	v.others.begin(ctx)
	v.members.wait.Go(func() { v.readEarlier(ctx) })
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), v.synced...) {
			v.wake()
		}
	}()
}

// Wait returns when the goroutines of Start have ended.
func (v *SpeakerView) Wait() {
	for _, f := range v.factories {
		f.Shutdown()
	}
	v.others.factory.Shutdown()
	v.members.wait.Wait()
}

// Synced reports whether every cache has been filled once.
func (v *SpeakerView) Synced() bool {
	for _, synced := range v.synced {
		if !synced() {
			return false
		}
	}
	return true
}

// Changes receives after something changed, and once when Synced becomes
// true; several changes may come as one.
func (v *SpeakerView) Changes() <-chan struct{} { return v.changes }

// Take returns what changed since the last Take.
func (v *SpeakerView) Take() SpeakerChanges {
	v.mu.Lock()
	defer v.mu.Unlock()
	taken := v.pending
	v.pending = SpeakerChanges{Services: map[string]struct{}{}}
	return taken
}

// Service returns the Service of that namespace/name and the EndpointSlices
// that belong to it; nil if there is none of a type that is watched.
func (v *SpeakerView) Service(key string) (*corev1.Service, []*discoveryv1.EndpointSlice) {
	service := v.service(key)
	if service == nil {
		return nil, nil
	}
	objects, err := v.endpoints.ByIndex(byService, key)
	if err != nil {
		return service, nil
	}
	slices := make([]*discoveryv1.EndpointSlice, 0, len(objects))
	for _, object := range objects {
		if slice, ok := object.(*discoveryv1.EndpointSlice); ok {
			slices = append(slices, slice)
		}
	}
	return service, slices
}

// service of that namespace/name. One whose type changes is for a moment in both
// caches, or in none: the event that follows settles it.
func (v *SpeakerView) service(key string) *corev1.Service {
	for _, cached := range []cache.Indexer{v.services, v.others.cached} {
		object, exists, err := cached.GetByKey(key)
		if service, ok := object.(*corev1.Service); err == nil && exists && ok {
			return service
		}
	}
	return nil
}

// Nodes returns the cached nodes in any order.
func (v *SpeakerView) Nodes() []*corev1.Node { return all(v.nodes.List) }

// Pools returns the cached pools in any order.
func (v *SpeakerView) Pools() []*v1beta1.IPAddressPool { return all(v.pools.List) }

// L2Advertisements returns the cached advertisements in any order.
func (v *SpeakerView) L2Advertisements() []*v1beta1.L2Advertisement { return all(v.l2.List) }
