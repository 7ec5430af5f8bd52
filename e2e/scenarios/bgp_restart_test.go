package scenarios

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
)

func TestB10_A_restart_under_load_loses_nothing(t *testing.T) {
	eachRouter(t, func(t *testing.T, router, configuration string) {
		ctx, p, v4 := newRestarted(t, router, configuration)
		p.kept(ctx, v4, func() {
			_, err := p.Kubectl(ctx, "-n", cluster.Namespace, "rollout", "restart", "daemonset/baliza-speaker")
			p.must(err)
		}, "n1", "n2", "n3")
	})
}

func TestB10_A_crash_under_load_loses_nothing(t *testing.T) {
	eachRouter(t, func(t *testing.T, router, configuration string) {
		ctx, p, v4 := newRestarted(t, router, configuration)
		p.kept(ctx, v4, func() {
			p.must(p.Signal(p.speakerOf("n2").Name, unix.SIGKILL))
			time.Sleep(1500 * time.Millisecond) // until BFD has noticed
		}, "n2")
	})
}

// newRestarted makes a Service on two nodes whose routes are to be kept while
// their speakers are away.
func newRestarted(t *testing.T, router, configuration string) (context.Context, *routed, netip.Addr) {
	configuration = strings.ReplaceAll(configuration, "bfd on;", "bfd graceful;")
	ctx, p := newRoutedBy(t, router, configuration, 3, func(s *v1beta1.BGPPeerSpec) { s.EnableGracefulRestart = true }, nil)
	p.watch(ctx, 10) // only what is not there at all is to be missed
	v4 := p.throughTwo(ctx)
	p.bfd(ctx)
	return ctx, p, v4
}

// kept restarts the speakers of nodes under load. Beside that nothing is lost the router's
// route stays as it is: a node that is taken out for a moment would not always
// be noticed by the client.
func (p *routed) kept(ctx context.Context, v4 netip.Addr, restart func(), nodes ...string) {
	p.t.Helper()
	began := time.Now()
	probe := p.Probe(ctx, p.client, netip.AddrPortFrom(v4, 80), 10*time.Millisecond)
	restart()
	p.must(p.Rollout(ctx))
	for _, n := range nodes {
		p.session(ctx, n, p.name, "established anew", func(s *v1beta1.BGPSession) bool { return isUp(s) && s.Since.After(began) })
	}
	p.bfd(ctx)
	p.unharmed(probe.Stop(), "served by both nodes", 0)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4[:2]...)
	age, err := p.r1.Age(ctx, cluster.HostPrefix(v4))
	p.must(err)
	if took := time.Since(began).Truncate(time.Second); age < took-time.Second {
		p.t.Errorf("it took %s, and the router changed its route %s ago", took, age)
	}
}
