package main

import (
	"log/slog"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Defect 16: speakers that start after the membership Secret was deleted wait
// for it, and whoever leads makes it again.
func TestDefect16TheMembershipSecretIsMadeAgainWhenItIsDeleted(t *testing.T) {
	clients := kube.Clients{Kubernetes: fake.NewClientset()}
	r := rotator{
		clients: clients, namespace: "ns", name: "membership", log: slog.New(slog.DiscardHandler), now: time.Now,
		speakers: func() []*v1beta1.Speaker { return nil },
	}
	keys := make(map[string]bool)
	for range 2 {
		if _, err := r.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		now, err := kube.ReadMembershipKeys(t.Context(), clients, "ns", "membership")
		if err != nil || len(now.Keys) != 1 {
			t.Fatalf("%+v, %v", now, err)
		}
		keys[now.Keys[0]] = true
		if err := clients.Kubernetes.CoreV1().Secrets("ns").Delete(t.Context(), "membership", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(keys) != 2 {
		t.Error("the key is the same again")
	}
}
