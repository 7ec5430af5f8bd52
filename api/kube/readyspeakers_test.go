package kube

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	balizafake "github.com/baliza-lb/baliza/api/client/clientset/versioned/fake"
)

// Whether any speaker is ready is known from their DaemonSet, where there is one, and
// heard of when it changes.
func TestReadySpeakers(t *testing.T) {
	client, heard := fake.NewClientset(), make(chan string, 100)
	view, err := NewControllerView(Clients{Kubernetes: client, Baliza: balizafake.NewClientset()}, "baliza-system", nil, func(kind Kind, key string) {
		if kind == KindSpeaker {
			heard <- key
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	view.Start(t.Context())
	if !view.WaitSynced(t.Context()) {
		t.Fatal("the caches did not fill")
	}
	expect := func(ready int, known bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			n, is := view.ReadySpeakers()
			if n == ready && is == known {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d are ready, known: %t; want %d, %t", n, is, ready, known)
			}
		}
	}
	expect(0, false)
	sets := client.AppsV1().DaemonSets("baliza-system")
	set, err := sets.Create(t.Context(), &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: speakerDaemonSet}, Status: appsv1.DaemonSetStatus{NumberReady: 2},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	expect(2, true)
	<-heard
	set = set.DeepCopy()
	set.Status.NumberReady = 0
	if _, err := sets.UpdateStatus(t.Context(), set, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(0, true)
	if key := <-heard; key != "baliza-system/baliza-speaker" {
		t.Errorf("heard of %q", key)
	}
}
