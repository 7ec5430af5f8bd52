package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// shelf is a cluster of Services that change when they are put there.
type shelf struct {
	mu    sync.Mutex
	items map[string]*corev1.Service
	pools []*v1beta1.IPAddressPool
}

func (s *shelf) put(svc *corev1.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items[config.ServiceKey(svc)] = svc
}

func (s *shelf) Service(namespace, name string) *corev1.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.items[namespace+"/"+name]
}

func (s *shelf) ReadServices(context.Context) ([]*corev1.Service, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*corev1.Service, 0, len(s.items))
	for _, svc := range s.items {
		all = append(all, svc)
	}
	return all, nil
}

func (s *shelf) ReadPools(context.Context) ([]*v1beta1.IPAddressPool, error) { return s.pools, nil }

func (s *shelf) NamespaceLabels(string) labels.Set { return labels.Set{} }

// hanging is a writer whose requests about one namespace hang.
type hanging struct {
	namespace string
	wrote     chan string
}

func (h hanging) Write(ctx context.Context, w kube.ServiceWrite) (*corev1.Service, error) {
	if w.Before.Namespace == h.namespace {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	svc := w.Before.DeepCopy()
	svc.Status.Conditions = w.Conditions
	svc.Annotations, svc.Finalizers = w.Annotations(), []string{v1beta1.Finalizer}
	vip := corev1.LoadBalancerIPModeVIP
	for _, a := range w.Addresses {
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a.String(), IPMode: &vip})
	}
	svc.ResourceVersion += "0"
	h.wrote <- config.ServiceKey(svc)
	return svc, nil
}

func (h hanging) Get(ctx context.Context, namespace, _ string) (*corev1.Service, error) {
	if namespace == h.namespace {
		<-ctx.Done()
	}
	return nil, ctx.Err()
}

func benchLoop(services *shelf, writer Writer, pools ...*v1beta1.IPAddressPool) *Reconciler {
	services.pools = pools
	return New(Dependencies{
		Cluster: services, Configuration: &static{pools: pools}, Writer: writer, StatusWriter: &noStatus{}, Recorder: &events{},
		Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler), Leading: func() bool { return true }, Now: time.Now,
	}, Options{ServeClassless: true, Parallel: 32})
}

func benchService(namespace string, n int, families ...corev1.IPFamily) *corev1.Service {
	name, prefer := fmt.Sprintf("s%d", n), corev1.IPFamilyPolicyPreferDualStack
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID(namespace + name), ResourceVersion: "1", CreationTimestamp: metav1.NewTime(time.Unix(int64(n), 0)),
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, IPFamilies: families, IPFamilyPolicy: &prefer,
			Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 80}},
		},
	}
}

// BenchmarkWake10k is what it costs, beside 10,000 that wait for a family that no
// pool has or for an address of a pool that is full, to give one that was freed.
func BenchmarkWake10k(b *testing.B) {
	services := &shelf{items: make(map[string]*corev1.Service)}
	for n := range 10_000 {
		services.put(benchService("default", n, corev1.IPv4Protocol, corev1.IPv6Protocol))
	}
	r := benchLoop(services, hanging{wrote: make(chan string, 1<<16)}, poolNamed("lan", 1, noRest, "198.18.0.0-198.18.19.135")) // for half of them
	if err := r.begin(b.Context()); err != nil {
		b.Fatal(err)
	}
	freed := 0
	for b.Loop() {
		r.allocator.Release(fmt.Sprintf("default/s%d", freed%5000))
		r.wakePending()
		freed++
	}
	if r.pending.len() != 10_000 {
		b.Errorf("%d wait", r.pending.len())
	}
}

// BenchmarkTenantWait is how long the Service of one tenant waits for its
// address while the writes of 200 of another hang.
func BenchmarkTenantWait(b *testing.B) {
	services := &shelf{items: make(map[string]*corev1.Service)}
	writer := hanging{"bad", make(chan string, 16)}
	r := benchLoop(services, writer, poolNamed("lan", 1, noRest, "198.18.0.0-198.18.255.255"))
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	time.Sleep(100 * time.Millisecond) // it is open
	for n := range 200 {
		services.put(benchService("bad", n, corev1.IPv4Protocol))
		r.Changed(kube.KindService, fmt.Sprintf("bad/s%d", n))
	}
	time.Sleep(2 * firstTimeout) // the first have failed, and are tried again
	n := 0
	for b.Loop() {
		svc := benchService("good", n, corev1.IPv4Protocol)
		services.put(svc)
		r.Changed(kube.KindService, config.ServiceKey(svc))
		for key := ""; key != config.ServiceKey(svc); {
			key = <-writer.wrote
		}
		n++
	}
}
