// Command bgp takes the figures of BGP on the lab, with FRR as the router: what
// a client behind it loses while nodes are cut off, restarted and drained and
// peers are edited, and how long ten thousand routes take. "make bench-bgp" runs it; the last line
// has the figures.
//
// Environment: TRIALS (20) of each kind of failure, ROUTES (10000) to announce;
// 0 leaves the part out.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/bench/figures"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
	"github.com/baliza-lb/baliza/e2e/probe"
)

const (
	name     = "bench" // of all objects
	client   = "c1"    // is behind the router
	victim   = "n2"
	interval = 10 * time.Millisecond
	// ceiling catches a hang. What takes longest is the API server's making of 10,000
	// Services, each a little slower than the one before.
	ceiling = 45 * time.Minute
)

func main() {
	benchmarks := flag.String("benchmarks", "", "the output of the Go benchmark of a speaker's pass, if there is one")
	flag.Parse()
	code, inside := lab.Enter(lab.Outside{})
	if !inside {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, ceiling)
	b := &bench{
		began: time.Now(), values: map[string]string{},
		trials: figures.Number("TRIALS", 20), routes: figures.Number("ROUTES", 10_000),
	}
	err := b.deadPeers(*benchmarks)
	if err == nil {
		err = b.run(ctx)
	}
	if b.Cluster != nil {
		b.Close()
	}
	cancel()
	stop()
	if err != nil {
		fmt.Printf("bench-bgp: failed: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
	fmt.Println(figures.Line([]string{
		"bgp_10k_announce_s", "bgp_10k_withdraw_s", "bgp_cut_holdtimer_ms", "bgp_cut_bfd_median_ms", "bgp_cut_bfd_worst_ms",
		"bgp_heal_back_s", "bgp_restart_gr_lost", "bgp_drain_lost", "bgp_one_change_ms_at_10k", "bgp_edit_lost", "bgp_pass_ms_64_dead_peers",
	}, b.values, b.trials))
}

// passLine is that of the benchmark of a pass that dead peers bring about.
var passLine = regexp.MustCompile(`(?m)^BenchmarkPass64DeadPeersAt10000\S*\s+\d+\s+([0-9.]+) ns/op`)

type bench struct {
	*cluster.Cluster
	began          time.Time
	trials, routes int
	r1             *cluster.Router
	nodes          []netip.Addr // n1 and on
	v4             netip.Addr   // announced by n1 and n2
	rows           []figures.Row
	values         map[string]string
	picture        figures.Timeline
}

// deadPeers takes the best of several runs of that benchmark.
func (b *bench) deadPeers(file string) error {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	best := math.Inf(1)
	for _, match := range passLine.FindAllStringSubmatch(string(text), -1) {
		ns, err := strconv.ParseFloat(match[1], 64)
		if err != nil {
			return fmt.Errorf("%s: %w", match[0], err)
		}
		best = min(best, ns)
	}
	if math.IsInf(best, 1) {
		return fmt.Errorf("%s has no figure of the pass", file)
	}
	b.values["bgp_pass_ms_64_dead_peers"] = strconv.FormatFloat(best/float64(time.Millisecond), 'f', 1, 64)
	return nil
}

func (b *bench) say(format string, args ...any) {
	fmt.Printf("%7.1fs  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

func (b *bench) row(name string, samples []time.Duration, note string) {
	b.rows = append(b.rows, figures.Row{Name: name, Samples: samples, Note: note})
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) }

func (b *bench) run(ctx context.Context) error {
	if err := b.start(ctx); err != nil {
		return err
	}
	var failed error
	for _, part := range []func(context.Context) error{b.holdTimer, b.bfd, b.restarts, b.drains, b.edits, b.many} {
		if failed = part(ctx); failed != nil {
			break
		}
	}
	figures.Table(os.Stdout, "BGP, FRR", b.rows)
	if b.picture.Event != "" {
		if err := b.picture.Write("bgp-failover.svg"); err != nil {
			return err
		}
	}
	return failed
}

// start makes a cluster with one Service that FRR sends to n1 and n2, and waits
// until both serve it.
func (b *bench) start(ctx context.Context) error {
	b.say("starting a cluster of 3 nodes, and FRR")
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, err := cluster.Start(ctx, lab.Config{Nodes: 3, Clients: 2, Log: quiet})
	if err != nil {
		return err
	}
	b.Cluster = c
	for _, node := range []string{"n1", victim, "n3"} {
		host, err := c.Host(node)
		if err != nil {
			return err
		}
		b.nodes = append(b.nodes, host.IPv4)
	}
	// A router shares by connections, not by pairs of addresses.
	if _, err := c.Exec(ctx, "r1", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/fib_multipath_hash_policy"); err != nil {
		return err
	}
	if b.r1, err = c.FRR(ctx, "r1", cluster.FRRConfig); err != nil {
		return err
	}
	if err := c.Web(ctx, name, 3); err != nil {
		return err
	}
	if err := c.Pool(ctx, name, []string{"203.0.113.0/28"}, name); err != nil {
		return err
	}
	two := func(a *v1beta1.BGPAdvertisementSpec) {
		a.NodeSelectors = []metav1.LabelSelector{{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: corev1.LabelHostname, Operator: metav1.LabelSelectorOpIn, Values: []string{"n1", victim}},
		}}}
	}
	if err := c.AdvertiseBGP(ctx, name, two, name); err != nil {
		return err
	}
	if err := c.Peer(ctx, name, b.r1.Host.IPv4.String(), nil); err != nil {
		return err
	}
	if err := b.profile(ctx); err != nil {
		return err
	}
	_, err = c.Service(ctx, name, "web", func(s *corev1.Service) {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	})
	if err != nil {
		return err
	}
	addresses, err := c.WaitAddresses(ctx, name, "web", 1)
	if err != nil {
		return err
	}
	b.v4 = addresses[0]
	if err := b.hops(ctx, b.nodes[:2]...); err != nil {
		return err
	}
	return b.served(ctx)
}

// served waits until both nodes answer another client, and answer always. The
// client itself must not ask too early: a node remembers connections that it
// passed on before kube-proxy was ready, and does the same to a later one from
// the same port.
func (b *bench) served(ctx context.Context) error {
	return lab.WaitFor(ctx, "both nodes to serve "+b.v4.String(), func() (bool, error) {
		prober := b.Probe(ctx, "c2", netip.AddrPortFrom(b.v4, 80), interval)
		time.Sleep(500 * time.Millisecond)
		report := prober.Stop()
		return len(report.Failures) == 0 && len(report.Nodes) == 2, nil
	})
}

func (b *bench) probe(ctx context.Context) *probe.Prober {
	return b.Probe(ctx, client, netip.AddrPortFrom(b.v4, 80), interval)
}

// hops waits until the router sends the Service to these nodes.
func (b *bench) hops(ctx context.Context, nodes ...netip.Addr) error {
	var want []string
	for _, n := range nodes {
		want = append(want, n.String())
	}
	return lab.WaitFor(ctx, fmt.Sprintf("%s to go to %v", b.v4, want), func() (bool, error) {
		have, err := b.r1.NextHops(ctx, cluster.HostPrefix(b.v4))
		return slices.Equal(have, want), err
	})
}
