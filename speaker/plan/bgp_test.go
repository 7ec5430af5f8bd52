package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// bgpWorld is one pool, a peer for each family and one for both, and what a
// test adds.
type bgpWorld struct {
	advertisements []v1beta1.BGPAdvertisementSpec
	services       []plan.Service
	node           plan.Node
	drain          plan.Drain
	peers          []*v1beta1.BGPPeer // beside the others
	local          map[netip.Addr]string
}

func (w *bgpWorld) plan(t *testing.T) plan.BGPPlan {
	t.Helper()
	peer := func(name, address string, both bool) *v1beta1.BGPPeer {
		return &v1beta1.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1beta1.BGPPeerSpec{
			MyASN: 64513, PeerASN: 64512, PeerAddress: address, DualStackAddressFamily: both,
		}}
	}
	objects := config.Objects{
		Pools: []*v1beta1.IPAddressPool{{ObjectMeta: metav1.ObjectMeta{Name: "lan"}, Spec: v1beta1.IPAddressPoolSpec{
			Addresses: []v1beta1.AddressRange{"203.0.113.0/24", "2001:db8::/64"},
		}}},
		BGP: config.BGPObjects{
			Peers: []*v1beta1.BGPPeer{peer("both", "192.0.2.1", true), peer("four", "192.0.2.2", false), peer("six", "2001:db8:1::1", false)},
			Communities: []*v1beta1.Community{{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Spec: v1beta1.CommunitySpec{
				Communities: []v1beta1.CommunityAlias{{Name: "backup", Value: "64513:7"}},
			}}},
		},
	}
	objects.BGP.Peers = append(objects.BGP.Peers, w.peers...)
	for i, spec := range w.advertisements {
		objects.BGP.Advertisements = append(objects.BGP.Advertisements, &v1beta1.BGPAdvertisement{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("a%d", i)}, Spec: spec,
		})
	}
	snapshot, _ := config.Build(objects)
	return plan.MakeBGP(&plan.BGPView{
		View:  plan.View{Self: "n1", Config: snapshot, Services: plan.ServicesOf(w.services...), Nodes: map[string]plan.Node{"n1": w.node}, Local: w.local},
		Drain: w.drain,
	})
}

// lines writes a plan: what each peer is told, and why addresses are withheld.
func lines(p plan.BGPPlan) []string {
	var out []string
	for _, peer := range p.Peers {
		for i := range peer.Routes {
			r := &peer.Routes[i]
			words := []string{peer.Peer.Name, r.Prefix.String()}
			for _, c := range r.Communities {
				words = append(words, c.String())
			}
			text := strings.Join(words, " ")
			if r.LocalPref != nil {
				text += fmt.Sprintf(" lp=%d", *r.LocalPref)
			}
			if r.MED != nil {
				text += fmt.Sprintf(" med=%d", *r.MED)
			}
			if r.Prepend > 0 {
				text += fmt.Sprintf(" prepend=%d", r.Prepend)
			}
			if r.Weight > 0 {
				text += fmt.Sprintf(" weight=%d", r.Weight)
			}
			out = append(out, text)
		}
	}
	for _, d := range p.Decisions {
		if len(d.Peers) == 0 {
			out = append(out, fmt.Sprintf("%s %s", d.Address, d.Reason))
		}
	}
	for _, d := range p.Others {
		if len(d.Peers) == 0 {
			out = append(out, fmt.Sprintf("%s %s", d.Prefix, d.Reason))
		}
	}
	for _, peer := range p.Peers {
		if peer.Problem != "" {
			out = append(out, peer.Peer.Name+": "+peer.Problem)
		}
	}
	return out
}

// otherService has cluster IPs and external IPs.
func otherService(name string, args []string, local bool, clusterIPs ...string) plan.Service {
	s := service(name, "", args)
	s.InternalLocal = local
	for _, ip := range clusterIPs {
		s.ClusterIPs = append(s.ClusterIPs, netip.MustParseAddr(ip))
	}
	return s
}

// T03: a node's own address is announced to no router, but as an external IP.
func TestT03_A_node_does_not_announce_its_own_address(t *testing.T) {
	outside := otherService("outside", []string{"ready=n1"}, false)
	outside.ExternalIPs = []netip.Addr{netip.MustParseAddr("198.51.100.11")}
	w := bgpWorld{
		advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: []string{"four"}, ExternalIPs: true, IPAddressPools: []string{"lan"}}},
		services: []plan.Service{
			service("own", "203.0.113.8", []string{"ready=n1"}), service("other", "203.0.113.9", []string{"ready=n1"}), outside,
		},
		local: map[netip.Addr]string{netip.MustParseAddr("203.0.113.8"): "eth0", netip.MustParseAddr("198.51.100.11"): "eth0"},
	}
	want := []string{"four 198.51.100.11/32", "four 203.0.113.9/32", "203.0.113.8 LocalAddress"}
	if got := lines(w.plan(t)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// B19: what is no pool's is announced by opt-in, by the same rules.
func TestB19_Other_prefixes(t *testing.T) {
	four := []string{"four"}
	db := otherService("db", []string{"ready=n1,n2"}, false, "198.18.0.1", "2001:db8:9::1")
	here := otherService("here", []string{"ready=n1"}, true, "198.18.0.2")
	away := otherService("away", []string{"ready=n2"}, true, "198.18.0.3")
	empty := otherService("empty", []string{"down=n1"}, false, "198.18.0.4")
	outside := otherService("outside", []string{"local", "ready=n2"}, false, "198.18.0.5")
	outside.ExternalIPs = []netip.Addr{netip.MustParseAddr("203.0.113.77")}
	balanced := service("lb", "203.0.113.9", []string{"ready=n1"})
	balanced.ClusterIPs = []netip.Addr{netip.MustParseAddr("198.18.0.6")}
	ranges := plan.Node{PodCIDRs: []netip.Prefix{netip.MustParsePrefix("198.18.64.0/24"), netip.MustParsePrefix("2001:db8:a::/64")}}
	excluded, unusable := ranges, ranges
	excluded.Excluded = "the label"
	unusable.Excluded, unusable.Unusable = "no network", true
	length := int32(24)
	for sentence, test := range map[string]struct {
		world bgpWorld
		want  []string
	}{
		"off unless it is asked for": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: four}}, services: []plan.Service{db, balanced}, node: ranges},
			[]string{"four 203.0.113.9/32"},
		},
		"cluster IPs, and no pool that is not named": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: []string{"both"}, ClusterIPs: true}}, services: []plan.Service{db, balanced}},
			[]string{"both 198.18.0.1/32", "both 198.18.0.6/32", "both 2001:db8:9::1/128", "203.0.113.9 NoAdvertisement"},
		},
		"cluster IPs beside a pool": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: four, ClusterIPs: true, IPAddressPools: []string{"lan"}}}, services: []plan.Service{balanced}},
			[]string{"four 198.18.0.6/32", "four 203.0.113.9/32"},
		},
		"cluster IPs follow internalTrafficPolicy": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: four, ClusterIPs: true}}, services: []plan.Service{here, away, empty, outside}},
			[]string{"four 198.18.0.2/32", "four 198.18.0.5/32", "198.18.0.3/32 NoLocalEndpoint", "198.18.0.4/32 NoEndpoint"},
		},
		"external IPs follow externalTrafficPolicy": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: four, ExternalIPs: true}}, services: []plan.Service{outside}},
			[]string{"203.0.113.77/32 NoLocalEndpoint"},
		},
		"Services are selected": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{
				Peers: four, ClusterIPs: true, ServiceSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"tier": "gold"}}},
			}}, services: []plan.Service{db, otherService("gold", []string{"tier=gold", "ready=n1"}, false, "198.18.0.7")}},
			[]string{"four 198.18.0.7/32"},
		},
		"cluster IPs as one network, those that are Local by themselves": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: four, ClusterIPs: true, AggregationLength: &length}}, services: []plan.Service{db, here, away}},
			[]string{"four 198.18.0.0/24", "four 198.18.0.2/32", "198.18.0.3/32 NoLocalEndpoint", "2001:db8:9::1/128 NoPeer"},
		},
		"this node's pod ranges": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: []string{"both", "six"}, PodCIDRs: true, Communities: []string{"backup"}}}, node: ranges},
			[]string{"both 198.18.64.0/24 64513:7", "both 2001:db8:a::/64 64513:7", "six 2001:db8:a::/64 64513:7"},
		},
		"pod ranges are not drained": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: four, PodCIDRs: true, ClusterIPs: true}}, node: excluded, services: []plan.Service{here}, drain: plan.Withdrawn},
			[]string{"four 198.18.64.0/24", "198.18.0.2/32 NodeExcluded", "2001:db8:a::/64 NoPeer"},
		},
		"but withdrawn with the node's network": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: four, PodCIDRs: true}}, node: unusable, drain: plan.Withdrawn},
			[]string{"198.18.64.0/24 NodeExcluded", "2001:db8:a::/64 NodeExcluded"},
		},
		"a node without pod ranges says so": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{PodCIDRs: true}}}, []string{"invalid Prefix NoPodCIDR"},
		},
		"another node's are none of ours": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{
				PodCIDRs: true, NodeSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"rack": "1"}}},
			}}, node: ranges}, nil,
		},
		"D16: a community that is not there keeps them in, too": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: four, PodCIDRs: true, Communities: []string{"none"}}}, node: ranges},
			[]string{"198.18.64.0/24 CommunityUnresolved", "2001:db8:a::/64 NoPeer"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := lines(test.world.plan(t)); !slices.Equal(got, test.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(test.want, "\n  "))
			}
		})
	}
}

// B19: a peer that is taken from the node; where the node lacks it the others
// are told.
func TestB19_Peers_from_the_node(t *testing.T) {
	rack := &v1beta1.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: "rack"}, Spec: v1beta1.BGPPeerSpec{
		MyASN: 64513, PeerASN: 64512, PeerAddressFrom: &v1beta1.NodeValue{NodeAnnotation: "example.com/tor"},
	}}
	w := bgpWorld{
		advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: []string{"four", "rack"}}}, peers: []*v1beta1.BGPPeer{rack},
		services: []plan.Service{service("web", "203.0.113.1,2001:db8::1", []string{"ready=n1"})},
	}
	missing := []string{"four 203.0.113.1/32", "2001:db8::1 NoPeer", "rack: spec of BGPPeer rack: this node has no annotation example.com/tor"}
	if got := lines(w.plan(t)); !slices.Equal(got, missing) {
		t.Errorf("without the annotation: %q", got)
	}
	w.node.Annotations = map[string]string{"example.com/tor": "2001:db8:7::1"}
	if got, want := lines(w.plan(t)), []string{"four 203.0.113.1/32", "rack 2001:db8::1/128"}; !slices.Equal(got, want) {
		t.Errorf("with it: %q", got)
	}
}

func TestB01_B02_B03_B04_B11_B12_D8_D16_D18_What_peers_are_told(t *testing.T) {
	everything := []v1beta1.BGPAdvertisementSpec{{}}
	number := func(n int64) *int64 { return &n }
	short := func(n int32) *int32 { return &n }
	web := service("web", "203.0.113.1,2001:db8::1", []string{"ready=n1,n2"})
	here := service("here", "203.0.113.2", []string{"local", "ready=n1,n1,n2"})
	elsewhere := service("elsewhere", "203.0.113.3", []string{"local", "ready=n2"})
	empty := service("empty", "203.0.113.4", []string{"down=n1"})
	elsewhereServed := service("plain", "203.0.113.5", []string{"ready=n1"})
	for sentence, test := range map[string]struct {
		world bgpWorld
		want  []string
	}{
		"each peer is told of the families that it carries": {
			bgpWorld{advertisements: everything, services: []plan.Service{web}},
			[]string{"both 203.0.113.1/32", "both 2001:db8::1/128", "four 203.0.113.1/32", "six 2001:db8::1/128"},
		},
		"with policy Local only nodes with endpoints announce": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: []string{"four"}}}, services: []plan.Service{here, elsewhere, empty}},
			[]string{"four 203.0.113.2/32", "203.0.113.3 NoLocalEndpoint", "203.0.113.4 NoEndpoint"},
		},
		"pods are counted where that is wanted": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: []string{"four"}, Weighted: true}}, services: []plan.Service{here, web}},
			[]string{"four 203.0.113.1/32", "four 203.0.113.2/32 weight=2", "2001:db8::1 NoPeer"},
		},
		"no advertisement": {bgpWorld{services: []plan.Service{web}}, nil},
		"no advertisement of the pool": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{IPAddressPools: []string{"other"}}}, services: []plan.Service{web}},
			[]string{"203.0.113.1 NoAdvertisement", "2001:db8::1 NoAdvertisement"},
		},
		"a peer that does not exist": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: []string{"none"}}}, services: []plan.Service{here}},
			[]string{"203.0.113.2 NoPeer"},
		},
		"another node is selected": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{
				NodeSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"rack": "1"}}},
			}}, services: []plan.Service{here}},
			[]string{"203.0.113.2 NodeNotSelected"},
		},
		"two advertisements of one address: all communities, and the best of the rest": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{
				{Peers: []string{"four"}, Communities: []string{"64513:9", "backup"}, LocalPref: number(50), MED: number(5)},
				{Peers: []string{"four"}, Communities: []string{"large:1:2:3", "64513:9"}, LocalPref: number(70), MED: number(9), ASPathPrepend: 2},
			}, services: []plan.Service{here}},
			[]string{"four 203.0.113.2/32 64513:7 64513:9 large:1:2:3 lp=70 med=5 prepend=2"},
		},
		"addresses are announced as one network": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{AggregationLength: short(28), AggregationLengthV6: short(64)}}, services: []plan.Service{here, web}},
			[]string{
				"both 203.0.113.0/28", "both 203.0.113.2/32", "both 2001:db8::/64",
				"four 203.0.113.0/28", "four 203.0.113.2/32", "six 2001:db8::/64",
			},
		},
		"D16: a community that nothing defines keeps the address in, whoever else selects it": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{
				{Peers: []string{"four"}, Communities: []string{"not-there"}}, {Peers: []string{"four", "both"}},
			}, services: []plan.Service{here}},
			[]string{"both 203.0.113.2/32"},
		},
		"D16: nobody is told, and why": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{Communities: []string{"not-there", "backup"}}}, services: []plan.Service{here, empty}},
			[]string{"203.0.113.2 CommunityUnresolved", "203.0.113.4 NoEndpoint"},
		},
		"D16: another prefix is another path": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{
				{Peers: []string{"four"}, Communities: []string{"not-there"}}, {Peers: []string{"four"}, AggregationLength: short(24)},
			}, services: []plan.Service{web}},
			[]string{"four 203.0.113.0/24", "2001:db8::1 NoPeer"},
		},
		"D16: well-known names are known": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{
				Peers: []string{"four"}, Communities: []string{"no-export", "no-advertise", "no-peer", "blackhole", "graceful-shutdown"},
			}}, services: []plan.Service{here}},
			[]string{"four 203.0.113.2/32 65535:0 65535:666 65535:65281 65535:65282 65535:65284"},
		},
		"D8: more communities than a message carries take one prefix away, and not the session": {
			bgpWorld{advertisements: manyCommunities("four", 6), services: []plan.Service{here, labelled(elsewhereServed, "plain")}},
			[]string{"four 203.0.113.5/32", "203.0.113.2 TooManyCommunities"},
		},
		"D18: a Service under Local is told by its address where it would be aggregated": {
			bgpWorld{
				advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: []string{"four"}, AggregationLength: short(24), MED: number(3)}},
				services:       []plan.Service{here, elsewhere},
			},
			[]string{"four 203.0.113.2/32 med=3", "203.0.113.3 NoLocalEndpoint"},
		},
		"D18: beside others that are aggregated, too": {
			bgpWorld{
				advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: []string{"four"}, AggregationLength: short(24)}},
				services:       []plan.Service{here, web},
			},
			[]string{"four 203.0.113.0/24", "four 203.0.113.2/32", "2001:db8::1 NoPeer"},
		},
		"D18: the aggregate is told beside the address where both are asked for": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{
				{Peers: []string{"four"}, AggregationLength: short(24), Communities: []string{"64513:1"}}, {Peers: []string{"four"}, Communities: []string{"no-export"}},
			}, services: []plan.Service{here}},
			[]string{"four 203.0.113.0/24 64513:1", "four 203.0.113.2/32 65535:65281"},
		},
		"D18: and not where the address is kept in": {
			bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{
				{Peers: []string{"four"}, AggregationLength: short(24)}, {Peers: []string{"four"}, Communities: []string{"not-there"}},
			}, services: []plan.Service{here}},
			[]string{"203.0.113.2 CommunityUnresolved"},
		},
		"a node that is drained is the last choice": {
			bgpWorld{
				advertisements: []v1beta1.BGPAdvertisementSpec{{Peers: []string{"four"}, LocalPref: number(50)}},
				services:       []plan.Service{here}, node: plan.Node{Excluded: "label"}, drain: plan.Lowering,
			},
			[]string{"four 203.0.113.2/32 65535:0 lp=0"},
		},
		"a node that was drained announces nothing": {
			bgpWorld{advertisements: everything, services: []plan.Service{here}, node: plan.Node{Excluded: "label"}, drain: plan.Withdrawn},
			[]string{"203.0.113.2 NodeExcluded"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := lines(test.world.plan(t)); !slices.Equal(got, test.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(test.want, "\n  "))
			}
		})
	}
}

// manyCommunities are that many advertisements to a peer, with 63 large
// communities each, of all Services but those with the label plain.
func manyCommunities(peer string, count int) []v1beta1.BGPAdvertisementSpec {
	all := []v1beta1.BGPAdvertisementSpec{{Peers: []string{peer}}}
	for i := range count {
		spec := v1beta1.BGPAdvertisementSpec{Peers: []string{peer}, ServiceSelectors: []metav1.LabelSelector{{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "plain", Operator: metav1.LabelSelectorOpDoesNotExist}},
		}}}
		for j := range 63 {
			spec.Communities = append(spec.Communities, fmt.Sprintf("large:64513:%d:%d", i, j))
		}
		all = append(all, spec)
	}
	return all
}

func labelled(s plan.Service, label string) plan.Service {
	s.Labels = map[string]string{label: ""}
	return s
}

// What 10,000 routes cost to plan.
func BenchmarkMakeBGP(b *testing.B) {
	w := bgpWorld{advertisements: []v1beta1.BGPAdvertisementSpec{{}}}
	for i := range 10_000 {
		address := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
		s := service("s", address.String(), []string{"ready=n1,n2"})
		s.Key, s.Pool = fmt.Sprintf("default/s%d", i), "lan"
		w.services = append(w.services, s)
	}
	snapshot, _ := config.Build(config.Objects{BGP: config.BGPObjects{
		Peers:          []*v1beta1.BGPPeer{{Spec: v1beta1.BGPPeerSpec{MyASN: 1, PeerASN: 2, PeerAddress: "192.0.2.1"}}},
		Advertisements: []*v1beta1.BGPAdvertisement{{}},
	}})
	view := &plan.BGPView{View: plan.View{Self: "n1", Config: snapshot, Services: plan.ServicesOf(w.services...), Nodes: map[string]plan.Node{}}}
	for b.Loop() {
		plan.MakeBGP(view)
	}
}
