package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
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
			advertisements: []v1beta1.BGPAdvertisementSpec{{}}, problems: []string{"BGPAdvertisement o0 spec NoMatch"},
		},
		"names that lead nowhere": {
			peers: []v1beta1.BGPPeerSpec{changed(func(s *v1beta1.BGPPeerSpec) { s.BFDProfile = "none" })}, usable: 1,
			advertisements: []v1beta1.BGPAdvertisementSpec{{IPAddressPools: []string{"none"}, Peers: []string{"o0", "none"}, Communities: []string{"none", "1:99999"}}},
			problems: []string{
				"BGPPeer o0 spec.bfdProfile ReferenceNotFound",
				"BGPAdvertisement o0 spec.communities[0] ReferenceNotFound", "BGPAdvertisement o0 spec.communities[1] InvalidSpec",
				"BGPAdvertisement o0 spec.ipAddressPools[0] ReferenceNotFound", "BGPAdvertisement o0 spec.peers[1] ReferenceNotFound",
			},
		},
		"a peer without a usable address is left out, the other is used": {
			peers:    []v1beta1.BGPPeerSpec{changed(func(s *v1beta1.BGPPeerSpec) { s.PeerAddress = "224.0.0.5" }), fine},
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
		"an advertisement of pod ranges needs no pool, and one of a pool that is not there does": {
			peers: []v1beta1.BGPPeerSpec{fine}, usable: 1,
			advertisements: []v1beta1.BGPAdvertisementSpec{{PodCIDRs: true}, {ClusterIPs: true, IPAddressPools: []string{"none"}}},
			problems:       []string{"BGPAdvertisement o1 spec.ipAddressPools[0] ReferenceNotFound"},
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

// B19: one BGPPeer for fifty racks; a node that lacks something says what.
func TestB19_A_peer_is_taken_from_the_node(t *testing.T) {
	label := func(name string) *v1beta1.NodeValue { return &v1beta1.NodeValue{NodeLabel: name} }
	annotation := func(name string) *v1beta1.NodeValue { return &v1beta1.NodeValue{NodeAnnotation: name} }
	spec := v1beta1.BGPPeerSpec{
		PeerAddressFrom: annotation("example.com/tor"), PeerASNFrom: label("example.com/tor-asn"), MyASNFrom: label("example.com/asn"), LocalASN: 64999,
	}
	s, problems := Build(Objects{BGP: BGPObjects{Peers: []*v1beta1.BGPPeer{{ObjectMeta: metav1.ObjectMeta{Name: "tor"}, Spec: spec}}}})
	if len(problems) > 0 || len(s.BGPPeers) != 1 {
		t.Fatalf("%v, %d peers", problems, len(s.BGPPeers))
	}
	const asn, tor, mine = "example.com/tor-asn", "example.com/tor", "example.com/asn"
	for sentence, test := range map[string]struct {
		labels, annotations map[string]string
		want                string // of the error, or the peer
	}{
		"all is there":            {map[string]string{asn: "4200000001", mine: "64513"}, map[string]string{tor: "2001:db8::1"}, "[2001:db8::1]:179 4200000001 64513"},
		"another rack":            {map[string]string{asn: "64512", mine: "64514"}, map[string]string{tor: "192.0.2.1"}, "192.0.2.1:179 64512 64514"},
		"everything is missing":   {nil, nil, "no annotation example.com/tor, no label example.com/tor-asn, no label example.com/asn"},
		"an annotation, no label": {map[string]string{tor: "192.0.2.1", asn: "1", mine: "2"}, nil, "no annotation example.com/tor"},
		"no address":              {map[string]string{asn: "1", mine: "2"}, map[string]string{tor: "tor-7.example.com"}, `annotation example.com/tor of this node: "tor-7.example.com" is not an IP address`},
		"a link-local address":    {map[string]string{asn: "1", mine: "2"}, map[string]string{tor: "fe80::1"}, "set interface"},
		"a zone":                  {map[string]string{asn: "1", mine: "2"}, map[string]string{tor: "fe80::1%eth0"}, "has a zone"},
		"no AS number":            {map[string]string{asn: "AS64512", mine: "0"}, map[string]string{tor: "192.0.2.1"}, `"AS64512" is no AS number, "0" is no AS number`},
		"too large a number":      {map[string]string{asn: "4294967296", mine: "2"}, map[string]string{tor: "192.0.2.1"}, `"4294967296" is no AS number`},
		"the local number":        {map[string]string{asn: "1", mine: "64999"}, map[string]string{tor: "192.0.2.1"}, "64999 is localASN already"},
	} {
		p, err := s.BGPPeers[0].On(test.labels, test.annotations)
		if err == nil {
			if got := fmt.Sprint(netip.AddrPortFrom(p.Address, p.Port), p.PeerASN, p.MyASN); got != test.want {
				t.Errorf("%s: %s", sentence, got)
			}
			continue
		}
		for part := range strings.SplitSeq(test.want, ", ") {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q lacks %q", sentence, err, part)
			}
		}
	}
}

func FuzzPeerFromNode(f *testing.F) {
	f.Add("192.0.2.1", "64512")
	f.Add("2001:db8::1", "0")
	f.Fuzz(func(t *testing.T, address, asn string) {
		peer := &BGPPeer{addressFrom: nodeValue{annotation: "a"}, peerASNFrom: nodeValue{annotation: "n"}}
		here, err := peer.On(nil, map[string]string{"a": address, "n": asn})
		if err == nil && (!here.Address.IsValid() || here.Address.Zone() != "" || here.Address.IsMulticast() || here.PeerASN == 0) {
			t.Errorf("%q and %q make %+v", address, asn, here)
		}
	})
}

// T09, T23: the routing daemon of the node itself, and a router's link-local address
// on an interface, are routers like others.
func TestT09_T23_What_may_be_a_router(t *testing.T) {
	for sentence, test := range map[string]struct {
		spec v1beta1.BGPPeerSpec
		want string
	}{
		"the loopback address":               {v1beta1.BGPPeerSpec{PeerAddress: "127.0.0.1", SourceAddress: "127.0.0.2", PeerPort: 1179}, "127.0.0.1 from 127.0.0.2"},
		"the loopback address of IPv6":       {v1beta1.BGPPeerSpec{PeerAddress: "::1"}, "::1 from invalid IP"},
		"a link-local address of IPv4":       {v1beta1.BGPPeerSpec{PeerAddress: "169.254.255.1"}, "169.254.255.1 from invalid IP"},
		"a link-local address, on its link":  {v1beta1.BGPPeerSpec{PeerAddress: "fe80::1", Interface: "eth0"}, "fe80::1%eth0 from invalid IP both"},
		"a link-local address without one":   {v1beta1.BGPPeerSpec{PeerAddress: "fe80::1"}, "spec.peerAddress"},
		"many hosts":                         {v1beta1.BGPPeerSpec{PeerAddress: "ff02::5"}, "spec.peerAddress"},
		"a source that is no host's address": {v1beta1.BGPPeerSpec{PeerAddress: "192.0.2.1", SourceAddress: "0.0.0.0"}, "spec.sourceAddress"},
	} {
		p, problems := parseBGPPeer(&v1beta1.BGPPeer{Spec: test.spec}, nil, "")
		got := ""
		switch {
		case p == nil && len(problems) == 1:
			got = problems[0].Field
		case p != nil && len(problems) == 0:
			got = fmt.Sprintf("%s from %s", p.Address, p.Source)
			if p.Carries(netip.MustParseAddr("203.0.113.1")) && p.Carries(netip.MustParseAddr("2001:db8:5::1")) {
				got += " both"
			}
		}
		if got != test.want {
			t.Errorf("%s: %q, %v", sentence, got, problems)
		}
	}
}

// D8: what every address of a pool would carry is said where it is written.
func TestD8_Too_many_communities_are_a_problem_of_each_advertisement(t *testing.T) {
	meta := func(i int) metav1.ObjectMeta { return metav1.ObjectMeta{Name: fmt.Sprintf("a%d", i)} }
	build := func(count int, change func(i int, spec *v1beta1.BGPAdvertisementSpec)) []string {
		objects := Objects{Pools: []*v1beta1.IPAddressPool{aPool("lan", 1, ranges("203.0.113.0/24"))}}
		objects.BGP.Peers = []*v1beta1.BGPPeer{{ObjectMeta: meta(0), Spec: v1beta1.BGPPeerSpec{MyASN: 1, PeerASN: 2, PeerAddress: "192.0.2.1"}}}
		for i := range count {
			a := &v1beta1.BGPAdvertisement{ObjectMeta: meta(i)}
			for j := range 63 {
				a.Spec.Communities = append(a.Spec.Communities, fmt.Sprintf("large:64513:%d:%d", i, j))
			}
			change(i, &a.Spec)
			objects.BGP.Advertisements = append(objects.BGP.Advertisements, a)
		}
		_, problems := Build(objects)
		return brief(problems)
	}
	if got := build(4, func(int, *v1beta1.BGPAdvertisementSpec) {}); len(got) > 0 {
		t.Errorf("252 large communities fit: %q", got)
	}
	got := build(5, func(int, *v1beta1.BGPAdvertisementSpec) {})
	want := []string{
		"BGPAdvertisement a0 spec.communities TooManyCommunities", "BGPAdvertisement a1 spec.communities TooManyCommunities",
		"BGPAdvertisement a2 spec.communities TooManyCommunities", "BGPAdvertisement a3 spec.communities TooManyCommunities",
		"BGPAdvertisement a4 spec.communities TooManyCommunities",
	}
	if !slices.Equal(got, want) {
		t.Errorf("315 large communities: %q", got)
	}
	length := int32(24)
	if got := build(5, func(i int, s *v1beta1.BGPAdvertisementSpec) {
		if i == 0 {
			s.AggregationLength, s.AggregationLengthV6 = &length, new(int32(64))
		}
	}); len(got) > 0 {
		t.Errorf("five of two prefixes: %q", got)
	}
	if got := build(5, func(i int, s *v1beta1.BGPAdvertisementSpec) {
		s.ServiceSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"only": strconv.Itoa(i)}}}
	}); len(got) > 0 {
		t.Errorf("five that may have no Service in common: %q", got)
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
