package command_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	balizafake "github.com/baliza-lb/baliza/api/client/clientset/versioned/fake"
	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/command"
)

// now is when the tests ask.
func now() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now().Add(-d)) }

// world is a cluster of three nodes in which all is well: pool lan, Service shop/web
// on 192.0.2.10, which n1 announces.
type world struct {
	nodes      []*corev1.Node
	speakers   []*v1beta1.Speaker
	pools      []*v1beta1.IPAddressPool
	l2         []*v1beta1.L2Advertisement
	bgp        []*v1beta1.BGPAdvertisement
	peers      []*v1beta1.BGPPeer
	services   []*corev1.Service
	endpoints  []*discoveryv1.EndpointSlice
	namespaces []*corev1.Namespace
	controller *appsv1.Deployment
	daemonSet  *appsv1.DaemonSet
	lease      *coordinationv1.Lease
	kubernetes *fake.Clientset
	custom     *balizafake.Clientset
	// metallb are MetalLB's objects.
	metallb []runtime.Object
	// asked is what speakers answer, by node and path; the others do not run.
	asked map[string]http.HandlerFunc
	// log answers requests for logs, and restarted says that there was a process
	// before.
	log       clienttesting.ReactionFunc
	restarted bool
	// patched are the writes, and lazy says that the speakers do nothing about them.
	patched     []string
	lazy        bool
	forbidden   map[string]bool
	unreachable bool
	environment environment
	// mayCreate says that the user may create what an installation consists of.
	mayCreate bool
}

func newWorld() *world {
	w := &world{
		pools: []*v1beta1.IPAddressPool{pool("lan", "192.0.2.10-192.0.2.11")}, l2: []*v1beta1.L2Advertisement{{ObjectMeta: named("", "lan")}},
		namespaces: []*corev1.Namespace{{ObjectMeta: named("", "shop")}}, forbidden: map[string]bool{},
	}
	w.pools[0].Status.AssignedIPv4, w.pools[0].Status.AvailableIPv4 = 1, "1"
	for i, name := range []string{"n1", "n2", "n3"} {
		node := &corev1.Node{ObjectMeta: named("", name)}
		node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("192.0.2.%d", i+1)}}
		w.nodes = append(w.nodes, node)
		w.speakers = append(w.speakers, speaker(name, fmt.Sprintf("192.0.2.%d:7946", i+1)))
	}
	w.hold(w.speakers[0], "192.0.2.10", "shop/web")
	w.services = []*corev1.Service{service("web")}
	give(w.services[0], "192.0.2.10")
	says(w.services[0], v1beta1.ConditionAnnounced, metav1.ConditionTrue, v1beta1.ReasonAnnounced, "announced by n1")
	w.endpoints = []*discoveryv1.EndpointSlice{slice("web", "n2", "n3")}
	replicas := int32(1)
	w.controller = &appsv1.Deployment{ObjectMeta: named("baliza-system", "baliza-controller")}
	w.controller.Labels = map[string]string{"app.kubernetes.io/name": "baliza"}
	w.controller.Spec.Replicas, w.controller.Status.ReadyReplicas = &replicas, 1
	w.controller.Spec.Template.Spec.Containers = []corev1.Container{{
		Image: "registry.example.org/baliza/controller:v0.0.0-dev", Args: []string{"--serve-classless=true", "--load-balancer-class=baliza.io/lb"},
	}}
	holder, renewed := "baliza-controller-7d4_1f3a", metav1.NewMicroTime(now().Add(-2*time.Second))
	w.lease = &coordinationv1.Lease{ObjectMeta: named("baliza-system", "baliza-controller")}
	w.lease.Spec.HolderIdentity, w.lease.Spec.RenewTime = &holder, &renewed
	return w
}

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: ago(24 * time.Hour)}
}

func ready(reason v1beta1.Reason, message string) []metav1.Condition {
	status := metav1.ConditionTrue
	if reason != v1beta1.ReasonValid && reason != v1beta1.ReasonAnnouncing && reason != v1beta1.ReasonDraining {
		status = metav1.ConditionFalse
	}
	return []metav1.Condition{{
		Type: v1beta1.ConditionReady, Status: status, Reason: string(reason), Message: message, LastTransitionTime: ago(time.Hour),
	}}
}

func pool(name string, ranges ...v1beta1.AddressRange) *v1beta1.IPAddressPool {
	p := &v1beta1.IPAddressPool{ObjectMeta: named("", name)}
	p.Spec.Addresses = ranges
	p.Status.AvailableIPv4 = "2"
	p.Status.Conditions = ready(v1beta1.ReasonValid, "the spec is used as it stands")
	return p
}

func speaker(name, at string) *v1beta1.Speaker {
	s := &v1beta1.Speaker{ObjectMeta: named("", name)}
	s.Status.MemberAddress, s.Status.MembersAlive, s.Status.Version = at, 3, "v0.0.0-dev"
	s.Status.Interfaces = []string{"eth0"}
	s.Status.Conditions = ready(v1beta1.ReasonAnnouncing, "every address of this node is answered for")
	return s
}

// hold has a speaker answer for an address.
func (w *world) hold(s *v1beta1.Speaker, address string, services ...string) {
	s.Status.Held = append(s.Status.Held, v1beta1.HeldAddress{Address: address, Services: services})
	s.Status.HeldCount++
}

// nobodyHolds has no speaker answer for anything, each for a reason.
func (w *world) nobodyHolds(reason v1beta1.Reason, message string) {
	for _, s := range w.speakers {
		s.Status.Held, s.Status.HeldCount = nil, 0
		if reason != "" {
			s.Status.Withheld = []v1beta1.WithheldAddresses{{Reason: reason, Message: message, Count: 1, Addresses: []string{"192.0.2.10"}}}
		}
	}
}

func service(name string) *corev1.Service {
	svc := &corev1.Service{ObjectMeta: named("shop", name)}
	svc.Spec.Type = corev1.ServiceTypeLoadBalancer
	svc.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	svc.Spec.Ports = []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}}
	svc.Spec.Selector = map[string]string{"app": name}
	return svc
}

// give shows an address of pool lan on a Service, as the controller does.
func give(svc *corev1.Service, address string) {
	svc.Annotations = map[string]string{v1beta1.AnnotationAllocatedPool: "lan", v1beta1.AnnotationAllocatedAddresses: address}
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address}}
	says(svc, v1beta1.ConditionAllocated, metav1.ConditionTrue, v1beta1.ReasonAllocated, address+" from pool lan")
}

func says(svc *corev1.Service, kind string, status metav1.ConditionStatus, reason v1beta1.Reason, message string) {
	said := metav1.Condition{Type: kind, Status: status, Reason: string(reason), Message: message, LastTransitionTime: ago(time.Hour)}
	for i := range svc.Status.Conditions {
		if svc.Status.Conditions[i].Type == kind {
			svc.Status.Conditions[i] = said
			return
		}
	}
	svc.Status.Conditions = append(svc.Status.Conditions, said)
}

// pending adds a Service that has no address.
func (w *world) pending(reason v1beta1.Reason, message string, changes ...func(*corev1.Service)) {
	svc := service("new")
	for _, change := range changes {
		change(svc)
	}
	says(svc, v1beta1.ConditionAllocated, metav1.ConditionFalse, reason, message)
	w.services = append(w.services, svc)
}

// unannounced has the controller say why nobody announces shop/web.
func (w *world) unannounced(reason v1beta1.Reason, message string) {
	says(w.services[0], v1beta1.ConditionAnnounced, metav1.ConditionFalse, reason, message)
}

func slice(name string, nodes ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: named("shop", name+"-1"), AddressType: discoveryv1.AddressTypeIPv4}
	s.Labels = map[string]string{discoveryv1.LabelServiceName: name}
	for i := range nodes {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("198.51.100.%d", i+1)}, NodeName: &nodes[i]})
	}
	return s
}

// clients are those of the world.
func (w *world) clients(t *testing.T) kube.Clients {
	t.Helper()
	var native, ours []runtime.Object
	for _, o := range w.nodes {
		native = append(native, o)
	}
	for _, o := range w.services {
		native = append(native, o)
	}
	for _, o := range w.endpoints {
		native = append(native, o)
	}
	for _, o := range w.namespaces {
		native = append(native, o)
	}
	if w.controller != nil {
		native = append(native, w.controller)
	}
	if w.daemonSet != nil {
		native = append(native, w.daemonSet)
	}
	if w.lease != nil {
		native = append(native, w.lease)
	}
	native = append(append(native, w.pods()...), w.environment.more...)
	for _, o := range w.pools {
		ours = append(ours, o)
	}
	for _, o := range w.l2 {
		ours = append(ours, o)
	}
	for _, o := range w.bgp {
		ours = append(ours, o)
	}
	for _, o := range w.peers {
		ours = append(ours, o)
	}
	for _, o := range w.speakers {
		ours = append(ours, o)
	}
	w.kubernetes = fake.NewClientset(native...)
	w.custom = balizafake.NewSimpleClientset(ours...) // the other has no schema to update objects by
	w.refuse(&w.kubernetes.Fake, &w.custom.Fake)
	w.obey(&w.kubernetes.Fake, &w.custom.Fake)
	if w.log != nil {
		w.kubernetes.PrependReactor("get", "pods", w.log)
	}
	return kube.Clients{Kubernetes: w.kubernetes, Baliza: w.custom, Dynamic: w.dynamicClient(t), DialPod: w.dialer(t)}
}

// expect runs a command, and compares its exit status, and its output and what it wrote
// with the file of that name. It returns the output.
func (w *world) expect(t *testing.T, name, line string, status int) string {
	t.Helper()
	got, exit := w.ask(t, line)
	if exit != status {
		t.Errorf("exit status %d, want %d", exit, status)
	}
	if len(w.patched) > 0 {
		got += "wrote " + strings.Join(w.patched, "\nwrote ") + "\n"
	}
	compare(t, name, fmt.Sprintf("$ kubectl baliza %s\n%sexit status %d\n", line, got, exit))
	return got
}

// ask runs a command; it returns what is printed and the exit status.
func (w *world) ask(t *testing.T, line string) (output string, status int) {
	t.Helper()
	return w.askArgs(t, strings.Fields(line))
}

func (w *world) askArgs(t *testing.T, args []string) (output string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	clients := w.clients(t)
	status = command.Main(t.Context(), command.Env{
		Args: args, In: strings.NewReader(""), Out: &out, Err: &errs, Getenv: func(string) string { return "" }, Now: now,
		Connect: func(*genericclioptions.ConfigFlags) (kube.Clients, error) { return clients, nil },
	})
	return out.String() + errs.String(), status
}
