package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/config"
)

// apiServer keeps Services as the API server does, as far as the loop depends
// on it: versions and preconditions, strategic merge patches, who owns the
// status, finalizers, and the status that goes when the type changes. It is
// some hundred times faster than client-go's fake, so thousands of worlds run
// on it.
type apiServer struct {
	mu       sync.Mutex
	version  int
	made     int
	services map[string]*corev1.Service
	// changed, if set, hears of each change: who made it, what it was and is.
	// One of them is nil when a Service is made or gone.
	changed func(by string, before, after *corev1.Service)
	// admit, if set, changes what the controller writes.
	admit func(svc *corev1.Service)
	// patches counts the requests that would write.
	patches int
}

func newAPIServer() *apiServer { return &apiServer{services: make(map[string]*corev1.Service)} }

func (s *apiServer) next() string {
	s.version++
	return strconv.Itoa(s.version)
}

// live returns a Service, or nil. It is shared and never changed.
func (s *apiServer) live(key string) *corev1.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.services[key]
}

// list returns all Services by key.
func (s *apiServer) list() []*corev1.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*corev1.Service
	for _, svc := range s.services {
		all = append(all, svc)
	}
	slices.SortFunc(all, func(a, b *corev1.Service) int {
		return slices.Compare([]string{a.Namespace, a.Name}, []string{b.Namespace, b.Name})
	})
	return all
}

// create makes a Service of type LoadBalancer, a second younger than the last.
func (s *apiServer) create(key string, change func(*corev1.Service)) *corev1.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	namespace, name, _ := strings.Cut(key, "/")
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID(fmt.Sprintf("%s-%d", name, s.made)),
			CreationTimestamp: metav1.NewTime(time.Unix(int64(s.made), 0)),
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 80}},
		},
	}
	if change != nil {
		change(svc)
	}
	svc.ResourceVersion = s.next()
	s.put("kubectl", nil, svc)
	return svc
}

// edit changes a Service as its user, or another program, does.
func (s *apiServer) edit(key, manager string, change func(*corev1.Service)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.services[key]
	if before == nil {
		return
	}
	after := before.DeepCopy()
	change(after)
	if after.Spec.Type != corev1.ServiceTypeLoadBalancer {
		after.Status.LoadBalancer = corev1.LoadBalancerStatus{}
	}
	s.own(manager, before, after)
	after.ResourceVersion = s.next()
	s.put(manager, before, after)
}

// remove deletes a Service, or marks it where it has finalizers.
func (s *apiServer) remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.services[key]
	if before == nil || before.DeletionTimestamp != nil {
		return
	}
	after := before.DeepCopy()
	now := metav1.Now()
	after.DeletionTimestamp, after.ResourceVersion = &now, s.next()
	s.put("kubectl", before, after)
}

// put stores a state, unless it is one of deletion that nothing holds up.
func (s *apiServer) put(by string, before, after *corev1.Service) {
	key := config.ServiceKey(after)
	if after.DeletionTimestamp != nil && len(after.Finalizers) == 0 {
		delete(s.services, key)
		after = nil
	} else {
		s.services[key] = after
	}
	if s.changed != nil {
		s.changed(by, before, after)
	}
}

// own notes who wrote the addresses last: a change by one takes them from all
// others.
func (s *apiServer) own(manager string, before, after *corev1.Service) {
	if equalJSON(before.Status.LoadBalancer, after.Status.LoadBalancer) {
		return
	}
	after.ManagedFields = nil
	if len(after.Status.LoadBalancer.Ingress) > 0 {
		after.ManagedFields = []metav1.ManagedFieldsEntry{{
			Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: "status",
			FieldsV1: metav1.NewFieldsV1(`{"f:status":{"f:loadBalancer":{"f:ingress":{}}}}`),
		}}
	}
}

func equalJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

// patch is what the controller does.
func (s *apiServer) patch(key string, body []byte) (*corev1.Service, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.patches++
	before := s.services[key]
	if before == nil {
		return nil, apierrors.NewNotFound(servicesResource.GroupResource(), key)
	}
	var bound struct {
		Metadata struct{ ResourceVersion string }
	}
	if err := json.Unmarshal(body, &bound); err != nil {
		return nil, err
	}
	if v := bound.Metadata.ResourceVersion; v != before.ResourceVersion {
		return nil, apierrors.NewConflict(servicesResource.GroupResource(), key, errors.New("modified"))
	}
	original, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	merged, err := strategicpatch.StrategicMergePatch(original, body, corev1.Service{})
	if err != nil {
		return nil, err
	}
	after := &corev1.Service{}
	if err := json.Unmarshal(merged, after); err != nil {
		return nil, err
	}
	if s.admit != nil {
		s.admit(after)
	}
	after.ManagedFields = before.ManagedFields
	s.own(kube.FieldManager, before, after)
	after.ResourceVersion = s.next()
	s.put(kube.FieldManager, before, after)
	return after, nil
}

// clients returns a connection to it, for Services alone.
func (s *apiServer) clients() kube.Clients { return kube.Clients{Kubernetes: apiClient{s: s}} }

type apiClient struct {
	kubernetes.Interface
	corev1client.CoreV1Interface
	s *apiServer
}

func (c apiClient) CoreV1() corev1client.CoreV1Interface { return coreClient{s: c.s} }

type coreClient struct {
	corev1client.CoreV1Interface
	s *apiServer
}

func (c coreClient) Services(namespace string) corev1client.ServiceInterface {
	return servicesClient{s: c.s, namespace: namespace}
}

type servicesClient struct {
	corev1client.ServiceInterface
	s         *apiServer
	namespace string
}

func (c servicesClient) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.Service, error) {
	if svc := c.s.live(c.namespace + "/" + name); svc != nil {
		return svc.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(servicesResource.GroupResource(), name)
}

func (c servicesClient) Patch(
	_ context.Context, name string, _ types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string,
) (*corev1.Service, error) {
	return c.s.patch(c.namespace+"/"+name, data)
}

// withoutOurs is a Service without all that the controller may write: what is
// left belongs to others.
func withoutOurs(svc *corev1.Service) *corev1.Service {
	rest := svc.DeepCopy()
	rest.ResourceVersion, rest.ManagedFields, rest.Status.LoadBalancer = "", nil, corev1.LoadBalancerStatus{}
	rest.Finalizers = slices.DeleteFunc(rest.Finalizers, func(f string) bool { return slices.Contains(ourFinalizers(), f) })
	for _, name := range ourAnnotations() {
		delete(rest.Annotations, name)
	}
	for _, kind := range ourConditions() {
		meta.RemoveStatusCondition(&rest.Status.Conditions, kind)
	}
	if len(rest.Annotations) == 0 {
		rest.Annotations = nil
	}
	return rest
}
