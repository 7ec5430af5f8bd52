package scenarios

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
	"github.com/baliza-lb/baliza/e2e/probe"
)

// departure is a plan under which an address leaves its node.
type departure struct {
	name string
	do   func(p *plot, ctx context.Context, owner string, a netip.Addr)
	// undo is nil if nothing is left to be undone.
	undo func(p *plot, ctx context.Context, owner string, a netip.Addr)
	// moves is how often the address may move.
	moves int
	// stays: the address may be with its node at the end.
	stays bool
}

func departures() []departure {
	type action = func(*plot, context.Context, string, netip.Addr)
	by := func(program func(*plot) func(context.Context, ...string) (string, error), words []string) action {
		return func(p *plot, ctx context.Context, owner string, a netip.Addr) {
			args := slices.Clone(words)
			for i := range args {
				switch args[i] {
				case "NODE":
					args[i] = owner
				case "ADDRESS":
					args[i] = a.String()
				}
			}
			out, err := program(p)(ctx, args...)
			p.t.Log(out)
			p.must(err)
		}
	}
	kubectl := func(words ...string) action {
		return by(func(p *plot) func(context.Context, ...string) (string, error) { return p.Kubectl }, words)
	}
	baliza := func(words ...string) action {
		return by(func(p *plot) func(context.Context, ...string) (string, error) { return p.KubectlBaliza }, words)
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
			name: "moved by kubectl baliza failover", moves: 1,
			do: baliza("failover", "ADDRESS"),
		},
		{
			name: "drained by kubectl baliza", moves: 1,
			do:   baliza("drain", "NODE"),
			undo: baliza("undrain", "NODE"),
		},
		{
			name: "speaker told to stop", moves: 1,
			do: func(p *plot, ctx context.Context, owner string, _ netip.Addr) {
				_, err := p.Kubectl(ctx, "-n", cluster.Namespace, "delete", "pod", "-l", "app.kubernetes.io/component=speaker",
					"--field-selector", "spec.nodeName="+owner, "--wait=true", "--timeout=30s")
				p.must(err)
				p.must(p.Rollout(ctx))
			},
		},
		{
			name: "rolling update of all speakers", moves: 3, stays: true,
			do: func(p *plot, ctx context.Context, _ string, _ netip.Addr) {
				_, err := p.Kubectl(ctx, "-n", cluster.Namespace, "rollout", "restart", "daemonset/baliza-speaker")
				p.must(err)
				p.must(p.Rollout(ctx))
			},
		},
	}
}

// The connections that are open in the moment in which their address moves are
// reset: their next packet reaches a node whose kube-proxy does not know them.
// Nothing else may fail: every connection that is begun is established, and one
// that is begun after the move is answered.
func TestL11_A_planned_departure_refuses_no_connection(t *testing.T) {
	for _, d := range departures() {
		t.Run(d.name, func(t *testing.T) {
			ctx, p := newPlot(t, 3)
			p.tolerant(ctx)
			for _, a := range p.served(ctx, "web", nil) {
				owner := p.owner(ctx, a)
				p.gently(ctx, d.name, a, d.moves, func() { d.do(p, ctx, owner, a) })
				if now := p.owner(ctx, a); now == owner && !d.stays {
					t.Errorf("%s still owns %s", owner, a)
				}
				if d.undo != nil {
					p.gently(ctx, d.name+", undone", a, 0, func() { d.undo(p, context.WithoutCancel(ctx), owner, a) })
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

// probeEvery is how often the client of a departure connects.
const probeEvery = 10 * time.Millisecond

// gently does something under a client that connects every 10 ms. No
// connection may fail but those that were open when the address moved, as often
// as it may move.
func (p *plot) gently(ctx context.Context, what string, a netip.Addr, moves int, do func()) {
	p.t.Helper()
	capture, err := p.Capture(ctx, "c1", "arp or icmp or icmp6 or tcp[tcpflags] & tcp-rst != 0 or (ip6[6] == 6 and ip6[53] & 4 != 0)")
	p.must(err)
	prober := p.Probe(ctx, "c1", netip.AddrPortFrom(a, 80), probeEvery)
	time.Sleep(300 * time.Millisecond)
	do()
	time.Sleep(1500 * time.Millisecond)
	report := prober.Stop()
	packets := capture.Stop()
	for _, f := range report.Failures {
		p.t.Logf("on the wire of the client around the end of the one begun %s:\n  %s", f.Start.Format("05.000000"), strings.Join(during(packets, f), "\n  "))
	}
	p.unharmed(report, what+", "+a.String(), moves)
}

// unharmed fails the test for every connection but those that were reset and
// open in one of so many moments: those in which the address moved.
func (p *plot) unharmed(report probe.Report, what string, moves int) {
	p.t.Helper()
	p.t.Logf("%s: %s", what, report)
	var resets []probe.Attempt
	for _, f := range report.Failures {
		p.t.Logf("begun %s, established %t, ended after %s: %v", f.Start.Format("05.000000"), f.Connected, f.Latency.Round(time.Microsecond), f.Err)
		if wasReset(f) {
			resets = append(resets, f)
		}
	}
	if others := len(report.Failures) - len(resets); others > 0 {
		p.t.Errorf("%s: %d connections were refused or not answered; a move resets those that are open, and costs nothing else", what, others)
	}
	if n := moments(resets); n > moves {
		p.t.Errorf("%s: %d connections were reset, which takes %d moments in which one of them each was open; the address may move %d times",
			what, len(resets), n, moves)
	}
}

// wasReset reports whether a connection had been established, and was reset then.
func wasReset(a probe.Attempt) bool {
	return a.Connected && (errors.Is(a.Err, unix.ECONNRESET) || errors.Is(a.Err, unix.EPIPE))
}

// moments is the smallest number of moments such that each of the connections
// was open in one of them. However many were open when the address moved, that
// is one moment; one that was begun after another had ended takes a second.
func moments(connections []probe.Attempt) (count int) {
	end := func(a probe.Attempt) time.Time { return a.Start.Add(a.Latency) }
	byEnd := slices.SortedFunc(slices.Values(connections), func(a, b probe.Attempt) int { return end(a).Compare(end(b)) })
	var last time.Time // the latest moment in which all that are counted were open
	for _, a := range byEnd {
		if count == 0 || a.Start.After(last) {
			count, last = count+1, end(a)
		}
	}
	return count
}

func TestL11_Connections_that_are_open_at_once_take_one_move(t *testing.T) {
	begin := time.Unix(1000, 0)
	for sentence, test := range map[string]struct {
		connections [][2]int // begun and ended, in milliseconds
		want        int
	}{
		"none":                               {nil, 0},
		"one":                                {[][2]int{{0, 5}}, 1},
		"three that are open at once":        {[][2]int{{20, 35}, {0, 31}, {10, 33}}, 1},
		"one after another":                  {[][2]int{{0, 5}, {10, 15}}, 2},
		"a chain of which two each overlap":  {[][2]int{{0, 15}, {10, 25}, {20, 35}}, 2},
		"a long one over two that are apart": {[][2]int{{0, 5}, {0, 100}, {50, 55}}, 2},
		"each begun after the one before":    {[][2]int{{0, 9}, {10, 19}, {20, 29}, {30, 39}}, 4},
	} {
		var all []probe.Attempt
		for _, c := range test.connections {
			from, to := time.Duration(c[0])*time.Millisecond, time.Duration(c[1])*time.Millisecond
			all = append(all, probe.Attempt{Start: begin.Add(from), Latency: to - from, Connected: true, Err: unix.ECONNRESET})
		}
		if got := moments(all); got != test.want {
			t.Errorf("%s: %d moments, want %d", sentence, got, test.want)
		}
	}
}

func TestL11_Only_a_reset_is_what_a_move_costs(t *testing.T) {
	for sentence, test := range map[string]struct {
		attempt probe.Attempt
		want    bool
	}{
		"established and reset":              {probe.Attempt{Connected: true, Err: fmt.Errorf("read: %w", unix.ECONNRESET)}, true},
		"established, and reset as it asked": {probe.Attempt{Connected: true, Err: fmt.Errorf("write: %w", unix.EPIPE)}, true},
		"established and never answered":     {probe.Attempt{Connected: true, Err: os.ErrDeadlineExceeded}, false},
		"refused":                            {probe.Attempt{Err: unix.ECONNREFUSED}, false},
		"answered":                           {probe.Attempt{Connected: true}, false},
	} {
		if got := wasReset(test.attempt); got != test.want {
			t.Errorf("%s: %t", sentence, got)
		}
	}
}

// during are the packets from shortly before an attempt until shortly after it.
func during(packets []lab.Packet, f probe.Attempt) []string {
	var texts []string
	for _, packet := range packets {
		if after := packet.Time.Sub(f.Start); after > -20*time.Millisecond && after < f.Latency+20*time.Millisecond {
			texts = append(texts, packet.Time.Format("05.000000 ")+packet.Text)
		}
	}
	return texts
}
