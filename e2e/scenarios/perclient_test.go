package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
	"github.com/baliza-lb/baliza/e2e/probe"
	"github.com/baliza-lb/baliza/internal/schematest"
)

// perClient makes a plot whose advertisement has balancing PerClient, and
// dual-stack Services that are served on every node by a pod of its own, so
// that the loss of a node is that of its clients alone. It returns their
// addresses.
func perClient(t *testing.T, services int) (context.Context, *plot, []netip.Addr) {
	t.Helper()
	ctx, p := newPlot(t, 3)
	_, err := p.Kubectl(ctx, "patch", "l2adv", p.name, "--type=merge", "-p", `{"spec":{"balancing":"PerClient"}}`)
	p.must(err)
	var vips []netip.Addr
	for i := range services {
		vips = append(vips, p.served(ctx, fmt.Sprintf("web-%d", i), func(svc *corev1.Service) {
			svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		})...)
	}
	for i := range services {
		p.announcedAs(ctx, fmt.Sprintf("web-%d", i), "announced by n1, n2, n3, per client")
	}
	// Who asked before all nodes answered is known to some of them only, until
	// it asks again (docs/layer2.md).
	for _, vip := range vips {
		_, err := p.Exec(ctx, "c1", "ip", "neigh", "flush", "to", vip.String(), "dev", "eth0")
		p.must(err)
	}
	return ctx, p, vips
}

// announcedAs waits for the message of a Service's Announced condition.
func (p *plot) announcedAs(ctx context.Context, service, message string) {
	p.t.Helper()
	var last *metav1.Condition
	err := lab.WaitFor(ctx, fmt.Sprintf("Service %s to say %q", service, message), func() (bool, error) {
		last = cluster.Condition(p.get(ctx, service).Status.Conditions, v1beta1.ConditionAnnounced)
		return last != nil && last.Status == metav1.ConditionTrue && last.Message == message, nil
	})
	if err != nil {
		p.t.Fatalf("%v; the condition is %+v", err, last)
	}
}

// answerersOf asks everybody for an address once, from one of a host's own, and
// returns each answer's node.
func (p *plot) answerersOf(ctx context.Context, host, from string, vip netip.Addr) []string {
	p.t.Helper()
	command := fmt.Sprintf("arping -i eth0 -c 1 -W 0.5 -r -S %s %s; true", from, vip)
	if vip.Is6() {
		command = fmt.Sprintf("ndisc6 -m -r 1 -w 500 -q -s %s %s eth0; true", from, vip)
	}
	out, err := p.Exec(ctx, host, "sh", "-c", command)
	p.must(err)
	var nodes []string
	for word := range strings.FieldsSeq(strings.ToLower(out)) {
		for _, h := range p.Hosts() {
			if word == h.MAC.String() {
				nodes = append(nodes, h.Name)
			}
		}
	}
	return nodes
}

// Twelve clients of one address are each answered by one node, and not all by
// the same; a probe in nobody's name is answered once, too.
func TestPerClient_Each_client_is_answered_by_one_node_and_not_all_by_the_same(t *testing.T) {
	ctx, p, vips := perClient(t, 1)
	for _, vip := range vips {
		nodes := map[string]int{}
		for i := range 12 {
			from := fmt.Sprintf("192.0.2.%d", 170+i)
			prefix := "/24"
			if vip.Is6() {
				from, prefix = fmt.Sprintf("2001:db8:1::1:%x", i+1), "/64"
			}
			_, err := p.Exec(ctx, "c1", "ip", "addr", "add", from+prefix, "dev", "eth0")
			p.must(err)
			if vip.Is6() {
				p.must(p.usable(ctx, "c1", from))
			}
			answers := p.answerersOf(ctx, "c1", from, vip)
			if len(answers) != 1 {
				t.Errorf("%s is answered by %v for %s", from, answers, vip)
				continue
			}
			if again := p.answerersOf(ctx, "c1", from, vip); len(again) != 1 || again[0] != answers[0] {
				t.Errorf("%s is answered by %v for %s, and then by %v", from, answers, vip, again)
			}
			nodes[answers[0]]++
			_, err = p.Exec(ctx, "c1", "ip", "addr", "del", from+prefix, "dev", "eth0")
			p.must(err)
		}
		t.Logf("%s: clients by node: %v", vip, nodes)
		if len(nodes) < 2 {
			t.Errorf("%s: one node answers every client: %v", vip, nodes)
		}
		if !vip.Is6() {
			if answers := p.answerersOf(ctx, "c1", "0.0.0.0", vip); len(answers) != 1 {
				t.Errorf("a probe for %s is answered by %v", vip, answers)
			}
		}
	}
	_, err := p.Kubectl(ctx, "patch", "l2adv", p.name, "--dry-run=server", "--type=merge", "-p", `{"spec":{"preferredNodes":[{"weight":1,"nodeSelector":{}}]}}`)
	if err == nil || !strings.Contains(err.Error(), schematest.RulePerClient) {
		t.Errorf("preferredNodes with PerClient: %v", err)
	}
	// One owner again: everybody is told, and one answers.
	_, err = p.Kubectl(ctx, "patch", "l2adv", p.name, "--type=merge", "-p", `{"spec":{"balancing":"PerAddress"}}`)
	p.must(err)
	for _, vip := range vips {
		owner := p.owner(ctx, vip)
		for _, host := range []string{"c1", "c2", "r1"} {
			p.answers(ctx, host, vip)
			if node, err := p.Neighbor(ctx, host, vip); err != nil || node != owner {
				t.Errorf("the kernel of %s sends %s to %q (%v), want %s", host, vip, node, err, owner)
			}
		}
	}
}

// usable waits until a new address of a host has passed its own duplicate
// detection.
func (p *plot) usable(ctx context.Context, host, address string) error {
	return lab.WaitFor(ctx, address+" to be usable", func() (bool, error) {
		out, err := p.Exec(ctx, host, "ip", "-6", "addr", "show", "dev", "eth0", "tentative")
		return !strings.Contains(out, address+"/"), err
	})
}

// pair is a client of an address.
type pair struct {
	host string
	vip  netip.Addr
}

func (one pair) String() string { return one.host + "'s " + one.vip.String() }

// few returns two clients of the victim and two of other nodes. All of them at
// once would be a test of this machine.
func few(before map[pair]string, victim string) (some []pair) {
	count := map[bool]int{}
	for one, node := range before {
		count[node == victim]++
		if count[node == victim] <= 2 {
			some = append(some, one)
		}
	}
	return some
}

// The node with the most clients is cut off behind the switch. Its clients,
// stock kernels that connect all the time, are pointed elsewhere at once; those
// of the other nodes lose nothing.
func TestPerClient_When_a_node_is_cut_its_clients_are_repointed_and_no_others(t *testing.T) {
	ctx, p, vips := perClient(t, 3)
	before, clients := map[pair]string{}, map[string]int{}
	for _, host := range []string{"c1", "c2", "r1"} {
		for _, vip := range vips {
			p.answers(ctx, host, vip)
			node, err := p.Neighbor(ctx, host, vip)
			p.must(err)
			before[pair{host, vip}] = node
			clients[node]++
		}
	}
	victim := ""
	for node, count := range clients {
		if victim == "" || count > clients[victim] || count == clients[victim] && node < victim {
			victim = node
		}
	}
	t.Logf("clients by node: %v; %s is cut", clients, victim)
	if len(clients) < 2 {
		t.Fatal("one node has all the clients")
	}
	probers := map[pair]*probe.Prober{}
	for _, one := range few(before, victim) {
		probers[one] = p.Probe(ctx, one.host, netip.AddrPortFrom(one.vip, 80), 20*time.Millisecond)
	}
	time.Sleep(time.Second)
	p.must(p.CutSilently(victim))
	time.Sleep(4 * time.Second)
	reports := map[pair]probe.Report{}
	for one, prober := range probers {
		reports[one] = prober.Stop()
	}
	after := map[pair]string{}
	for one := range before {
		node, err := p.Neighbor(ctx, one.host, one.vip)
		p.must(err)
		after[one] = node
	}
	p.must(p.Heal(victim))
	for one, was := range before {
		r, probed := reports[one]
		switch is := after[one]; {
		case was != victim && (is != was || len(r.Failures) > 0):
			t.Errorf("%s of %s, which lives: now with %s; %s", one, was, is, r)
		case was == victim && (is == victim || is == ""):
			t.Errorf("%s is still with %q; %s", one, is, r)
		case probed:
			t.Logf("%s: from %s to %s; %s", one, was, is, r)
			// A kernel that finds out by itself takes five seconds and more.
			if r.Outage > 4*time.Second {
				t.Errorf("%s had no answer for %s", one, r.Outage)
			}
		}
	}
	p.waitAllReady(ctx)
	for one, was := range after { // the one that is back takes nobody away
		if is, err := p.Neighbor(ctx, one.host, one.vip); err != nil || is != was {
			t.Errorf("%s was with %s and is with %q now that %s is back (%v)", one, was, is, victim, err)
		}
		p.answers(ctx, one.host, one.vip)
	}
}
