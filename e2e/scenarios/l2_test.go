package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
	"github.com/baliza-lb/baliza/e2e/probe"
)

// made makes a dual-stack Service and returns its addresses, IPv4 first.
func (p *plot) made(ctx context.Context, name string, change func(*corev1.Service)) (v4, v6 netip.Addr) {
	p.t.Helper()
	p.service(ctx, name, func(svc *corev1.Service) {
		cluster.DualStack(svc)
		if change != nil {
			change(svc)
		}
	})
	addresses, err := p.WaitAddresses(ctx, p.name, name, 2)
	p.must(err)
	slices.SortFunc(addresses, netip.Addr.Compare)
	return addresses[0], addresses[1]
}

// served makes a dual-stack Service, waits until the client is answered on
// both of its addresses, and returns them, IPv4 first.
func (p *plot) served(ctx context.Context, name string, change func(*corev1.Service)) []netip.Addr {
	p.t.Helper()
	v4, v6 := p.made(ctx, name, change)
	addresses := []netip.Addr{v4, v6}
	for _, a := range addresses {
		p.answers(ctx, "c1", a)
	}
	return addresses
}

// answers waits until a host gets the page from an address.
func (p *plot) answers(ctx context.Context, host string, a netip.Addr) {
	p.t.Helper()
	var last error
	err := lab.WaitFor(ctx, fmt.Sprintf("an answer from %s to %s", a, host), func() (bool, error) {
		_, _, last = p.Fetch(ctx, host, a)
		return last == nil, nil
	})
	if err != nil {
		p.t.Fatalf("%v: %v", err, last)
	}
}

// owner waits for the one node that answers the client for an address.
func (p *plot) owner(ctx context.Context, a netip.Addr) string {
	p.t.Helper()
	owner, err := p.WaitOwner(ctx, "c1", a)
	p.must(err)
	return owner
}

// silent waits until nobody answers for the address.
func (p *plot) silent(ctx context.Context, a netip.Addr) {
	p.t.Helper()
	err := lab.WaitFor(ctx, fmt.Sprintf("nobody to answer for %s", a), func() (bool, error) {
		nodes, err := p.Answerers(ctx, "c1", a)
		return len(nodes) == 0, err
	})
	p.must(err)
}

func TestL01_Exactly_one_node_answers_for_an_address(t *testing.T) {
	ctx, p := newPlot(t, 3)
	owners := map[string]int{}
	for i := range 5 {
		for _, a := range p.served(ctx, fmt.Sprintf("web-%d", i), nil) {
			owner := p.owner(ctx, a)
			for _, host := range []string{"c1", "c2", "r1"} {
				nodes, err := p.Answerers(ctx, host, a)
				p.must(err)
				if len(nodes) != 1 || nodes[0] != owner {
					t.Errorf("%s: %s is answered by %v, want %s alone", a, host, nodes, owner)
				}
				p.answers(ctx, host, a)
				if neighbor, err := p.Neighbor(ctx, host, a); err != nil || neighbor != owner {
					t.Errorf("%s: the kernel of %s sends it to %q (%v), want %s", a, host, neighbor, err, owner)
				}
			}
			owners[owner]++
		}
	}
	t.Logf("owners of ten addresses: %v", owners)
}

func TestL02_Without_a_ready_endpoint_nobody_answers(t *testing.T) {
	ctx, p := newPlot(t, 2)
	addresses := p.served(ctx, "web", nil)
	scale := func(replicas string) {
		t.Helper()
		_, err := p.Kubectl(ctx, "-n", p.name, "scale", "deployment/web", "--replicas="+replicas)
		p.must(err)
	}
	scale("0")
	for _, a := range addresses {
		p.silent(ctx, a)
	}
	scale("1")
	for _, a := range addresses {
		p.owner(ctx, a)
		p.answers(ctx, "c1", a)
	}
}

func TestL03_With_policy_Local_the_address_follows_the_pod(t *testing.T) {
	ctx, p := newPlot(t, 1)
	addresses := p.served(ctx, "web", func(svc *corev1.Service) {
		svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	})
	home := func() string {
		t.Helper()
		out, err := p.Kubectl(ctx, "-n", p.name, "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].spec.nodeName}")
		p.must(err)
		return out
	}
	before := home()
	for _, a := range addresses {
		if owner := p.owner(ctx, a); owner != before {
			t.Errorf("%s is owned by %s, but the pod is on %s", a, owner, before)
		}
	}
	_, err := p.Kubectl(ctx, "cordon", before)
	p.must(err)
	defer func() {
		_, err := p.Kubectl(context.WithoutCancel(ctx), "uncordon", before)
		p.must(err)
	}()
	_, err = p.Kubectl(ctx, "-n", p.name, "delete", "pods", "-l", "app=web", "--wait=true", "--timeout=60s")
	p.must(err)
	_, err = p.Kubectl(ctx, "-n", p.name, "rollout", "status", "deployment/web", "--timeout=60s")
	p.must(err)
	after := home()
	if after == before {
		t.Fatalf("the pod came back to the cordoned node %s", before)
	}
	for _, a := range addresses {
		err := lab.WaitFor(ctx, fmt.Sprintf("%s to be owned by %s", a, after), func() (bool, error) {
			nodes, err := p.Answerers(ctx, "c1", a)
			return len(nodes) == 1 && nodes[0] == after, err
		})
		p.must(err)
		p.answers(ctx, "c1", a)
	}
}

func TestL06_Only_what_was_asked_is_answered(t *testing.T) {
	ctx, p := newPlot(t, 1)
	held := p.served(ctx, "web", nil)[0]
	if nodes, err := p.Answerers(ctx, "c1", held.Next()); err != nil || len(nodes) > 0 {
		t.Errorf("%s is nobody's, but %v answer (%v)", held.Next(), nodes, err)
	}
	owner := p.owner(ctx, held)
	host, err := p.Host(owner)
	p.must(err)
	// A client that checks its neighbor asks the owner alone.
	out, err := p.Exec(ctx, "c1", "arping", "-i", "eth0", "-c", "1", "-w", "1", "-t", host.MAC.String(), held.String())
	if err != nil || !strings.Contains(strings.ToLower(out), host.MAC.String()) {
		t.Errorf("a unicast request was not answered: %v\n%s", err, out)
	}
	// Duplicate address detection (RFC 5227) by someone who would take it.
	out, err = p.Exec(ctx, "c1", "sh", "-c", fmt.Sprintf("arping -d -i eth0 -c 2 -w 2 -S 0.0.0.0 %s; true", held))
	if err != nil || !strings.Contains(strings.ToLower(out), host.MAC.String()) {
		t.Errorf("a probe for a held address was not answered: %v\n%s", err, out)
	}
}

func TestL07_Neighbor_discovery_holds_across_a_flap_and_to_unicast(t *testing.T) {
	ctx, p := newPlot(t, 3)
	six := p.served(ctx, "web", nil)[1]
	owner := p.owner(ctx, six)
	out, err := p.Exec(ctx, owner, "ip", "-6", "maddr", "show", "dev", "eth0")
	if group := solicitedNode(six); err != nil || !strings.Contains(out, group.String()) {
		t.Errorf("%s has not joined %s (%v):\n%s", owner, group, err, out)
	}
	p.probedByKernel(ctx, six)

	p.must(p.Cut(owner))
	time.Sleep(100 * time.Millisecond)
	p.must(p.Heal(owner))
	now := p.owner(ctx, six)
	p.answers(ctx, "c1", six)
	out, err = p.Exec(ctx, now, "ip", "-6", "maddr", "show", "dev", "eth0")
	if group := solicitedNode(six); err != nil || !strings.Contains(out, group.String()) {
		t.Errorf("after the flap %s has not joined %s (%v):\n%s", now, group, err, out)
	}
	p.probedByKernel(ctx, six)
}

// solicitedNode is the group of RFC 4291 section 2.7.1.
func solicitedNode(a netip.Addr) netip.Addr {
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	bytes := a.As16()
	copy(group[13:], bytes[13:])
	return netip.AddrFrom16(group)
}

// probedByKernel makes the client's kernel check its neighbor by a unicast
// solicitation (RFC 4861 section 7.3) and sees that it is answered.
func (p *plot) probedByKernel(ctx context.Context, six netip.Addr) {
	p.t.Helper()
	p.answers(ctx, "c1", six)
	owner, err := p.Neighbor(ctx, "c1", six)
	p.must(err)
	host, err := p.Host(owner)
	p.must(err)
	_, err = p.Exec(ctx, "c1", "ip", "neigh", "replace", six.String(), "lladdr", host.MAC.String(), "dev", "eth0", "nud", "probe")
	p.must(err)
	err = lab.WaitFor(ctx, fmt.Sprintf("the client's kernel to find %s reachable", six), func() (bool, error) {
		out, err := p.Exec(ctx, "c1", "ip", "neigh", "show", six.String())
		if strings.Contains(out, "FAILED") || strings.TrimSpace(out) == "" {
			return false, fmt.Errorf("the kernel gave up: %q", out)
		}
		return strings.Contains(out, "REACHABLE"), err
	})
	if err != nil {
		p.t.Error(err)
	}
}

func TestL09_A_missing_interface_is_reported(t *testing.T) {
	ctx, p := newPlot(t, 1)
	_, err := p.Kubectl(ctx, "patch", "l2adv", p.name, "--type=merge", "-p", `{"spec":{"interfaces":["eth9"]}}`)
	p.must(err)
	p.service(ctx, "web", nil)
	addresses, err := p.WaitAddresses(ctx, p.name, "web", 1)
	p.must(err)
	err = lab.WaitFor(ctx, "a speaker to say that eth9 is missing", func() (bool, error) {
		out, err := p.Kubectl(ctx, "get", "speakers", "-o", "json")
		return strings.Contains(out, "eth9"), err
	})
	p.must(err)
	if nodes, err := p.Answerers(ctx, "c1", addresses[0]); err != nil || len(nodes) > 0 {
		t.Errorf("answered by %v (%v)", nodes, err)
	}
	_, err = p.Kubectl(ctx, "patch", "l2adv", p.name, "--type=merge", "-p", `{"spec":{"interfaces":["eth9","eth0"]}}`)
	p.must(err)
	p.owner(ctx, addresses[0])
}

// L04: of the nodes only one has the interface that the advertisement names,
// then another.
func TestL04_Only_a_node_with_the_listed_interface_owns(t *testing.T) {
	ctx, p := newPlot(t, 1)
	_, err := p.Kubectl(ctx, "patch", "l2adv", p.name, "--type=merge", "-p", `{"spec":{"interfaces":["lan1"]}}`)
	p.must(err)
	addresses := make([]string, 4) // so many that chance alone would not put them all on one of three nodes
	for i := range addresses {
		name := fmt.Sprintf("web-%d", i)
		p.service(ctx, name, nil)
		addresses[i] = p.addresses(ctx, name, 1)
	}
	for _, node := range []string{"n2", "n3"} {
		_, err := p.Exec(ctx, node, "sh", "-c", "ip link add lan1 type veth peer name far1 && ip link set far1 up && ip link set lan1 up")
		p.must(err)
		unplug := func() {
			_, err := p.Exec(context.WithoutCancel(ctx), node, "ip", "link", "del", "lan1")
			p.must(err)
		}
		err = lab.WaitFor(ctx, fmt.Sprintf("%s to hold %v on lan1, and nobody else", node, addresses), func() (bool, error) {
			return slices.Equal(p.holders(ctx, "lan1", addresses), []string{node, node, node, node}), nil
		})
		if err != nil {
			unplug()
			p.t.Fatalf("%v; held by %v", err, p.holders(ctx, "lan1", addresses))
		}
		// Each speaker reports for itself, and not in step with the others.
		var said string
		began := time.Now()
		err = lab.WaitFor(ctx, "n1 to say of all addresses that it lacks lan1", func() (bool, error) {
			speaker, err := p.Baliza.BalizaV1beta1().Speakers().Get(ctx, "n1", metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			said = fmt.Sprintf("%+v", speaker.Status.Withheld)
			return slices.ContainsFunc(speaker.Status.Withheld, func(w v1beta1.WithheldAddresses) bool {
				// What others own is counted, and not listed.
				return w.Reason == v1beta1.ReasonInterfaceUnavailable && strings.Contains(w.Message, "interface lan1 does not exist here") &&
					int(w.Count) >= len(addresses) && len(w.Addresses) == 0
			}), nil
		})
		unplug()
		if err != nil {
			p.t.Fatalf("%v; it says %s", err, said)
		}
		t.Logf("n1 said so %s after %s held them", time.Since(began).Round(time.Millisecond), node)
	}
	err = lab.WaitFor(ctx, "nobody to hold what no node has the interface for", func() (bool, error) {
		return len(p.holders(ctx, "lan1", addresses)) == 0, nil
	})
	p.must(err)
}

// holders are the nodes that say that they hold the addresses on an interface,
// one for each time that one is held.
func (p *plot) holders(ctx context.Context, on string, addresses []string) (nodes []string) {
	p.t.Helper()
	list, err := p.Baliza.BalizaV1beta1().Speakers().List(ctx, metav1.ListOptions{})
	p.must(err)
	for _, s := range list.Items {
		for _, held := range s.Status.Held {
			interfaces := held.Interfaces
			if len(interfaces) == 0 {
				interfaces = s.Status.Interfaces
			}
			if slices.Contains(addresses, held.Address) && slices.Contains(interfaces, on) {
				nodes = append(nodes, s.Name)
			}
		}
	}
	return nodes
}

func TestL10_When_the_owner_fails_another_answers(t *testing.T) {
	for name, fault := range map[string]struct {
		fail, mend func(*plot, context.Context, string) error
	}{
		"cable cut": {
			func(p *plot, _ context.Context, node string) error { return p.Cut(node) },
			func(p *plot, _ context.Context, node string) error { return p.Heal(node) },
		},
		"cut behind the switch": {
			func(p *plot, _ context.Context, node string) error { return p.CutSilently(node) },
			func(p *plot, _ context.Context, node string) error { return p.Heal(node) },
		},
		"host frozen": {
			func(p *plot, _ context.Context, node string) error { return p.Freeze(node) },
			func(p *plot, _ context.Context, node string) error { return p.Thaw(node) },
		},
		"process killed": {
			func(p *plot, ctx context.Context, node string) error {
				speaker, err := p.Speaker(node)
				if err != nil {
					return err
				}
				return p.Stop(ctx, speaker.Name, unix.SIGKILL)
			},
			func(p *plot, ctx context.Context, _ string) error { return p.Rollout(ctx) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, p := newPlot(t, 3)
			for _, a := range p.served(ctx, "web", nil) {
				p.survives(ctx, a, func(node string) error { return fault.fail(p, ctx, node) }, func(node string) error { return fault.mend(p, context.WithoutCancel(ctx), node) })
			}
		})
	}
}

// survives lets the owner of an address fail under a client that connects all
// the time, sees that the client is answered again, mends the owner and sees
// that there is one owner.
func (p *plot) survives(ctx context.Context, a netip.Addr, fail, mend func(node string) error) {
	p.t.Helper()
	owner := p.owner(ctx, a)
	prober := p.Probe(ctx, "c1", netip.AddrPortFrom(a, 80), 10*time.Millisecond)
	time.Sleep(500 * time.Millisecond)
	failed := time.Now()
	p.must(fail(owner))
	err := lab.WaitFor(ctx, "the client to be answered again", func() (bool, error) {
		attempts := prober.Attempts()
		after := slices.IndexFunc(attempts, func(one probe.Attempt) bool { return one.Start.After(failed.Add(time.Second)) && one.Err == nil })
		return after >= 0, nil
	})
	report := prober.Stop()
	p.must(mend(owner))
	p.must(err)
	p.t.Logf("%s, owner %s: %s", a, owner, report)
	p.owner(ctx, a)
	p.waitAllReady(ctx)
}

// waitAllReady waits until all speakers see each other again.
func (p *plot) waitAllReady(ctx context.Context) {
	p.t.Helper()
	p.must(p.WaitSpeakers(ctx))
}

func TestL15_Without_the_API_server_answering_and_failover_go_on(t *testing.T) {
	ctx, p := newPlot(t, 3)
	addresses := p.served(ctx, "web", nil)
	p.must(p.Stop(ctx, "kube-apiserver", unix.SIGKILL))
	defer func() {
		p.must(p.StartAgain("kube-apiserver"))
		err := lab.WaitFor(context.WithoutCancel(ctx), "the API server to answer again", func() (bool, error) {
			_, err := p.Kubectl(context.WithoutCancel(ctx), "get", "--raw", "/readyz")
			return err == nil, nil
		})
		p.must(err)
		p.waitAllReady(ctx)
	}()
	for _, a := range addresses {
		owner := p.owner(ctx, a)
		p.must(p.Cut(owner))
		err := lab.WaitFor(ctx, "another owner without the API server", func() (bool, error) {
			nodes, err := p.Answerers(ctx, "c2", a)
			return len(nodes) == 1 && nodes[0] != owner, err
		})
		p.must(p.Heal(owner))
		p.must(err)
		p.answers(ctx, "c1", a)
		p.owner(ctx, a)
	}
}
