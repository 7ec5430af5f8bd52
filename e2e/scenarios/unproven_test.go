//go:build unproven

package scenarios

// What is here is built and does not pass every time yet; "make test-unproven"
// runs it, "make test" does not. Each moves out when it has passed twenty times
// in a row. Seen so far:
//
//   - L11: about one connection in some hundreds fails when its address moves:
//     reset when it was under way (the next node's kube-proxy knows nothing of
//     it), and once "no route to host", which is not explained.
//   - L14: passes mostly; once a node that had been cut off took an IPv6 address
//     back after the heal.
//   - B10, a crash: with a detection time of a second FRR gives the old path up
//     when the next speaker already has a session, and resets it ("cease: BFD
//     down"). A packet with no discriminator does not end the old path before.

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// unharmed does something under a client that connects every 10 ms and fails
// if one connection does.
func (p *plot) unharmed(ctx context.Context, what string, a netip.Addr, do func()) {
	p.t.Helper()
	prober := p.Probe(ctx, "c1", netip.AddrPortFrom(a, 80), 10*time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	do()
	time.Sleep(1500 * time.Millisecond)
	report := prober.Stop()
	p.t.Logf("%s, %s: %s", what, a, report)
	if len(report.Failures) > 0 {
		p.t.Errorf("%s: %d connections to %s failed, the first: %v", what, len(report.Failures), a, report.Failures[0].Err)
	}
}

func TestL11_A_planned_departure_loses_no_connection(t *testing.T) {
	ctx, p := newPlot(t, 3)
	for _, a := range p.served(ctx, "web", nil) {
		owner := p.owner(ctx, a)
		p.unharmed(ctx, "node excluded", a, func() {
			_, err := p.Kubectl(ctx, "label", "node", owner, v1beta1.LabelExcludeNode+"=true")
			p.must(err)
		})
		if now := p.owner(ctx, a); now == owner {
			t.Errorf("%s still owns %s", owner, a)
		}
		p.unharmed(ctx, "node included again", a, func() {
			_, err := p.Kubectl(ctx, "label", "node", owner, v1beta1.LabelExcludeNode+"-")
			p.must(err)
		})
		owner = p.owner(ctx, a)
		p.unharmed(ctx, "speaker deleted", a, func() {
			_, err := p.Kubectl(ctx, "-n", cluster.Namespace, "delete", "pod", "-l", "app.kubernetes.io/component=speaker",
				"--field-selector", "spec.nodeName="+owner, "--wait=true", "--timeout=30s")
			p.must(err)
			p.must(p.Rollout(ctx))
		})
	}
}

func TestL14_A_returning_node_takes_nothing_back(t *testing.T) {
	ctx, p := newPlot(t, 3)
	for _, a := range p.served(ctx, "web", nil) {
		owner := p.owner(ctx, a)
		p.must(p.CutSilently(owner))
		err := lab.WaitFor(ctx, "another owner", func() (bool, error) {
			nodes, err := p.Answerers(ctx, "c1", a)
			return len(nodes) == 1 && nodes[0] != owner, err
		})
		p.must(p.Heal(owner))
		p.must(err)
		p.waitAllReady(ctx)
		if now := p.owner(ctx, a); now == owner {
			t.Errorf("%s took %s back", owner, a)
		}
		p.answers(ctx, "c1", a)
	}
}

func TestB10_A_crash_under_load_loses_nothing(t *testing.T) {
	ctx, p := newRouted(t, 3, func(s *v1beta1.BGPPeerSpec) { s.EnableGracefulRestart = true }, nil)
	p.watch(ctx, 10)
	v4 := p.throughTwo(ctx)
	p.bfd(ctx)
	p.kept(ctx, v4, func() {
		for _, process := range p.Processes("n2") {
			if strings.Contains(process.Name, "/baliza-speaker-") {
				p.must(p.Signal(process.Name, unix.SIGKILL))
			}
		}
		time.Sleep(1500 * time.Millisecond) // until BFD has noticed
	})
}
