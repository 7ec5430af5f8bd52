package explain_test

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/config"
)

// manyServices is how many there are in a cluster that is large.
const manyServices = 10_000

// large is a cluster of three nodes and many Services, all of which are announced on
// layer 2.
func large() (explain.Objects, []*discoveryv1.EndpointSlice) {
	pool := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "lan"}}
	pool.Spec.Addresses = []v1beta1.AddressRange{"198.18.0.0/16"}
	o := explain.Objects{
		Namespaces: []*corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}}, Pools: []*v1beta1.IPAddressPool{pool},
		L2Advertisements: []*v1beta1.L2Advertisement{{ObjectMeta: metav1.ObjectMeta{Name: "lan"}}},
	}
	const nodes = 3
	for i := range nodes {
		name := fmt.Sprintf("n%d", i+1)
		o.Nodes = append(o.Nodes, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
		o.Speakers = append(o.Speakers, speaker(name))
	}
	var slices []*discoveryv1.EndpointSlice
	address, yes := netip.MustParseAddr("198.18.0.0"), true
	allocated := says(v1beta1.ConditionAllocated, metav1.ConditionTrue, v1beta1.ReasonAllocated, 0)
	announced := says(v1beta1.ConditionAnnounced, metav1.ConditionTrue, v1beta1.ReasonAnnounced, 0)
	for i := range manyServices {
		name := fmt.Sprintf("s-%d", i)
		svc := service(name, shows(address.String()), allocated, announced)
		svc.Spec.IPFamilies, svc.Spec.Ports = []corev1.IPFamily{corev1.IPv4Protocol}, []corev1.ServicePort{{Port: 80}}
		o.Services = append(o.Services, svc)
		slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, AddressType: discoveryv1.AddressTypeIPv4}
		slice.Labels = map[string]string{discoveryv1.LabelServiceName: name}
		slice.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"198.51.100.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}}}
		slices = append(slices, slice)
		s := o.Speakers[i%nodes]
		s.Status.HeldCount++
		if len(s.Status.Held) < config.MaxAnnounced {
			s.Status.Held = append(s.Status.Held, v1beta1.HeldAddress{Address: address.String(), Services: []string{"shop/" + name}})
		}
		address = address.Next()
	}
	return o, slices
}

func BenchmarkStatusOf10k(b *testing.B) {
	objects, _ := large()
	for b.Loop() {
		if status := explain.New(objects, now()).Status(); status.Services.Announced != manyServices {
			b.Fatalf("%+v", status.Services)
		}
	}
}

func BenchmarkServiceOf10k(b *testing.B) {
	objects, slices := large()
	for b.Loop() {
		c := explain.New(objects, now())
		c.SetEndpointSlices(slices[:1])
		if _, found := c.Service("shop/s-0"); !found {
			b.Fatal("not found")
		}
	}
}

func BenchmarkSimulateDrainOf10k(b *testing.B) {
	objects, slices := large()
	for b.Loop() {
		c := explain.New(objects, now())
		c.SetEndpointSlices(slices)
		if _, err := c.Simulate(&explain.Change{Drained: []string{"n1"}}); err != nil {
			b.Fatal(err)
		}
	}
}
