package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/e2e/bench/figures"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

const (
	// loops is how many busy programs run beside the nodes' pods.
	loops = 8
	// pause is for how long a speaker is stopped that is to keep what it has.
	pause = 300 * time.Millisecond
	// remembered is how long it counts for a speaker that it has paused: see stops.
	remembered = time.Minute
	// askEvery is how often a client asks for an address whose owner was stopped.
	askEvery = 5 * time.Millisecond
	// others is how many Services there are beside the first, so that every node
	// owns some addresses.
	others = 5
	// mostShown is how many moves are told one by one.
	mostShown = 20
)

// several makes more Services, once, and returns the addresses of all.
func (b *bench) several(ctx context.Context) ([]netip.Addr, error) {
	if len(b.all) > 0 {
		return b.all, nil
	}
	all := []netip.Addr{b.v4, b.v6}
	for i := range others {
		name := fmt.Sprintf("web-%d", i+1)
		if _, err := b.c.Service(ctx, namespace, name, func(s *corev1.Service) { cluster.DualStack(s) }); err != nil {
			return nil, err
		}
		addresses, err := b.c.WaitAddresses(ctx, namespace, name, 2)
		if err != nil {
			return nil, err
		}
		all = append(all, addresses...)
	}
	for _, a := range all {
		if err := b.answered(ctx, a); err != nil {
			return nil, err
		}
	}
	b.all = all
	return all, nil
}

// starved lets busy programs run on the nodes beside their pods, and counts what
// the speakers take for deaths and how often addresses move, as a client hears it.
func (b *bench) starved(ctx context.Context) error {
	period := figures.Time("BUSY", 10*time.Minute)
	if period == 0 {
		return nil
	}
	all, err := b.several(ctx)
	if err != nil {
		return err
	}
	if err := b.atRest(ctx, all); err != nil {
		return err
	}
	nodes := b.nodes()
	alarms := b.countAlarms()
	b.say("%d busy programs beside the pods of %d nodes for %s", loops, len(nodes), period)
	watch, err := b.c.Watch(ctx, client)
	if err != nil {
		return err
	}
	var running []*lab.Process
	for i := range loops {
		node := nodes[i%len(nodes)]
		p, err := b.c.Run(node, fmt.Sprintf("%s/busy-%d", node, i), "sh", "-c", "while :; do :; done")
		if err != nil {
			return err
		}
		running = append(running, p)
	}
	for until := time.Now().Add(period); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(time.Second) {
		for _, a := range all {
			if err := b.c.Ask(ctx, client, a, 1, 200*time.Millisecond); err != nil {
				return err
			}
		}
	}
	answers := watch.Stop()
	for _, p := range running {
		if err := b.c.Stop(ctx, p.Name, unix.SIGKILL); err != nil {
			return err
		}
	}
	n := b.moved(ctx, "l2_starved_moves", fmt.Sprintf("%d busy programs for %s", loops, period), answers, all)
	falsely := alarms(fmt.Sprintf("the same: speakers taken for dead in %s", period))
	b.values["l2_false_failovers"] = strconv.Itoa(falsely)
	b.say("busy programs: %d moves of %d addresses, %d false alarms", n, len(all), falsely)
	return ctx.Err()
}

// atRest waits until no address has moved for a while: a node that was cut off, and is
// back, takes its own again as planned.
func (b *bench) atRest(ctx context.Context, all []netip.Addr) error {
	const still, most = 20 * time.Second, 3 * time.Minute
	watch, err := b.c.Watch(ctx, client)
	if err != nil {
		return err
	}
	defer watch.Stop()
	for began, last := time.Now(), time.Now(); time.Since(last) < still && time.Since(began) < most; time.Sleep(time.Second) {
		for _, a := range all {
			if err := b.c.Ask(ctx, client, a, 1, 200*time.Millisecond); err != nil {
				return err
			}
		}
		if moves := cluster.Moves(watch.Answers(), all); len(moves) > 0 && moves[len(moves)-1].Time.After(last) {
			last = moves[len(moves)-1].Time
		}
	}
	return ctx.Err()
}

// moved records how often addresses moved, and says why, as the speakers have it.
func (b *bench) moved(ctx context.Context, key, row string, answers []cluster.Answer, all []netip.Addr) int {
	moves := cluster.Moves(answers, all)
	for _, m := range moves[:min(len(moves), mostShown)] {
		history, err := b.c.KubectlBaliza(ctx, "history", m.Address.String())
		if err != nil {
			history = err.Error()
		}
		b.say("moved: %s\n%s", m, history)
	}
	n := len(moves)
	heard := map[netip.Addr]bool{}
	for _, one := range answers {
		heard[one.Address] = true
	}
	silent := 0
	for _, a := range all {
		if !heard[a] {
			silent++
		}
	}
	note := fmt.Sprintf("%d moves of %d addresses, in %d answers", n, len(all), len(answers))
	if silent > 0 {
		note += fmt.Sprintf("; for %d of them nobody answered", silent)
	}
	b.rows = append(b.rows, figures.Row{Name: row, Note: note})
	b.values[key] = strconv.Itoa(n + silent)
	return n + silent
}

func (b *bench) nodes() (names []string) {
	for _, h := range b.c.Hosts() {
		if h.Name[0] == 'n' {
			names = append(names, h.Name)
		}
	}
	return names
}

// stops stop the owner's speaker: for a moment, for good, and by a kill.
func (b *bench) stops(ctx context.Context) error {
	times := figures.Number("STOPS", 5)
	if times == 0 {
		return nil
	}
	if err := b.paused(ctx, times); err != nil {
		return err
	}
	// A speaker that came back from a pause gets more time for a minute, so that the
	// next figure would be that of an overloaded node, and not of one that hangs.
	b.say("nothing is done for %s: until no speaker counts as one that pauses", remembered)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(remembered):
	}
	var frozen, woken, killed []time.Duration
	for i := range times {
		took, old, err := b.gone(ctx, unix.SIGSTOP)
		if err != nil {
			return err
		}
		wake, err := b.woken(ctx, old)
		if err != nil {
			return err
		}
		frozen, woken = append(frozen, took), append(woken, wake)
		b.say("speaker stopped for good %d of %d: another answered after %s; it answered last %s after it went on",
			i+1, times, took.Round(time.Millisecond), wake.Round(time.Millisecond))
	}
	for i := range times {
		took, _, err := b.gone(ctx, unix.SIGKILL)
		if err != nil {
			return err
		}
		killed = append(killed, took)
		b.say("speaker killed %d of %d: another answered after %s", i+1, times, took.Round(time.Millisecond))
		// The kubelet takes longer each time to start it again.
		if err := b.whole(ctx); err != nil {
			return err
		}
	}
	b.figure("l2_frozen_ms", "speaker stopped for good, new ARP requests", frozen, slices.Max)
	b.figure("", "such a speaker goes on: until one owner", woken, slices.Max)
	b.figure("l2_killed_ms", "speaker killed, new ARP requests", killed, slices.Max)
	return nil
}

// whole waits until all speakers run and hear each other.
func (b *bench) whole(ctx context.Context) error {
	if err := b.c.Rollout(ctx); err != nil {
		return err
	}
	return b.c.WaitSpeakers(ctx)
}

// paused stops each owner's speaker for a moment, in which nothing may move.
func (b *bench) paused(ctx context.Context, times int) error {
	all, err := b.several(ctx)
	if err != nil {
		return err
	}
	watch, err := b.c.Watch(ctx, client)
	if err != nil {
		return err
	}
	for range times {
		for _, node := range b.nodes() {
			speaker, err := b.c.Speaker(node)
			if err != nil {
				return err
			}
			if err := b.c.Signal(speaker.Name, unix.SIGSTOP); err != nil {
				return err
			}
			time.Sleep(pause)
			if err := b.c.Signal(speaker.Name, unix.SIGCONT); err != nil {
				return err
			}
			for _, a := range all {
				if err := b.c.Ask(ctx, client, a, 1, 100*time.Millisecond); err != nil {
					return err
				}
			}
		}
	}
	n := b.moved(ctx, "l2_silent_300ms_moves", fmt.Sprintf("each speaker stopped for %s, %d times", pause, times), watch.Stop(), all)
	b.say("each speaker stopped for %s, %d times: %d moves", pause, times, n)
	return nil
}

// gone stops the speaker of the first address's owner while a client asks for the
// address all the time, and returns how long after it another node answered first.
func (b *bench) gone(ctx context.Context, s syscall.Signal) (took time.Duration, old *lab.Process, err error) {
	owner, err := b.c.WaitOwner(ctx, client, b.v4)
	if err != nil {
		return 0, nil, err
	}
	if old, err = b.c.Speaker(owner); err != nil {
		return 0, nil, err
	}
	watch, stop, err := b.asking(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer stop()
	time.Sleep(before)
	stopped := time.Now()
	if err := b.c.Signal(old.Name, s); err != nil {
		return 0, nil, err
	}
	err = lab.WaitFor(ctx, fmt.Sprintf("another node than %s to answer for %s", owner, b.v4), func() (bool, error) {
		answers := watch.Answers()
		i := slices.IndexFunc(answers, func(a cluster.Answer) bool {
			return a.Asked && a.Address == b.v4 && a.Node != owner && a.Time.After(stopped)
		})
		if i >= 0 {
			took = answers[i].Time.Sub(stopped)
		}
		return i >= 0, nil
	})
	return took, old, err
}

// woken lets a stopped speaker go on while a client asks, and returns how long
// after it its node answered last.
func (b *bench) woken(ctx context.Context, speaker *lab.Process) (last time.Duration, err error) {
	watch, stop, err := b.asking(ctx)
	if err != nil {
		return 0, err
	}
	defer stop()
	time.Sleep(before)
	began := time.Now()
	if err := b.c.Signal(speaker.Name, unix.SIGCONT); err != nil {
		return 0, err
	}
	time.Sleep(after)
	for _, a := range watch.Answers() {
		if a.Address == b.v4 && a.Node == speaker.Host && a.Time.After(began) {
			last = a.Time.Sub(began)
		}
	}
	if err := b.c.WaitSpeakers(ctx); err != nil {
		return 0, err
	}
	_, err = b.c.WaitOwner(ctx, client, b.v4)
	return last, err
}

// asking lets the client ask for the first address until it is told to stop, and
// listens.
func (b *bench) asking(ctx context.Context) (watch *cluster.Watch, stop func(), err error) {
	if watch, err = b.c.Watch(ctx, client); err != nil {
		return nil, nil, err
	}
	asking, enough := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.c.Ask(asking, client, b.v4, 100_000, askEvery) // ends with a kill
	}()
	return watch, func() {
		enough()
		<-done
		watch.Stop()
	}, nil
}
