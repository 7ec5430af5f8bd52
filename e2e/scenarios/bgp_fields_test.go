package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// Routers of the same AS are told a preference.
func TestB03_Local_preference_within_one_AS(t *testing.T) {
	eachRouter(t, func(t *testing.T, router, configuration string) {
		preference := int64(250)
		ctx, p := newRoutedBy(t, router, inside(configuration), 1,
			func(s *v1beta1.BGPPeerSpec) { s.PeerASN = cluster.ClusterASN },
			func(a *v1beta1.BGPAdvertisementSpec) { a.LocalPref = &preference })
		v4, v6 := p.made(ctx, "web", nil)
		for _, a := range []netip.Addr{v4, v6} {
			p.paths(ctx, cluster.HostPrefix(a), "the preference and no AS", func(path cluster.Path) bool {
				return path.LocalPref == 250 && path.ASPath.String == map[string]string{frr: "Local", bird: ""}[router]
			})
		}
		p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
		p.watchPaths(ctx) // over one hop, since they are on one subnet
		p.session(ctx, "n1", p.name, "watched", func(s *v1beta1.BGPSession) bool { return isUp(s) && s.BFD == "Up" })
	})
}

// inside is a router's configuration, but of the cluster's own AS.
func inside(configuration string) string {
	return strings.NewReplacer("router bgp 64512", "router bgp 64513", "local as 64512;", "local as 64513;",
		"neighbor as 64513;", "neighbor as 64513; direct;").Replace(configuration)
}

const routerSecret = `
apiVersion: v1
kind: Secret
metadata: {name: %s, namespace: %s}
type: kubernetes.io/basic-auth
stringData: {password: %s}
`

// The password (TCP MD5) comes out of a Secret; it may be wrong at first.
func TestB05_The_password_is_that_of_the_Secret(t *testing.T) {
	eachRouter(t, func(t *testing.T, router, configuration string) {
		configuration = strings.NewReplacer("neighbor nodes timers 3 9", "neighbor nodes timers 3 9\n neighbor nodes password opensesame",
			"hold time 9;", "hold time 9; password \"opensesame\";").Replace(configuration)
		ctx, p := newRoutedBy(t, router, configuration, 1, nil, nil)
		defer func() {
			_, err := p.Kubectl(context.WithoutCancel(ctx), "-n", cluster.Namespace, "delete", "secret", p.name, "--ignore-not-found")
			p.must(err)
		}()
		v4, _ := p.made(ctx, "web", nil)
		p.patch(ctx, "peer", map[string]any{"passwordSecret": map[string]any{"name": p.name, "namespace": "elsewhere"}})
		p.ready(ctx, "bgppeer/"+p.name, "False", v1beta1.ReasonInvalidSpec)
		p.patch(ctx, "peer", map[string]any{"passwordSecret": map[string]any{"name": p.name, "namespace": cluster.Namespace}})
		p.ready(ctx, "bgppeer/"+p.name, "True", v1beta1.ReasonValid)
		p.session(ctx, "n1", p.name, "waiting for its Secret", func(s *v1beta1.BGPSession) bool {
			return s.State == "Idle" && strings.Contains(s.LastError, "Secret "+p.name)
		})
		p.must(p.Apply(ctx, fmt.Sprintf(routerSecret, p.name, cluster.Namespace, "guess")))
		p.session(ctx, "n1", p.name, "refused", func(s *v1beta1.BGPSession) bool {
			return s.State == "Idle" && strings.Contains(s.LastError, "the same password?")
		})
		p.must(p.Apply(ctx, fmt.Sprintf(routerSecret, p.name, cluster.Namespace, "opensesame")))
		p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
		out, err := p.Kubectl(ctx, "get", "speakers,bgppeers", "-o", "yaml")
		p.must(err)
		if strings.Contains(out, "opensesame") {
			t.Error("the password is in a status")
		}
	})
}

// Each node's default gateway is its peer, found without an address.
func TestB05_The_default_gateway_is_the_peer(t *testing.T) {
	ctx, p := newRouted(t, 1, func(s *v1beta1.BGPPeerSpec) { s.PeerAddress, s.DefaultGateway = "", v1beta1.GatewayIPv4 }, nil)
	v4, v6 := p.made(ctx, "web", nil)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	p.hops(ctx, cluster.HostPrefix(v6), nodes6...)
	for _, node := range []string{"n1", "n2", "n3"} {
		p.session(ctx, node, p.name, "with its gateway", func(s *v1beta1.BGPSession) bool {
			return isUp(s) && s.Address == p.r1.Host.IPv4.String()
		})
	}
	c2, err := p.Host("c2")
	p.must(err)
	_, err = p.Exec(ctx, "n1", "ip", "route", "replace", "default", "via", c2.IPv4.String())
	p.must(err)
	defer func() {
		_, err := p.Exec(context.WithoutCancel(ctx), "n1", "ip", "route", "replace", "default", "via", p.r1.Host.IPv4.String())
		p.must(err)
	}()
	p.session(ctx, "n1", p.name, "tried with the new gateway", func(s *v1beta1.BGPSession) bool {
		return s.State == "Idle" && s.Address == c2.IPv4.String() && s.LastError != ""
	})
	p.hops(ctx, cluster.HostPrefix(v4), nodes4[1:]...)
}

// The router is set to whoever is on its interface; neither end has the
// other's address, and IPv4 has an IPv6 next hop.
func TestB05_An_unnumbered_peer(t *testing.T) {
	for _, variant := range []struct{ router, configuration string }{{frr, cluster.FRRUnnumberedConfig}, {bird, cluster.BIRDUnnumberedConfig}} {
		t.Run(variant.router, func(t *testing.T) {
			ctx, p := newRoutedBy(t, variant.router, variant.configuration, 1, func(s *v1beta1.BGPPeerSpec) {
				s.PeerAddress, s.Interface, s.PeerASN, s.DynamicASN = "", "eth0", 0, v1beta1.DynamicASNExternal
				s.NodeSelectors = onlyN1
			}, nil)
			linkLocal := p.linkLocal(ctx, "n1")
			v4, v6 := p.made(ctx, "web", nil)
			p.hops(ctx, cluster.HostPrefix(v4), linkLocal)
			p.hops(ctx, cluster.HostPrefix(v6), linkLocal)
			router := p.linkLocal(ctx, p.r1.Host.Name) + "%eth0"
			p.session(ctx, "n1", p.name, "established", func(s *v1beta1.BGPSession) bool { return isUp(s) && s.Address == router && s.PeerASN == 64512 })
			p.answers(ctx, p.client, v4)
			p.answers(ctx, p.client, v6)
			p.watchPaths(ctx)
			p.session(ctx, "n1", p.name, "watched", func(s *v1beta1.BGPSession) bool { return isUp(s) && s.BFD == "Up" })
			p.scale(ctx, 0)
			p.hops(ctx, cluster.HostPrefix(v4))
			p.hops(ctx, cluster.HostPrefix(v6))
		})
	}
}

// T23: the router has a link-local address that is known, and does not advertise
// itself. FRR knows the node by its link-local address, too.
func TestT23_A_peer_by_its_link_local_address_and_the_interface(t *testing.T) {
	ctx, c := shared(t)
	hosts := &plot{Cluster: c, t: t}
	node, router := hosts.linkLocal(ctx, "n1"), hosts.linkLocal(ctx, "r1")
	ctx, p := newRoutedBy(t, frr, linkLocalConfig(node), 1, func(s *v1beta1.BGPPeerSpec) {
		s.PeerAddress, s.Interface, s.DualStackAddressFamily, s.NodeSelectors = router, "eth0", false, onlyN1
	}, nil)
	v4, v6 := p.made(ctx, "web", nil)
	p.hops(ctx, cluster.HostPrefix(v4), node)
	p.hops(ctx, cluster.HostPrefix(v6), node)
	p.session(ctx, "n1", p.name, "established", func(s *v1beta1.BGPSession) bool {
		return isUp(s) && s.Address == router+"%eth0" && s.PeerASN == cluster.RouterASN
	})
	p.answers(ctx, p.client, v4)
	p.answers(ctx, p.client, v6)
	p.watchPaths(ctx)
	p.session(ctx, "n1", p.name, "watched", func(s *v1beta1.BGPSession) bool { return isUp(s) && s.BFD == "Up" })
	p.scale(ctx, 0)
	p.hops(ctx, cluster.HostPrefix(v4))
	p.hops(ctx, cluster.HostPrefix(v6))
}

// linkLocalConfig is FRR's for a node behind eth0 with that address. It sends no
// router advertisements, as it does not for any neighbor that has an address.
func linkLocalConfig(node string) string {
	unnumbered := strings.NewReplacer("neighbor eth0 interface remote-as external", "neighbor "+node+" remote-as external\n neighbor "+node+" interface eth0",
		"neighbor eth0 ", "neighbor "+node+" ").Replace(cluster.FRRUnnumberedConfig)
	return "interface eth0\n ipv6 nd suppress-ra\n!\n" + strings.Replace(unnumbered, "timers 3 9", "timers 3 9\n neighbor "+node+" capability extended-nexthop", 1)
}

// onlyN1 are node selectors.
var onlyN1 = []metav1.LabelSelector{{MatchLabels: map[string]string{"kubernetes.io/hostname": "n1"}}}

// watchPaths makes a profile of 100 ms, three times, and gives it to the peer.
func (p *routed) watchPaths(ctx context.Context) {
	p.t.Helper()
	_, err := p.Baliza.BalizaV1beta1().BFDProfiles().Create(ctx, &v1beta1.BFDProfile{
		ObjectMeta: metav1.ObjectMeta{Name: p.name},
		Spec:       v1beta1.BFDProfileSpec{ReceiveInterval: 100, TransmitInterval: 100, DetectMultiplier: 3, MinimumTTL: 250},
	}, metav1.CreateOptions{})
	p.must(err)
	p.patch(ctx, "peer", map[string]any{"bfdProfile": p.name})
}

// linkLocal is the address of a host that it has by itself.
func (p *plot) linkLocal(ctx context.Context, host string) string {
	p.t.Helper()
	out, err := p.Exec(ctx, host, "ip", "-6", "-j", "addr", "show", "dev", "eth0", "scope", "link")
	p.must(err)
	var links []struct {
		Addresses []struct {
			Local string `json:"local"`
		} `json:"addr_info"`
	}
	p.must(json.Unmarshal([]byte(out), &links))
	for _, l := range links {
		for _, a := range l.Addresses {
			if a.Local != "" {
				return a.Local
			}
		}
	}
	p.t.Fatalf("%s has no link-local address: %s", host, out)
	return ""
}

// BFD follows the operator's word that the router is several hops away.
func TestB05_B09_BFD_over_several_hops(t *testing.T) {
	ctx, p := newRouted(t, 1, func(s *v1beta1.BGPPeerSpec) { s.EBGPMultiHop = true }, nil)
	_, err := p.r1.Vtysh(ctx, "configure terminal", "bfd", "profile fast", "minimum-ttl 250", "exit", "exit",
		"router bgp 64512", "neighbor nodes ebgp-multihop 5")
	p.must(err)
	v4, _ := p.made(ctx, "web", nil)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	p.watchPaths(ctx)
	for _, node := range []string{"n1", "n2", "n3"} {
		p.session(ctx, node, p.name, "watched", func(s *v1beta1.BGPSession) bool { return isUp(s) && s.BFD == "Up" })
	}
	// The router's end comes up with the node's next packet, up to a second later.
	out := ""
	err = lab.WaitFor(ctx, "the router's paths to be all of several hops and up", func() (bool, error) {
		var err error
		out, err = p.r1.Vtysh(ctx, "show bfd peers")
		return strings.Count(out, "multihop") == 3 && strings.Count(out, "Status: up") == 3, err
	})
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// BIRD hangs and is given up when the hold time is over.
func TestB07_BIRD_that_hangs_is_given_up_and_found_again(t *testing.T) {
	ctx, p := newRoutedBy(t, bird, cluster.BIRDConfig, 1, func(s *v1beta1.BGPPeerSpec) { s.HoldTime = &metav1.Duration{Duration: 9 * time.Second} }, nil)
	v4, _ := p.made(ctx, "web", nil)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	p.must(p.Signal("c2/bird", unix.SIGSTOP))
	p.session(ctx, "n1", p.name, "lost by the hold timer", func(s *v1beta1.BGPSession) bool {
		return s.State != "Established" && strings.Contains(s.LastError, "hold timer")
	})
	p.must(p.Signal("c2/bird", unix.SIGCONT))
	p.session(ctx, "n1", p.name, "established again", isUp)
	p.must(lab.WaitFor(ctx, "three paths", func() (bool, error) {
		paths, err := p.r1.Paths(ctx, cluster.HostPrefix(v4))
		return len(paths) == 3, err
	}))
}

// Another AS number, address, identifier and port than a node has by itself.
func TestB05_What_the_router_sees_of_a_node(t *testing.T) {
	const source, identifier = "192.0.2.111", "198.51.100.7"
	eachRouter(t, func(t *testing.T, router, configuration string) {
		configuration = strings.NewReplacer("192.0.2.11;", source+";", "neighbor 192.0.2.11 ", "neighbor "+source+" ",
			"remote-as 64513", "remote-as 64999", "neighbor as 64513;", "neighbor as 64999;",
			"local as 64512;", "local port 1790 as 64512;").Replace(configuration)
		ctx, c := shared(t)
		_, err := c.Exec(ctx, "n1", "ip", "addr", "add", source+"/24", "dev", "eth0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := c.Exec(context.WithoutCancel(ctx), "n1", "ip", "addr", "del", source+"/24", "dev", "eth0"); err != nil {
				t.Error(err)
			}
		}()
		ctx, p := newRoutedBy(t, router, configuration, 1, func(s *v1beta1.BGPPeerSpec) {
			s.LocalASN, s.SourceAddress, s.RouterID = 64999, source, identifier
			s.NodeSelectors = onlyN1
			if router == bird {
				s.PeerPort = 1790
			}
		}, nil)
		v4, _ := p.made(ctx, "web", nil)
		p.hops(ctx, cluster.HostPrefix(v4), source)
		p.paths(ctx, cluster.HostPrefix(v4), "both AS numbers", func(path cluster.Path) bool { return path.ASPath.String == "64999 64513" })
		var out string
		if router == frr {
			out, err = p.r1.Vtysh(ctx, "show bgp neighbors "+source)
		} else {
			out, err = p.r1.Birdc(ctx, "show protocols all n1")
		}
		p.must(err)
		if !strings.Contains(out, identifier) {
			t.Errorf("the router does not know the node as %s: %s", identifier, out)
		}
	})
}

// KEEPALIVEs come as often as is asked for, not every third of the hold time;
// and once the router is gone it is called no more often than is asked for.
func TestB05_The_timers_of_a_peer(t *testing.T) {
	const keepalive, connect = time.Second, 4 * time.Second
	ctx, p := newRouted(t, 1, func(s *v1beta1.BGPPeerSpec) {
		s.HoldTime, s.KeepaliveTime = &metav1.Duration{Duration: 9 * time.Second}, &metav1.Duration{Duration: keepalive}
		s.ConnectTime, s.NodeSelectors = &metav1.Duration{Duration: connect}, onlyN1
	}, nil)
	p.session(ctx, "n1", p.name, "established", isUp)
	sent := p.packets(ctx, 6*time.Second, "tcp", "dst", "port", "179", "and", "src", "host", nodes4[0])
	sent = slices.DeleteFunc(sent, func(one lab.Packet) bool { return !isKeepalive(one) })
	if len(sent) < 5 || len(sent) > 8 {
		t.Errorf("%d KEEPALIVEs in 6 s: %v", len(sent), sent)
	}
	p.r1.Stop(ctx)
	p.session(ctx, "n1", p.name, "refused", func(s *v1beta1.BGPSession) bool { return !isUp(s) && strings.Contains(s.LastError, "refused") })
	called := p.packets(ctx, 4*connect, "tcp[tcpflags]", "==", "tcp-syn", "and", "dst", "port", "179", "and", "src", "host", nodes4[0])
	// The timer is cut by up to a quarter at random (RFC 4271 section 10).
	if len(called) < 3 || len(called) > 6 {
		t.Errorf("called %d times in %s: %v", len(called), 4*connect, called)
	}
	for i := range called[1:] {
		if after := called[i+1].Time.Sub(called[i].Time); after < connect*3/4-100*time.Millisecond {
			t.Errorf("called again after %s", after)
		}
	}
}

// isKeepalive tells a KEEPALIVE by its length, of a header alone.
func isKeepalive(one lab.Packet) bool { return strings.Contains(one.Text, "length 19: BGP") }

// packets captures on the router for a while.
func (p *routed) packets(ctx context.Context, during time.Duration, filter ...string) []lab.Packet {
	p.t.Helper()
	capture, err := p.Capture(ctx, p.r1.Host.Name, filter...)
	p.must(err)
	time.Sleep(during)
	return capture.Stop()
}
