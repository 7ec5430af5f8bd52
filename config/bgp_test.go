package config

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

func TestParseCommunity(t *testing.T) {
	for text, want := range map[string]string{
		"64512:100": "64512:100", "65535:0": "65535:0", "large:4200000000:1:2": "large:4200000000:1:2",
		"64512": "error", "64512:65536": "error", "1:2:3": "error", "large:1:2": "error", "": "error", "a:b": "error", "-1:2": "error",
	} {
		got := "error"
		if c, err := ParseCommunity(text); err == nil {
			got = c.String()
		}
		if got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

func FuzzParseCommunity(f *testing.F) {
	f.Add("64512:100")
	f.Add("large:1:2:3")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCommunity(text)
		if err != nil {
			return
		}
		if again, err := ParseCommunity(c.String()); err != nil || again != c {
			t.Errorf("%q: %v, %v", text, again, err)
		}
	})
}

func TestC02_Problems_of_BGP_stand_where_they_are(t *testing.T) {
	fine := v1beta1.BGPPeerSpec{MyASN: 64513, PeerASN: 64512, PeerAddress: "192.0.2.1"}
	changed := func(change func(*v1beta1.BGPPeerSpec)) v1beta1.BGPPeerSpec {
		spec := fine
		change(&spec)
		return spec
	}
	for sentence, test := range map[string]struct {
		peers          []v1beta1.BGPPeerSpec
		advertisements []v1beta1.BGPAdvertisementSpec
		communities    [][]v1beta1.CommunityAlias
		problems       []string
		usable         int // peers
	}{
		"all is well": {peers: []v1beta1.BGPPeerSpec{fine}, advertisements: []v1beta1.BGPAdvertisementSpec{{}}, usable: 1},
		"an advertisement without a peer": {
			advertisements: []v1beta1.BGPAdvertisementSpec{{}}, problems: []string{"BGPAdvertisement o0 spec MatchesNothing"},
		},
		"names that lead nowhere": {
			peers: []v1beta1.BGPPeerSpec{changed(func(s *v1beta1.BGPPeerSpec) { s.BFDProfile = "none" })}, usable: 1,
			advertisements: []v1beta1.BGPAdvertisementSpec{{IPAddressPools: []string{"none"}, Peers: []string{"o0", "none"}, Communities: []string{"none", "1:99999"}}},
			problems: []string{
				"BGPPeer o0 spec.bfdProfile DanglingReference",
				"BGPAdvertisement o0 spec.communities[0] DanglingReference", "BGPAdvertisement o0 spec.communities[1] InvalidSpec",
				"BGPAdvertisement o0 spec.ipAddressPools[0] DanglingReference", "BGPAdvertisement o0 spec.peers[1] DanglingReference",
			},
		},
		"a peer without a usable address is left out, the other is used": {
			peers:    []v1beta1.BGPPeerSpec{changed(func(s *v1beta1.BGPPeerSpec) { s.PeerAddress = "127.0.0.1" }), fine},
			problems: []string{"BGPPeer o0 spec.peerAddress InvalidSpec"}, usable: 1,
		},
		"a Secret in another namespace than Baliza's own": {
			peers: []v1beta1.BGPPeerSpec{
				changed(func(s *v1beta1.BGPPeerSpec) {
					s.PasswordSecret = &v1beta1.PasswordSecret{Name: "a", Namespace: "elsewhere"}
				}),
				changed(func(s *v1beta1.BGPPeerSpec) {
					s.PasswordSecret, s.PeerPort = &v1beta1.PasswordSecret{Name: "a", Namespace: "baliza-system"}, 1790
				}),
				changed(func(s *v1beta1.BGPPeerSpec) { s.PasswordSecret, s.PeerPort = &v1beta1.PasswordSecret{Name: "a"}, 1791 }),
			},
			problems: []string{"BGPPeer o0 spec.passwordSecret.namespace InvalidSpec"}, usable: 2,
		},
		"a link-local address without its interface": {
			peers:    []v1beta1.BGPPeerSpec{changed(func(s *v1beta1.BGPPeerSpec) { s.PeerAddress = "fe80::1" })},
			problems: []string{"BGPPeer o0 spec.peerAddress InvalidSpec"},
		},
		"routers that are found on each node": {
			peers: []v1beta1.BGPPeerSpec{
				changed(func(s *v1beta1.BGPPeerSpec) { s.PeerAddress, s.Interface = "", "eth0" }),
				changed(func(s *v1beta1.BGPPeerSpec) { s.PeerAddress, s.Interface = "", "eth1" }),
				changed(func(s *v1beta1.BGPPeerSpec) { s.PeerAddress, s.DefaultGateway = "", v1beta1.GatewayIPv4 }),
				changed(func(s *v1beta1.BGPPeerSpec) { s.PeerAddress, s.DefaultGateway = "", v1beta1.GatewayIPv6 }),
			},
			usable: 4,
		},
		"a router that is found on each node, twice": {
			peers: []v1beta1.BGPPeerSpec{
				changed(func(s *v1beta1.BGPPeerSpec) { s.PeerAddress, s.Interface = "", "eth0" }),
				changed(func(s *v1beta1.BGPPeerSpec) { s.PeerAddress, s.Interface = "", "eth0" }),
				changed(func(s *v1beta1.BGPPeerSpec) { s.PeerAddress, s.DefaultGateway = "", v1beta1.GatewayIPv4 }),
				changed(func(s *v1beta1.BGPPeerSpec) { s.PeerAddress, s.DefaultGateway = "", v1beta1.GatewayIPv4 }),
			},
			problems: []string{"BGPPeer o1 spec.interface Overlap", "BGPPeer o3 spec.defaultGateway Overlap"}, usable: 4,
		},
		"one router, two peers": {
			peers: []v1beta1.BGPPeerSpec{fine, fine}, problems: []string{"BGPPeer o1 spec.peerAddress Overlap"}, usable: 2,
		},
		"signs of life too far apart": {
			peers: []v1beta1.BGPPeerSpec{changed(func(s *v1beta1.BGPPeerSpec) {
				s.HoldTime, s.KeepaliveTime = &metav1.Duration{Duration: 9e9}, &metav1.Duration{Duration: 5e9}
			})},
			problems: []string{"BGPPeer o0 spec.keepaliveTime InvalidSpec"}, usable: 1,
		},
		"a name that is defined twice": {
			peers: []v1beta1.BGPPeerSpec{fine}, usable: 1,
			communities: [][]v1beta1.CommunityAlias{{{Name: "x", Value: "1:1"}}, {{Name: "x", Value: "2:2"}}},
			problems:    []string{"Community o1 spec.communities[0] Overlap"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			name := func(i int) metav1.ObjectMeta { return metav1.ObjectMeta{Name: fmt.Sprintf("o%d", i)} }
			objects := Objects{Namespace: "baliza-system", Pools: []*v1beta1.IPAddressPool{aPool("lan", 1, ranges("203.0.113.0/24"))}}
			for i, spec := range test.peers {
				objects.BGP.Peers = append(objects.BGP.Peers, &v1beta1.BGPPeer{ObjectMeta: name(i), Spec: spec})
			}
			for i, spec := range test.advertisements {
				objects.BGP.Advertisements = append(objects.BGP.Advertisements, &v1beta1.BGPAdvertisement{ObjectMeta: name(i), Spec: spec})
			}
			for i, list := range test.communities {
				objects.BGP.Communities = append(objects.BGP.Communities, &v1beta1.Community{
					ObjectMeta: name(i), Spec: v1beta1.CommunitySpec{Communities: list},
				})
			}
			s, problems := Build(objects)
			if got := brief(problems); !slices.Equal(got, test.problems) && len(got)+len(test.problems) > 0 {
				t.Errorf("problems:\n got %q\nwant %q", got, test.problems)
			}
			if len(s.BGPPeers) != test.usable {
				t.Errorf("%d peers are used, want %d", len(s.BGPPeers), test.usable)
			}
		})
	}
}

func TestB05_A_session_carries_the_family_of_its_router(t *testing.T) {
	v4, v6 := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:5::1")
	for sentence, test := range map[string]struct {
		spec       v1beta1.BGPPeerSpec
		has4, has6 bool
	}{
		"an IPv4 router":                {v1beta1.BGPPeerSpec{PeerAddress: "192.0.2.1"}, true, false},
		"an IPv6 router":                {v1beta1.BGPPeerSpec{PeerAddress: "2001:db8:1::1"}, false, true},
		"both families over IPv4":       {v1beta1.BGPPeerSpec{PeerAddress: "192.0.2.1", DualStackAddressFamily: true}, true, true},
		"the IPv4 default gateway":      {v1beta1.BGPPeerSpec{DefaultGateway: v1beta1.GatewayIPv4}, true, false},
		"the IPv6 default gateway":      {v1beta1.BGPPeerSpec{DefaultGateway: v1beta1.GatewayIPv6}, false, true},
		"whoever is on the interface":   {v1beta1.BGPPeerSpec{Interface: "eth0"}, true, true},
		"multiprotocol is switched off": {v1beta1.BGPPeerSpec{PeerAddress: "192.0.2.1", DisableMP: true}, true, false},
	} {
		p, problems := parseBGPPeer(&v1beta1.BGPPeer{Spec: test.spec}, nil, "")
		if p == nil || len(problems) > 0 || p.Carries(v4) != test.has4 || p.Carries(v6) != test.has6 {
			t.Errorf("%s: %+v, %v", sentence, p, problems)
		}
	}
}
