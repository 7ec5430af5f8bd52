package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/config/daemon"
	"github.com/baliza-lb/baliza/controller/page"
	"github.com/baliza-lb/baliza/controller/reconcile"
)

// flags of the controller, beside the common ones.
type flags struct {
	common           daemon.Options
	namespace        string
	leaderElect      bool
	serveClassless   bool
	progress         bool
	classes          []string
	membershipSecret string
	rotation         string
	concurrentWrites int
	pageAddress      string
	pageHosts        []string
}

// longestTurn of the loop: a pass over a hundred thousand Services takes
// seconds, and nothing in it waits for a request.
const longestTurn = time.Minute

func main() {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		os.Exit(runTask(os.Args[1:], os.Stdout, os.Stderr))
	}
	var f flags
	set := pflag.NewFlagSet("baliza-controller", pflag.ContinueOnError)
	f.common.AddFlags(set, ":7472")
	set.StringVar(&f.namespace, "namespace", "", "namespace of the Lease and of the membership Secret")
	set.BoolVar(&f.leaderElect, "leader-elect", true, "choose one writing replica by a Lease; switch off only where a single replica ever runs")
	set.BoolVar(&f.serveClassless, "serve-classless", true, "serve Services without a loadBalancerClass; must be the same as the speakers'")
	set.BoolVar(&f.progress, "service-progress", true,
		"set the conditions Reconciling and Stalled of Services, by which Helm, Flux and others wait for them (kstatus)")
	set.StringSliceVar(&f.classes, "load-balancer-class", []string{v1beta1.LoadBalancerClass},
		"loadBalancerClass of the Services that are always served, any number; must be the same as the speakers'")
	set.StringVar(&f.membershipSecret, "membership-secret", "baliza-membership",
		"Secret with the key of the speakers' membership, made if there is none; empty means not to make one")
	set.StringVar(&f.rotation, "membership-rotation", "",
		"rotate the membership key when this word is not that of the last rotation; empty means not to")
	set.IntVar(&f.concurrentWrites, "concurrent-service-writes", 32, "requests to write Services that may be in flight at once, from 1 to 1024")
	set.StringVar(&f.pageAddress, "page-address", fmt.Sprintf("127.0.0.1:%d", explain.PagePort),
		"address and port of the status page, which kubectl baliza page opens by a port-forward; who may reach it may read it; empty is nowhere")
	set.StringSliceVar(&f.pageHosts, "page-hosts", nil, "names by which the status page may be asked for, beside localhost and addresses, any number")
	os.Exit(daemon.Main(daemon.Program{
		Name: "controller", Options: &f.common, Flags: set,
		Run: func(ctx context.Context, env daemon.Env) error { return run(ctx, env, &f) },
	}, os.Args[1:]))
}

// check refuses what cannot work before anything is started.
func (f *flags) check() error {
	switch {
	case f.namespace == "":
		return errors.New("--namespace is required")
	case f.concurrentWrites < 1 || f.concurrentWrites > 1024:
		return fmt.Errorf("--concurrent-service-writes %d: must be from 1 to 1024", f.concurrentWrites)
	}
	if f.pageAddress != "" {
		if err := page.CheckAddress(f.pageAddress); err != nil {
			return fmt.Errorf("--page-address: %w", err)
		}
	}
	return config.CheckClasses(f.classes)
}

func run(ctx context.Context, env daemon.Env, f *flags) error {
	if err := f.check(); err != nil {
		return err
	}
	clients, err := kube.Connect(f.common.Kubeconfig, "baliza-controller/"+daemon.Version())
	if err != nil {
		return err
	}
	recorder, err := kube.NewRecorder(ctx, clients, kube.FieldManager)
	if err != nil {
		return err
	}
	defer recorder.Close()

	var loop atomic.Pointer[reconcile.Reconciler]
	var passwords atomic.Pointer[kube.Passwords]
	var status pageChanges
	view, err := kube.NewControllerView(clients, f.namespace, config.ServiceAnnotations(), func(kind kube.Kind, key string) {
		if r := loop.Load(); r != nil {
			r.Changed(kind, key)
		}
		if p := passwords.Load(); p != nil && kind == kube.KindConfig {
			p.Changed()
		}
		status.note()
	})
	if err != nil {
		return err
	}
	passwords.Store(kube.NewPasswords(clients, f.namespace, view.BGP, env.Log))
	election := kube.NewElection(clients, f.namespace, kube.ControllerLease, identity())
	leading := election.Leading
	if !f.leaderElect {
		leading = func() bool { return true }
	}
	watchdog := daemon.NewWatchdog(longestTurn, time.Now)
	env.Health.Live("loop", watchdog.Check)
	loop.Store(reconcile.New(reconcile.Dependencies{
		Cluster: view, Configuration: view,
		Writer: kube.NewServices(clients, config.ServiceAnnotations()), StatusWriter: kube.NewConfigStatus(clients),
		Recorder: recorder, Metrics: reconcile.NewMetrics(env.Metrics), Log: env.Log, Leading: leading, Now: time.Now, Watchdog: watchdog,
	}, reconcile.Options{
		ServeClassless: f.serveClassless, Classes: f.classes, Namespace: f.namespace, WithoutProgress: !f.progress, Parallel: f.concurrentWrites,
	}))

	env.Health.Ready("caches", func() error {
		if !view.Synced() {
			return errors.New("the caches are not synced yet")
		}
		return nil
	})
	view.Start(ctx)
	lead := func(ctx context.Context) error {
		env.Log.Info("became leader")
		if f.membershipSecret != "" {
			if err := ensureSecret(ctx, clients, f.namespace, f.membershipSecret, f.rotation, env.Log); err != nil {
				return err
			}
		}
		defer startSecrets(ctx, clients, f, env.Log, passwords.Load(), view.Speakers)()
		return loop.Load().Run(ctx)
	}
	if !view.WaitSynced(ctx) {
		return nil
	}
	env.Log.Info("caches synced")
	endPage, err := startPage(ctx, env, f, &pageSource{view, election, loop.Load()}, &status)
	if err != nil {
		return err
	}
	defer endPage()
	if !f.leaderElect {
		return lead(ctx)
	}
	return election.Run(ctx, lead)
}

// startSecrets starts what keeps the two Secrets of the speakers as long as this
// replica leads; what it returns ends that, and waits for the end.
func startSecrets(
	ctx context.Context, clients kube.Clients, f *flags, log *slog.Logger, passwords *kube.Passwords, speakers func() []*v1beta1.Speaker,
) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := passwords.Run(ctx); err != nil {
			log.Error("the passwords of BGP peers are not brought to the speakers", "error", err)
		}
	})
	if f.membershipSecret != "" {
		r := rotator{
			clients: clients, namespace: f.namespace, name: f.membershipSecret, wanted: f.rotation,
			speakers: speakers, log: log, now: time.Now,
		}
		wait.Go(func() { r.run(ctx) })
	}
	return func() {
		cancel()
		wait.Wait()
	}
}

// ensureSecret makes the Secret that the speakers wait for.
func ensureSecret(ctx context.Context, clients kube.Clients, namespace, name, rotation string, log *slog.Logger) error {
	made, err := kube.EnsureMembershipSecret(ctx, clients, namespace, name, rotation)
	if err != nil {
		return err
	}
	if made {
		log.Info("made the membership Secret", "namespace", namespace, "name", name)
	}
	return nil
}

// identity tells this life of this replica from all others.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "_" + string(uuid.NewUUID())
}
