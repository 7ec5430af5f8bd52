package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// BIRD on a client is a second router; FRR hangs, and BIRD does not notice.
func TestB06_B07_A_router_that_hangs_delays_nobody(t *testing.T) {
	ctx, p := newRouted(t, 1, func(s *v1beta1.BGPPeerSpec) { s.HoldTime = &metav1.Duration{Duration: 9 * time.Second} }, nil)
	bird, err := p.BIRD(ctx, "c2", cluster.BIRDConfig)
	p.must(err)
	defer bird.Stop(context.WithoutCancel(ctx))
	other := p.name + "-bird"
	p.must(p.Peer(ctx, other, bird.Host.IPv4.String(), nil))
	defer func() {
		_, err := p.Kubectl(context.WithoutCancel(ctx), "delete", "bgppeer/"+other)
		p.must(err)
	}()
	for _, node := range []string{"n1", "n2", "n3"} {
		p.session(ctx, node, p.name, "established", isUp)
		p.session(ctx, node, other, "established", isUp)
	}
	p.must(p.Signal("r1/bgpd", unix.SIGSTOP))
	hung := time.Now()
	v4, v6 := p.made(ctx, "web", nil)
	for _, a := range []netip.Addr{v4, v6} {
		p.must(lab.WaitFor(ctx, "BIRD to know "+a.String(), func() (bool, error) {
			out, err := bird.Birdc(ctx, "show route all for "+a.String())
			return strings.Count(out, "BGP.as_path: 64513") == 3, err
		}))
	}
	if took := time.Since(hung); took > 6*time.Second {
		t.Errorf("BIRD knew after %s, while FRR hung", took)
	}
	p.session(ctx, "n1", p.name, "lost by the hold timer", func(s *v1beta1.BGPSession) bool {
		return s.State != "Established" && strings.Contains(s.LastError, "hold timer")
	})
	t.Logf("given up after %s", time.Since(hung).Round(time.Millisecond))
	p.must(p.Signal("r1/bgpd", unix.SIGCONT))
	back := time.Now()
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	if took := time.Since(back); took > 5*time.Second {
		t.Errorf("FRR had the routes %s after it went on", took)
	} else {
		t.Logf("back after %s", took.Round(time.Millisecond))
	}
	p.session(ctx, "n1", other, "still the first", func(s *v1beta1.BGPSession) bool { return isUp(s) && s.Since.Time.Before(hung) })
}

// Graceful restart must not keep a dead node's routes: BFD tells it from one
// whose speaker restarts (TestB10).
func TestB09_BFD_takes_a_dead_node_out_and_back(t *testing.T) {
	for _, variant := range []struct {
		router, configuration string
		graceful              bool
	}{{frr, cluster.FRRConfig, false}, {frr, cluster.FRRConfig, true}, {bird, cluster.BIRDConfig, true}} {
		t.Run(fmt.Sprintf("%s, graceful restart %t", variant.router, variant.graceful), func(t *testing.T) {
			ctx, p := newRoutedBy(t, variant.router, variant.configuration, 3, func(s *v1beta1.BGPPeerSpec) { s.EnableGracefulRestart = variant.graceful }, nil)
			p.watch(ctx, 3)
			v4 := p.throughTwo(ctx)
			p.bfd(ctx)
			for range 2 {
				lost, back := p.cutOnce(ctx, v4)
				t.Logf("cut: %s without an answer; used again %s after the heal", lost, back)
				// It is 300 ms on a machine at rest ("make bench-bgp"), and 9 s without BFD.
				if lost > 2*time.Second {
					t.Errorf("%s without an answer", lost)
				}
				if back > 5*time.Second {
					t.Errorf("used again after %s", back)
				}
			}
		})
	}
}

// cutOnce cuts n2 off, and heals it.
func (p *routed) cutOnce(ctx context.Context, v4 netip.Addr) (lost, back time.Duration) {
	p.t.Helper()
	probe := p.Probe(ctx, p.client, netip.AddrPortFrom(v4, 80), 10*time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	p.must(p.CutSilently("n2"))
	p.hops(ctx, cluster.HostPrefix(v4), nodes4[0])
	time.Sleep(time.Second)
	report := probe.Stop()
	p.must(p.Heal("n2"))
	healed := time.Now()
	p.hops(ctx, cluster.HostPrefix(v4), nodes4[:2]...)
	back = time.Since(healed).Round(time.Millisecond)
	p.bfd(ctx)
	return report.Unlucky().Round(time.Millisecond), back
}

// The preference goes first, the route later: till then a Service that only
// this node can serve is answered.
func TestB11_A_drained_node_goes_last_and_then_away(t *testing.T) { eachRouter(t, drains) }

func drains(t *testing.T, router, configuration string) {
	ctx, p := newRoutedBy(t, router, configuration, 3, nil, nil)
	v4 := p.throughTwo(ctx)
	p.must(p.Apply(ctx, fmt.Sprintf(pinned, p.name, "n2", 1)))
	only, _ := p.made(ctx, "only", func(svc *corev1.Service) {
		local(svc)
		svc.Spec.Selector = map[string]string{"app": "pinned"}
	})
	p.hops(ctx, cluster.HostPrefix(only), nodes4[1])
	p.answeredBy(ctx, only, "n2")

	taint := func(change string) {
		t.Helper()
		_, err := p.Kubectl(ctx, "taint", "node", "n2", change)
		p.must(err)
	}
	const toBeDeleted = "ToBeDeletedByClusterAutoscaler"
	taint(toBeDeleted + "=now:NoSchedule")
	p.draining(ctx, v4, true)
	taint(toBeDeleted + "-")
	p.draining(ctx, v4, false)
	// Whoever says that a node is out of service knows that it serves nothing: it is
	// not drained, it is gone (D7).
	taint(corev1.TaintNodeOutOfService + "=now:NoSchedule")
	p.hops(ctx, cluster.HostPrefix(v4), nodes4[0])
	taint(corev1.TaintNodeOutOfService + "-")
	p.hops(ctx, cluster.HostPrefix(v4), nodes4[:2]...)
	p.hops(ctx, cluster.HostPrefix(only), nodes4[1])
	p.answeredBy(ctx, only, "n2")

	began := time.Now()
	both, one := p.Probe(ctx, p.client, netip.AddrPortFrom(v4, 80), 10*time.Millisecond), p.Probe(ctx, p.client, netip.AddrPortFrom(only, 80), 10*time.Millisecond)
	p.drainN2(ctx, true)
	defer p.drainN2(context.WithoutCancel(ctx), false)
	p.draining(ctx, v4, true)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4[0])
	p.hops(ctx, cluster.HostPrefix(only), nodes4[1])
	time.Sleep(drainTime - 5*time.Second - time.Since(began))
	// Connections that are open when the router turns to the other node are reset
	// there: its kube-proxy knows nothing of them. The route of the Service that
	// only n2 serves does not move.
	p.unharmed(both.Stop(), "served by both nodes", 1)
	p.unharmed(one.Stop(), "served by n2 alone", 0)
	p.hops(ctx, cluster.HostPrefix(only), nodes4[1])
	p.hops(ctx, cluster.HostPrefix(only))
	t.Logf("withdrawn after %s", time.Since(began).Round(time.Millisecond))
	p.must(lab.WaitFor(ctx, "n2 to withdraw "+v4.String(), func() (bool, error) {
		paths, err := p.r1.Paths(ctx, cluster.HostPrefix(v4))
		return len(paths) == 1, err
	}))
}

// A router of our own AS heeds the preference itself.
func TestB11_A_drained_node_goes_last_within_one_AS(t *testing.T) {
	eachRouter(t, func(t *testing.T, router, configuration string) {
		ctx, p := newRoutedBy(t, router, inside(configuration), 3, func(s *v1beta1.BGPPeerSpec) { s.PeerASN = cluster.ClusterASN }, nil)
		v4 := p.throughTwo(ctx)
		p.drainN2(ctx, true)
		defer p.drainN2(context.WithoutCancel(ctx), false)
		p.draining(ctx, v4, true)
		p.hops(ctx, cluster.HostPrefix(v4), nodes4[0])
	})
}

// drainN2 takes n2 out of load balancing, or back.
func (p *plot) drainN2(ctx context.Context, out bool) {
	p.t.Helper()
	change := v1beta1.LabelExcludeNode + "-"
	if out {
		change = v1beta1.LabelExcludeNode + "=true"
	}
	_, err := p.Kubectl(ctx, "label", "node", "n2", change)
	p.must(err)
}

// drainTime is the speaker's --bgp-drain-time.
const drainTime = 30 * time.Second

// draining waits until the router knows both nodes' paths, and n2's as the last choice
// or as good as any.
func (p *routed) draining(ctx context.Context, a netip.Addr, want bool) {
	p.t.Helper()
	var paths []cluster.Path
	err := lab.WaitFor(ctx, fmt.Sprintf("a path to %s that is being drained: %t", a, want), func() (bool, error) {
		var err error
		paths, err = p.r1.Paths(ctx, cluster.HostPrefix(a))
		lowered := slices.ContainsFunc(paths, func(path cluster.Path) bool {
			return strings.Contains(path.Community.String, cluster.GracefulShutdown) && path.LocalPref == 0
		})
		return len(paths) == 2 && lowered == want, err
	})
	if err != nil {
		p.t.Fatalf("%v; they are %+v", err, paths)
	}
}

// watch has FRR watch the nodes at 100 ms, that many times. The other way it is
// slower: on a machine that is busy with other things FRR's bfdd may be late,
// and every node would take that for a failure of the router.
func (p *routed) watch(ctx context.Context, times int32) {
	p.t.Helper()
	_, err := p.Baliza.BalizaV1beta1().BFDProfiles().Create(ctx, &v1beta1.BFDProfile{
		ObjectMeta: metav1.ObjectMeta{Name: p.name},
		Spec:       v1beta1.BFDProfileSpec{ReceiveInterval: 300, TransmitInterval: 100, DetectMultiplier: times},
	}, metav1.CreateOptions{})
	p.must(err)
	p.patch(ctx, "peer", map[string]any{"bfdProfile": p.name})
}

// throughTwo makes a Service that two nodes announce, and returns it.
func (p *routed) throughTwo(ctx context.Context) netip.Addr {
	p.t.Helper()
	p.patch(ctx, "advertisement", map[string]any{"nodeSelectors": []any{map[string]any{"matchExpressions": []any{
		map[string]any{"key": "kubernetes.io/hostname", "operator": "In", "values": []string{"n1", "n2"}},
	}}}})
	v4, _ := p.made(ctx, "web", local)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4[:2]...)
	p.answeredBy(ctx, v4, "n1", "n2")
	return v4
}

// answeredBy waits until these nodes serve an address, and all of them always:
// kube-proxy may take a second longer than the route.
func (p *routed) answeredBy(ctx context.Context, a netip.Addr, nodes ...string) {
	p.t.Helper()
	const times = 20
	p.must(lab.WaitFor(ctx, fmt.Sprintf("kube-proxy on %v to serve %s", nodes, a), func() (bool, error) {
		answered, answers := map[string]bool{}, 0
		for range times {
			_, node, err := p.Fetch(ctx, p.client, a)
			if err != nil {
				break
			}
			answered[node] = true
			answers++
		}
		return answers == times && len(answered) == len(nodes), nil
	}))
}

// bfd waits until the router watches the path to every node at full pace. Only
// it knows when it does; what a Speaker reports is older, and from the other end.
func (p *routed) bfd(ctx context.Context) {
	p.t.Helper()
	var hosts []netip.Addr
	for _, a := range nodes4 {
		hosts = append(hosts, netip.MustParseAddr(a))
	}
	p.must(lab.WaitFor(ctx, "the router to watch the paths to the nodes", func() (bool, error) {
		return p.r1.Watched(ctx, cluster.BFDSettled, hosts...)
	}))
}

// One pool, both protocols: routers share the traffic, and hosts on the link
// find one owner.
func TestB14_Both_protocols_side_by_side(t *testing.T) {
	eachRouter(t, func(t *testing.T, router, configuration string) {
		ctx, p := newRoutedBy(t, router, configuration, 2, nil, nil)
		p.must(p.Advertise(ctx, p.name, p.name))
		v4, v6 := p.made(ctx, "web", nil)
		p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
		p.hops(ctx, cluster.HostPrefix(v6), nodes6...)
		for _, a := range []netip.Addr{v4, v6} {
			p.owner(ctx, a)
			p.answers(ctx, p.client, a)
		}
	})
}
