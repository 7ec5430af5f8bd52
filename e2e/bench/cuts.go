package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/e2e/bench/figures"
	"github.com/baliza-lb/baliza/e2e/probe"
)

const (
	before = 400 * time.Millisecond  // of probing before a fault
	after  = 1300 * time.Millisecond // without a long pause, after the first answer
	// rest is the time between a heal and a second cut.
	rest = 12 * time.Second
	few  = 3
)

// fault is done to the owner of an address, and undone.
type fault struct {
	name       string
	fail, mend func(ctx context.Context, node string) error
}

func (b *bench) cable() fault {
	return fault{
		"cable of the owner cut",
		func(_ context.Context, node string) error { return b.c.Cut(node) },
		func(_ context.Context, node string) error { return b.c.Heal(node) },
	}
}

func (b *bench) silent() fault {
	f := b.cable()
	f.name, f.fail = "owner cut behind the switch", func(_ context.Context, node string) error { return b.c.CutSilently(node) }
	return f
}

// trial lets the owner fail under the prober and returns the outage.
func (b *bench) trial(ctx context.Context, a netip.Addr, f fault) (outage time.Duration, owner string, err error) {
	owner, err = b.c.WaitOwner(ctx, client, a)
	if err != nil {
		return 0, "", err
	}
	prober := b.c.Probe(ctx, client, netip.AddrPortFrom(a, 80), interval)
	time.Sleep(before)
	failed := time.Now()
	if err := f.fail(ctx, owner); err != nil {
		return 0, owner, err
	}
	for {
		time.Sleep(after)
		done := slices.ContainsFunc(prober.Attempts(), func(one probe.Attempt) bool {
			return one.Err == nil && one.Start.After(failed.Add(after/4))
		})
		if done || ctx.Err() != nil || time.Since(failed) > time.Minute {
			break
		}
	}
	report := prober.Stop()
	if b.example == nil {
		b.example, b.cutAt = prober.Attempts(), failed
	}
	return report.Outage, owner, ctx.Err()
}

// recover mends the owner and waits until all is as it was.
func (b *bench) recover(ctx context.Context, owner string, f fault) error {
	if err := f.mend(ctx, owner); err != nil {
		return err
	}
	for _, a := range []netip.Addr{b.v4, b.v6} {
		if err := b.answered(ctx, a); err != nil {
			return err
		}
	}
	time.Sleep(time.Second)
	return nil
}

func (b *bench) cuts(ctx context.Context) error {
	for _, family := range []struct {
		a    netip.Addr
		name string
		key  string
	}{{b.v4, "IPv4", "l2_cut_median_ms"}, {b.v6, "IPv6", "l2_cut_v6_median_ms"}} {
		var samples, heals []time.Duration
		for i := range b.trials {
			f := []fault{b.cable(), b.silent()}[i%2]
			outage, owner, err := b.trial(ctx, family.a, f)
			if err != nil {
				return err
			}
			heal := "-"
			if family.a.Is4() && i%2 == 1 {
				took, err := b.heal(ctx, owner, f)
				if err != nil {
					return err
				}
				heals, heal = append(heals, took), took.Round(time.Millisecond).String()
			} else if err := b.recover(ctx, owner, f); err != nil {
				return err
			}
			samples = append(samples, outage)
			b.say("%s cut %d of %d (%s): %s; one owner after the heal: %s", family.name, i+1, b.trials, f.name, outage.Round(time.Millisecond), heal)
		}
		b.figure(family.key, "link of the owner cut, "+family.name, samples, figures.Median)
		if family.a.Is4() && len(samples) > 0 {
			b.figure("l2_heal_one_owner_ms", "heal after a partition: until one owner", heals, slices.Max)
			b.values["l2_cut_worst_ms"] = strconv.FormatInt(slices.Max(samples).Milliseconds(), 10)
		}
	}
	return nil
}

// heal mends a cut and returns how long after it somebody still answered who
// in the end does not: another host asks about every 50 ms, another listens.
func (b *bench) heal(ctx context.Context, owner string, f fault) (time.Duration, error) {
	capture, err := b.c.Capture(ctx, client, "arp", "and", "src", "host", b.v4.String())
	if err != nil {
		return 0, err
	}
	mended := time.Now()
	if err := f.mend(ctx, owner); err != nil {
		return 0, err
	}
	asked, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	for asked.Err() == nil {
		_, _ = b.c.Exec(asked, client, "arping", "-i", "eth0", "-c", "1", "-W", "0.05", b.v4.String())
	}
	if err := b.recover(ctx, owner, fault{mend: func(context.Context, string) error { return nil }}); err != nil {
		return 0, err
	}
	final, err := b.c.WaitOwner(ctx, client, b.v4)
	if err != nil {
		return 0, err
	}
	host, err := b.c.Host(final)
	if err != nil {
		return 0, err
	}
	var last time.Duration
	heard := false
	for _, p := range capture.Stop() {
		right := strings.HasPrefix(strings.ToLower(p.Text), host.MAC.String())
		heard = heard || right
		if p.Time.After(mended) && !right {
			last = max(last, p.Time.Sub(mended))
		}
	}
	if !heard {
		return 0, fmt.Errorf("the witness heard nobody answer for %s", b.v4)
	}
	return last, nil
}

// secondCuts cut the owner again, some seconds after the first heals.
func (b *bench) secondCuts(ctx context.Context) error {
	var samples []time.Duration
	for range min(few, b.trials) {
		for second := range 2 {
			outage, owner, err := b.trial(ctx, b.v4, b.cable())
			if err != nil {
				return err
			}
			if err := b.recover(ctx, owner, b.cable()); err != nil {
				return err
			}
			if second == 1 {
				samples = append(samples, outage)
				b.say("second cut: %s", outage.Round(time.Millisecond))
			} else {
				time.Sleep(rest)
			}
		}
	}
	b.figure("l2_second_cut_ms", "second cut, 12 s after the first healed", samples, figures.Median)
	return nil
}

func (b *bench) otherFailures(ctx context.Context) error {
	inside := func(state string) func(context.Context, string) error {
		return func(ctx context.Context, node string) error {
			_, err := b.c.Exec(ctx, node, "ip", "link", "set", "eth0", state)
			return err
		}
	}
	faults := []fault{
		{
			"host frozen", func(_ context.Context, node string) error { return b.c.Freeze(node) },
			func(_ context.Context, node string) error { return b.c.Thaw(node) },
		},
		{"speaker killed", b.killSpeaker, func(context.Context, string) error { time.Sleep(2 * time.Second); return nil }},
		{"interface down from inside", inside("down"), func(ctx context.Context, node string) error {
			if err := inside("up")(ctx, node); err != nil {
				return err
			}
			// The kernel drops routes and IPv6 addresses with the link.
			return b.restoreAddresses(ctx, node)
		}},
	}
	for _, f := range faults {
		var samples []time.Duration
		for range min(few, b.trials) {
			outage, owner, err := b.trial(ctx, b.v4, f)
			if err != nil {
				return err
			}
			if err := b.recover(ctx, owner, f); err != nil {
				return err
			}
			samples = append(samples, outage)
			b.say("%s: %s", f.name, outage.Round(time.Millisecond))
		}
		b.figure("", f.name+", IPv4", samples, figures.Median)
	}
	return nil
}

// restoreAddresses brings back what a node loses when its link goes down: the
// IPv6 address and the default routes, as a network daemon would.
func (b *bench) restoreAddresses(ctx context.Context, node string) error {
	other := "n1"
	if node == other {
		other = "n2"
	}
	host, err := b.c.Host(node)
	if err != nil {
		return err
	}
	for _, family := range []string{"-4", "-6"} {
		out, err := b.c.Exec(ctx, other, "ip", family, "route", "show")
		if err != nil {
			return err
		}
		for route := range strings.Lines(out) {
			words := strings.Fields(route)
			if i := slices.Index(words, "via"); i < 0 || slices.Contains(words, host.IPv4.String()) {
				continue
			}
			// What leads to the other node's own pods fails, and should.
			_, _ = b.c.Exec(ctx, node, append([]string{"ip", family, "route", "replace"}, words...)...)
		}
	}
	return nil
}

func (b *bench) killSpeaker(_ context.Context, node string) error {
	speaker, err := b.c.Speaker(node)
	if err != nil {
		return err
	}
	return b.c.Signal(speaker.Name, unix.SIGKILL)
}
