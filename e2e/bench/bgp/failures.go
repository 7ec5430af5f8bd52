package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/bench/figures"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
	"github.com/baliza-lb/baliza/e2e/probe"
)

const (
	before = 400 * time.Millisecond // of probing before a fault
	// after is for how long a connection may still be waited for.
	after = 1200 * time.Millisecond
	few   = 3
)

// profile makes the BFDProfile that FRR's side has too.
func (b *bench) profile(ctx context.Context) error {
	_, err := b.Baliza.BalizaV1beta1().BFDProfiles().Create(ctx, &v1beta1.BFDProfile{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1beta1.BFDProfileSpec{ReceiveInterval: 100, TransmitInterval: 100, DetectMultiplier: 3},
	}, metav1.CreateOptions{})
	return err
}

// peer changes the peer.
func (b *bench) peer(ctx context.Context, spec map[string]any) error {
	body, err := json.Marshal(map[string]any{"spec": spec})
	if err == nil {
		_, err = b.Baliza.BalizaV1beta1().BGPPeers().Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{})
	}
	return err
}

// anew changes the peer in what begins the sessions anew, and waits until they
// have.
func (b *bench) anew(ctx context.Context, spec map[string]any) error {
	before, err := b.sessions(ctx)
	if err != nil {
		return err
	}
	if err := b.peer(ctx, spec); err != nil {
		return err
	}
	err = lab.WaitFor(ctx, "new sessions of every node", func() (bool, error) {
		now, err := b.sessions(ctx)
		return now >= before+len(b.nodes), err
	})
	if err != nil {
		return err
	}
	return b.hops(ctx, b.nodes[:2]...)
}

// sessions is how many FRR has seen established.
func (b *bench) sessions(ctx context.Context) (all int, err error) {
	heard, err := b.r1.Heard(ctx)
	for _, h := range heard {
		all += h.Sessions
	}
	return all, err
}

// watched waits until FRR watches every node by BFD at full pace.
func (b *bench) watched(ctx context.Context) error {
	return lab.WaitFor(ctx, "FRR to watch the nodes", func() (bool, error) {
		return b.r1.Watched(ctx, cluster.BFDSettled, b.nodes...)
	})
}

// cut takes a node off the network without a sign, lets the router notice, and
// brings it back. It returns for how long clients were unlucky, and how long
// after the heal the node answered one.
func (b *bench) cut(ctx context.Context) (lost, back time.Duration, err error) {
	prober := b.probe(ctx)
	time.Sleep(before)
	at := time.Now()
	if err := b.CutSilently(victim); err != nil {
		return 0, 0, err
	}
	if err := b.hops(ctx, b.nodes[0]); err != nil {
		return 0, 0, err
	}
	time.Sleep(after)
	report := prober.Stop()
	b.picture.At, b.picture.Attempts = at, prober.Attempts()
	prober = b.probe(ctx)
	healed := time.Now()
	if err := b.Heal(victim); err != nil {
		return 0, 0, err
	}
	err = lab.WaitFor(ctx, "the healed node to answer", func() (bool, error) {
		all := prober.Attempts()
		first := slices.IndexFunc(all, func(a probe.Attempt) bool { return a.Node == victim })
		if first >= 0 {
			back = all[first].Start.Sub(healed)
		}
		return first >= 0, nil
	})
	prober.Stop()
	return report.Unlucky(), back, err
}

// holdTimer is what a cut costs without BFD: FRR's "timers 3 9" gives a node up
// after 9 s of silence.
func (b *bench) holdTimer(ctx context.Context) error {
	var lost []time.Duration
	n := min(few, b.trials)
	for i := range n {
		l, back, err := b.cut(ctx)
		if err != nil {
			return err
		}
		lost = append(lost, l)
		b.say("cut %d of %d without BFD, hold time 9 s: %s; back %s after the heal", i+1, n, l.Round(time.Millisecond), back.Round(time.Millisecond))
		if err := b.hops(ctx, b.nodes[:2]...); err != nil {
			return err
		}
	}
	if n > 0 {
		b.row("node cut off, hold time 9 s", lost, "")
		b.values["bgp_cut_holdtimer_ms"] = milliseconds(figures.Median(lost))
	}
	return nil
}

func (b *bench) bfd(ctx context.Context) error {
	if err := b.peer(ctx, map[string]any{"bfdProfile": name}); err != nil {
		return err
	}
	var lost, backs []time.Duration
	for i := range b.trials {
		if err := b.watched(ctx); err != nil {
			return err
		}
		l, back, err := b.cut(ctx)
		if err != nil {
			return err
		}
		lost, backs = append(lost, l), append(backs, back)
		b.say("cut %d of %d, BFD 100 ms x 3: %s; back %s after the heal", i+1, b.trials, l.Round(time.Millisecond), back.Round(time.Millisecond))
		if err := b.hops(ctx, b.nodes[:2]...); err != nil {
			return err
		}
	}
	if b.trials > 0 {
		b.picture.Event = "node cut off"
		b.picture.Title = "One TCP connection every 10 ms, through FRR, to a Service that two nodes serve; BFD 100 ms, three times"
		b.row("node cut off, BFD 100 ms x 3", lost, "")
		b.row("until the healed node answers", backs, "")
		b.values["bgp_cut_bfd_median_ms"] = milliseconds(figures.Median(lost))
		b.values["bgp_cut_bfd_worst_ms"] = milliseconds(slices.Max(lost))
		b.values["bgp_heal_back_s"] = seconds(slices.Max(backs))
	}
	return nil
}

// losses are what became of connections that were open or began while something
// was done.
type losses struct {
	attempts int
	// lost is how many failed. Those that the router moved do not count among them.
	lost, moved int
}

func (l *losses) add(o losses) {
	l.attempts, l.lost, l.moved = l.attempts+o.attempts, l.lost+o.lost, l.moved+o.moved
}

func (l *losses) String() string {
	text := fmt.Sprintf("%d of %d connections lost", l.lost, l.attempts)
	if l.moved > 0 {
		text += fmt.Sprintf(", and %d that the router moved", l.moved)
	}
	return text
}

// under does something while the client connects. The router's cable shows which
// connections it moved.
func (b *bench) under(ctx context.Context, do func() error) (probe.Report, losses, error) {
	capture, err := b.Capture(ctx, b.r1.Host.Name, "ether", "src", b.r1.Host.MAC.String(),
		"and", "tcp", "dst", "port", "80", "and", "dst", "host", b.v4.String())
	if err != nil {
		return probe.Report{}, losses{}, err
	}
	prober := b.probe(ctx)
	time.Sleep(before)
	err = do()
	time.Sleep(after)
	report := prober.Stop()
	l := losses{attempts: report.Attempts}
	by := nodesOf(capture.Stop())
	for _, f := range report.Failures {
		nodes := by[f.Port]
		if f.Connected && len(nodes) > 1 {
			l.moved++
			b.say("moved by the router while it was open, at %s: %v; it went to %v", f.Start.Format("15:04:05.000"), f.Err, nodes)
			continue
		}
		l.lost++
		if l.lost <= few {
			b.say("failed at %s: %v; it went to %v", f.Start.Format("15:04:05.000"), f.Err, nodes)
		}
	}
	return report, l, err
}

// forwarded is what tcpdump says of a packet that the router sends on to a node, by
// the node's MAC, from the client's port.
var forwarded = regexp.MustCompile(`> ([0-9a-f:]+), ethertype IPv4 .*: \d+\.\d+\.\d+\.\d+\.(\d+) > \d+\.\d+\.\d+\.\d+\.80: `)

// nodesOf says to which nodes the router sent each connection, by the client's port,
// in the order of the packets. A router without memory (RFC 2992) may send what is
// open to another node when the set of its next hops changes, and that node, which
// does not know it, resets it. No more than that is the router's own doing.
func nodesOf(packets []lab.Packet) map[int][]string {
	by := map[int][]string{}
	for _, p := range packets {
		match := forwarded.FindStringSubmatch(p.Text)
		if match == nil {
			continue
		}
		if port, err := strconv.Atoi(match[2]); err == nil && !slices.Contains(by[port], match[1]) {
			by[port] = append(by[port], match[1])
		}
	}
	return by
}

// repeated does something under load some times, and sums up what was lost.
func (b *bench) repeated(ctx context.Context, key, what string, do func() error) error {
	n, all := min(few, b.trials), losses{}
	for i := range n {
		if err := b.watched(ctx); err != nil {
			return err
		}
		report, l, err := b.under(ctx, do)
		if err != nil {
			return err
		}
		all.add(l)
		b.say("%s, %d of %d: %s", what, i+1, n, report)
	}
	if n > 0 {
		b.row(what, nil, fmt.Sprintf("%s, %d times", &all, n))
		b.values[key] = strconv.Itoa(all.lost)
	}
	return nil
}

// restarts replaces all speakers, one after the other.
func (b *bench) restarts(ctx context.Context) error {
	if err := b.anew(ctx, map[string]any{"enableGracefulRestart": true}); err != nil {
		return err
	}
	return b.repeated(ctx, "bgp_restart_gr_lost", "all speakers restarted, graceful restart and BFD", func() error {
		if _, err := b.Kubectl(ctx, "-n", cluster.Namespace, "rollout", "restart", "daemonset/baliza-speaker"); err != nil {
			return err
		}
		if err := b.Rollout(ctx); err != nil {
			return err
		}
		return b.watched(ctx)
	})
}

// drains takes the node out of load balancing, waits until it has withdrawn its
// routes, and puts it back.
func (b *bench) drains(ctx context.Context) error {
	// That it is not wanted any more begins no session anew.
	if err := b.peer(ctx, map[string]any{"enableGracefulRestart": nil}); err != nil {
		return err
	}
	return b.repeated(ctx, "bgp_drain_lost", "node drained, and put back", func() error {
		if _, err := b.Kubectl(ctx, "label", "node", victim, v1beta1.LabelExcludeNode+"=true"); err != nil {
			return err
		}
		if err := b.hops(ctx, b.nodes[0]); err != nil {
			return err
		}
		err := lab.WaitFor(ctx, "the drained node to withdraw its route", func() (bool, error) {
			paths, err := b.r1.Paths(ctx, cluster.HostPrefix(b.v4))
			return len(paths) == 1, err
		})
		if err != nil {
			return err
		}
		if _, err := b.Kubectl(ctx, "label", "node", victim, v1beta1.LabelExcludeNode+"-"); err != nil {
			return err
		}
		return b.hops(ctx, b.nodes[:2]...)
	})
}
