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
	for i, spec := range w.advertisements {
		objects.BGP.Advertisements = append(objects.BGP.Advertisements, &v1beta1.BGPAdvertisement{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("a%d", i)}, Spec: spec,
		})
	}
	snapshot, _ := config.Build(objects)
	return plan.MakeBGP(&plan.BGPView{
		View:  plan.View{Self: "n1", Config: snapshot, Services: plan.ServicesOf(w.services...), Nodes: map[string]plan.Node{"n1": w.node}},
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
	return out
}

func TestB01_B02_B03_B04_B11_B12_What_peers_are_told(t *testing.T) {
	everything := []v1beta1.BGPAdvertisementSpec{{}}
	number := func(n int64) *int64 { return &n }
	short := func(n int32) *int32 { return &n }
	web := service("web", "203.0.113.1,2001:db8::1", []string{"ready=n1,n2"})
	here := service("here", "203.0.113.2", []string{"local", "ready=n1,n1,n2"})
	elsewhere := service("elsewhere", "203.0.113.3", []string{"local", "ready=n2"})
	empty := service("empty", "203.0.113.4", []string{"down=n1"})
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
			[]string{"both 203.0.113.0/28", "both 2001:db8::/64", "four 203.0.113.0/28", "six 2001:db8::/64"},
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
