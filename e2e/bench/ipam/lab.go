package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/baliza-lb/baliza/e2e/bench/figures"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

const (
	namespace = "bench"
	// inFlight is how many requests the bare writes have under way.
	inFlight = 32
	// pause lets the cluster come to rest between measurements.
	pause = 3 * time.Second
	// atRest is longer than the controller waits before it says that nobody
	// announces an address.
	atRest = 15 * time.Second
	// ceiling catches a hang.
	ceiling = 20 * time.Minute
)

// rates of the whole way, in addresses or writes a second, and the one in
// proportion to the other: the median of each.
type rates struct {
	rate, raw, ratio float64
}

// bench is a lab with many Services.
type bench struct {
	*cluster.Cluster
	client kubernetes.Interface
	count  int
	out    io.Writer
}

// endToEnd lets Services wait for a controller, starts it, and measures until
// the last of them shows its address, several times, each beside bare writes of
// the same minute; then it starts the controller once more.
func endToEnd(ctx context.Context, count, rounds int, out io.Writer) (rates, error) {
	ctx, cancel := context.WithTimeout(ctx, ceiling)
	defer cancel()
	c, err := cluster.Start(ctx, lab.Config{Nodes: 1})
	if err != nil {
		return rates{}, err
	}
	defer c.Close()
	b := &bench{Cluster: c, count: count, out: out}
	config := rest.CopyConfig(c.Admin)
	config.QPS, config.Burst = -1, 0
	config.ContentType, config.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf"
	if b.client, err = kubernetes.NewForConfig(config); err != nil {
		return rates{}, err
	}
	if err := b.prepare(ctx); err != nil {
		return rates{}, err
	}
	var served, raws, ratios []float64
	for round := range rounds {
		if round > 0 {
			if err := b.takeBack(ctx); err != nil {
				return rates{}, err
			}
		}
		raw, err := b.bareWrites(ctx, round)
		if err != nil {
			return rates{}, err
		}
		rate, err := b.serve(ctx)
		if err != nil {
			return rates{}, err
		}
		fmt.Fprintf(out, "round %d of %d: %.0f and %.0f a second, %.2f\n", round+1, rounds, rate, raw, rate/raw)
		served, raws, ratios = append(served, rate), append(raws, raw), append(ratios, rate/raw)
	}
	return rates{rate: figures.Median(served), raw: figures.Median(raws), ratio: figures.Median(ratios)}, b.restart(ctx)
}

// takeBack stops the controller and makes the Services as they were before it.
func (b *bench) takeBack(ctx context.Context) error {
	if err := b.stopController(ctx); err != nil {
		return err
	}
	all, err := b.named(ctx, "s-")
	if err != nil {
		return err
	}
	return b.each(len(all), func(i int) error {
		svc := all[i]
		svc.Finalizers, svc.Annotations, svc.Status = nil, nil, corev1.ServiceStatus{}
		_, err := b.client.CoreV1().Services(namespace).UpdateStatus(ctx, svc, metav1.UpdateOptions{})
		return err
	})
}

// named are the Services whose names begin so.
func (b *bench) named(ctx context.Context, prefix string) ([]*corev1.Service, error) {
	list, err := b.client.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var all []*corev1.Service
	for i := range list.Items {
		if strings.HasPrefix(list.Items[i].Name, prefix) {
			all = append(all, &list.Items[i])
		}
	}
	return all, nil
}

func (b *bench) scale(ctx context.Context, replicas int) error {
	_, err := b.Kubectl(ctx, "-n", cluster.Namespace, "scale", "deployment/baliza-controller", fmt.Sprintf("--replicas=%d", replicas))
	return err
}

func (b *bench) stopController(ctx context.Context) error {
	if err := b.scale(ctx, 0); err != nil {
		return err
	}
	return lab.WaitFor(ctx, "the controller to end", func() (bool, error) { return len(b.controllers()) == 0, nil })
}

// controllers are the processes of the controller.
func (b *bench) controllers() []*lab.Process {
	var found []*lab.Process
	for _, p := range b.Processes("") {
		if strings.Contains(p.Name, "/baliza-controller-") {
			found = append(found, p)
		}
	}
	return found
}

// prepare stops the controller and creates the Services: those that it is to
// serve, and some of a foreign class for the bare writes.
func (b *bench) prepare(ctx context.Context) error {
	if err := b.stopController(ctx); err != nil {
		return err
	}
	if _, err := b.Kubectl(ctx, "create", "namespace", namespace); err != nil {
		return err
	}
	if err := b.Pool(ctx, "bench", []string{"198.18.0.0/16"}); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%d Services to serve and as many to write to, without a controller\n", b.count)
	foreign, no := "example.com/other", false
	create := func(name string, class *string) error {
		_, err := b.client.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: class, AllocateLoadBalancerNodePorts: &no,
				Ports: []corev1.ServicePort{{Port: 80}},
			},
		}, metav1.CreateOptions{})
		return err
	}
	began := time.Now()
	return b.each(b.count, func(i int) error {
		if i%1000 == 999 {
			fmt.Fprintf(b.out, "%d created after %s\n", i+1, time.Since(began).Round(time.Second))
		}
		if err := create(fmt.Sprintf("raw-%d", i), &foreign); err != nil {
			return err
		}
		return create(fmt.Sprintf("s-%d", i), nil)
	})
}

// each does something for every number, some at a time.
func (b *bench) each(count int, do func(int) error) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	for range inFlight {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < count && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	workers.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// bareWrites is how many statuses a second this API server takes: of as many
// Services as are served, since who watches them all slows it down.
func (b *bench) bareWrites(ctx context.Context, round int) (float64, error) {
	time.Sleep(pause)
	all, err := b.named(ctx, "raw-")
	if err != nil {
		return 0, err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() { // as when addresses are served
		_ = b.watch(watching, func(*corev1.Service) {}, func() bool { return false })
	}()
	began := time.Now()
	err = b.each(b.count, func(i int) error {
		n := round*b.count + i // another value each time
		all[i].Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: fmt.Sprintf("198.19.%d.%d", n>>8&255, n&255)}}
		_, err := b.client.CoreV1().Services(namespace).UpdateStatus(ctx, all[i], metav1.UpdateOptions{})
		return err
	})
	rate := float64(b.count) / time.Since(began).Seconds()
	fmt.Fprintf(b.out, "bare status writes, %d in flight: %.0f a second\n", inFlight, rate)
	return rate, err
}

// serve starts a controller and waits until every Service shows an address.
// The clock starts with the controller's process.
func (b *bench) serve(ctx context.Context) (float64, error) {
	time.Sleep(pause)
	began := time.Now()
	if err := b.scale(ctx, 1); err != nil {
		return 0, err
	}
	shown := make(map[string]bool, b.count)
	var first, last time.Time
	writes := 0
	note := func(svc *corev1.Service) {
		if !strings.HasPrefix(svc.Name, "s-") || len(svc.Status.LoadBalancer.Ingress) == 0 {
			return
		}
		writes++
		if shown[svc.Name] {
			return
		}
		shown[svc.Name] = true
		if last = time.Now(); first.IsZero() {
			first = last
		}
		if len(shown)%1000 == 0 {
			fmt.Fprintf(b.out, "%d have an address after %s\n", len(shown), last.Sub(first).Round(time.Millisecond))
		}
	}
	for ctx.Err() == nil && len(shown) < b.count {
		if err := b.watch(ctx, note, func() bool { return len(shown) == b.count }); err != nil {
			return 0, err
		}
	}
	if len(shown) < b.count {
		return 0, fmt.Errorf("%d of %d Services have an address: %w", len(shown), b.count, ctx.Err())
	}
	for _, p := range b.controllers() {
		began = p.Started
		fmt.Fprintf(b.out, "resident memory of the controller: %s\n", resident(p.PID))
	}
	fmt.Fprintf(b.out, "%d changes of %d Services until then\n", writes, len(shown))
	fmt.Fprintf(b.out, "from the controller's start to the first address %s, to the last %s: %.0f a second between them\n",
		first.Sub(began).Round(time.Millisecond), last.Sub(began).Round(time.Millisecond), float64(b.count-1)/last.Sub(first).Seconds())
	return float64(b.count) / last.Sub(began).Seconds(), nil
}

// watch tells of every Service and every change, until done says so, or until
// the API server ends it, as it does to one that is slow.
func (b *bench) watch(ctx context.Context, note func(*corev1.Service), done func() bool) error {
	watch, err := b.client.CoreV1().Services(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	defer watch.Stop()
	for event := range watch.ResultChan() {
		if svc, ok := event.Object.(*corev1.Service); ok {
			note(svc)
		}
		if done() {
			break
		}
	}
	return nil
}

// resident is the resident memory of a process, as the kernel says it.
func resident(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// versions of all Services, by name.
func (b *bench) versions(ctx context.Context) (map[string]string, error) {
	list, err := b.client.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	all := make(map[string]string, len(list.Items))
	for i := range list.Items {
		all[list.Items[i].Name] = list.Items[i].ResourceVersion
	}
	return all, nil
}

// settle waits until nobody writes Services any more: what the speakers say of
// the addresses follows the addresses.
func (b *bench) settle(ctx context.Context) (map[string]string, error) {
	fmt.Fprintln(b.out, "waiting until no Service changes any more")
	var last map[string]string
	for {
		now, err := b.versions(ctx)
		if err != nil || maps.Equal(now, last) {
			return now, err
		}
		last = now
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the Services still change: %w", ctx.Err())
		case <-time.After(atRest):
		}
	}
}

// restart starts the controller anew and sees that it writes no Service.
func (b *bench) restart(ctx context.Context) error {
	before, err := b.settle(ctx)
	if err != nil {
		return err
	}
	if err := b.stopController(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := b.scale(ctx, 1); err != nil {
		return err
	}
	took := time.Duration(0)
	err = lab.WaitFor(ctx, "the controller to take in the cluster", func() (bool, error) {
		for _, p := range b.controllers() {
			began = p.Started
			if strings.Contains(b.Log(p.Name), "initial sync complete") {
				took = time.Since(began)
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	time.Sleep(pause)
	after, err := b.versions(ctx)
	if err != nil {
		return err
	}
	written := 0
	for name, version := range before {
		if after[name] != version {
			written++
		}
	}
	fmt.Fprintf(b.out, "restart with %d assigned Services: at work after %s, %d of them written\n", b.count, took.Round(time.Millisecond), written)
	if written > 0 {
		return fmt.Errorf("a restart wrote %d Services", written)
	}
	return nil
}
