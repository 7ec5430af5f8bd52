package kube

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	balizafake "github.com/baliza-lb/baliza/api/client/clientset/versioned/fake"
	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Defect 7: of the addresses that others own the controller keeps only how many
// they are.
func TestDefect7TheControllerKeepsNothingOfWhatOthersOwn(t *testing.T) {
	view, err := NewControllerView(Clients{Kubernetes: fake.NewClientset(), Baliza: balizafake.NewClientset()}, "baliza-system", nil, func(Kind, string) {})
	if err != nil {
		t.Fatal(err)
	}
	report := &v1beta1.Speaker{Status: v1beta1.SpeakerStatus{Withheld: []v1beta1.WithheldAddresses{
		{Reason: v1beta1.ReasonNotOwner, Message: "any", Count: 2, Addresses: []string{"192.0.2.1", "192.0.2.2"}},
		{Reason: v1beta1.ReasonNoEndpoint, Count: 1, Addresses: []string{"192.0.2.3"}},
	}}}
	got, err := view.slim(report)
	if err != nil {
		t.Fatal(err)
	}
	slim := got.(*v1beta1.Speaker).Status.Withheld
	if len(slim) != 2 || len(slim[0].Addresses) != 0 || slim[0].Count != 2 || len(slim[1].Addresses) != 1 || len(report.Status.Withheld[0].Addresses) != 2 {
		t.Errorf("kept %+v of %+v", slim, report.Status.Withheld)
	}
}

// T03: the controller sees what the cluster itself has, with and without the
// API of ServiceCIDRs.
func TestT03WhatTheClusterItselfHas(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	node.Spec.PodCIDRs = []string{"198.51.100.0/26"}
	node.Status.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: "192.0.2.11"},
		{Type: corev1.NodeHostName, Address: "n1"},
		{Type: corev1.NodeInternalIP, Address: "2001:db8::11"},
	}
	cidr := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"203.0.113.0/24"}}}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"},
		Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}}},
	}
	for name, served := range map[string]bool{"with ServiceCIDRs": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(node, cidr, slice)
			client.Resources = []*metav1.APIResourceList{{GroupVersion: "networking.k8s.io/v1"}}
			expected := []string{"192.0.2.1/32", "192.0.2.11/32", "198.51.100.0/26", "2001:db8::11/128"}
			if served {
				client.Resources[0].APIResources = []metav1.APIResource{{Name: "servicecidrs"}}
				expected = append(expected, "203.0.113.0/24")
			}
			changes := make(chan string, 100)
			view, err := NewControllerView(Clients{Kubernetes: client, Baliza: balizafake.NewClientset()}, "baliza-system", nil, func(kind Kind, key string) {
				if kind == KindInUse {
					changes <- key
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			view.Start(t.Context())
			view.WaitSynced(t.Context())
			var got []string
			for _, one := range view.InUse() {
				got = append(got, one.String())
			}
			slices.Sort(got)
			slices.Sort(expected)
			if !slices.Equal(got, expected) {
				t.Errorf("got %q, want %q", got, expected)
			}
			for len(changes) > 0 {
				<-changes
			}
			beat := node.DeepCopy() // as a kubelet does all the time
			beat.ResourceVersion, beat.Status.Conditions = "2", []corev1.NodeCondition{{Type: corev1.NodeReady, LastHeartbeatTime: metav1.NewTime(time.Unix(1, 0))}}
			for _, svc := range []*corev1.Node{beat, {ObjectMeta: metav1.ObjectMeta{Name: "n1", ResourceVersion: "3"}}} {
				if _, err := client.CoreV1().Nodes().Update(t.Context(), svc, metav1.UpdateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			<-changes
			if left := view.InUse(); len(changes) > 0 || slices.ContainsFunc(left, func(u InUse) bool { return u.Prefix == netip.MustParsePrefix("192.0.2.11/32") }) {
				t.Errorf("%d more changes; has %v", len(changes), left)
			}
		})
	}
}
