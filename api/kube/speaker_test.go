package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
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

// applies teaches the fake, which has no schema of ours, what server-side apply
// of a whole status comes to. before may refuse a write.
func applies(objects *balizafake.Clientset, before func() error) {
	resource := v1beta1.SchemeGroupVersion.WithResource("speakers")
	objects.PrependReactor("patch", "speakers", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if err := before(); err != nil {
			return true, nil, err
		}
		patch := action.(clienttesting.PatchAction)
		object, err := objects.Tracker().Get(resource, "", patch.GetName())
		if err != nil {
			return true, nil, err
		}
		speaker := object.DeepCopyObject().(*v1beta1.Speaker)
		speaker.Status = v1beta1.SpeakerStatus{}
		if err := json.Unmarshal(patch.GetPatch(), speaker); err != nil {
			return true, nil, err
		}
		return true, speaker, objects.Tracker().Update(resource, speaker, "")
	})
}

func TestSpeakerWriterCreatesThenWritesOnlyChanges(t *testing.T) {
	objects := balizafake.NewSimpleClientset()
	var patches int
	applies(objects, func() error { patches++; return nil })
	w := kube.NewSpeakerWriter(kube.Clients{Baliza: objects}, "n1", slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	status := v1beta1.SpeakerStatus{MemberAddress: "192.0.2.11:7946", HeldCount: 1, Held: []v1beta1.HeldAddress{{Address: "192.0.2.10"}}}
	w.Report(status, "uid-1")
	read := func() *v1beta1.Speaker {
		s, err := objects.BalizaV1beta1().Speakers().Get(ctx, "n1", metav1.GetOptions{})
		if err != nil {
			return &v1beta1.Speaker{}
		}
		return s
	}
	eventually(t, "written", func() bool { return read().Status.MemberAddress == "192.0.2.11:7946" })
	if owners := read().OwnerReferences; len(owners) != 1 || owners[0].Kind != "Node" || owners[0].UID != "uid-1" {
		t.Errorf("owners: %+v", owners)
	}
	for range 10 {
		w.Report(status, "uid-1")
	}
	status.HeldCount, status.Held = 0, nil
	w.Report(status, "uid-1")
	eventually(t, "the second report", func() bool { return read().Status.HeldCount == 0 && len(read().Status.Held) == 0 })
	cancel()
	<-done
	if patches > 3 { // the one that found nothing, the first, the second
		t.Errorf("%d writes for two different reports", patches)
	}
}

func TestSpeakerWriterRetriesUntilItSucceeds(t *testing.T) {
	objects := balizafake.NewSimpleClientset(&v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	refusals := 2
	applies(objects, func() error {
		refusals--
		if refusals >= 0 {
			return errors.New("the API server is away")
		}
		return nil
	})
	w := kube.NewSpeakerWriter(kube.Clients{Baliza: objects}, "n1", slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx := t.Context()
	go w.Run(ctx)
	w.Report(v1beta1.SpeakerStatus{MemberAddress: "192.0.2.11:7946"}, "")
	eventually(t, "written at last", func() bool {
		s, err := objects.BalizaV1beta1().Speakers().Get(ctx, "n1", metav1.GetOptions{})
		return err == nil && s.Status.MemberAddress != ""
	})
}

// A dead node's Speaker must not outlive the node: without an owner nobody
// would delete it.
func TestSpeakerWriterMakesNoObjectThatBelongsToNoNode(t *testing.T) {
	objects := balizafake.NewSimpleClientset()
	applies(objects, func() error { return nil })
	w := kube.NewSpeakerWriter(kube.Clients{Baliza: objects}, "n1", slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx := t.Context()
	go w.Run(ctx)
	w.Report(v1beta1.SpeakerStatus{MemberAddress: "192.0.2.11:7946"}, "")
	time.Sleep(100 * time.Millisecond)
	speakers := objects.BalizaV1beta1().Speakers()
	if _, err := speakers.Get(ctx, "n1", metav1.GetOptions{}); err == nil {
		t.Error("an object without an owner was made")
	}
	w.Report(v1beta1.SpeakerStatus{MemberAddress: "192.0.2.11:7946"}, "uid-1")
	eventually(t, "made once the node is known", func() bool {
		s, err := speakers.Get(ctx, "n1", metav1.GetOptions{})
		return err == nil && len(s.OwnerReferences) == 1 && s.OwnerReferences[0].UID == "uid-1"
	})
}

// What was reported a moment ago does not keep the last words waiting.
func TestSpeakerWritersLastWordsAreWrittenAtOnce(t *testing.T) {
	objects := balizafake.NewSimpleClientset(&v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	applies(objects, func() error { return nil })
	w := kube.NewSpeakerWriter(kube.Clients{Baliza: objects}, "n1", slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	w.Report(v1beta1.SpeakerStatus{MemberAddress: "192.0.2.11:7946", Held: []v1beta1.HeldAddress{{Address: "192.0.2.10"}}}, "uid-1")
	read := func() v1beta1.SpeakerStatus {
		s, err := objects.BalizaV1beta1().Speakers().Get(t.Context(), "n1", metav1.GetOptions{})
		if err != nil {
			return v1beta1.SpeakerStatus{}
		}
		return s.Status
	}
	eventually(t, "written", func() bool { return len(read().Held) == 1 })
	cancel()
	<-done
	w.Last(v1beta1.SpeakerStatus{MemberAddress: "192.0.2.11:7946"})
	if last := read(); len(last.Held) > 0 || last.MemberAddress == "" {
		t.Errorf("it says %+v", last)
	}
}
