package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// nodes4 and nodes6 are the next hops of all three nodes.
var (
	nodes4 = []string{"192.0.2.11", "192.0.2.12", "192.0.2.13"}
	nodes6 = []string{"2001:db8:1::11", "2001:db8:1::12", "2001:db8:1::13"}
)

// routed is a plot whose pool is announced over BGP to FRR on r1, or BIRD on
// c2, and nowhere on the link.
type routed struct {
	*plot
	r1 *cluster.Router
	// client is a host whose traffic the router sends on.
	client string
}

// newRouted makes one, with that many web pods. The functions may change the
// peer and the advertisement.
func newRouted(t *testing.T, pods int, peer func(*v1beta1.BGPPeerSpec), adv func(*v1beta1.BGPAdvertisementSpec)) (context.Context, *routed) {
	t.Helper()
	return newRoutedBy(t, frr, cluster.FRRConfig, pods, peer, adv)
}

// Makes of routers.
const (
	frr  = "FRR"
	bird = "BIRD"
)

// eachRouter runs a scenario against either, with the configuration that
// docs/bgp.md shows.
func eachRouter(t *testing.T, scenario func(t *testing.T, router, configuration string)) {
	t.Run(frr, func(t *testing.T) { scenario(t, frr, cluster.FRRConfig) })
	t.Run(bird, func(t *testing.T) { scenario(t, bird, cluster.BIRDConfig) })
}

// newRoutedBy is newRouted with a choice of the router and its configuration.
func newRoutedBy(
	t *testing.T, router, configuration string, pods int, peer func(*v1beta1.BGPPeerSpec), adv func(*v1beta1.BGPAdvertisementSpec),
) (context.Context, *routed) {
	t.Helper()
	ctx, c := shared(t)
	i := plots.Add(1)
	p := &routed{
		plot:   &plot{Cluster: c, t: t, name: fmt.Sprintf("plot-%d", i)},
		client: map[string]string{frr: "c1", bird: "c2"}[router], // BIRD is its own client
	}
	t.Cleanup(p.clear)
	p.must(c.Web(ctx, p.name, pods))
	// The addresses are not those of the plot before: its Services may not be
	// gone from every kube-proxy yet, and would still answer, with a rejection.
	const plots, size = 16, 16
	block := int(i) % plots
	p.must(c.Pool(ctx, p.name, []string{fmt.Sprintf("203.0.113.%d/28", block*size), fmt.Sprintf("2001:db8:5:0:%x::/124", block)}, p.name))
	p.must(c.AdvertiseBGP(ctx, p.name, adv, p.name))
	var err error
	switch router {
	case frr:
		p.r1, err = c.FRR(ctx, "r1", configuration)
	case bird:
		p.r1, err = c.BIRD(ctx, "c2", configuration)
	}
	p.must(err)
	t.Cleanup(func() { p.r1.Stop(context.Background()) })
	// A router shares by connections, not by pairs of addresses.
	_, err = c.Exec(ctx, p.r1.Host.Name, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/fib_multipath_hash_policy")
	p.must(err)
	p.must(c.Peer(ctx, p.name, p.r1.Host.IPv4.String(), peer))
	return ctx, p
}

// hops waits until the router's kernel has exactly these next hops.
func (p *routed) hops(ctx context.Context, prefix netip.Prefix, want ...string) {
	p.t.Helper()
	var last []string
	err := lab.WaitFor(ctx, fmt.Sprintf("%s to go to %v", prefix, want), func() (bool, error) {
		var err error
		last, err = p.r1.NextHops(ctx, prefix)
		return slices.Equal(last, want), err
	})
	if err != nil {
		out, _ := p.Kubectl(context.WithoutCancel(ctx), "get", "speakers", "-o", "jsonpath={range .items[*]}{.metadata.name}{\" \"}{.status.bgp}{\"\\n\"}{end}")
		p.t.Fatalf("%v; it goes to %v; the speakers say:\n%s", err, last, out)
	}
}

// paths waits until FRR has paths to a prefix that are as they should be.
func (p *routed) paths(ctx context.Context, prefix netip.Prefix, what string, good func(cluster.Path) bool) {
	p.t.Helper()
	var last []cluster.Path
	err := lab.WaitFor(ctx, fmt.Sprintf("the paths to %s to have %s", prefix, what), func() (bool, error) {
		var err error
		last, err = p.r1.Paths(ctx, prefix)
		return len(last) > 0 && !slices.ContainsFunc(last, func(path cluster.Path) bool { return !good(path) }), err
	})
	if err != nil {
		p.t.Fatalf("%v; they are %+v", err, last)
	}
}

func (p *routed) scale(ctx context.Context, replicas int) {
	p.t.Helper()
	_, err := p.Kubectl(ctx, "-n", p.name, "scale", "deployment/web", fmt.Sprintf("--replicas=%d", replicas))
	p.must(err)
}

// established waits until every session is, and returns how often FRR has
// seen each come up.
func (p *routed) established(ctx context.Context) string {
	p.t.Helper()
	if p.r1.Host.Name == "c2" { // BIRD does not count: since when each of them is
		out, err := p.r1.Birdc(ctx, "show protocols all")
		p.must(err)
		if strings.Count(out, "BGP state:          Established") != 3 {
			p.t.Fatalf("not three sessions: %s", out)
		}
		return strings.Join(birdSince.FindAllString(out, -1), "\n")
	}
	var out string
	err := lab.WaitFor(ctx, "three sessions", func() (bool, error) {
		var err error
		out, err = p.r1.Vtysh(ctx, "show bgp neighbors")
		return strings.Count(out, "BGP state = Established") == 3, err
	})
	if err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
	var counts []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "Connections established") {
			counts = append(counts, strings.TrimSpace(line))
		}
	}
	return strings.Join(counts, "; ")
}

// birdSince is BIRD's line about a session, with the time of its last change.
var birdSince = regexp.MustCompile(`(?m)^n\d +BGP .*$`)

// notReset fails the test if a session has been reset since established said this.
func (p *routed) notReset(ctx context.Context, before string) {
	p.t.Helper()
	after := p.established(ctx)
	if after == before {
		return
	}
	// BIRD reckons when that was each time anew from how long ago it was, and is a
	// millisecond off now and then. No session comes back within 100.
	b, a := changes(before), changes(after)
	if len(b) == 0 || len(a) != len(b) {
		p.t.Errorf("sessions were reset: %s, before %s", after, before)
		return
	}
	for i := range b {
		if a[i].Sub(b[i]).Abs() > 100*time.Millisecond {
			p.t.Errorf("sessions were reset: %s, before %s", after, before)
			return
		}
	}
}

// changes are the times in BIRD's lines.
func changes(lines string) (all []time.Time) {
	for word := range strings.FieldsSeq(lines) {
		if at, err := time.Parse("15:04:05.000", word); err == nil {
			all = append(all, at)
		}
	}
	return all
}

func local(svc *corev1.Service) {
	svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

func TestB01_The_route_follows_the_endpoints(t *testing.T) { eachRouter(t, followsEndpoints) }

func followsEndpoints(t *testing.T, router, configuration string) {
	began := time.Now()
	ctx, p := newRoutedBy(t, router, configuration, 2, nil, nil)
	v4, v6 := p.made(ctx, "web", nil)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	t.Logf("from nothing to three next hops in %s", time.Since(began).Round(time.Millisecond))
	p.hops(ctx, cluster.HostPrefix(v6), nodes6...)
	p.answers(ctx, p.client, v4)
	p.answers(ctx, p.client, v6)

	p.scale(ctx, 0)
	p.hops(ctx, cluster.HostPrefix(v4))
	p.hops(ctx, cluster.HostPrefix(v6))
	p.scale(ctx, 1)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)

	v4, v6 = p.made(ctx, "here", local)
	out, err := p.Kubectl(ctx, "-n", p.name, "get", "pods", "-l", "app=web", "--field-selector=status.phase=Running", "-o", "jsonpath={.items[0].status.hostIP}")
	p.must(err)
	p.hops(ctx, cluster.HostPrefix(v4), out)
	p.answers(ctx, p.client, v4)
	p.answers(ctx, p.client, v6)

	svc := p.get(ctx, "here")
	p.must(p.Client.CoreV1().Services(p.name).Delete(ctx, svc.Name, metav1.DeleteOptions{}))
	p.hops(ctx, cluster.HostPrefix(v4))
}
