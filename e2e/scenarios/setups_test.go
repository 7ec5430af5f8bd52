package scenarios

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/cures"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// setup is something that is wrong, what explains it, and what must be said.
type setup struct {
	// ask is what follows "explain".
	ask string
	// well says that it is no trouble.
	well bool
	// reason is given with its cure; says is more that must be printed.
	reason v1beta1.Reason
	says   []string
}

// explains waits until each set-up is explained by its reason and its cure.
func (p *plot) explains(ctx context.Context, all map[string]setup) {
	p.t.Helper()
	for name, s := range all {
		p.t.Run(name, func(t *testing.T) {
			want := s.says
			if s.reason != "" {
				cure, _ := cures.For(s.reason)
				want = append([]string{string(s.reason) + ": ", cure.Text}, want...)
			}
			var out, lacks string
			began := time.Now()
			err := lab.WaitFor(ctx, "the cause and the cure", func() (bool, error) {
				var err error
				out, err = p.KubectlBaliza(ctx, append([]string{"explain"}, strings.Fields(s.ask)...)...)
				if lacks = ""; (err == nil) != s.well {
					lacks = fmt.Sprintf("exit status: %v", err)
				}
				for _, words := range want {
					if !strings.Contains(out, words) {
						lacks = words
					}
				}
				return lacks == "", nil
			})
			if err != nil {
				t.Fatalf("%v; it lacks %q:\n%s", err, lacks, out)
			}
			t.Logf("after %s:\n%s", time.Since(began).Round(time.Millisecond), out)
		})
	}
}

// setUp is a plot and what it is made of, for as many set-ups as need nothing of each
// other.
type setUp struct {
	*plot
	all map[string]setup
}

// add makes a Service that is in trouble; it is not waited for.
func (p *setUp) add(ctx context.Context, name string, reason v1beta1.Reason, change func(*corev1.Service), says ...string) {
	p.t.Helper()
	p.service(ctx, name, change)
	p.all[name] = setup{ask: "service " + name + " -n " + p.name, reason: reason, says: says}
}

// pool makes a pool of one range beside the plot's, and the advertisement of it that is
// wanted.
func (p *setUp) pool(ctx context.Context, name, addresses string, change func(*v1beta1.L2AdvertisementSpec)) (pool string) {
	p.t.Helper()
	pool = p.name + "-" + name
	p.must(p.Pool(ctx, pool, []string{addresses}, p.name))
	p.removed("bpool/" + pool)
	if change != nil {
		adv := &v1beta1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: pool}, Spec: v1beta1.L2AdvertisementSpec{IPAddressPools: []string{pool}}}
		change(&adv.Spec)
		_, err := p.Baliza.BalizaV1beta1().L2Advertisements().Create(ctx, adv, metav1.CreateOptions{})
		p.must(err)
		p.removed("l2adv/" + pool)
	}
	return pool
}

// removed has an object removed after the test.
func (p *plot) removed(object string) {
	p.t.Cleanup(func() {
		if _, err := p.Kubectl(context.Background(), "delete", "--ignore-not-found", "--wait=false", object); err != nil {
			p.t.Error(err)
		}
	})
}

func from(pool string, more ...func(*corev1.Service)) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		annotated(v1beta1.AnnotationPool, pool)(svc)
		for _, change := range more {
			change(svc)
		}
	}
}

func named(address string) func(*corev1.Service) {
	return annotated(v1beta1.AnnotationAddresses, address)
}

func selecting(app string) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Spec.Selector = map[string]string{"app": app} }
}

// K01: of each set-up of a cluster whose parts all run, explain gives the cause and the
// cure.
func TestK01_Each_mistake_is_explained(t *testing.T) {
	ctx, c := shared(t)
	i := plots.Add(1)
	p := &setUp{&plot{Cluster: c, t: t, name: fmt.Sprintf("plot-%d", i), v4: fmt.Sprintf("198.19.%d", 128+i), v6: fmt.Sprintf("2001:db8:4:0:%x::", i)}, map[string]setup{}}
	t.Cleanup(p.clear)
	p.must(c.Web(ctx, p.name, 1))
	p.add(ctx, "no-pool", v1beta1.ReasonNoPool, nil)
	p.explains(ctx, p.all)
	p.must(p.Client.CoreV1().Services(p.name).Delete(ctx, "no-pool", metav1.DeleteOptions{}))
	p.all = map[string]setup{}

	p.must(c.Advertise(ctx, p.name, p.name))
	p.must(c.Pool(ctx, p.name, []string{p.v4 + ".0/28"}, p.name))
	p.refusals(ctx)
	p.withheld(ctx)
	p.explains(ctx, p.all)
}

// refusals adds Services that are given no address.
func (p *setUp) refusals(ctx context.Context) {
	p.t.Helper()
	tiny := p.pool(ctx, "tiny", p.v4+".64/32", nil)
	p.service(ctx, "only", from(tiny))
	p.addresses(ctx, "only", 1)
	p.add(ctx, "exhausted", v1beta1.ReasonPoolExhausted, from(tiny))
	p.must(p.Pool(ctx, p.name+"-foreign", []string{p.v4 + ".80/28"}, "elsewhere"))
	p.removed("bpool/" + p.name + "-foreign")
	p.add(ctx, "wrong-namespace", v1beta1.ReasonPoolNotAllowed, from(p.name+"-foreign"))
	p.add(ctx, "wrong-class", "", class("example.org/other"), "its loadBalancerClass is example.org/other", "make the Service anew with loadBalancerClass")
	p.add(ctx, "named-address-taken", v1beta1.ReasonAddressInUse, named(p.v4+".64"))
	host, err := p.Host("n1")
	p.must(err)
	p.pool(ctx, "node", host.IPv4.String()+"/32", nil)
	p.add(ctx, "address-of-a-node", v1beta1.ReasonUsedByCluster, named(host.IPv4.String()), "node n1")
}

// withheld adds Services whose addresses no node announces.
func (p *setUp) withheld(ctx context.Context) {
	p.t.Helper()
	everything := func(*v1beta1.L2AdvertisementSpec) {}
	dark := p.pool(ctx, "dark", p.v4+".96/32", nil)
	p.add(ctx, "no-advertisement", v1beta1.ReasonNoAdvertisement, from(dark))
	dim := p.pool(ctx, "dim", p.v4+".97/32", func(spec *v1beta1.L2AdvertisementSpec) {
		spec.IPAddressPools, spec.IPAddressPoolSelectors = nil, []metav1.LabelSelector{{MatchLabels: map[string]string{"zone": "dmz"}}}
	})
	p.add(ctx, "selects-no-pool", v1beta1.ReasonNoAdvertisement, from(dim), "L2Advertisement "+dim)
	far := p.pool(ctx, "far", p.v4+".98/32", func(spec *v1beta1.L2AdvertisementSpec) {
		spec.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"uplink": "true"}}}
	})
	p.add(ctx, "node-not-selected", v1beta1.ReasonNodeNotSelected, from(far))
	p.add(ctx, "no-endpoint", v1beta1.ReasonNoEndpoint, from(p.pool(ctx, "idle", p.v4+".99/32", everything), selecting("nothing")))
	// The only pod is on one node, and the advertisement wants another.
	pods, err := p.Client.CoreV1().Pods(p.name).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
	p.must(err)
	other := "n1"
	if pods.Items[0].Spec.NodeName == other {
		other = "n2"
	}
	apart := p.pool(ctx, "apart", p.v4+".100/32", func(spec *v1beta1.L2AdvertisementSpec) {
		spec.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{corev1.LabelHostname: other}}}
	})
	p.add(ctx, "local-without-endpoints", v1beta1.ReasonNoLocalEndpoint, from(apart, local), "NodeNotSelected")
	gone := p.pool(ctx, "gone", p.v4+".101/32", func(spec *v1beta1.L2AdvertisementSpec) { spec.Interfaces = []string{"eth7"} })
	p.add(ctx, "missing-interface", v1beta1.ReasonInterfaceUnavailable, from(gone), "interface eth7 does not exist here")
	for _, node := range p.nodes() {
		_, err := p.Exec(ctx, node, "sh", "-c", "ip link add nic0 type veth peer name nic0-end && ip addr add 198.51.100.1/24 dev nic0 && ip link set nic0 up")
		p.must(err)
		p.t.Cleanup(func() { _, _ = p.Exec(context.Background(), node, "ip", "link", "del", "nic0") })
	}
	loose := p.pool(ctx, "loose", p.v4+".102/32", func(spec *v1beta1.L2AdvertisementSpec) { spec.Interfaces = []string{"nic0"} })
	p.add(ctx, "nic-without-carrier", v1beta1.ReasonInterfaceUnavailable, from(loose), "interface nic0", "carrier")
	taken := p.v4 + ".103"
	p.pool(ctx, "taken", taken+"/32", everything)
	mac, _ := p.otherHost(ctx, taken)
	p.add(ctx, "conflict", v1beta1.ReasonAddressConflict, named(taken), mac)
}

// K01: of what a router refuses, explain gives the router's reason, and of a family that
// it is not told that.
func TestK01_Each_session_that_is_down_is_explained(t *testing.T) {
	const words = "maintenance-til-noon"
	configuration := strings.NewReplacer(
		"neighbor 192.0.2.12 peer-group nodes", "neighbor 192.0.2.12 peer-group nodes\n neighbor 192.0.2.12 password opensesame",
	).Replace(cluster.FRRConfig)
	ctx, p := newRoutedBy(t, frr, configuration, 1, func(spec *v1beta1.BGPPeerSpec) {
		spec.DualStackAddressFamily = false
		spec.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{corev1.LabelHostname: "n3"}}}
	}, nil)
	p.must(p.Peer(ctx, p.name+"-password", p.r1.Host.IPv4.String(), func(spec *v1beta1.BGPPeerSpec) {
		spec.Password, spec.DualStackAddressFamily = "guess", false
		spec.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{corev1.LabelHostname: "n2"}}}
	}))
	p.removed("bgppeer/" + p.name + "-password")
	p.must(p.Peer(ctx, p.name+"-as", p.r1.Host.IPv4.String(), func(spec *v1beta1.BGPPeerSpec) {
		spec.PeerASN, spec.DualStackAddressFamily = 64599, false
		spec.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{corev1.LabelHostname: "n1"}}}
	}))
	p.removed("bgppeer/" + p.name + "-as")
	p.service(ctx, "web", nil)
	p.addresses(ctx, "web", 1)
	six := setup{ask: "service six -n " + p.name, reason: v1beta1.ReasonNoPeer, says: []string{"none carries its family"}}
	p.service(ctx, "six", func(svc *corev1.Service) { svc.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} })
	p.session(ctx, "n3", p.name, "established", isUp)
	_, err := p.r1.Vtysh(ctx, "configure terminal", fmt.Sprintf("router bgp %d", cluster.RouterASN), "neighbor 192.0.2.13 shutdown message "+words)
	p.must(err)
	p.explains(ctx, map[string]setup{
		"family-not-carried": six,
		"sessions":           {ask: "service web -n " + p.name, reason: v1beta1.ReasonNoSession},
		"wrong-asn":          {ask: "node n1", reason: v1beta1.ReasonNoSession, says: []string{"AS"}},
		"wrong-password":     {ask: "node n2", reason: v1beta1.ReasonNoSession, says: []string{"same password"}},
		"the-routers-words":  {ask: "node n3", reason: v1beta1.ReasonNoSession, says: []string{words}},
	})
}

// K01: of what is wrong with nodes, and between them, explain gives the cause.
func TestK01_Each_state_of_a_node_is_explained(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.service(ctx, "web", nil)
	text := p.addresses(ctx, "web", 1)
	p.announced(ctx, "web")
	owner := p.owner(ctx, netip.MustParseAddr(text))
	one, two := owner, "n1"
	if owner == two {
		two = "n2"
	}
	third := slices.DeleteFunc(p.nodes(), func(node string) bool { return node == one || node == two })[0]

	_, err := p.Kubectl(ctx, "cordon", one)
	p.must(err)
	uncordon := p.deferred(func(ctx context.Context) error { _, err := p.Kubectl(ctx, "uncordon", one); return err })
	p.explains(ctx, map[string]setup{
		"cordoned":      {ask: "service web -n " + p.name, well: true, says: []string{"announced by " + one}},
		"cordoned-node": {ask: "node " + one, well: true, says: []string{"which keeps no address away"}},
	})
	uncordon()
	p.must(p.BlockInbound(ctx, two, memberPort))
	unblock := p.deferred(func(ctx context.Context) error { return p.Unblock(ctx, two) })
	p.explains(ctx, map[string]setup{
		"7946-blocked-inbound": {ask: "node " + two, reason: v1beta1.ReasonPartitioned, says: []string{"over the LAN alone: open port 7946, UDP and TCP,"}},
	})
	p.must(p.Block(ctx, two, memberPort))
	// What two says is what it has said of the first direction; of the second, which is
	// closed now, too, it is the others that speak.
	p.explains(ctx, map[string]setup{
		"7946-blocked": {ask: "node " + third, reason: v1beta1.ReasonPartitioned, says: []string{
			"this speaker hears " + two + " over the LAN alone: open port 7946, UDP and TCP, for what their nodes send to this one",
		}},
	})
	unblock()
	p.waitAllReady(ctx)
	p.without(ctx)
}

// without explains what is amiss while every node is excluded, while a node has no
// speaker, and while no controller runs.
func (p *plot) without(ctx context.Context) {
	p.t.Helper()
	web := "service web -n " + p.name
	label := func(ctx context.Context, change string) error {
		_, err := p.Kubectl(ctx, "label", "nodes", "--all", v1beta1.LabelExcludeNode+change)
		return err
	}
	p.must(label(ctx, "=true"))
	include := p.deferred(func(ctx context.Context) error { return label(ctx, "-") })
	p.explains(ctx, map[string]setup{
		"all-nodes-excluded": {ask: web, reason: v1beta1.ReasonNodeExcluded, says: []string{"ignoreExcludeLabel"}},
	})
	include()

	selector := func(ctx context.Context, value string) error {
		patch := `{"spec":{"template":{"spec":{"nodeSelector":{"example.org/speaker":` + value + `}}}}}`
		_, err := p.Kubectl(ctx, "-n", cluster.Namespace, "patch", "daemonset/baliza-speaker", "--type=merge", "-p", patch)
		return err
	}
	_, err := p.Kubectl(ctx, "label", "nodes", "n1", "n2", "example.org/speaker=yes")
	p.must(err)
	everywhere := p.deferred(func(ctx context.Context) error {
		if err := selector(ctx, "null"); err != nil {
			return err
		}
		_, err := p.Kubectl(ctx, "label", "nodes", "n1", "n2", "example.org/speaker-")
		return errors.Join(err, p.Rollout(ctx), p.WaitSpeakers(ctx))
	})
	p.must(selector(ctx, `"yes"`))
	back := p.deferred(func(ctx context.Context) error {
		_, err := p.Kubectl(ctx, "-n", cluster.Namespace, "scale", "deployment/baliza-controller", "--replicas=2")
		return errors.Join(err, p.Rollout(ctx))
	})
	_, err = p.Kubectl(ctx, "-n", cluster.Namespace, "scale", "deployment/baliza-controller", "--replicas=0")
	p.must(err)
	p.service(ctx, "new", nil)
	p.explains(ctx, map[string]setup{
		"speaker-missing": {ask: "node n3", well: true, says: []string{"no speaker runs on this node: the DaemonSet baliza-speaker does not select the node", "speaker.nodeSelector"}},
		"no-controller":   {ask: "service new -n " + p.name, says: []string{"no replica of the controller is ready", "Bring the controller back"}},
	})
	back()
	everywhere()
}
