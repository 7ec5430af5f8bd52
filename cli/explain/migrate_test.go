package explain_test

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/migrate/metallb"
)

// many are the objects of MetalLB and of the cluster: pools of 64 addresses, Services
// that have one each, and nodes.
func many(pools, services, nodes int) (*metallb.Objects, explain.Objects) {
	theirs, objects := &metallb.Objects{}, explain.Objects{}
	add := func(version, kind, name, spec string) {
		theirs.Add(fmt.Appendf(nil, "apiVersion: metallb.io/%s\nkind: %s\nmetadata: {name: %s, namespace: metallb-system}\nspec: %s\n", version, kind, name, spec))
	}
	for i := range pools {
		name := fmt.Sprintf("pool-%d", i)
		add("v1beta1", "IPAddressPool", name, fmt.Sprintf("{addresses: [198.18.%d.0/26]}", i))
		add("v1beta1", "L2Advertisement", name, "{ipAddressPools: ["+name+"]}")
		add("v1beta1", "BGPAdvertisement", name, "{ipAddressPools: ["+name+"]}")
	}
	add("v1beta2", "BGPPeer", "router", "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1}")
	for i := range nodes {
		objects.Nodes = append(objects.Nodes, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("n%d", i)}})
	}
	objects.Namespaces = []*corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}}
	for i := range services {
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("s%d", i)}}
		svc.Spec.Type, svc.Spec.IPFamilies = corev1.ServiceTypeLoadBalancer, []corev1.IPFamily{corev1.IPv4Protocol}
		svc.Spec.Ports = []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}}
		pool := i % pools
		svc.Annotations = map[string]string{"metallb.io/ip-allocated-from-pool": fmt.Sprintf("pool-%d", pool)}
		svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: fmt.Sprintf("198.18.%d.%d", pool, i/pools)}}
		objects.Services = append(objects.Services, svc)
	}
	return theirs, objects
}

// Each Service keeps its address, from the pool that it is of, and is announced as its
// pool is.
func TestMigrateKeepsEveryAddress(t *testing.T) {
	theirs, objects := many(40, 1000, 3)
	found := explain.New(objects, time.Unix(0, 0)).Migrate(theirs)
	if len(found.Changed()) > 0 || !found.Verdict().Well || len(found.Problems) > 0 || len(found.Services) != len(objects.Services) {
		t.Fatalf("%v change, problems %v, %d Services, findings %v", found.Changed(), found.Problems, len(found.Services), found.Findings)
	}
	for _, one := range found.Services {
		if len(one.After) != 1 || one.Pool == "" || len(one.Layer2) != 1 || one.Layer2[0] != one.Pool || len(one.Peers) != 1 {
			t.Errorf("%+v", one)
		}
	}
}

// BenchmarkMigrate is migrate check of 1,000 Services, 40 pools and 10 nodes, without
// what the API server takes.
func BenchmarkMigrate(b *testing.B) {
	theirs, objects := many(40, 1000, 10)
	for b.Loop() {
		explain.New(objects, time.Unix(0, 0)).Migrate(theirs)
	}
}
