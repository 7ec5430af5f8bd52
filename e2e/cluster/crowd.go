package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// unthrottled is a client that is not slowed down.
func (c *Cluster) unthrottled() (kubernetes.Interface, error) {
	config := rest.CopyConfig(c.Admin)
	config.QPS, config.Burst = -1, 0
	return kubernetes.NewForConfig(config)
}

// Crowd makes that many Services of one IPv4 address in a namespace, each with
// an EndpointSlice of the same name that has one ready endpoint, on no node in
// particular. kube-proxy leaves them alone: they are there to be announced.
func (c *Cluster) Crowd(ctx context.Context, namespace string, count int) error {
	client, err := c.unthrottled()
	if err != nil {
		return err
	}
	return each(count, func(i int) error {
		slice := crowdSlice(CrowdName(i))
		if _, err := client.DiscoveryV1().EndpointSlices(namespace).Create(ctx, slice, metav1.CreateOptions{}); err != nil {
			return err
		}
		no := false
		_, err := client.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: CrowdName(i), Labels: map[string]string{proxyLabel: "none"}},
			Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: &no, Ports: []corev1.ServicePort{{Port: 80}},
			},
		}, metav1.CreateOptions{})
		return err
	})
}

// CrowdName is the name of a Crowd's Service, from 0, and of its EndpointSlice.
func CrowdName(i int) string { return fmt.Sprintf("s-%d", i) }

// proxyLabel names another Service proxy than kube-proxy.
const proxyLabel = "service.kubernetes.io/service-proxy-name"

func crowdSlice(name string) *discoveryv1.EndpointSlice {
	yes, port := true, int32(8080)
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name, proxyLabel: "none"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"198.51.100.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}}},
		Ports:       []discoveryv1.EndpointPort{{Port: &port}},
	}
}

// each does something for every number, some at a time, until one fails.
func each(count int, do func(int) error) error {
	const inFlight = 32
	var next atomic.Int64
	failures := make(chan error, inFlight)
	var workers sync.WaitGroup
	for range inFlight {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < count && len(failures) == 0; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	workers.Wait()
	close(failures)
	return <-failures
}
