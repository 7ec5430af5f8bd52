package kube_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	balizafake "github.com/baliza-lb/baliza/api/client/clientset/versioned/fake"
	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
)

func slice(name, service string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints,
	}
}

func speakerView(t *testing.T, clients kube.Clients) *kube.SpeakerView {
	t.Helper()
	v, err := kube.NewSpeakerView(clients, "n1", []string{v1beta1.AnnotationAllocatedPool})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	v.Start(ctx)
	t.Cleanup(func() { cancel(); v.Wait() })
	eventually(t, "synced", v.Synced)
	return v
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 10 s: %s", what)
		}
	}
}

func TestSpeakerViewKeepsOnlyWhatDecides(t *testing.T) {
	node := "n1"
	core := kubefake.NewClientset(
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", Annotations: map[string]string{"other": "x", v1beta1.AnnotationAllocatedPool: "lan"}},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
		},
		slice("web-1", "web", discoveryv1.Endpoint{NodeName: &node, Addresses: []string{"10.0.0.1"}}),
		slice("db-1", "db"),
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Annotations: map[string]string{"big": "x"}}, Spec: corev1.NodeSpec{PodCIDRs: []string{"198.18.1.0/24"}}},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n2", Annotations: map[string]string{"big": "x"}}, Spec: corev1.NodeSpec{PodCIDRs: []string{"198.18.2.0/24"}}},
	)
	objects := balizafake.NewSimpleClientset()
	v := speakerView(t, kube.Clients{Kubernetes: core, Baliza: objects})

	service, slices := v.Service("default/web")
	if service == nil || len(service.Annotations) != 1 || len(slices) != 1 || len(slices[0].Endpoints[0].Addresses) != 0 {
		t.Errorf("service %+v with %+v", service, slices)
	}
	// B19: what BGP takes from a node it takes from the speaker's own.
	nodes := v.Nodes()
	for _, node := range nodes {
		if own := node.Name == "n1"; (len(node.Annotations) != 0) != own || (len(node.Spec.PodCIDRs) != 0) != own {
			t.Errorf("node: %+v", node)
		}
	}
	if len(nodes) != 2 {
		t.Errorf("%d nodes", len(nodes))
	}
	if service, _ := v.Service("default/none"); service != nil {
		t.Error("a Service that does not exist is found")
	}
	taken := v.Take()
	if !taken.Nodes {
		t.Errorf("what was there at the start is not reported as new: %+v", taken)
	}
	if _, ok := taken.Services["default/web"]; !ok || len(taken.Services) != 1 {
		t.Errorf("changed Services: %v", taken.Services)
	}
}

// B19: Services that are no load balancers are watched once that is asked for.
func TestB19_Other_Services_are_seen_when_they_are_asked_for(t *testing.T) {
	node, local := "n1", corev1.ServiceInternalTrafficPolicyLocal
	core := kubefake.NewClientset(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "db", Labels: map[string]string{"tier": "gold"}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIPs: []string{"198.18.0.9"}, ExternalIPs: []string{"203.0.113.7"},
			InternalTrafficPolicy: &local, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
		},
	}, slice("db-1", "db", discoveryv1.Endpoint{NodeName: &node}))
	var asked []string
	core.PrependReactor("list", "services", func(action clienttesting.Action) (bool, runtime.Object, error) {
		selector := action.(clienttesting.ListAction).GetListRestrictions().Fields.String()
		asked = append(asked, selector)
		if selector == "spec.type=LoadBalancer" { // the fake does not select
			return true, &corev1.ServiceList{}, nil
		}
		return false, nil, nil
	})
	core.PrependWatchReactor("services", func(action clienttesting.Action) (bool, watch.Interface, error) {
		ofBalancers := action.(clienttesting.WatchAction).GetWatchRestrictions().Fields.String() == "spec.type=LoadBalancer"
		return ofBalancers, watch.NewFake(), nil
	})
	v := speakerView(t, kube.Clients{Kubernetes: core, Baliza: balizafake.NewSimpleClientset()})
	v.Take()
	if service, _ := v.Service("default/db"); service != nil || slices.Contains(asked, "spec.type!=LoadBalancer") {
		t.Errorf("seen though nobody asked: %+v, %q", service, asked)
	}
	for range 2 {
		if err := v.WatchOtherServices(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the Service", func() bool { _, ok := v.Take().Services["default/db"]; return ok })
	service, endpoints := v.Service("default/db")
	if service == nil || service.Labels["tier"] != "gold" || len(service.Spec.ClusterIPs)+len(service.Spec.ExternalIPs) != 2 ||
		*service.Spec.InternalTrafficPolicy != local || service.Spec.ExternalTrafficPolicy == "" || len(endpoints) != 1 {
		t.Errorf("service %+v, endpoints %+v", service, endpoints)
	}
	if _, err := core.DiscoveryV1().EndpointSlices("default").Create(t.Context(), slice("db-2", "db"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its endpoints", func() bool { _, ok := v.Take().Services["default/db"]; return ok })
}

func TestSpeakerViewTellsOfChangesThatMatterOnly(t *testing.T) {
	core := kubefake.NewClientset(
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", ResourceVersion: "1"}},
	)
	v := speakerView(t, kube.Clients{Kubernetes: core, Baliza: balizafake.NewSimpleClientset()})
	v.Take()
	ctx := context.Background()

	// A heartbeat is no news.
	beat := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", ResourceVersion: "2"}}
	beat.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}}
	if _, err := core.CoreV1().Nodes().UpdateStatus(ctx, beat, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	// Endpoints of something that is no load balancer are none either.
	if _, err := core.DiscoveryV1().EndpointSlices("default").Create(ctx, slice("db-1", "db"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if taken := v.Take(); taken.Nodes || len(taken.Services) > 0 {
		t.Errorf("reported as changed: %+v", taken)
	}
	if _, err := core.DiscoveryV1().EndpointSlices("default").Create(ctx, slice("web-1", "web"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var seen []string
	eventually(t, "endpoints of the Service", func() bool {
		seen = slices.AppendSeq(seen, maps.Keys(v.Take().Services))
		return slices.Contains(seen, "default/web")
	})
}

func node(name string) *corev1.Node { return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}} }

func member(name, at string) *v1beta1.Member {
	return &v1beta1.Member{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1beta1.MemberStatus{MemberAddress: at}}
}

// Finding 13 of layer 2: a speaker is sent the Members of all, and of the Speakers its
// own, which it misses when it is gone.
func TestDefect7_ASpeakerWatchesMembersAndItsOwnSpeaker(t *testing.T) {
	objects := balizafake.NewSimpleClientset(
		&v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, member("n1", "192.0.2.11:7946"), member("n2", "192.0.2.12:7946"),
	)
	v := speakerView(t, kube.Clients{Kubernetes: kubefake.NewClientset(node("n1"), node("n2")), Baliza: objects})
	for _, action := range objects.Actions() {
		if w, ok := action.(clienttesting.WatchAction); ok && w.GetResource().Resource == "speakers" {
			if of := w.GetWatchRestrictions().Fields.String(); of != "metadata.name=n1" {
				t.Errorf("Speakers are watched with the selector %q", of)
			}
		}
	}
	v.Take()
	if members, own := v.Members(); len(members) != 2 || own == nil {
		t.Errorf("members: %v; its own objects are there: %v", members, own)
	}
	gone := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the loss of "+what, func() bool {
			told := v.Take().Members // comes after what it tells of
			_, own := v.Members()
			return told && own == nil
		})
	}
	ours := objects.BalizaV1beta1()
	gone("the Speaker", ours.Speakers().Delete(t.Context(), "n1", metav1.DeleteOptions{}))
	if _, err := ours.Speakers().Create(t.Context(), &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Speaker", func() bool { _, own := v.Members(); return own != nil })
	gone("the Member", ours.Members().Delete(t.Context(), "n1", metav1.DeleteOptions{}))
}

// In an update there are speakers that write no Member. One that starts and is told of
// nobody would take every address.
func TestASpeakerFindsThoseOfAVersionWithoutMembers(t *testing.T) {
	speaker := func(name, at string) *v1beta1.Speaker {
		return &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1beta1.SpeakerStatus{
			MemberAddress: at, LocalAddresses: []string{"192.0.2.99"}, Unreachable: []v1beta1.UnreachableSpeaker{{Name: "n1"}},
		}}
	}
	core := kubefake.NewClientset(node("n1"), node("n2"), node("n3"))
	objects := balizafake.NewSimpleClientset(
		speaker("n1", "192.0.2.11:7946"), speaker("n2", "192.0.2.12:7946"), speaker("n3", "192.0.2.13:7946"), speaker("gone", "192.0.2.14:7946"),
		member("n3", "192.0.2.23:7946"),
	)
	v := speakerView(t, kube.Clients{Kubernetes: core, Baliza: objects})
	at := func() map[string]string {
		members, _ := v.Members()
		places := map[string]string{}
		for _, m := range members {
			places[m.Name] += m.Status.MemberAddress // once each
			if len(m.Status.Unreachable) > 0 {
				t.Errorf("what %s said before is believed: %+v", m.Name, m.Status)
			}
		}
		return places
	}
	if taken := v.Take(); !taken.Members {
		t.Error("they are not told of")
	}
	if got, want := at(), (map[string]string{"n2": "192.0.2.12:7946", "n3": "192.0.2.23:7946"}); !maps.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	if _, err := objects.BalizaV1beta1().Members().Create(t.Context(), member("n2", "192.0.2.22:7946"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Member of n2", func() bool { return at()["n2"] == "192.0.2.22:7946" })
	if err := objects.BalizaV1beta1().Members().Delete(t.Context(), "n2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what n2 said before", func() bool { return at()["n2"] == "192.0.2.12:7946" })
	v.Take()
	if err := core.CoreV1().Nodes().Delete(t.Context(), "n2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of n2", func() bool { return v.Take().Members && at()["n2"] == "" })
}
