package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/e2e/bench/figures"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
	"github.com/baliza-lb/baliza/e2e/probe"
)

const (
	namespace = "bench"
	client    = "c1"
	interval  = 10 * time.Millisecond
	ceiling   = time.Hour
)

func main() {
	code, inside := lab.Enter(lab.Outside{})
	if !inside {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, ceiling)
	b := &bench{began: time.Now(), values: map[string]string{}}
	err := b.run(ctx)
	if b.c != nil {
		b.c.Close()
	}
	cancel()
	stop()
	if err != nil {
		fmt.Printf("bench-failover: failed: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
}

type bench struct {
	began   time.Time
	c       *cluster.Cluster
	trials  int
	v4, v6  netip.Addr
	all     []netip.Addr // of these and more Services: see several
	peer    bool
	rows    []figures.Row
	values  map[string]string
	example []probe.Attempt // of the first cut, for the timeline
	cutAt   time.Time
}

func (b *bench) say(format string, args ...any) {
	fmt.Printf("%7.1fs  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// figure records the samples under the name of a row and of a figure.
func (b *bench) figure(key, name string, samples []time.Duration, of func([]time.Duration) time.Duration) {
	b.rows = append(b.rows, figures.Row{Name: name, Samples: samples})
	if key != "" && len(samples) > 0 {
		b.values[key] = strconv.FormatInt(of(samples).Milliseconds(), 10)
	}
}

func (b *bench) start(ctx context.Context) error {
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	config := lab.Config{Nodes: max(1, figures.Number("NODES", 3)), Clients: 2, Log: quiet}
	b.trials = figures.Number("TRIALS", 20)
	manifests := os.Getenv("PEER_MANIFESTS")
	b.peer = manifests != ""
	b.say("starting a cluster of %d nodes", config.Nodes)
	install := b.ours
	if b.peer {
		install = b.theirs
	}
	if err := install(ctx, config, manifests); err != nil {
		return err
	}
	if err := b.c.Web(ctx, namespace, config.Nodes); err != nil {
		return err
	}
	if _, err := b.c.Service(ctx, namespace, "web", func(s *corev1.Service) { cluster.DualStack(s) }); err != nil {
		return err
	}
	addresses, err := b.c.WaitAddresses(ctx, namespace, "web", 2)
	if err != nil {
		return err
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	b.v4, b.v6 = addresses[0], addresses[1]
	for _, a := range addresses {
		if err := b.answered(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) ours(ctx context.Context, config lab.Config, _ string) error {
	c, err := cluster.Start(ctx, config)
	if err != nil {
		return err
	}
	b.c = c
	if err := c.Advertise(ctx, namespace, namespace); err != nil {
		return err
	}
	return c.Pool(ctx, namespace, []string{"198.19.200.0/28", "2001:db8:4:0:200::/124"}, namespace)
}

func (b *bench) theirs(ctx context.Context, config lab.Config, manifests string) error {
	config.Images = strings.Split(os.Getenv("PEER_IMAGES"), ",")
	l, err := lab.Start(ctx, config)
	if err != nil {
		return err
	}
	b.c = &cluster.Cluster{Lab: l}
	raw, err := os.ReadFile(manifests)
	if err == nil {
		err = l.Apply(ctx, string(raw))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", manifests, err)
	}
	return nil
}

// answered waits until the client gets the page.
func (b *bench) answered(ctx context.Context, a netip.Addr) error {
	return lab.WaitFor(ctx, fmt.Sprintf("an answer from %s", a), func() (bool, error) {
		_, _, err := b.c.Fetch(ctx, client, a)
		return err == nil, nil
	})
}

func (b *bench) run(ctx context.Context) error {
	if err := b.start(ctx); err != nil {
		return err
	}
	parts := []func(context.Context) error{b.cuts, b.secondCuts}
	if !b.peer {
		parts = append(parts, b.planned, b.fast, b.many, b.starved, b.stops, b.blocked, b.deaf, b.forged)
	}
	// Last, since a link that goes down from inside loses routes for good.
	parts = append(parts, b.otherFailures)
	var failed error
	for _, part := range parts {
		if failed = part(ctx); failed != nil {
			break
		}
	}
	figures.Table(os.Stdout, "longest time without an answer", b.rows)
	picture := figures.Timeline{
		Title: "One TCP connection every 10 ms to an address whose owner loses its link",
		Event: "link cut", At: b.cutAt, Attempts: b.example,
	}
	if err := picture.Write("l2-failover.svg"); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	keys := []string{
		"l2_cut_median_ms", "l2_cut_worst_ms", "l2_cut_v6_median_ms", "l2_cut_fast_median_ms", "l2_second_cut_ms", "l2_heal_one_owner_ms",
		"l2_planned_lost", "l2_restart_lost", "l2_cut_2000_last_ms", "l2_false_failovers",
		"l2_starved_moves", "l2_silent_300ms_moves", "l2_frozen_ms", "l2_killed_ms", "l2_blocked_port_owners", "l2_deaf_stolen", "l2_forged_lost",
	}
	fmt.Println(figures.Line(keys, b.values, b.trials))
	return nil
}
