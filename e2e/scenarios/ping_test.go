package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// ping sends some echo requests from a host, and returns what ping says.
func (p *plot) ping(ctx context.Context, host string, a netip.Addr, options ...string) (string, error) {
	argv := append([]string{"ping", "-n", "-c", "5", "-i", "0.2", "-W", "2"}, options...)
	return p.Exec(ctx, host, append(argv, a.String())...)
}

// pinged fails the test unless all are answered, and by that very address.
func (p *plot) pinged(ctx context.Context, host string, a netip.Addr, options ...string) {
	p.t.Helper()
	out, err := p.ping(ctx, host, a, options...)
	if err != nil || strings.Count(out, " bytes from "+a.String()+": ") != 5 {
		p.t.Errorf("ping from %s to %s: %v\n%s", host, a, err, out)
	}
}

// L23: the kernel of the owner answers ping where an advertisement asks for it and the
// speakers may have it so; whoever asks is told nothing else, the address may move.
func TestL23_Ping_is_answered_by_the_owner_of_the_address(t *testing.T) {
	ctx, p := newPlot(t, 2)
	all := p.served(ctx, "web", nil)
	owner := p.owner(ctx, all[0])
	_, err := p.Baliza.BalizaV1beta1().L2Advertisements().Patch(ctx, p.name, types.MergePatchType, []byte(`{"spec":{"answerPing":true}}`), metav1.PatchOptions{})
	p.must(err)

	// Without the capability: said, and nothing else is lost.
	message := p.ready(ctx, "bspk/"+owner, "False", v1beta1.ReasonPingUnanswered)
	for _, word := range []string{"L2Advertisement " + p.name, "NET_ADMIN", "speaker.answerPing"} {
		if !strings.Contains(message, word) {
			t.Errorf("no %q in: %s", word, message)
		}
	}
	p.answers(ctx, "c1", all[0])
	if out, err := p.ping(ctx, "c1", all[0]); err == nil {
		t.Errorf("ping is answered without the capability:\n%s", out)
	}

	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), ceiling)
		defer cancel()
		if err := p.Set(ctx, "speaker.answerPing=false"); err != nil {
			t.Error(err)
		}
	})
	p.must(p.Set(ctx, "speaker.answerPing=true"))
	for _, node := range p.nodes() {
		p.ready(ctx, "bspk/"+node, "True", v1beta1.ReasonAnnouncing)
	}
	clients := []string{"c1", "o1"} // on the LAN, and behind the router
	captures := map[string]*lab.Capture{}
	for _, host := range clients {
		captures[host], err = p.Capture(ctx, host, "icmp or icmp6")
		p.must(err)
	}
	for _, a := range all {
		owner = p.owner(ctx, a)
		for _, host := range clients {
			p.pinged(ctx, host, a)
			p.pinged(ctx, host, a, "-s", "8000")
		}
		p.pinged(ctx, owner, a)
	}
	p.moveWhilePinged(ctx, all[0], func(owner string) (undo func(context.Context) error) {
		p.must(p.Cut(owner))
		return func(context.Context) error { return p.Heal(owner) }
	})
	p.moveWhilePinged(ctx, all[1], func(owner string) (undo func(context.Context) error) {
		_, err := p.Kubectl(ctx, "label", "node", owner, v1beta1.LabelExcludeNode+"=true")
		p.must(err)
		return func(ctx context.Context) error {
			_, err := p.Kubectl(ctx, "label", "node", owner, v1beta1.LabelExcludeNode+"-")
			return err
		}
	})
	noise := regexp.MustCompile(`redirect|time exceeded|unreachable.*(?:` + p.v4 + `|` + p.v6 + `)`)
	for _, host := range clients {
		replies := 0
		for _, packet := range captures[host].Stop() {
			if strings.Contains(packet.Text, "echo reply") {
				replies++
			}
			if noise.MatchString(packet.Text) {
				t.Errorf("%s was told: %s", host, packet.Text)
			}
		}
		if replies < 4*5 {
			t.Errorf("%s saw %d replies: nothing is proven", host, replies)
		}
	}

	// Nobody wants it any more: the rules are gone, too.
	_, err = p.Baliza.BalizaV1beta1().L2Advertisements().Patch(ctx, p.name, types.MergePatchType, []byte(`{"spec":{"answerPing":false}}`), metav1.PatchOptions{})
	p.must(err)
	for _, node := range p.nodes() {
		p.must(lab.WaitFor(ctx, "no table of Baliza on "+node, func() (bool, error) {
			out, err := p.Exec(ctx, node, "nft", "list", "tables")
			return !strings.Contains(out, "inet baliza"), err
		}))
	}
}

// moveWhilePinged has an address move while both clients ping it, and waits until they
// are answered by the next owner.
func (p *plot) moveWhilePinged(ctx context.Context, a netip.Addr, move func(owner string) (undo func(context.Context) error)) {
	p.t.Helper()
	before := p.owner(ctx, a)
	var running []*lab.Process
	for _, host := range []string{"c1", "o1"} {
		one, err := p.Run(host, fmt.Sprintf("%s/ping-%s-%s", host, p.name, strings.ReplaceAll(a.String(), ":", "-")),
			"ping", "-n", "-c", "60", "-i", "0.05", "-W", "2", a.String())
		p.must(err)
		running = append(running, one)
	}
	undo := p.deferred(move(before))
	for _, one := range running {
		p.must(lab.WaitFor(ctx, one.Name+" to end", func() (bool, error) { return !one.Running(), nil }))
		p.t.Logf("%s, of which %s was the owner:\n%s", one.Name, before, p.Log(one.Name))
	}
	if after := p.owner(ctx, a); after == before {
		p.t.Errorf("%s is still with %s", a, before)
	}
	for _, host := range []string{"c1", "o1"} {
		p.pinged(ctx, host, a)
	}
	undo()
}
