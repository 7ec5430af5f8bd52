package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

func TestB12_Traffic_is_shared_by_pods_not_by_nodes(t *testing.T) {
	ctx, p := newRouted(t, 1, nil, func(a *v1beta1.BGPAdvertisementSpec) { a.Weighted = true })
	pin := func(replicas map[string]int) {
		t.Helper()
		for node, n := range replicas {
			p.must(p.Apply(ctx, fmt.Sprintf(pinned, p.name, node, n)))
		}
	}
	p.scale(ctx, 0)
	pin(map[string]int{"n1": 1, "n2": 3})
	v4, _ := p.made(ctx, "web", func(svc *corev1.Service) {
		local(svc)
		svc.Spec.Selector = map[string]string{"app": "pinned"}
	})
	p.oneToThree(ctx, v4)
}

const pinned = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: pinned-%[2]s, namespace: %[1]s}
spec:
  replicas: %[3]d
  selector: {matchLabels: {app: pinned, node: %[2]s}}
  template:
    metadata: {labels: {app: pinned, node: %[2]s}}
    spec:
      nodeName: %[2]s
      containers:
      - name: web
        image: lab/web:v1
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
`

// oneToThree waits until the router sends n2 three times as much as n1.
func (p *routed) oneToThree(ctx context.Context, a netip.Addr) {
	p.t.Helper()
	var last []string
	err := lab.WaitFor(ctx, "weights of one to three", func() (bool, error) {
		var err error
		last, err = p.r1.NextHops(ctx, cluster.HostPrefix(a))
		var light, heavy int
		if len(last) == 2 {
			_, _ = fmt.Sscanf(last[0], nodes4[0]+"*%d", &light)
			_, _ = fmt.Sscanf(last[1], nodes4[1]+"*%d", &heavy)
		}
		return light > 0 && heavy >= 3*light-3 && heavy <= 3*light+3, err
	})
	if err != nil {
		p.t.Fatalf("%v: %v", err, last)
	}
	p.t.Log(last)
}

// Pods that come and go many times a second are told of once a second; that the
// last has gone is told at once.
func TestB12_Pods_that_come_and_go_do_not_flood_the_router(t *testing.T) {
	ctx, p := newRouted(t, 0, nil, func(a *v1beta1.BGPAdvertisementSpec) { a.Weighted = true })
	endpoints := p.Client.DiscoveryV1().EndpointSlices(p.name)
	slice, err := endpoints.Create(ctx, endpointsOn(map[string]int{"n1": 1, "n2": 1}), metav1.CreateOptions{})
	p.must(err)
	v4, _ := p.made(ctx, "changing", func(svc *corev1.Service) { local(svc); svc.Spec.Selector = nil })
	p.hops(ctx, cluster.HostPrefix(v4), nodes4[0]+"*50", nodes4[1]+"*50")
	time.Sleep(6 * time.Second) // FRR asks for all routes again when its route-maps are 5 s old

	capture, err := p.Capture(ctx, "r1", "tcp", "dst", "port", "179", "and", "src", "host", nodes4[1])
	p.must(err)
	change := func(here int) {
		slice.Endpoints = endpointsOn(map[string]int{"n1": 1, "n2": here}).Endpoints
		slice, err = endpoints.Update(ctx, slice, metav1.UpdateOptions{})
		p.must(err)
	}
	const changes, pause = 30, 100 * time.Millisecond
	began := time.Now()
	for i := range changes {
		change(2 + i%2) // three at the end
		time.Sleep(pause)
	}
	p.oneToThree(ctx, v4)
	seconds := int(time.Since(began).Seconds()) + 1
	updates := updatesIn(capture.Stop())
	t.Logf("%d changes in %s: %d UPDATEs", changes, time.Since(began).Round(time.Millisecond), len(updates))
	if len(updates) < 2 || len(updates) > seconds+1 {
		t.Errorf("%d UPDATEs in %d s: %v", len(updates), seconds, updates)
	}
	change(2)
	change(0)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4[0])
}

// updatesIn are the packets that carry more than a KEEPALIVE.
func updatesIn(packets []lab.Packet) []lab.Packet {
	return slices.DeleteFunc(packets, func(one lab.Packet) bool {
		return !strings.Contains(one.Text, ": BGP") || isKeepalive(one)
	})
}

// endpointsOn makes that many ready endpoints on nodes, of a Service "changing".
func endpointsOn(nodes map[string]int) *discoveryv1.EndpointSlice {
	port := int32(8080)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "changing", Labels: map[string]string{discoveryv1.LabelServiceName: "changing"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: &port}},
	}
	for node, count := range nodes {
		for range count {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
				NodeName: &node, Addresses: []string{fmt.Sprintf("198.51.100.%d", 1+len(slice.Endpoints))},
			})
		}
	}
	return slice
}
