package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/baliza-lb/baliza/e2e/bench/figures"
	"github.com/baliza-lb/baliza/e2e/lab"
	"github.com/baliza-lb/baliza/e2e/probe"
)

const (
	memberPort = 7946
	// soon is when owners are first counted after the member port was blocked.
	soon = 4 * time.Second
	// tolerated is how long an entry may point to a node that receives nothing.
	tolerated = time.Second
	// forger is another client than the one that connects.
	forger = "c2"
)

// blocked drops what the speakers send each other over IP, and counts who answers.
func (b *bench) blocked(ctx context.Context) error {
	period := figures.Time("BLOCKED", 20*time.Second)
	if period == 0 {
		return nil
	}
	all, err := b.several(ctx)
	if err != nil {
		return err
	}
	one := b.nodes()[:1]
	worst := 1
	for _, way := range []struct {
		name  string
		nodes []string
		block func(ctx context.Context, node string, port int) error
	}{
		{"between all nodes", b.nodes(), b.c.Block},
		{"inbound on one node", one, b.c.BlockInbound},
	} {
		began := time.Now()
		for _, node := range way.nodes {
			if err := way.block(ctx, node, memberPort); err != nil {
				return err
			}
		}
		var notes []string
		for _, at := range []time.Duration{min(soon, period), period} {
			time.Sleep(time.Until(began.Add(at)))
			least, most, err := b.owners(ctx, all)
			if err != nil {
				return err
			}
			notes = append(notes, fmt.Sprintf("%d to %d after %s", least, most, at))
			if worst = max(worst, most); least == 0 && worst == 1 {
				worst = 0
			}
		}
		for _, node := range way.nodes {
			if err := b.c.Unblock(ctx, node); err != nil {
				return err
			}
		}
		row := fmt.Sprintf("port %d dropped %s", memberPort, way.name)
		note := "owners of an address: " + strings.Join(notes, ", ")
		b.rows = append(b.rows, figures.Row{Name: row, Note: note})
		b.say("%s: %s", row, note)
		if err := b.c.WaitSpeakers(ctx); err != nil {
			return err
		}
	}
	// More than one, or none: what is not 1 is wrong.
	b.values["l2_blocked_port_owners"] = strconv.Itoa(worst)
	return nil
}

// owners asks for all addresses at once and returns by how many nodes they are
// answered, the least and the most.
func (b *bench) owners(ctx context.Context, all []netip.Addr) (least, most int, err error) {
	counts, failures := make([]int, len(all)), make([]error, len(all))
	var asked sync.WaitGroup
	for i, a := range all {
		asked.Go(func() {
			nodes, err := b.c.Answerers(ctx, client, a)
			counts[i], failures[i] = len(nodes), err
		})
	}
	asked.Wait()
	least = counts[0]
	for i := range all {
		if failures[i] != nil {
			return 0, 0, failures[i]
		}
		least, most = min(least, counts[i]), max(most, counts[i])
	}
	return least, most, nil
}

// deaf lets a node send and not receive, and looks at the neighbor entries of a
// client that connects to all addresses all the time: none of another node's may
// point to it for longer than a second. An owner reminds its neighbors every two
// minutes, so it takes some minutes.
func (b *bench) deaf(ctx context.Context) error {
	period := figures.Time("DEAF", 4*time.Minute)
	if period == 0 {
		return nil
	}
	all, err := b.several(ctx)
	if err != nil {
		return err
	}
	nodes := b.nodes()
	victim := nodes[len(nodes)-1]
	var probers []*probe.Prober
	for _, a := range all {
		probers = append(probers, b.c.Probe(ctx, client, netip.AddrPortFrom(a, 80), 200*time.Millisecond))
	}
	defer func() {
		for _, p := range probers {
			p.Stop()
		}
	}()
	time.Sleep(before)
	entries, err := b.entries(ctx)
	if err != nil {
		return err
	}
	own := map[netip.Addr]bool{}
	for a, node := range entries {
		own[a] = node == victim
	}
	b.say("%s sends and does not receive for %s", victim, period)
	began := time.Now()
	if err := b.c.OneWay(ctx, victim, lab.Send); err != nil {
		return err
	}
	seen := theft{victim: victim, own: own, since: map[netip.Addr]time.Time{}}
	for time.Since(began) < period && ctx.Err() == nil {
		if entries, err = b.entries(ctx); err != nil {
			return err
		}
		seen.look(entries, all, began, time.Now())
		time.Sleep(50 * time.Millisecond)
	}
	stolen := seen.end(all, time.Now())
	if err := b.c.BothWays(ctx, victim); err != nil {
		return err
	}
	b.values["l2_deaf_stolen"] = strconv.Itoa(stolen)
	note := fmt.Sprintf("%d times an entry pointed to it for over %s; its own had gone after %s",
		stolen, tolerated, seen.left.Round(time.Millisecond))
	b.rows = append(b.rows, figures.Row{Name: fmt.Sprintf("a node sends and does not receive for %s", period), Note: note})
	b.say("a node that does not receive: %s", note)
	err = lab.WaitFor(ctx, victim+" to be Ready", func() (bool, error) { return b.c.NodeReady(ctx, victim) })
	if err != nil {
		return err
	}
	return b.c.WaitSpeakers(ctx)
}

// entries are the client's neighbors that have a MAC: which node's.
func (b *bench) entries(ctx context.Context) (map[netip.Addr]string, error) {
	out, err := b.c.Exec(ctx, client, "ip", "neigh", "show", "dev", "eth0")
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, h := range b.c.Hosts() {
		names[h.MAC.String()] = h.Name
	}
	all := map[netip.Addr]string{}
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		if len(words) < 3 || words[1] != "lladdr" {
			continue
		}
		if a, err := netip.ParseAddr(words[0]); err == nil {
			all[a] = names[words[2]]
		}
	}
	return all, nil
}

// theft counts the times in which an entry pointed to a node that had no right to
// it.
type theft struct {
	victim string
	// own are the addresses that are the node's, until they point to another.
	own map[netip.Addr]bool
	// since is when an entry was first seen to point to it.
	since map[netip.Addr]time.Time
	count int
	left  time.Duration // when the last of its own had gone
}

func (t *theft) look(entries map[netip.Addr]string, all []netip.Addr, began, now time.Time) {
	for _, a := range all {
		node := entries[a]
		switch since, pointed := t.since[a]; {
		case t.own[a]:
			if node != "" && node != t.victim {
				t.own[a], t.left = false, now.Sub(began)
			}
		case node == t.victim && !pointed:
			t.since[a] = now
		case node != t.victim && pointed:
			if now.Sub(since) > tolerated {
				t.count++
			}
			delete(t.since, a)
		}
	}
}

// end counts what still points to it.
func (t *theft) end(all []netip.Addr, now time.Time) int {
	for _, a := range all {
		if since, pointed := t.since[a]; t.own[a] || pointed && now.Sub(since) > tolerated {
			t.count++
		}
	}
	return t.count
}

// forged lets a host say, to the owner alone, that addresses in use are its own.
// Nobody's cache is touched, so that a client behind the router loses what the
// owner gives up and nothing else.
func (b *bench) forged(ctx context.Context) error {
	period := figures.Time("FORGED", 30*time.Second)
	if period == 0 {
		return nil
	}
	const outside, router = "o1", "r1"
	owners := map[netip.Addr]string{}
	for _, a := range []netip.Addr{b.v4, b.v6} {
		owner, err := b.c.WaitOwner(ctx, client, a)
		if err != nil {
			return err
		}
		owners[a] = owner
	}
	four := b.c.Probe(ctx, outside, netip.AddrPortFrom(b.v4, 80), interval)
	six := b.c.Probe(ctx, outside, netip.AddrPortFrom(b.v6, 80), interval)
	time.Sleep(before)
	packets := 0
	next := 1200 * time.Millisecond
	for began := time.Now(); time.Since(began) < period && ctx.Err() == nil; next = 3 * time.Second {
		for a, owner := range owners {
			if err := b.c.Forge(forger, owner, a); err != nil {
				return err
			}
			packets++
		}
		time.Sleep(next)
	}
	time.Sleep(after)
	reports := []probe.Report{four.Stop(), six.Stop()}
	lost := len(reports[0].Failures) + len(reports[1].Failures)
	for a, owner := range owners {
		node, err := b.c.Neighbor(ctx, router, a)
		if err != nil {
			return err
		}
		if node == forger {
			return fmt.Errorf("the router's entry for %s is the forger's by what was sent to %s alone", a, owner)
		}
	}
	b.values["l2_forged_lost"] = strconv.Itoa(lost)
	note := fmt.Sprintf("%d of %d connections lost; %d forged packets", lost, reports[0].Attempts+reports[1].Attempts, packets)
	b.rows = append(b.rows, figures.Row{Name: fmt.Sprintf("a host says for %s that addresses in use are its own", period), Note: note})
	b.say("forger: %s", note)
	return nil
}
