package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// T03: an address of a pool that a node has on an interface, as the virtual
// address of kube-vip, is given to no Service; a Service that had it before says
// that it is a node's own, and no speaker answers for it.
func TestT03_A_nodes_own_address_is_left_to_it(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.service(ctx, "before", nil)
	had, err := netip.ParseAddr(p.addresses(ctx, "before", 1))
	p.must(err)
	owner := p.owner(ctx, had)
	free := had.Next()
	change := func(verb string, a netip.Addr) {
		_, err := p.Exec(context.WithoutCancel(ctx), owner, "ip", "addr", verb, a.String()+"/32", "dev", "eth0")
		p.must(err)
	}
	for _, a := range []netip.Addr{had, free} {
		change("add", a)
		t.Cleanup(func() { change("del", a) })
	}
	err = lab.WaitFor(ctx, owner+" to say that both are its own", func() (bool, error) {
		speaker, err := p.Baliza.BalizaV1beta1().Speakers().Get(ctx, owner, metav1.GetOptions{})
		return err == nil && slices.Contains(speaker.Status.LocalAddresses, had.String()) &&
			slices.Contains(speaker.Status.LocalAddresses, free.String()), err
	})
	p.must(err)
	p.service(ctx, "named", annotated(v1beta1.AnnotationAddresses, free.String()))
	p.refused(ctx, "named", v1beta1.ReasonUsedByCluster)

	var said string
	err = lab.WaitFor(ctx, "the Service that had it to say so", func() (bool, error) {
		c := cluster.Condition(p.get(ctx, "before").Status.Conditions, v1beta1.ConditionAnnounced)
		said = fmt.Sprintf("%+v", c)
		return c != nil && c.Reason == string(v1beta1.ReasonLocalAddress) && strings.Contains(c.Message, owner), nil
	})
	if err != nil {
		t.Errorf("%v: %s", err, said)
	}
	// The node's kernel goes on answering, and nobody else does.
	for _, a := range []netip.Addr{had, free} {
		if now := p.owner(ctx, a); now != owner {
			t.Errorf("%s is answered for by %s, and is %s's", a, now, owner)
		}
	}
}

// L17, T05: a firewall on one node keeps out what the speakers send to the member
// port. They hear each other over the LAN, so that one node answers; and the node's
// Speaker says which port to open.
func TestT05_A_closed_member_port_is_said(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.service(ctx, "web", nil)
	a, err := netip.ParseAddr(p.addresses(ctx, "web", 1))
	p.must(err)
	owner := p.owner(ctx, a)
	deaf := "n1"
	if owner == deaf {
		deaf = "n2"
	}
	nft := func(rules string) {
		_, err := p.Exec(context.WithoutCancel(ctx), deaf, "nft", rules)
		p.must(err)
	}
	nft("table inet closed { chain input { type filter hook input priority 0; udp dport 7946 drop; tcp dport 7946 drop; }; }")
	open := func() { nft("delete table inet closed") }
	var said string
	err = lab.WaitFor(ctx, "the Speaker to say which port is closed", func() (bool, error) {
		speaker, err := p.Baliza.BalizaV1beta1().Speakers().Get(ctx, deaf, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		ready := cluster.Condition(speaker.Status.Conditions, v1beta1.ConditionReady)
		if ready != nil {
			said = ready.Reason + ": " + ready.Message
		}
		return ready != nil && ready.Reason == string(v1beta1.ReasonPartitioned) && strings.Contains(ready.Message, "port 7946"), nil
	})
	if err == nil && p.owner(ctx, a) != owner {
		t.Errorf("%s was %s's, and is %s's", a, owner, p.owner(ctx, a))
	}
	open()
	if err != nil {
		t.Errorf("%v: %s", err, said)
	}
	p.waitAllReady(ctx)
	p.announced(ctx, "web")
}
