package reconcile

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	balizafake "github.com/baliza-lb/baliza/api/client/clientset/versioned/fake"
	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// cluster is client-go's fake API server with what it leaves out and the loop
// depends on: versions, preconditions, finalizers, and the status that the API
// server clears when a Service's type changes.
type cluster struct {
	t       *testing.T
	clients kube.Clients
	core    *kubefake.Clientset
	custom  *balizafake.Clientset

	mu      sync.Mutex
	version int
	// writes counts requests that changed a Service, by key.
	writes map[string]int
	// failFrom makes every write from that number on fail, if above 0; lost
	// lets them happen nevertheless, as when an answer is lost.
	failFrom, total int
	lost            bool
	// history has every address that a Service ever showed, in order.
	history map[string][]string
	created int
	// statusWrites counts writes to pools and advertisements.
	statusWrites int
}

var servicesResource = schema.GroupVersionResource{Version: "v1", Resource: "services"}

// inCluster tells a story of a cluster under the clock of testing/synctest: what
// takes minutes there takes none here.
func inCluster(t *testing.T, story func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { story(t, newCluster(t)) })
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{
		t: t, core: kubefake.NewClientset(), custom: balizafake.NewSimpleClientset(),
		writes: make(map[string]int), history: make(map[string][]string),
	}
	c.clients = kube.Clients{Kubernetes: c.core, Baliza: c.custom}
	c.core.PrependReactor("*", "services", c.serve)
	c.custom.PrependReactor("patch", "ipaddresspools", c.applyConfig)
	c.custom.PrependReactor("patch", "l2advertisements", c.applyConfig)
	return c
}

// applyConfig replaces the status of a pool or an advertisement: the fake has
// no schema for custom resources, so it cannot do server-side apply.
func (c *cluster) applyConfig(action clienttesting.Action) (bool, runtime.Object, error) {
	a := action.(clienttesting.PatchActionImpl)
	object, err := c.custom.Tracker().Get(a.GetResource(), "", a.Name)
	if err != nil {
		return true, nil, err
	}
	c.mu.Lock()
	c.statusWrites++
	c.mu.Unlock()
	object = object.DeepCopyObject()
	switch o := object.(type) {
	case *v1beta1.IPAddressPool:
		o.Status = v1beta1.IPAddressPoolStatus{}
	case *v1beta1.L2Advertisement:
		o.Status = v1beta1.L2AdvertisementStatus{}
	}
	if err := json.Unmarshal(a.Patch, object); err != nil {
		return true, nil, err
	}
	return true, object, c.custom.Tracker().Update(a.GetResource(), object, "")
}

func (c *cluster) serve(action clienttesting.Action) (bool, runtime.Object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch a := action.(type) {
	case clienttesting.CreateActionImpl:
		svc := a.GetObject().(*corev1.Service).DeepCopy()
		svc.ResourceVersion = c.next()
		err := c.core.Tracker().Create(servicesResource, svc, a.GetNamespace(), a.CreateOptions)
		return true, svc, err
	case clienttesting.UpdateActionImpl:
		return c.update(a)
	case clienttesting.DeleteActionImpl:
		return c.delete(a.GetNamespace(), a.GetName())
	case clienttesting.PatchActionImpl:
		return c.patch(a)
	}
	return false, nil, nil
}

func (c *cluster) next() string {
	c.version++
	return strconv.Itoa(c.version)
}

func (c *cluster) get(namespace, name string) (*corev1.Service, error) {
	object, err := c.core.Tracker().Get(servicesResource, namespace, name)
	if err != nil {
		return nil, err
	}
	return object.(*corev1.Service), nil
}

func (c *cluster) update(a clienttesting.UpdateActionImpl) (bool, runtime.Object, error) {
	svc := a.GetObject().(*corev1.Service).DeepCopy()
	present, err := c.get(svc.Namespace, svc.Name)
	if err != nil {
		return true, nil, err
	}
	if svc.ResourceVersion != present.ResourceVersion {
		return true, nil, apierrors.NewConflict(servicesResource.GroupResource(), svc.Name, errors.New("modified"))
	}
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		svc.Status.LoadBalancer = corev1.LoadBalancerStatus{}
	}
	svc.ResourceVersion = c.next()
	c.note(svc)
	return true, svc, c.core.Tracker().Update(servicesResource, svc, svc.Namespace, a.UpdateOptions)
}

func (c *cluster) delete(namespace, name string) (bool, runtime.Object, error) {
	svc, err := c.get(namespace, name)
	if err != nil {
		return true, nil, err
	}
	if len(svc.Finalizers) == 0 {
		return true, nil, c.core.Tracker().Delete(servicesResource, namespace, name)
	}
	svc = svc.DeepCopy()
	now := metav1.Now()
	svc.DeletionTimestamp, svc.ResourceVersion = &now, c.next()
	return true, svc, c.core.Tracker().Update(servicesResource, svc, namespace)
}

// patch lets the tracker do server-side apply and merge patches, with the next
// version put into the patch, since the tracker has none.
func (c *cluster) patch(a clienttesting.PatchActionImpl) (bool, runtime.Object, error) {
	c.total++
	fails := c.failFrom > 0 && c.total >= c.failFrom
	if fails && !c.lost {
		return true, nil, errors.New("the API server is gone")
	}
	present, err := c.get(a.GetNamespace(), a.GetName())
	if err != nil {
		return true, nil, err
	}
	var body map[string]any
	if err := json.Unmarshal(a.Patch, &body); err != nil {
		return true, nil, err
	}
	meta, _ := body["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		body["metadata"] = meta
	}
	if version, _ := meta["resourceVersion"].(string); version != "" && version != present.ResourceVersion {
		return true, nil, apierrors.NewConflict(servicesResource.GroupResource(), a.Name, errors.New("modified"))
	}
	meta["resourceVersion"] = c.next()
	if a.Patch, err = json.Marshal(body); err != nil {
		return true, nil, err
	}
	c.writes[a.GetNamespace()+"/"+a.GetName()]++
	_, object, err := clienttesting.ObjectReaction(c.core.Tracker())(a)
	if err != nil {
		return true, nil, err
	}
	svc := object.(*corev1.Service)
	c.note(svc)
	if svc.DeletionTimestamp != nil && len(svc.Finalizers) == 0 {
		err = c.core.Tracker().Delete(servicesResource, svc.Namespace, svc.Name)
	}
	if fails {
		return true, nil, errors.New("the answer was lost")
	}
	return true, svc, err
}

// note remembers what a Service shows and fails the test when two that do not
// share show one address.
func (c *cluster) note(svc *corev1.Service) {
	key := config.ServiceKey(svc)
	now := strings.Join(ingress(svc), ",")
	if past := c.history[key]; len(past) == 0 || past[len(past)-1] != now {
		c.history[key] = append(past, now)
	}
	objects, err := c.core.Tracker().List(servicesResource, schema.GroupVersionKind{Version: "v1", Kind: "Service"}, "")
	if err != nil {
		c.t.Error(err)
		return
	}
	for _, other := range objects.(*corev1.ServiceList).Items {
		if config.ServiceKey(&other) == key {
			continue
		}
		mine, _ := config.Annotation(svc, v1beta1.AnnotationSharingKey)
		theirs, _ := config.Annotation(&other, v1beta1.AnnotationSharingKey)
		for _, a := range ingress(&other) {
			if slices.Contains(ingress(svc), a) && (mine == "" || mine != theirs) && svc.Annotations["test/garbage"] == "" {
				c.t.Errorf("%s and %s both show %s", key, config.ServiceKey(&other), a)
			}
		}
	}
}

func ingress(svc *corev1.Service) []string {
	var out []string
	for _, entry := range svc.Status.LoadBalancer.Ingress {
		out = append(out, entry.IP+entry.Hostname)
	}
	return out
}

// pool creates a pool.
func (c *cluster) pool(name string, change func(*v1beta1.IPAddressPoolSpec), ranges ...string) {
	c.t.Helper()
	c.created++
	object := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: types.UID("pool-" + name), Generation: 1, CreationTimestamp: metav1.NewTime(time.Unix(int64(c.created), 0)),
	}}
	for _, r := range ranges {
		object.Spec.Addresses = append(object.Spec.Addresses, v1beta1.AddressRange(r))
	}
	if change != nil {
		change(&object.Spec)
	}
	if _, err := c.custom.BalizaV1beta1().IPAddressPools().Create(c.t.Context(), object, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// service creates a Service of type LoadBalancer, one second younger than the
// one before.
func (c *cluster) service(name string, change func(*corev1.Service)) {
	c.t.Helper()
	c.mu.Lock()
	c.created++
	n := c.created
	c.mu.Unlock()
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID(fmt.Sprintf("uid-%s-%d", name, n)),
			CreationTimestamp: metav1.NewTime(time.Unix(int64(n), 0)),
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 80}},
		},
	}
	if change != nil {
		change(svc)
	}
	if _, err := c.core.CoreV1().Services(svc.Namespace).Create(c.t.Context(), svc, metav1.CreateOptions{FieldManager: "kubectl"}); err != nil {
		c.t.Fatal(err)
	}
}

// edit changes a Service as a user would, under another field manager.
func (c *cluster) edit(name, manager string, change func(*corev1.Service)) {
	c.t.Helper()
	for {
		svc := c.live(name).DeepCopy()
		change(svc)
		_, err := c.core.CoreV1().Services("default").Update(c.t.Context(), svc, metav1.UpdateOptions{FieldManager: manager})
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			c.t.Fatal(err)
		}
	}
}

func (c *cluster) remove(name string) {
	c.t.Helper()
	if err := c.core.CoreV1().Services("default").Delete(c.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// live reads a Service; nil when it is gone.
func (c *cluster) live(name string) *corev1.Service {
	c.mu.Lock()
	defer c.mu.Unlock()
	svc, err := c.get("default", name)
	if err != nil {
		return nil
	}
	return svc
}

// shows returns the addresses of a Service, joined.
func (c *cluster) shows(name string) string {
	if svc := c.live(name); svc != nil {
		return strings.Join(ingress(svc), ",")
	}
	return "gone"
}

// allocated returns the reason of a Service's condition.
func (c *cluster) allocated(name string) v1beta1.Reason {
	svc := c.live(name)
	if svc == nil {
		return "gone"
	}
	if condition := conditionOf(svc, v1beta1.ConditionAllocated); condition != nil {
		return v1beta1.Reason(condition.Reason)
	}
	return ""
}

// writesOf returns how often a Service was written by the controller.
func (c *cluster) writesOf(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes["default/"+name]
}

// expectShown waits until a Service shows the addresses.
func (c *cluster) expectShown(name, addresses string) {
	c.t.Helper()
	c.eventually(func() string {
		if got := c.shows(name); got != addresses {
			return fmt.Sprintf("%s shows %q (%s), want %q", name, got, c.allocated(name), addresses)
		}
		return ""
	})
}

// expectReason waits until a Service's condition has the reason.
func (c *cluster) expectReason(name string, reason v1beta1.Reason) {
	c.t.Helper()
	c.eventually(func() string {
		if got := c.allocated(name); got != reason {
			return fmt.Sprintf("%s has reason %q, want %q", name, got, reason)
		}
		return ""
	})
}

const patience = 20 * time.Second

func (c *cluster) eventually(wrong func() string) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		last := wrong()
		if last == "" {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatal(last)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
