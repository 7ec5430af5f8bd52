//go:build unproven

package scenarios

// What is here is built and does not pass every time yet; "make test-unproven"
// runs it, "make test" does not. Each moves out when it has passed twenty times
// in a row. Seen so far:
//
//   - L11 (departure_test.go): seven runs in a row harmed nothing but connections
//     that were open when their address moved, about one in ten moves; in one of
//     them the probe took such a one for refused, which it no longer does. It has
//     not run often enough yet.
//   - B09: some cuts waited for the hold timer because BFD was not up again.
//   - B10: has passed, and once failed because BFD never came up.
//   - B11: connections failed while the routes were new, before the drain.

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

func TestB09_BFD_takes_a_dead_node_out_and_back(t *testing.T) {
	ctx, p := newRouted(t, 3, nil, nil)
	p.fastBFD(ctx)
	v4 := p.throughTwo(ctx)
	p.bfd(ctx)
	for range 3 {
		lost, back := p.cutOnce(ctx, v4)
		t.Logf("cut: %s without an answer; used again %s after the heal", lost, back)
		if lost > 700*time.Millisecond {
			t.Errorf("%s without an answer", lost)
		}
		if back > 5*time.Second {
			t.Errorf("used again after %s", back)
		}
	}
}

// cutOnce cuts n2 off, and heals it.
func (p *routed) cutOnce(ctx context.Context, v4 netip.Addr) (lost, back time.Duration) {
	p.t.Helper()
	probe := p.Probe(ctx, "c1", netip.AddrPortFrom(v4, 80), 10*time.Millisecond)
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
	return window(report), back
}

// window is from the first connection that failed to the last: for that long
// a client may have been unlucky.
func window(r lab.Report) time.Duration {
	if len(r.Failures) == 0 {
		return 0
	}
	return r.Failures[len(r.Failures)-1].Start.Sub(r.Failures[0].Start).Round(time.Millisecond)
}

func TestB10_A_restart_under_load_loses_nothing(t *testing.T) {
	ctx, p := newRouted(t, 3, func(s *v1beta1.BGPPeerSpec) { s.EnableGracefulRestart = true }, nil)
	p.fastBFD(ctx)
	v4 := p.throughTwo(ctx)
	p.bfd(ctx)
	report := p.restart(ctx, v4)
	t.Log(report)
	if len(report.Failures) > 0 {
		t.Errorf("%d connections failed, first %+v", len(report.Failures), report.Failures[0])
	}
	p.hops(ctx, cluster.HostPrefix(v4), nodes4[:2]...)
}

// restart restarts all speakers under load.
func (p *routed) restart(ctx context.Context, v4 netip.Addr) lab.Report {
	p.t.Helper()
	probe := p.Probe(ctx, "c1", netip.AddrPortFrom(v4, 80), 10*time.Millisecond)
	_, err := p.Kubectl(ctx, "-n", cluster.Namespace, "rollout", "restart", "daemonset/baliza-speaker")
	p.must(err)
	p.must(p.Rollout(ctx))
	p.bfd(ctx)
	return probe.Stop()
}

func TestB11_A_drained_node_goes_last_and_then_away(t *testing.T) {
	ctx, p := newRouted(t, 3, nil, nil)
	v4 := p.throughTwo(ctx)
	probe := p.Probe(ctx, "c1", netip.AddrPortFrom(v4, 80), 10*time.Millisecond)
	_, err := p.Kubectl(ctx, "label", "node", "n2", v1beta1.LabelExcludeNode+"=true")
	p.must(err)
	defer func() {
		_, err := p.Kubectl(context.WithoutCancel(ctx), "label", "node", "n2", v1beta1.LabelExcludeNode+"-")
		p.must(err)
	}()
	p.hops(ctx, cluster.HostPrefix(v4), nodes4[0])
	paths, err := p.r1.Paths(ctx, cluster.HostPrefix(v4))
	p.must(err)
	if !slices.ContainsFunc(paths, func(path cluster.Path) bool { return strings.Contains(path.Community.String, "graceful-shutdown") }) || len(paths) != 2 {
		t.Errorf("n2 should be the last choice, not gone: %+v", paths)
	}
	if report := probe.Stop(); len(report.Failures) > 0 {
		t.Errorf("%d connections failed, first %+v", len(report.Failures), report.Failures[0])
	}
}

// fastBFD makes a profile of 100 ms, three times.
func (p *routed) fastBFD(ctx context.Context) {
	p.t.Helper()
	_, err := p.Baliza.BalizaV1beta1().BFDProfiles().Create(ctx, &v1beta1.BFDProfile{
		ObjectMeta: metav1.ObjectMeta{Name: p.name},
		Spec:       v1beta1.BFDProfileSpec{ReceiveInterval: 100, TransmitInterval: 100, DetectMultiplier: 3},
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
	// kube-proxy may take a second longer than the route, and refuses till then.
	err := lab.WaitFor(ctx, "kube-proxy on both nodes to serve "+v4.String(), func() (bool, error) {
		probe := p.Probe(ctx, "c1", netip.AddrPortFrom(v4, 80), 10*time.Millisecond)
		time.Sleep(500 * time.Millisecond)
		report := probe.Stop()
		return len(report.Failures) == 0 && len(report.Nodes) == 2, nil
	})
	p.must(err)
	return v4
}

// bfd waits until the path of every node is watched.
func (p *routed) bfd(ctx context.Context) {
	p.t.Helper()
	for _, node := range []string{"n1", "n2", "n3"} {
		p.session(ctx, node, p.name, "watched", bfdUp)
	}
}

func bfdUp(s *v1beta1.BGPSession) bool { return isUp(s) && s.BFD == "Up" }
