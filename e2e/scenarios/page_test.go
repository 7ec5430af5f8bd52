package scenarios

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/e2e/lab"
)

// What the status page is brought to on the control plane, and who listens to its events
// for how long, in seconds.
const (
	pageHost  = "cp"
	pageURL   = "http://127.0.0.1:17475"
	listening = "12"
)

// A viewer of the status page, which kubectl baliza page brings to a port, is told when a
// cable is pulled, and sees who owns the address then and who is not heard.
func TestThe_status_page_says_that_a_cable_is_pulled(t *testing.T) {
	ctx, p := newPlot(t, 3)
	p.service(ctx, "web", nil)
	text := p.addresses(ctx, "web", 1)
	p.announced(ctx, "web")
	before := p.owner(ctx, netip.MustParseAddr(text))
	// The page is that of a replica on another node.
	runs, err := p.Kubectl(ctx, "-n", "baliza-system", "get", "pods", "-l", "app.kubernetes.io/component=controller", "-o", "jsonpath={.items[*].spec.nodeName}")
	p.must(err)
	for _, node := range []string{"n1", "n2", "n3"} {
		if strings.Contains(runs, before) && !strings.Contains(runs, node) {
			p.baliza(ctx, false, "failover", text, "--to", node)
			before = node
		}
	}

	forwarding, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		out, err := p.KubectlBaliza(forwarding, "page", "--port", "17475", "--no-browser")
		if forwarding.Err() == nil {
			err = errors.Join(errors.New(out), err)
		} else {
			err = nil
		}
		ended <- err
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	page := func(path string) string {
		out, err := p.Exec(ctx, pageHost, "curl", "-sS", "--max-time", "5", pageURL+path)
		if err != nil {
			return ""
		}
		return out
	}
	row := "/services?q=" + p.name + "/web"
	owned := func(by string) string { return `<a href="/nodes/` + by + `">` + by + "</a>" }
	p.must(lab.WaitFor(ctx, "the page to say that "+before+" owns "+text, func() (bool, error) {
		out := page(row)
		return strings.Contains(out, ">"+text+"<") && strings.Contains(out, owned(before)), nil
	}))
	if out := page("/services/" + p.name + "/web"); !strings.Contains(out, "announced by "+before) {
		t.Errorf("the page of the Service:\n%s", out)
	}

	told := make(chan string, 1)
	go func() {
		out, _ := p.Exec(ctx, pageHost, "curl", "-sS", "-N", "--max-time", listening, pageURL+"/events") // ended by the time
		told <- out
	}()
	p.must(p.Cut(before))
	t.Cleanup(func() {
		p.must(p.Heal(before))
		again, cancel := context.WithTimeout(context.Background(), ceiling)
		defer cancel()
		p.waitAllReady(again)
	})
	cut := time.Now()
	p.must(lab.WaitFor(ctx, "the page to say that another node owns "+text, func() (bool, error) {
		out := page(row)
		return strings.Contains(out, ">"+text+"<") && !strings.Contains(out, owned(before)) && strings.Contains(out, `href="/nodes/n`), nil
	}))
	t.Logf("the page names another owner after %s", time.Since(cut))
	p.must(lab.WaitFor(ctx, "the page to say that "+before+" is not heard", func() (bool, error) {
		return strings.Contains(page("/"), "does not hear "+owned(before)), nil
	}))
	t.Logf("and that the node is not heard after %s", time.Since(cut))
	if out := <-told; strings.Count(out, "data: ") < 2 {
		t.Errorf("the viewer was told:\n%s", out)
	}
}
