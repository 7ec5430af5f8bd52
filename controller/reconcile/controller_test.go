package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/status"
)

// events is a Recorder.
type events struct {
	mu  sync.Mutex
	all []string
}

func (e *events) ServiceEvent(svc *corev1.Service, _ bool, reason v1beta1.Reason, action, note string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, fmt.Sprintf("%s %s %s: %s", svc.Name, action, reason, note))
}

func (e *events) of(name string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, event := range e.all {
		if strings.HasPrefix(event, name+" ") {
			out = append(out, event)
		}
	}
	return out
}

// controller is one running Reconciler.
type controller struct {
	events  *events
	stop    func()
	metrics *prometheus.Registry
}

// start runs a Reconciler on the cluster until stop, or the end of the test.
func (c *cluster) start(changes ...func(*Dependencies, *Options)) *controller {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	run := &controller{events: &events{}, metrics: prometheus.NewRegistry()}
	var loop *Reconciler
	ready := make(chan struct{})
	view, err := kube.NewControllerView(c.clients, "baliza-system", config.ServiceAnnotations(), func(kind kube.Kind, key string) {
		<-ready
		loop.Changed(kind, key)
	})
	if err != nil {
		c.t.Fatal(err)
	}
	deps := Dependencies{
		Cluster: view, Configuration: view, Writer: kube.NewServices(c.clients, config.ServiceAnnotations()),
		StatusWriter: kube.NewConfigStatus(c.clients), Recorder: run.events, Metrics: NewMetrics(run.metrics),
		Log: slog.New(slog.DiscardHandler), Leading: func() bool { return true }, Now: time.Now,
	}
	options := Options{ServeClassless: true, Settle: time.Millisecond}
	for _, change := range changes {
		change(&deps, &options)
	}
	loop = New(deps, options)
	close(ready)
	view.Start(ctx)
	if !view.WaitSynced(ctx) {
		c.t.Fatal("caches did not fill")
	}
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(ctx) }()
	run.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			c.t.Errorf("loop: %v", err)
		}
		view.Wait()
	})
	c.t.Cleanup(run.stop)
	return run
}

// settle lets everything happen that is to happen: whatever waits for its time waits
// for less than this, and nobody waits for real.
func (c *cluster) settle() {
	c.t.Helper()
	time.Sleep(2*reportsEvery + status.Every)
	synctest.Wait()
}
