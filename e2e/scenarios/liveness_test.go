package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// memberPort is what the speakers use among each other over IP.
const memberPort = 7946

// spread makes so many dual-stack Services that every node owns some of their
// addresses, most likely, and returns those.
func (p *plot) spread(ctx context.Context) (all []netip.Addr) {
	p.t.Helper()
	for i := range 4 {
		v4, v6 := p.made(ctx, fmt.Sprintf("web-%d", i), nil)
		all = append(all, v4, v6)
	}
	for _, a := range all {
		p.owner(ctx, a)
		p.answers(ctx, "c1", a)
	}
	return all
}

func (p *plot) nodes() (names []string) {
	for _, h := range p.Hosts() {
		if strings.HasPrefix(h.Name, "n") {
			names = append(names, h.Name)
		}
	}
	return names
}

// answerers asks for all addresses at once: who answers for each.
func (p *plot) answerers(ctx context.Context, all []netip.Addr) [][]string {
	p.t.Helper()
	found, failures := make([][]string, len(all)), make([]error, len(all))
	var asked sync.WaitGroup
	for i, a := range all {
		asked.Go(func() { found[i], failures[i] = p.Answerers(ctx, "c1", a) })
	}
	asked.Wait()
	for _, err := range failures {
		p.must(err)
	}
	return found
}

// single fails the test for each address that not exactly one node answers for, or
// one that must not, now and two seconds later.
func (p *plot) single(ctx context.Context, when string, all []netip.Addr, not string) {
	p.t.Helper()
	for range 2 {
		for i, nodes := range p.answerers(ctx, all) {
			if len(nodes) != 1 || nodes[0] == not {
				p.t.Errorf("%s: %s is answered by %v, want one node other than %q", when, all[i], nodes, not)
			}
		}
		time.Sleep(2 * time.Second)
	}
}

// settledWithout waits until each address is answered by one node, and not by this
// one.
func (p *plot) settledWithout(ctx context.Context, node string, all []netip.Addr) {
	p.t.Helper()
	var last [][]string
	err := lab.WaitFor(ctx, "one owner of each address, other than "+node, func() (bool, error) {
		last = p.answerers(ctx, all)
		return !slices.ContainsFunc(last, func(nodes []string) bool { return len(nodes) != 1 || nodes[0] == node }), nil
	})
	if err != nil {
		p.t.Fatalf("%v; answered by %v", err, last)
	}
}

// deferred is what undoes a fault, at the end of the test at the latest.
func (p *plot) deferred(undo func(ctx context.Context) error) (now func()) {
	now = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := undo(ctx); err != nil {
			p.t.Error(err)
		}
	})
	p.t.Cleanup(now)
	return now
}

func TestL16_A_speaker_that_gets_no_processor_keeps_its_addresses(t *testing.T) {
	ctx, p := newPlot(t, 3)
	all := p.spread(ctx)
	watch, err := p.Watch(ctx, "c1")
	p.must(err)
	t.Cleanup(func() { watch.Stop() })
	for _, node := range p.nodes() {
		speaker, err := p.Speaker(node)
		p.must(err)
		p.must(p.Signal(speaker.Name, unix.SIGSTOP))
		time.Sleep(300 * time.Millisecond)
		p.must(p.Signal(speaker.Name, unix.SIGCONT))
		p.answerers(ctx, all)
	}
	busy := time.Now()
	// Nobody asks meanwhile: what asks would wait longest of all. A node that takes an
	// address announces it.
	var loops []*lab.Process
	for i := range 8 {
		node := p.nodes()[i%len(p.nodes())]
		loop, err := p.Run(node, fmt.Sprintf("%s/busy-%d", node, i), "timeout", "20", "sh", "-c", "while :; do :; done")
		p.must(err)
		loops = append(loops, loop)
	}
	p.must(lab.WaitFor(ctx, "the busy loops to end", func() (bool, error) {
		return !slices.ContainsFunc(loops, (*lab.Process).Running), nil
	}))
	p.answerers(ctx, all)
	answers := watch.Stop()
	if len(answers) < 4*len(all) {
		t.Errorf("only %d answers were heard: nothing is proven", len(answers))
	}
	if moves := cluster.Moves(answers, all); len(moves) > 0 {
		t.Errorf("addresses moved: %v; the busy loops began at %s", moves, busy.Format("05.000"))
		for _, node := range p.nodes() {
			speaker, err := p.Speaker(node)
			p.must(err)
			t.Logf("%s says:\n%s", node, p.Log(speaker.Name))
		}
	}
}

func TestL17_With_the_member_port_blocked_there_is_one_owner(t *testing.T) {
	ctx, p := newPlot(t, 3)
	all := p.spread(ctx)
	open := p.deferred(func(ctx context.Context) error {
		for _, node := range p.nodes() {
			if err := p.Unblock(ctx, node); err != nil {
				return err
			}
		}
		return nil
	})
	for _, node := range p.nodes() {
		p.must(p.Block(ctx, node, memberPort))
	}
	time.Sleep(2 * time.Second)
	p.single(ctx, "blocked on all nodes", all, "")
	for _, node := range p.nodes()[1:] {
		p.must(p.Unblock(ctx, node))
	}
	p.must(p.BlockInbound(ctx, p.nodes()[0], memberPort))
	time.Sleep(2 * time.Second)
	p.single(ctx, "blocked inbound on one node", all, "")
	open()
	p.waitAllReady(ctx)
}

func TestL18_A_node_whose_address_changed_holds_nothing(t *testing.T) {
	ctx, p := newPlot(t, 3)
	all := p.spread(ctx)
	node := p.owner(ctx, all[0])
	host, err := p.Host(node)
	p.must(err)
	own, other := host.IPv4.String()+"/24", "192.0.2.61/24"
	routes, err := p.Exec(ctx, node, "ip", "-4", "route", "show")
	p.must(err)
	change := func(ctx context.Context, from, to string) error {
		if _, err := p.Exec(ctx, node, "sh", "-ec", fmt.Sprintf("ip addr del %s dev eth0; ip addr add %s dev eth0", from, to)); err != nil {
			return err
		}
		for line := range strings.Lines(routes) { // the kernel drops them with the address
			if words := strings.Fields(line); slices.Contains(words, "via") {
				if _, err := p.Exec(ctx, node, append([]string{"ip", "route", "replace"}, words...)...); err != nil {
					return err
				}
			}
		}
		return nil
	}
	back := p.deferred(func(ctx context.Context) error { return change(ctx, other, own) })
	speaker, err := p.Speaker(node)
	p.must(err)
	p.must(change(ctx, own, other))
	p.settledWithout(ctx, node, all)
	// The kubelet keeps the log of the last run alone, and soon there is another.
	said := false
	err = lab.WaitFor(ctx, "the speaker to say that its address is gone, and to end", func() (bool, error) {
		said = said || strings.Contains(p.Log(speaker.Name), host.IPv4.String()+" (--member-address) is on no interface")
		return said && !speaker.Running(), nil
	})
	p.must(err)
	p.single(ctx, "with the node's address changed", all, node)
	back()
	p.must(p.Rollout(ctx))
	p.waitAllReady(ctx)
	for _, a := range all {
		p.owner(ctx, a)
	}
}

// The advertisement names no interface, so that the second network would do but for
// the subnet that the addresses are in.
func TestL18_With_the_LAN_cable_out_and_another_network_up_the_addresses_move(t *testing.T) {
	ctx, p := newPlot(t, 3)
	p.patchPool(ctx, `"addresses":["192.0.2.200-192.0.2.207","2001:db8:1::200-2001:db8:1::207"]`)
	all := p.spread(ctx)
	remove, err := p.AddSecondNetwork(p.nodes()...)
	p.must(err)
	p.deferred(func(context.Context) error { return remove() })
	for _, a := range all {
		p.owner(ctx, a)
	}
	node := p.owner(ctx, all[0])
	heal := p.deferred(func(context.Context) error { return p.Heal(node) })
	p.must(p.Cut(node))
	p.settledWithout(ctx, node, all)
	p.single(ctx, "with the LAN cable out", all, node)
	heal()
	p.waitAllReady(ctx)
	p.single(ctx, "with the cable in again", all, "")
}

func TestL19_A_node_that_sends_and_does_not_receive_takes_nothing(t *testing.T) {
	ctx, p := newPlot(t, 3)
	all := p.spread(ctx)
	node := p.nodes()[2]
	watch, err := p.Watch(ctx, "c1")
	p.must(err)
	t.Cleanup(func() { watch.Stop() })
	foreign := []netip.Addr{}
	for _, a := range all {
		if p.owner(ctx, a) != node {
			foreign = append(foreign, a)
		}
	}
	mended := p.deferred(func(ctx context.Context) error { return p.BothWays(ctx, node) })
	cut := time.Now()
	p.must(p.OneWay(ctx, node, lab.Send))
	p.settledWithout(ctx, node, all)
	p.single(ctx, "with a node that does not receive", all, node)
	for _, a := range foreign {
		neighbor, err := p.Neighbor(ctx, "c1", a)
		if err != nil || neighbor == node {
			t.Errorf("the client's kernel sends %s to %q (%v)", a, neighbor, err)
		}
	}
	for _, answer := range watch.Stop() {
		if answer.Node == node && slices.Contains(foreign, answer.Address) {
			t.Errorf("%s said %s after it received no more that it has %s", node, answer.Time.Sub(cut), answer.Address)
		}
	}
	mended()
	p.waitAllReady(ctx)
	p.single(ctx, "with a node that receives again", all, "")
}
