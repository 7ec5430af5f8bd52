package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/bench/figures"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// under runs something while the prober works on both families, and returns
// how many connections failed.
func (b *bench) under(ctx context.Context, do func() error) (lost int, err error) {
	four := b.c.Probe(ctx, client, netip.AddrPortFrom(b.v4, 80), interval)
	six := b.c.Probe(ctx, client, netip.AddrPortFrom(b.v6, 80), interval)
	time.Sleep(before)
	err = do()
	time.Sleep(after)
	return len(four.Stop().Failures) + len(six.Stop().Failures), err
}

func (b *bench) planned(ctx context.Context) error {
	if b.trials == 0 {
		return nil
	}
	lost := 0
	for i := range min(few, b.trials) {
		owner, err := b.c.WaitOwner(ctx, client, b.v4)
		if err != nil {
			return err
		}
		for _, step := range []struct{ name, set, unset string }{
			{"excluded by its label", v1beta1.LabelExcludeNode + "=true", v1beta1.LabelExcludeNode + "-"},
			{"speaker deleted", "", ""},
		} {
			n, err := b.under(ctx, func() error { return b.depart(ctx, owner, step.set) })
			if err != nil {
				return err
			}
			if step.unset != "" {
				if _, err := b.c.Kubectl(ctx, "label", "node", owner, step.unset); err != nil {
					return err
				}
				time.Sleep(time.Second)
				if owner, err = b.c.WaitOwner(ctx, client, b.v4); err != nil {
					return err
				}
			}
			lost += n
			b.say("planned departure %d, %s: %d connections lost", i+1, step.name, n)
		}
	}
	b.values["l2_planned_lost"] = strconv.Itoa(lost)
	b.rows = append(b.rows, figures.Row{Name: "planned departure", Note: fmt.Sprintf("%d connections lost", lost)})

	lost, err := b.under(ctx, func() error {
		if _, err := b.c.Kubectl(ctx, "-n", cluster.Namespace, "rollout", "restart", "daemonset/baliza-speaker"); err != nil {
			return err
		}
		return b.c.Rollout(ctx)
	})
	b.values["l2_restart_lost"] = strconv.Itoa(lost)
	b.rows = append(b.rows, figures.Row{Name: "rolling update of all speakers", Note: fmt.Sprintf("%d connections lost", lost)})
	b.say("rolling update: %d connections lost", lost)
	return err
}

// depart takes a node out by a label, or its speaker's pod away.
func (b *bench) depart(ctx context.Context, node, label string) error {
	if label != "" {
		_, err := b.c.Kubectl(ctx, "label", "node", node, label)
		time.Sleep(2 * time.Second)
		return err
	}
	_, err := b.c.Kubectl(ctx, "-n", cluster.Namespace, "delete", "pod", "-l", "app.kubernetes.io/component=speaker",
		"--field-selector", "spec.nodeName="+node, "--wait=true", "--timeout=30s")
	if err != nil {
		return err
	}
	return b.c.Rollout(ctx)
}

// profile restarts the speakers with another profile.
func (b *bench) profile(ctx context.Context, name string) error {
	out, err := b.c.Kubectl(ctx, "-n", cluster.Namespace, "get", "daemonset/baliza-speaker",
		"-o", "jsonpath={.spec.template.spec.containers[0].args}")
	if err != nil {
		return err
	}
	var args []string
	if err := json.Unmarshal([]byte(out), &args); err != nil {
		return err
	}
	for i, arg := range args {
		if flag := "--failure-detection-profile="; strings.HasPrefix(arg, flag) {
			patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/template/spec/containers/0/args/%d","value":"%s%s"}]`, i, flag, name)
			if _, err := b.c.Kubectl(ctx, "-n", cluster.Namespace, "patch", "daemonset/baliza-speaker", "--type=json", "-p", patch); err != nil {
				return err
			}
		}
	}
	return b.c.Rollout(ctx)
}

func (b *bench) fast(ctx context.Context) error {
	if b.trials == 0 {
		return nil
	}
	if err := b.profile(ctx, "fast"); err != nil {
		return err
	}
	time.Sleep(time.Second)
	var samples []time.Duration
	for i := range b.trials {
		f := []fault{b.cable(), b.silent()}[i%2]
		outage, owner, err := b.trial(ctx, b.v4, f)
		if err != nil {
			return err
		}
		if err := b.recover(ctx, owner, f); err != nil {
			return err
		}
		samples = append(samples, outage)
		b.say("fast profile, cut %d of %d: %s", i+1, b.trials, outage.Round(time.Millisecond))
	}
	b.figure("l2_cut_fast_median_ms", "link of the owner cut, IPv4, profile fast", samples, figures.Median)
	return b.profile(ctx, "default")
}

// many puts thousands of addresses on one node, cuts it, and listens when the
// last of them is announced by another.
func (b *bench) many(ctx context.Context) error {
	count := figures.Number("ADDRESSES", 2000)
	if count == 0 {
		return nil
	}
	const victim, pool = "n1", "bench-many"
	counted := b.countAlarms()
	if err := b.crowd(ctx, pool, victim, count); err != nil {
		return err
	}
	counted(fmt.Sprintf("%d Services made, their addresses all on one node", count))
	time.Sleep(3 * time.Second) // announcements at once, and again after the locktime
	capture, err := b.c.Capture(ctx, client, "arp")
	if err != nil {
		return err
	}
	cut := time.Now()
	if err := b.c.Cut(victim); err != nil {
		return err
	}
	time.Sleep(4 * time.Second)
	packets := capture.Stop()
	if err := b.c.Heal(victim); err != nil {
		return err
	}
	seen, last := announced(packets, cut)
	if seen < count {
		return fmt.Errorf("only %d of %d addresses were announced by their new owners", seen, count)
	}
	b.figure("l2_cut_2000_last_ms", fmt.Sprintf("last of %d addresses announced anew", count), []time.Duration{last}, figures.Median)
	b.say("%d addresses: the last was announced by its new owner after %s", seen, last.Round(time.Millisecond))
	_, err = b.c.Kubectl(ctx, "delete", "namespace", pool, "--wait=false")
	return err
}

// announced counts the addresses that were announced after a cut, and says when
// the last of them first was.
func announced(packets []lab.Packet, cut time.Time) (count int, last time.Duration) {
	seen := map[string]bool{}
	for _, p := range packets {
		_, rest, found := strings.Cut(p.Text, "Reply ")
		address, _, ok := strings.Cut(rest, " is-at")
		if !found || !ok || seen[address] || p.Time.Before(cut) || !strings.HasPrefix(address, "198.19.") {
			continue
		}
		seen[address] = true
		last = max(last, p.Time.Sub(cut))
	}
	return len(seen), last
}

// crowd makes that many Services whose addresses prefer one node.
func (b *bench) crowd(ctx context.Context, pool, victim string, count int) error {
	_, err := b.c.Baliza.BalizaV1beta1().L2Advertisements().Create(ctx, &v1beta1.L2Advertisement{
		ObjectMeta: metav1.ObjectMeta{Name: pool},
		Spec: v1beta1.L2AdvertisementSpec{
			IPAddressPools: []string{pool},
			// A false alarm while they are made must not leave some elsewhere.
			Failback: v1beta1.FailbackImmediate,
			PreferredNodes: []v1beta1.PreferredNode{{
				Weight: 1, NodeSelector: metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/hostname": victim}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	// Of lab.VIPs4, below the pool of the other parts.
	crowded := netip.MustParsePrefix("198.19.128.0/18")
	if err := b.c.Pool(ctx, pool, []string{crowded.String()}, pool); err != nil {
		return err
	}
	if err := b.c.Web(ctx, pool, 1); err != nil {
		return err
	}
	b.say("making %d Services", count)
	for i := range count {
		if _, err := b.c.Service(ctx, pool, fmt.Sprintf("s%d", i), func(s *corev1.Service) { s.Spec.Ports = s.Spec.Ports[:1] }); err != nil {
			return err
		}
	}
	return lab.WaitFor(ctx, fmt.Sprintf("%s to hold %d addresses", victim, count), func() (bool, error) {
		s, err := b.c.Baliza.BalizaV1beta1().Speakers().Get(ctx, victim, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		there := 0
		for i := range s.Status.Held {
			if a, err := netip.ParseAddr(s.Status.Held[i].Address); err == nil && crowded.Contains(a) {
				there++
			}
		}
		return there >= count, nil
	})
}

// countAlarms counts what the speakers take for deaths until counted is called,
// which makes a row of it.
func (b *bench) countAlarms() (counted func(row string) int) {
	deaths := func() (n int) {
		for _, p := range b.c.Processes("") {
			if strings.Contains(p.Name, "/baliza-speaker-") {
				n += strings.Count(b.c.Log(p.Name), "speaker is gone")
			}
		}
		return n
	}
	had, stolen := deaths(), steal()
	return func(row string) int {
		n := deaths() - had
		b.rows = append(b.rows, figures.Row{
			Name: row, Note: fmt.Sprintf("%d false alarms; the host took %.1f s of processor time away", n, (steal() - stolen).Seconds()),
		})
		return n
	}
}

// steal is for how long, in all, the machine's processors were ready to run and
// its host ran something else; zero where that is not known.
func steal() time.Duration {
	const field, perSecond = 8, 100
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) <= field {
		return 0
	}
	ticks, _ := strconv.Atoi(fields[field])
	return time.Duration(ticks) * time.Second / perSecond
}
