package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// kubeconfigName is the file that a kept demonstration leaves in the current
// folder while it runs.
const kubeconfigName = "lab.kubeconfig"

// demo shows the whole way of one Service, with times. Its last line sums up.
func demo(args []string) int {
	if len(args) > 0 {
		return fail(fmt.Errorf("demo takes no arguments, got %q", args[0]))
	}
	keep := os.Getenv("KEEP") == "1"
	var outside lab.Outside
	if keep {
		file, err := filepath.Abs(kubeconfigName)
		if err != nil {
			return fail(err)
		}
		outside.Kubeconfig = file
	}
	code, inside := lab.Enter(outside)
	if !inside {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, demoCeiling)
	show := &show{began: time.Now()}
	result, c, err := show.run(ctx)
	cancel()
	if c != nil {
		defer c.Close()
	}
	if err != nil {
		fmt.Printf("demo: failed %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	if keep {
		stayUp(c, outside.Kubeconfig)
	}
	fmt.Println(result)
	return 0
}

// demoCeiling catches a hang; a demonstration takes half a minute.
const demoCeiling = 5 * time.Minute

// show prints what happens, each line with the seconds since the beginning.
type show struct {
	began time.Time
	c     *cluster.Cluster
}

func (s *show) say(format string, args ...any) {
	fmt.Printf("%6.2fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// quote prints what another host said, indented.
func (s *show) quote(text string) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		fmt.Printf("         | %s\n", strings.TrimRight(line, "\n"))
	}
}

const (
	demoNamespace = "demo"
	demoClient    = "c1"
	demoPool      = "demo"
	// probeEvery is how often the client opens a connection while it is watched.
	probeEvery = 10 * time.Millisecond
)

func (s *show) run(ctx context.Context) (result string, c *cluster.Cluster, err error) {
	s.say("starting etcd, kube-apiserver, controller-manager, scheduler; three nodes with containerd, kubelet and kube-proxy; a client and a router")
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if s.c, err = cluster.StartEmpty(ctx, lab.Config{Log: quiet}); err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.c.DumpLogs(os.Getenv("LAB_ARTIFACTS")))
		}
	}()
	installed, err := s.install(ctx)
	if err != nil {
		return "", s.c, err
	}
	s.kubectl(ctx, "get", "pods", "-A", "-o", "custom-columns=NAME:.metadata.name,NODE:.spec.nodeName,IP:.status.podIP,PHASE:.status.phase")
	if err := s.pending(ctx); err != nil {
		return "", s.c, err
	}
	v4, v6, assigned, first, err := s.assigned(ctx)
	if err != nil {
		return "", s.c, err
	}
	for _, a := range []netip.Addr{v4, v6} {
		if err := s.exchange(ctx, a); err != nil {
			return "", s.c, err
		}
	}
	failover, err := s.failover(ctx, v4)
	if err != nil {
		return "", s.c, err
	}
	return fmt.Sprintf("demo: ok helm_install_ms=%d assigned_ms=%d first_answer_ms=%d v6=ok failover_ms=%d",
		installed.Milliseconds(), assigned.Milliseconds(), first.Milliseconds(), failover.Milliseconds()), s.c, nil
}

func (s *show) kubectl(ctx context.Context, args ...string) {
	out, err := s.c.Kubectl(ctx, args...)
	if err != nil {
		out = err.Error()
	}
	s.quote(out)
}

// values are the chart's in the demonstration. Pool and advertisement could be
// among them; they come later, by hand, to show what a Service says until then.
const values = `# Services that name no loadBalancerClass are served, too.
serveClassless: true
controller:
  replicas: 2
`

// install installs Baliza as users do, and returns how long Helm took.
func (s *show) install(ctx context.Context) (time.Duration, error) {
	s.say("the cluster is up; helm install baliza deploy/helm/baliza --namespace baliza-system --create-namespace --wait, with these values:")
	s.quote(values)
	began := time.Now()
	if err := s.c.Install(ctx, values); err != nil {
		return 0, err
	}
	took := time.Since(began)
	s.say("installed in %d ms:", took.Milliseconds())
	return took, nil
}

// pending shows a Service that nobody can serve yet, and why.
func (s *show) pending(ctx context.Context) error {
	if err := s.c.Web(ctx, demoNamespace, 3); err != nil {
		return err
	}
	s.say("three web pods run; creating the dual-stack Service web of type LoadBalancer")
	if _, err := s.c.Service(ctx, demoNamespace, "web", cluster.DualStack); err != nil {
		return err
	}
	var why string
	err := lab.WaitFor(ctx, "the Service to say why it is pending", func() (bool, error) {
		svc, err := s.c.Client.CoreV1().Services(demoNamespace).Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		condition := cluster.Condition(svc.Status.Conditions, v1beta1.ConditionAllocated)
		if condition == nil {
			return false, nil
		}
		why = fmt.Sprintf("%s: %s", condition.Reason, condition.Message)
		return true, nil
	})
	if err != nil {
		return err
	}
	s.kubectl(ctx, "-n", demoNamespace, "get", "service", "web")
	s.say("pending, because %s", why)
	return nil
}

// assigned applies a pool and an advertisement and takes the time until the
// Service has its addresses and the client its first answer.
func (s *show) assigned(ctx context.Context) (v4, v6 netip.Addr, assigned, first time.Duration, err error) {
	s.say("applying an IPAddressPool of both families and an L2Advertisement")
	if err := s.c.Advertise(ctx, demoPool, demoPool); err != nil {
		return v4, v6, assigned, first, err
	}
	began := time.Now()
	if err := s.c.Pool(ctx, demoPool, []string{"192.0.2.200-192.0.2.250", "2001:db8:1::200-2001:db8:1::2ff"}); err != nil {
		return v4, v6, assigned, first, err
	}
	addresses, err := s.c.WaitAddresses(ctx, demoNamespace, "web", 2)
	if err != nil {
		return v4, v6, assigned, first, err
	}
	assigned = time.Since(began)
	v4, v6 = addresses[0], addresses[1]
	if v4.Is6() {
		v4, v6 = v6, v4
	}
	s.say("assigned %s and %s, %d ms after the pool", v4, v6, assigned.Milliseconds())
	prober := s.c.Probe(ctx, demoClient, netip.AddrPortFrom(v4, 80), probeEvery)
	err = lab.WaitFor(ctx, "the client's first answer", func() (bool, error) {
		return prober.Report().Successes > 0, nil
	})
	for _, attempt := range prober.Attempts() {
		if end := attempt.Start.Add(attempt.Latency).Sub(began); attempt.Err == nil && (first == 0 || end < first) {
			first = end
		}
	}
	prober.Stop()
	if err == nil {
		s.say("first answer to the client, %d ms after the pool", first.Milliseconds())
		s.kubectl(ctx, "-n", demoNamespace, "get", "service", "web")
	}
	return v4, v6, assigned, first, err
}

// exchange shows how the client finds the owner of an address, and who answers
// ten requests.
func (s *show) exchange(ctx context.Context, a netip.Addr) error {
	filter, words := "arp and host "+a.String(), "ARP"
	if a.Is6() {
		filter, words = "icmp6 and (ip6[40] == 135 or ip6[40] == 136)", "NDP"
	}
	if _, err := s.c.Exec(ctx, demoClient, "ip", "neigh", "flush", "dev", "eth0"); err != nil {
		return err
	}
	capture, err := s.c.Capture(ctx, demoClient, filter)
	if err != nil {
		return err
	}
	pods := map[string]int{}
	for range 10 {
		pod, node, err := s.c.Fetch(ctx, demoClient, a)
		if err != nil {
			return err
		}
		pods[pod+" on "+node]++
	}
	s.say("the %s exchange as the client saw it:", words)
	for _, packet := range capture.Stop() {
		if strings.Contains(packet.Text, a.String()) {
			s.quote(packet.Text)
		}
	}
	s.say("ten answers from %s:", a)
	for who, count := range pods {
		s.quote(fmt.Sprintf("%2d from %s", count, who))
	}
	return nil
}

// failover cuts the owner's cable under a client that connects every 10 ms and
// returns the longest time without an answer.
func (s *show) failover(ctx context.Context, a netip.Addr) (time.Duration, error) {
	owner, err := s.c.WaitOwner(ctx, demoClient, a)
	if err != nil {
		return 0, err
	}
	s.say("%s is the owner of %s (arping says so); the client now connects every 10 ms, and the cable of %s is cut", owner, a, owner)
	prober := s.c.Probe(ctx, demoClient, netip.AddrPortFrom(a, 80), probeEvery)
	if err := sleep(ctx, time.Second); err != nil {
		return 0, err
	}
	if err := s.c.Cut(owner); err != nil {
		return 0, err
	}
	var next string
	err = lab.WaitFor(ctx, "another owner", func() (bool, error) {
		var err error
		next, err = s.c.WaitOwner(ctx, "r1", a)
		return next != owner, err
	})
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, 2*time.Second); err != nil {
		return 0, err
	}
	report := prober.Stop()
	if report.Successes == 0 {
		return 0, fmt.Errorf("the client never got an answer from %s", a)
	}
	s.say("the client was without an answer for %d ms; %s is the owner now", report.Outage.Milliseconds(), next)
	s.say("(%d of %d connections failed: also those that kube-proxy sent to the pod behind the cut cable)", len(report.Failures), report.Attempts)
	return report.Outage, s.c.Heal(owner)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stayUp leaves the cluster running until Ctrl-C and says what can be tried.
func stayUp(c *cluster.Cluster, kubeconfig string) {
	if _, err := c.OfferHost(); err != nil {
		fmt.Fprintln(os.Stderr, "lab: no way in for kubectl:", err)
	}
	fmt.Printf(`
The lab stays up until Ctrl-C. In another terminal:

  export KUBECONFIG=%[1]s
  kubectl get bpool,l2adv,speakers,services -A         (or: bin/kube kubectl …)
  kubectl -n demo describe service web
  kubectl -n demo expose deployment web --name=another --type=LoadBalancer --port=80 --target-port=8080
  bin/lab exec c1 curl -s http://192.0.2.200/            (from the client)
  bin/lab exec c1 arping -c 2 192.0.2.200                (who answers?)
  bin/lab exec lan ip link set v-n1 down                 (pull n1's cable)
  bin/lab exec lan ip link set v-n1 up
  bin/lab exec o1 curl -s http://192.0.2.200/            (from outside, through the router)

`, kubeconfig)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	<-ctx.Done()
}
