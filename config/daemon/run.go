package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
)

// Set at link time.
var (
	version = "v0.0.0-dev"
	commit  = "unknown"
)

// Version of the program, as given at link time.
func Version() string { return version }

// Program is one of the two processes.
type Program struct {
	// Name is "controller" or "speaker".
	Name string
	// Options are the common flags; Flags holds them and the program's own.
	Options *Options
	Flags   *pflag.FlagSet
	// Run does the work until the context ends, which SIGINT and SIGTERM
	// bring about. An error is logged and makes the exit status 1.
	Run func(ctx context.Context, env Env) error
}

// Env is what a running program is given.
type Env struct {
	Log     *slog.Logger
	Metrics *prometheus.Registry
	Health  *Health
}

// Main runs a program and returns its exit status: 0 after a graceful stop, 1
// after a failure, 2 when the command line is wrong. A second signal ends the
// process at once.
func Main(p Program, args []string) int {
	switch err := p.Options.Parse(p.Flags, args); {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case errors.Is(err, ErrVersion):
		fmt.Printf("baliza-%s %s (%s, %s)\n", p.Name, version, commit, runtime.Version())
		return 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "baliza-%s: %v (see --help)\n", p.Name, err)
		return 2
	}
	log, err := p.Options.Logger()
	if err != nil {
		fmt.Fprintf(os.Stderr, "baliza-%s: %v\n", p.Name, err)
		return 2
	}
	klog.SetSlogLogger(log.With("component", "client-go"))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	log.Info("starting", "program", p.Name, "version", version, "commit", commit)
	if err := p.serve(ctx, log); err != nil {
		log.Error("stopped", "error", err)
		return 1
	}
	log.Info("stopped")
	return 0
}

// serve runs the admin port beside the program; when either fails both stop.
func (p Program) serve(ctx context.Context, log *slog.Logger) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	env := Env{Log: log, Metrics: registry(p.Name), Health: NewHealth()}

	admin, err := listenAdmin(ctx, p.Options.AdminAddress, env)
	if err != nil {
		return err
	}
	go func() {
		if err := admin.serve(); err != nil {
			cancel(fmt.Errorf("admin port: %w", err))
		}
	}()
	defer admin.close()

	err = p.Run(ctx, env)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// registry has the metrics that every process of ours exports.
func registry(program string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "baliza_build_info",
		Help:        "Always 1; the labels tell what is running.",
		ConstLabels: prometheus.Labels{"program": program, "version": version, "commit": commit, "go_version": runtime.Version()},
	})
	info.Set(1)
	r.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
