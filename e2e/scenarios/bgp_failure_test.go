package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// BIRD on a client is a second router; FRR hangs, and BIRD does not notice.
func TestB06_B07_A_router_that_hangs_delays_nobody(t *testing.T) {
	ctx, p := newRouted(t, 1, func(s *v1beta1.BGPPeerSpec) { s.HoldTime = &metav1.Duration{Duration: 9 * time.Second} }, nil)
	bird, err := p.BIRD(ctx, "c2", cluster.BIRDConfig)
	p.must(err)
	defer bird.Stop(context.WithoutCancel(ctx))
	other := p.name + "-bird"
	p.must(p.Peer(ctx, other, bird.Host.IPv4.String(), nil))
	defer func() {
		_, err := p.Kubectl(context.WithoutCancel(ctx), "delete", "bgppeer/"+other)
		p.must(err)
	}()
	for _, node := range []string{"n1", "n2", "n3"} {
		p.session(ctx, node, p.name, "established", isUp)
		p.session(ctx, node, other, "established", isUp)
	}
	p.must(p.Signal("r1/bgpd", unix.SIGSTOP))
	hung := time.Now()
	v4, v6 := p.made(ctx, "web", nil)
	for _, a := range []netip.Addr{v4, v6} {
		p.must(lab.WaitFor(ctx, "BIRD to know "+a.String(), func() (bool, error) {
			out, err := bird.Birdc(ctx, "show route all for "+a.String())
			return strings.Count(out, "BGP.as_path: 64513") == 3, err
		}))
	}
	if took := time.Since(hung); took > 6*time.Second {
		t.Errorf("BIRD knew after %s, while FRR hung", took)
	}
	p.session(ctx, "n1", p.name, "lost by the hold timer", func(s *v1beta1.BGPSession) bool {
		return s.State != "Established" && strings.Contains(s.LastError, "hold timer")
	})
	t.Logf("given up after %s", time.Since(hung).Round(time.Millisecond))
	p.must(p.Signal("r1/bgpd", unix.SIGCONT))
	back := time.Now()
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	if took := time.Since(back); took > 5*time.Second {
		t.Errorf("FRR had the routes %s after it went on", took)
	} else {
		t.Logf("back after %s", took.Round(time.Millisecond))
	}
	p.session(ctx, "n1", other, "still the first", func(s *v1beta1.BGPSession) bool { return isUp(s) && s.Since.Time.Before(hung) })
}

// One pool, both protocols: routers share the traffic, and hosts on the link
// find one owner.
func TestB14_Both_protocols_side_by_side(t *testing.T) {
	ctx, p := newRouted(t, 2, nil, nil)
	p.must(p.Advertise(ctx, p.name, p.name))
	v4, v6 := p.made(ctx, "web", nil)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	p.hops(ctx, cluster.HostPrefix(v6), nodes6...)
	for _, a := range []netip.Addr{v4, v6} {
		p.owner(ctx, a)
		p.answers(ctx, "c1", a)
	}
}

func TestB12_Traffic_is_shared_by_pods_not_by_nodes(t *testing.T) {
	ctx, p := newRouted(t, 1, nil, func(a *v1beta1.BGPAdvertisementSpec) { a.Weighted = true })
	pin := func(replicas map[string]int) {
		t.Helper()
		for node, n := range replicas {
			p.must(p.Apply(ctx, fmt.Sprintf(pinned, p.name, node, n)))
		}
	}
	p.scale(ctx, 0)
	pin(map[string]int{"n1": 1, "n2": 3})
	v4, _ := p.made(ctx, "web", func(svc *corev1.Service) {
		local(svc)
		svc.Spec.Selector = map[string]string{"app": "pinned"}
	})
	var last []string
	err := lab.WaitFor(ctx, "weights of one to three", func() (bool, error) {
		var err error
		last, err = p.r1.NextHops(ctx, cluster.HostPrefix(v4))
		var light, heavy int
		if len(last) == 2 {
			_, _ = fmt.Sscanf(last[0], nodes4[0]+"*%d", &light)
			_, _ = fmt.Sscanf(last[1], nodes4[1]+"*%d", &heavy)
		}
		return light > 0 && heavy >= 3*light-3 && heavy <= 3*light+3, err
	})
	if err != nil {
		t.Fatalf("%v: %v", err, last)
	}
	t.Log(last)
}

const pinned = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: pinned-%[2]s, namespace: %[1]s}
spec:
  replicas: %[3]d
  selector: {matchLabels: {app: pinned, node: %[2]s}}
  template:
    metadata: {labels: {app: pinned, node: %[2]s}}
    spec:
      nodeName: %[2]s
      containers:
      - {name: web, image: lab/web, ports: [{containerPort: 8080}], readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}}
`
