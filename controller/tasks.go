package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config/daemon"
	"github.com/baliza-lb/baliza/deploy"
)

// task is something that the controller's program does once, instead of being
// the controller. The chart's hooks run them.
type task struct {
	common                 daemon.Options
	namespace, class, pool string
	timeout                time.Duration
	out                    io.Writer
}

// Names of the tasks on the command line, and of the test's Service.
const (
	taskCRDs       = "crds"
	taskDeleteCRDs = "delete-crds"
	taskRelease    = "release-services"
	taskTest       = "test"
	trialService   = "baliza-test"
)

// runTask runs the task that the first argument names and returns the exit
// status: 0 when it is done, 1 after a failure, 2 when the command line is wrong.
func runTask(args []string, out, complaints io.Writer) int {
	t := task{out: out}
	set := pflag.NewFlagSet("baliza-controller "+args[0], pflag.ContinueOnError)
	set.StringVar(&t.common.Kubeconfig, "kubeconfig", "", "kubeconfig file; empty means the pod's service account")
	set.StringVar(&t.namespace, "namespace", "baliza-system", "namespace of Baliza itself")
	set.StringVar(&t.class, "load-balancer-class", v1beta1.LoadBalancerClass, "loadBalancerClass of the test's Service")
	set.StringVar(&t.pool, "pool", "", "pool that the test takes an address of; empty means any")
	set.DurationVar(&t.timeout, "timeout", time.Minute, "how long each step may take")
	run := map[string]func(context.Context) error{
		taskCRDs: t.applyCRDs, taskDeleteCRDs: t.deleteCRDs, taskRelease: t.releaseServices, taskTest: t.test,
	}[args[0]]
	if run == nil {
		_, _ = fmt.Fprintf(complaints, "baliza-controller: unknown task %q: must be %s\n", args[0],
			strings.Join([]string{taskCRDs, taskDeleteCRDs, taskRelease, taskTest}, ", "))
		return 2
	}
	switch err := t.common.Parse(set, args[1:]); {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(complaints, "baliza-controller %s: %v (see --help)\n", args[0], err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		_, _ = fmt.Fprintf(complaints, "baliza-controller %s: %v\n", args[0], err)
		return 1
	}
	return 0
}

// say writes a line for whoever reads the pod's log.
func (t *task) say(format string, args ...any) { _, _ = fmt.Fprintf(t.out, format+"\n", args...) }

// step gives a step its time.
func (t *task) step(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, t.timeout)
}

func (t *task) crds() (*kube.CRDs, error) {
	documents, err := deploy.CRDs()
	if err != nil {
		return nil, err
	}
	clients, err := kube.Connect(t.common.Kubeconfig, "baliza-controller/"+daemon.Version())
	if err != nil {
		return nil, err
	}
	return kube.NewCRDs(clients.Dynamic, documents)
}

func (t *task) applyCRDs(ctx context.Context) error {
	ctx, cancel := t.step(ctx)
	defer cancel()
	crds, err := t.crds()
	if err != nil {
		return err
	}
	return crds.Apply(ctx, func(name string) { t.say("CRD %s is up to date", name) })
}

func (t *task) deleteCRDs(ctx context.Context) error {
	ctx, cancel := t.step(ctx)
	defer cancel()
	crds, err := t.crds()
	if err != nil {
		return err
	}
	return crds.Delete(ctx, func(name string) { t.say("CRD %s is deleted, with all objects of its kind", name) })
}

func (t *task) releaseServices(ctx context.Context) error {
	clients, err := kube.Connect(t.common.Kubeconfig, "baliza-controller/"+daemon.Version())
	if err != nil {
		return err
	}
	waiting, cancel := t.step(ctx)
	defer cancel()
	if err := kube.WaitNoLeader(waiting, clients, t.namespace, kube.ControllerLease, time.Now); err != nil {
		return err
	}
	released := 0
	err = kube.ReleaseServices(ctx, clients, func(namespace, name string) {
		released++
		t.say("Service %s/%s: the finalizer is off; its addresses stay, and nobody announces them", namespace, name)
	})
	t.say("%d Services were let go", released)
	return err
}

// test gets an address, asks it, and lets it go. The Service is deleted however
// the test ends.
func (t *task) test(ctx context.Context) error {
	clients, err := kube.Connect(t.common.Kubeconfig, "baliza-controller/"+daemon.Version())
	if err != nil {
		return err
	}
	making, cancel := t.step(ctx)
	defer cancel()
	trial, err := kube.NewTrial(making, clients, t.namespace, trialService, t.class, t.pool)
	if err != nil {
		return err
	}
	err = t.ask(ctx, trial)
	deleting, cancel := t.step(context.WithoutCancel(ctx))
	defer cancel()
	if gone := trial.Delete(deleting); gone != nil {
		return errors.Join(err, gone)
	}
	if err == nil {
		t.say("the address was let go: test passed")
	}
	return err
}

func (t *task) ask(ctx context.Context, trial *kube.Trial) error {
	ctx, cancel := t.step(ctx)
	defer cancel()
	addresses, err := trial.Announced(ctx)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		t.say("Service %s/%s has %s, and it is announced", t.namespace, trialService, a)
		if err := t.fetch(ctx, a); err != nil {
			return fmt.Errorf("%s does not answer: %w", a, err)
		}
		t.say("%s answers", a)
	}
	return nil
}

// fetch asks until it is answered: the nodes hear of a new address one after
// the other.
func (t *task) fetch(ctx context.Context, a netip.Addr) error {
	client := http.Client{Timeout: 2 * time.Second}
	for {
		err := get(ctx, &client, "http://"+netip.AddrPortFrom(a, 80).String()+"/healthz")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %s", url, response.Status)
	}
	return nil
}
