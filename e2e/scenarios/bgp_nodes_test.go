package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// torAnnotation is where the nodes have their router's address in this scenario.
const torAnnotation = "example.com/tor-address"

// One BGPPeer for nodes that each say what is theirs; one that says nothing of use
// says so, and the others are told.
func TestB19_A_peer_from_each_node(t *testing.T) {
	ctx, p := newRouted(t, 1, func(s *v1beta1.BGPPeerSpec) {
		s.PeerAddress, s.PeerAddressFrom = "", &v1beta1.NodeValue{NodeAnnotation: torAnnotation}
		s.PeerASN, s.PeerASNFrom = 0, &v1beta1.NodeValue{NodeLabel: "example.com/tor-asn"}
	}, nil)
	set := func(node, address, asn string) {
		t.Helper()
		_, err := p.Kubectl(context.WithoutCancel(ctx), "annotate", "--overwrite", "node/"+node, torAnnotation+address)
		p.must(err)
		_, err = p.Kubectl(context.WithoutCancel(ctx), "label", "--overwrite", "node/"+node, "example.com/tor-asn"+asn)
		p.must(err)
	}
	defer func() {
		for _, node := range []string{"n1", "n2", "n3"} {
			set(node, "-", "-")
		}
	}()
	router := "=" + p.r1.Host.IPv4.String()
	set("n1", router, "=64512")
	set("n2", router, "=64512")
	set("n3", "=tor-7.example.com", "=64512")
	v4, _ := p.made(ctx, "web", nil)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4[:2]...)
	p.session(ctx, "n3", p.name, "without its router", func(s *v1beta1.BGPSession) bool {
		return !isUp(s) && strings.Contains(s.LastError, torAnnotation) && strings.Contains(s.LastError, "tor-7.example.com")
	})
	set("n3", router, "=64512")
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	p.session(ctx, "n3", p.name, "established", isUp)
}

// What is no load balancer's is announced where that is asked for, and taken back
// when it is not any more.
func TestB19_Cluster_IPs_external_IPs_and_pod_ranges(t *testing.T) {
	const outside = "198.51.100.77"
	ctx, p := newRouted(t, 1, nil, func(a *v1beta1.BGPAdvertisementSpec) {
		a.ServiceSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"told": "yes"}}}
	})
	svc := p.service(ctx, "inside", func(s *corev1.Service) {
		s.Spec.Type, s.Labels = corev1.ServiceTypeClusterIP, map[string]string{"told": "yes"}
		s.Spec.ExternalIPs = []string{outside}
	})
	inside, external := cluster.HostPrefix(netip.MustParseAddr(svc.Spec.ClusterIP)), cluster.HostPrefix(netip.MustParseAddr(outside))
	v4, _ := p.made(ctx, "web", func(s *corev1.Service) { s.Labels = map[string]string{"told": "yes"} })
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	p.hops(ctx, inside)
	p.hops(ctx, external)

	p.patch(ctx, "advertisement", map[string]any{"clusterIPs": true, "externalIPs": true, "podCIDRs": true})
	p.hops(ctx, inside, nodes4...)
	p.hops(ctx, external, nodes4...)
	nodes, err := p.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	p.must(err)
	for i := range nodes.Items {
		n := &nodes.Items[i]
		if len(n.Spec.PodCIDRs) == 0 {
			continue // the unit tests have what it says then
		}
		host, err := p.Host(n.Name)
		p.must(err)
		// The lab's router has a route of its own to the range: what BGP says is not in the kernel.
		p.paths(ctx, netip.MustParsePrefix(n.Spec.PodCIDRs[0]), "its own node as next hop", func(path cluster.Path) bool {
			return len(path.Nexthops) == 1 && path.Nexthops[0].IP == host.IPv4.String()
		})
	}

	local := corev1.ServiceInternalTrafficPolicyLocal
	svc = p.get(ctx, "inside")
	svc.Spec.InternalTrafficPolicy = &local
	_, err = p.Client.CoreV1().Services(p.name).Update(ctx, svc, metav1.UpdateOptions{})
	p.must(err)
	out, err := p.Kubectl(ctx, "-n", p.name, "get", "pods", "-l", "app=web", "--field-selector=status.phase=Running", "-o", "jsonpath={.items[0].status.hostIP}")
	p.must(err)
	p.hops(ctx, inside, out)
	p.hops(ctx, external, nodes4...)

	p.patch(ctx, "advertisement", map[string]any{"clusterIPs": nil, "externalIPs": nil, "podCIDRs": nil})
	p.hops(ctx, inside)
	p.hops(ctx, external)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
}

// ownBIRD is the routing daemon of a node itself, which takes what the speaker of
// the same node tells it at 127.0.0.1, and tells it to a router of the fabric.
const ownBIRD = `router id 198.51.100.1;
protocol device {}
protocol bgp speaker {
  local 127.0.0.1 port 1179 as 64512;
  neighbor 127.0.0.2 as 64513;
  multihop;
  passive on;
  hold time 9;
  error wait time 1, 5;
  ipv4 { import all; export none; };
}
protocol bgp fabric {
  local as 64512;
  neighbor %s as 64512;
  hold time 9;
  connect retry time 1;
  error wait time 1, 5;
  ipv4 { import none; export all; next hop self; };
}
`

// T09: the FRR or BIRD that the fabric wants on each host. The next hop is an address
// that the fabric can reach, and the fabric learns it.
func TestT09_A_peer_on_the_node_itself(t *testing.T) {
	ctx, p := newRouted(t, 1, func(s *v1beta1.BGPPeerSpec) {
		s.PeerAddress, s.SourceAddress, s.PeerPort = "127.0.0.1", "127.0.0.2", 1179
		s.EBGPMultiHop, s.DualStackAddressFamily, s.NodeSelectors = true, false, onlyN1
	}, nil)
	fabric, err := p.Stack(ctx, cluster.FRR, "c2", cluster.StackConfig{ASN: cluster.RouterASN}, "n1")
	p.must(err)
	defer fabric.Stop(context.WithoutCancel(ctx))
	own, err := p.BIRD(ctx, "n1", fmt.Sprintf(ownBIRD, fabric.Host.IPv4))
	p.must(err)
	defer own.Stop(context.WithoutCancel(ctx))
	p.session(ctx, "n1", p.name, "established", isUp)
	v4, _ := p.made(ctx, "web", nil)
	p.must(lab.WaitFor(ctx, "the fabric to know the address", func() (bool, error) {
		return fabric.Knows(ctx, cluster.HostPrefix(v4), nodes4[0])
	}))
	out, err := own.Birdc(ctx, "show route all for "+v4.String())
	p.must(err)
	if strings.Contains(out, "BGP.next_hop: 127.") || !strings.Contains(out, "BGP.next_hop: "+nodes4[0]) {
		t.Errorf("the next hop is not the node's address: %s", out)
	}
}
