package scenarios

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// departure is a plan under which an address leaves its node.
type departure struct {
	name string
	do   func(p *plot, ctx context.Context, owner string)
	// undo is nil if nothing is left to be undone.
	undo func(p *plot, ctx context.Context, owner string)
	// moves is how often the address may move.
	moves int
	// stays: the address may be with its node at the end.
	stays bool
}

func departures() []departure {
	kubectl := func(words ...string) func(*plot, context.Context, string) {
		return func(p *plot, ctx context.Context, owner string) {
			args := slices.Clone(words)
			for i := range args {
				if args[i] == "NODE" {
					args[i] = owner
				}
			}
			_, err := p.Kubectl(ctx, args...)
			p.must(err)
		}
	}
	const outOfService, toBeDeleted = "node.kubernetes.io/out-of-service", "ToBeDeletedByClusterAutoscaler"
	return []departure{
		{
			name: "excluded by label", moves: 1,
			do:   kubectl("label", "node", "NODE", v1beta1.LabelExcludeNode+"=true"),
			undo: kubectl("label", "node", "NODE", v1beta1.LabelExcludeNode+"-"),
		},
		{
			name: "out-of-service taint", moves: 1,
			do:   kubectl("taint", "node", "NODE", outOfService+"=nodeshutdown:NoExecute"),
			undo: kubectl("taint", "node", "NODE", outOfService+"-"),
		},
		{
			name: "ToBeDeleted taint", moves: 1,
			do:   kubectl("taint", "node", "NODE", toBeDeleted+"=1:NoSchedule"),
			undo: kubectl("taint", "node", "NODE", toBeDeleted+"-"),
		},
		{
			name: "speaker told to stop", moves: 1,
			do: func(p *plot, ctx context.Context, owner string) {
				_, err := p.Kubectl(ctx, "-n", cluster.Namespace, "delete", "pod", "-l", "app.kubernetes.io/component=speaker",
					"--field-selector", "spec.nodeName="+owner, "--wait=true", "--timeout=30s")
				p.must(err)
				p.must(p.Rollout(ctx))
			},
		},
		{
			name: "rolling update of all speakers", moves: 3, stays: true,
			do: func(p *plot, ctx context.Context, _ string) {
				_, err := p.Kubectl(ctx, "-n", cluster.Namespace, "rollout", "restart", "daemonset/baliza-speaker")
				p.must(err)
				p.must(p.Rollout(ctx))
			},
		},
	}
}

// A connection that is under way in the moment in which its address moves
// breaks: its next packet reaches a node whose kube-proxy does not know it.
// Nothing else may: every connection that is begun is established.
func TestL11_A_planned_departure_refuses_no_connection(t *testing.T) {
	for _, d := range departures() {
		t.Run(d.name, func(t *testing.T) {
			ctx, p := newPlot(t, 3)
			p.tolerant(ctx)
			for _, a := range p.served(ctx, "web", nil) {
				owner := p.owner(ctx, a)
				p.gently(ctx, d.name, a, d.moves, func() { d.do(p, ctx, owner) })
				if now := p.owner(ctx, a); now == owner && !d.stays {
					t.Errorf("%s still owns %s", owner, a)
				}
				if d.undo != nil {
					p.gently(ctx, d.name+", undone", a, 0, func() { d.undo(p, context.WithoutCancel(ctx), owner) })
				}
			}
		})
	}
}

// tolerant lets the pods stay where a taint would evict them: it is the
// address that shall move.
func (p *plot) tolerant(ctx context.Context) {
	p.t.Helper()
	_, err := p.Kubectl(ctx, "-n", p.name, "patch", "deployment/web", "--type=merge", "-p", `{"spec":{"template":{"spec":{"tolerations":[{"operator":"Exists"}]}}}}`)
	p.must(err)
	_, err = p.Kubectl(ctx, "-n", p.name, "rollout", "status", "deployment/web", "--timeout=60s")
	p.must(err)
}

// gently does something under a client that connects every 10 ms. No
// connection may fail before it is established, and at most one for each move
// of the address afterwards.
func (p *plot) gently(ctx context.Context, what string, a netip.Addr, moves int, do func()) {
	p.t.Helper()
	capture, err := p.Capture(ctx, "c1", "arp or icmp or icmp6 or tcp[tcpflags] & tcp-rst != 0 or (ip6[6] == 6 and ip6[53] & 4 != 0)")
	p.must(err)
	prober := p.Probe(ctx, "c1", netip.AddrPortFrom(a, 80), 10*time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	do()
	time.Sleep(1500 * time.Millisecond)
	report := prober.Stop()
	packets := capture.Stop()
	missed := 0
	report.Failures = slices.DeleteFunc(report.Failures, func(f lab.Attempt) bool {
		around := strings.Join(during(packets, f), "\n  ")
		p.t.Logf("on the wire of the client around the end of the one begun %s:\n  %s", f.Start.Format("05.000000"), around)
		looped := !f.Connected && strings.Contains(around, "time exceeded in-transit")
		if looped {
			missed++
		}
		return looped
	})
	p.unharmed(report, what+", "+a.String(), moves)
	// A packet that goes to and fro between node and router until its time is
	// over came to the node, and met no rule of kube-proxy's there. Seen once in
	// thirty departures, more than a second after the address had moved.
	if missed > 1 {
		p.t.Errorf("%s, %s: kube-proxy's rules missed %d connections", what, a, missed)
	}
}

// during are the packets from shortly before an attempt until shortly after it.
func during(packets []lab.Packet, f lab.Attempt) []string {
	var texts []string
	for _, packet := range packets {
		if after := packet.Time.Sub(f.Start); after > -20*time.Millisecond && after < f.Latency+20*time.Millisecond {
			texts = append(texts, packet.Time.Format("05.000000 ")+packet.Text)
		}
	}
	return texts
}
