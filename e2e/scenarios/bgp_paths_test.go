package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// patch changes the spec of one of the plot's objects.
func (p *plot) patch(ctx context.Context, kind string, spec map[string]any) {
	p.t.Helper()
	body, err := json.Marshal(map[string]any{"spec": spec})
	p.must(err)
	switch client := p.Baliza.BalizaV1beta1(); kind {
	case "peer":
		_, err = client.BGPPeers().Patch(ctx, p.name, types.MergePatchType, body, metav1.PatchOptions{})
	case "advertisement":
		_, err = client.BGPAdvertisements().Patch(ctx, p.name, types.MergePatchType, body, metav1.PatchOptions{})
	}
	p.must(err)
}

func TestB02_Peers_nodes_and_Services_are_selected(t *testing.T) { eachRouter(t, selects) }

func selects(t *testing.T, router, configuration string) {
	ctx, p := newRoutedBy(t, router, configuration, 1, nil, func(a *v1beta1.BGPAdvertisementSpec) {
		a.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"kubernetes.io/hostname": "n2"}}}
	})
	v4, v6 := p.made(ctx, "web", nil)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4[1])
	p.hops(ctx, cluster.HostPrefix(v6), nodes6[1])
	p.patch(ctx, "advertisement", map[string]any{"nodeSelectors": nil, "peers": []string{"nobody"}})
	p.hops(ctx, cluster.HostPrefix(v4))
	p.ready(ctx, "bgpadvertisement/"+p.name, "False", v1beta1.ReasonReferenceNotFound)
	p.patch(ctx, "advertisement", map[string]any{"peers": []string{p.name}})
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	p.ready(ctx, "bgpadvertisement/"+p.name, "True", v1beta1.ReasonValid)
	p.patch(ctx, "advertisement", map[string]any{"serviceSelectors": []any{map[string]any{"matchLabels": map[string]string{"tier": "gold"}}}})
	p.hops(ctx, cluster.HostPrefix(v4))
	_, err := p.Kubectl(ctx, "-n", p.name, "label", "service", "web", "tier=gold")
	p.must(err)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	p.patch(ctx, "peer", map[string]any{"nodeSelectors": []any{map[string]any{"matchLabels": map[string]string{"kubernetes.io/hostname": "n3"}}}})
	p.hops(ctx, cluster.HostPrefix(v4), nodes4[2])
}

// Communities, MED, prepending and aggregation change without a new session.
func TestB03_B04_Paths_change_and_sessions_stay(t *testing.T) { eachRouter(t, pathsChange) }

func pathsChange(t *testing.T, router, configuration string) {
	ctx, p := newRoutedBy(t, router, configuration, 1, nil, nil)
	_, err := p.Baliza.BalizaV1beta1().Communities().Create(ctx, &v1beta1.Community{
		ObjectMeta: metav1.ObjectMeta{Name: p.name},
		Spec:       v1beta1.CommunitySpec{Communities: []v1beta1.CommunityAlias{{Name: "backup", Value: "64513:77"}}},
	}, metav1.CreateOptions{})
	p.must(err)
	v4, v6 := p.made(ctx, "web", nil)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	before := p.established(ctx)

	p.patch(ctx, "advertisement", map[string]any{
		"communities": []string{"backup", "64513:100", "large:64513:1:2"}, "med": 50, "asPathPrepend": 2,
	})
	for _, a := range []netip.Addr{v4, v6} {
		p.paths(ctx, cluster.HostPrefix(a), "the communities, MED and prepended path", func(path cluster.Path) bool {
			return path.Community.String == "64513:77 64513:100" && path.LargeCommunity.String == "64513:1:2" &&
				path.Metric == 50 && path.ASPath.String == "64513 64513 64513"
		})
	}
	p.must(p.AdvertiseBGP(ctx, p.name+"-more", func(a *v1beta1.BGPAdvertisementSpec) { a.Communities = []string{"64513:5"} }, p.name))
	defer func() {
		_, err := p.Kubectl(context.WithoutCancel(ctx), "delete", "bgpadvertisement/"+p.name+"-more", "--ignore-not-found")
		p.must(err)
	}()
	p.paths(ctx, cluster.HostPrefix(v4), "the communities of both", func(path cluster.Path) bool {
		return path.Community.String == "64513:5 64513:77 64513:100"
	})
	_, err = p.Kubectl(ctx, "delete", "bgpadvertisement/"+p.name+"-more")
	p.must(err)

	p.patch(ctx, "advertisement", map[string]any{"aggregationLength": 28, "aggregationLengthV6": 64})
	around4, _ := v4.Prefix(28)
	around6, _ := v6.Prefix(64)
	p.hops(ctx, around4, nodes4...)
	p.hops(ctx, around6, nodes6...)
	p.hops(ctx, cluster.HostPrefix(v4))
	p.notReset(ctx, before)
}

// Ten thousand are the benchmark's, which takes minutes to make their Services,
// and what does not fit into one message is the unit tests'.
func TestB08_Many_routes_come_and_go_without_a_reset(t *testing.T) {
	const count = 300
	ctx, p := newRouted(t, 1, nil, nil)
	bird, err := p.BIRD(ctx, "c2", cluster.BIRDConfig)
	p.must(err)
	defer bird.Stop(context.WithoutCancel(ctx))
	more := p.name + "-more"
	p.must(p.Peer(ctx, more, bird.Host.IPv4.String(), nil))
	p.must(p.Pool(ctx, more, []string{"198.18.0.0/20"}, p.name))
	defer func() {
		// All of it, before the next test begins.
		_, err := p.Kubectl(context.WithoutCancel(ctx), "delete", "namespace/"+p.name, "bgppeer/"+more, "bpool/"+more)
		p.must(err)
	}()
	p.patch(ctx, "advertisement", map[string]any{"ipAddressPools": []string{p.name, more}})
	p.must(p.Crowd(ctx, p.name, count))
	var before string
	for _, want := range []int{count, 0, count} {
		var selectors []any // all Services
		if want == 0 {
			selectors = []any{map[string]any{"matchLabels": map[string]string{"tier": "gold"}}}
		}
		began := time.Now()
		p.patch(ctx, "advertisement", map[string]any{"serviceSelectors": selectors})
		p.must(lab.WaitFor(ctx, fmt.Sprintf("FRR to have %d routes of each node", want), func() (bool, error) {
			heard, err := p.r1.Heard(ctx)
			return heard[nodes4[0]].Prefixes == want && heard[nodes4[1]].Prefixes == want && heard[nodes4[2]].Prefixes == want, err
		}))
		p.must(lab.WaitFor(ctx, fmt.Sprintf("BIRD to have %d routes", want), func() (bool, error) {
			out, err := bird.Birdc(ctx, "show route count table master4")
			return strings.Contains(out, fmt.Sprintf("for %d networks", want)), err
		}))
		t.Logf("%d routes of each node after %s", want, time.Since(began).Round(time.Millisecond))
		if before == "" {
			before = p.established(ctx)
		}
	}
	p.notReset(ctx, before)
}

// session waits until the Speaker of a node says this of its session.
func (p *plot) session(ctx context.Context, node, peer, what string, good func(*v1beta1.BGPSession) bool) {
	p.t.Helper()
	var last *v1beta1.BGPSession
	err := lab.WaitFor(ctx, fmt.Sprintf("the session of %s with %s to be %s", node, peer, what), func() (bool, error) {
		speaker, err := p.Baliza.BalizaV1beta1().Speakers().Get(ctx, node, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil // it has just started, and reports when it has begun to work
		}
		if err != nil || speaker.Status.BGP == nil {
			return false, err
		}
		for i := range speaker.Status.BGP.Peers {
			if s := &speaker.Status.BGP.Peers[i]; s.Name == peer {
				last = s
				return good(s), nil
			}
		}
		return false, nil
	})
	if err != nil {
		p.t.Fatalf("%v; it is %+v", err, last)
	}
}

func isUp(s *v1beta1.BGPSession) bool { return s.State == "Established" }

// An internal session carries a local preference; a password, from a Secret,
// and TTL security protect it.
func TestB05_Fields_of_a_peer(t *testing.T) {
	ctx, p := newRouted(t, 1, func(s *v1beta1.BGPPeerSpec) { s.PeerASN = 64999 }, func(a *v1beta1.BGPAdvertisementSpec) {
		preference := int64(250)
		a.LocalPref = &preference
	})
	v4, _ := p.made(ctx, "web", nil)
	p.session(ctx, "n1", p.name, "refused for its AS number", func(s *v1beta1.BGPSession) bool {
		return s.State != "Established" && strings.Contains(s.LastError, "64512, not 64999")
	})
	_, err := p.r1.Vtysh(ctx, "configure terminal", "router bgp 64512", "neighbor nodes password opensesame", "neighbor nodes ttl-security hops 1")
	p.must(err)
	p.must(p.Apply(ctx, fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: %s, namespace: %s}
type: kubernetes.io/basic-auth
stringData: {username: router, password: opensesame}
`, p.name, cluster.Namespace)))
	p.patch(ctx, "peer", map[string]any{"peerASN": nil, "dynamicASN": "external", "ttlSecurity": true, "passwordSecret": map[string]string{"name": p.name}})
	p.session(ctx, "n1", p.name, "established with a password", isUp)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	out, err := p.Kubectl(ctx, "get", "speakers,bgppeers", "-o", "yaml")
	p.must(err)
	if strings.Contains(out, "opensesame") {
		t.Error("the password is in a status")
	}
	out, err = p.Kubectl(ctx, "-n", cluster.Namespace, "logs", "-l", "app.kubernetes.io/component=speaker", "--tail=-1")
	p.must(err)
	if strings.Contains(out, "opensesame") {
		t.Error("the password is in a log")
	}

	// The same router, now of our own AS.
	_, err = p.r1.Vtysh(ctx, "configure terminal", "router bgp 64512", "no neighbor nodes ttl-security hops 1",
		"no neighbor nodes password", "neighbor nodes remote-as 64512", "bgp router-id 192.0.2.254")
	p.must(err)
	p.patch(ctx, "peer", map[string]any{"dynamicASN": nil, "peerASN": 64512, "myASN": 64512, "ttlSecurity": nil, "passwordSecret": nil})
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	p.paths(ctx, cluster.HostPrefix(v4), "the local preference", func(path cluster.Path) bool {
		return path.LocalPref == 250 && path.ASPath.String == "Local"
	})
}
