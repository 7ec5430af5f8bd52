package kube

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	balizafake "github.com/baliza-lb/baliza/api/client/clientset/versioned/fake"
	"github.com/baliza-lb/baliza/api/v1beta1"
)

// inventoryClients have a node, a Service and a pool.
func inventoryClients() (Clients, *fake.Clientset, *balizafake.Clientset) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	node.Status.Addresses = []corev1.NodeAddress{{Address: "192.0.2.1"}, {Address: "n1.example.org"}}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	native := fake.NewClientset(node, svc)
	ours := balizafake.NewClientset(&v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "lan"}})
	return Clients{Kubernetes: native, Baliza: ours}, native, ours
}

func failWith(err error) clienttesting.ReactionFunc {
	return func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, err }
}

func TestInventory(t *testing.T) {
	clients, native, ours := inventoryClients()
	leases := schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}
	native.PrependReactor("list", "leases", failWith(apierrors.NewForbidden(leases, "", nil)))
	ours.PrependReactor("list", "speakers", failWith(apierrors.NewNotFound(schema.GroupResource{Resource: "speakers"}, "")))
	got, err := ReadInventory(t.Context(), clients, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Services) != 1 || len(got.Nodes) != 1 || len(got.Pools) != 1 {
		t.Errorf("%d Services, %d nodes, %d pools", len(got.Services), len(got.Nodes), len(got.Pools))
	}
	if len(got.InUse) != 1 || got.InUse[0].By != "node n1" {
		t.Errorf("in use: %v", got.InUse)
	}
	if len(got.Unread) != 2 || !got.Unread[0].Forbidden || got.Unread[0].Kind != "leases" || got.Unread[1].Forbidden || got.Unread[1].Kind != "speakers" {
		t.Errorf("unread: %+v", got.Unread)
	}
}

// What is neither forbidden nor absent may be there: nothing follows from the rest.
func TestAnInventoryThatCannotBeReadIsNone(t *testing.T) {
	clients, _, ours := inventoryClients()
	ours.PrependReactor("list", "bgppeers", failWith(errors.New("connection refused")))
	if got, err := ReadInventory(t.Context(), clients, ""); err == nil {
		t.Errorf("read %+v", got)
	}
}

func TestEndpointsAreThoseOfTheServices(t *testing.T) {
	slice := func(namespace, name, of string) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: of},
		}}
	}
	native := fake.NewClientset(slice("shop", "a", "web"), slice("shop", "b", "web"), slice("shop", "c", "db"), slice("other", "d", "web"))
	got, err := ReadEndpoints(t.Context(), Clients{Kubernetes: native}, []NamespacedName{{"shop", "web"}, {"shop", "mail"}})
	if err != nil || len(got) != 2 || len(native.Actions()) != 1 {
		t.Errorf("%d slices by %d requests: %v", len(got), len(native.Actions()), err)
	}
}
