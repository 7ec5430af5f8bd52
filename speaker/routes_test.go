package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/bgp"
	"github.com/baliza-lb/baliza/speaker/link"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/node"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// paperRoutes are objects about BGP that stand in a test.
type paperRoutes struct {
	objects   kube.BGPObjects
	passwords map[string]string
}

// router is the machine of a node that has BGP only, and what carries that out.
type router struct {
	*routes
	t        *testing.T
	machine  *node.Node
	cluster  *paperRoutes
	gateways link.Gateways
	done     node.Result
}

// pass lets the node look at a view of the cluster.
func (r *router) pass(now time.Time, view *plan.View, gateways link.Gateways) time.Duration {
	r.t.Helper()
	passwords := map[string]model.Secret{}
	for name, text := range r.cluster.passwords {
		passwords[name] = model.Secret(text)
	}
	out := r.machine.Step(node.Input{
		Now: now, Members: &model.Membership{Self: "n1", Alive: []string{"n1"}, Ready: []string{"n1"}}, Gateways: model.Gateways(gateways),
		Cluster: node.Cluster{Synced: true, Config: view.Config, Services: view.Services, Nodes: view.Nodes, Passwords: passwords},
	})
	if !out.Acting {
		r.t.Fatal("it does not act")
	}
	r.apply(out.Routes, nil)
	r.done = r.machine.Done(node.Applied{Now: now, Sessions: r.status()})
	return out.Again
}

func (r *router) report() *v1beta1.BGPReport            { return r.done.Status.BGP }
func (r *router) withheld() []v1beta1.WithheldAddresses { return r.done.Status.Withheld }

// lower departs.
func (r *router) lower() bool {
	peers, lowered := r.machine.Depart()
	r.apply(peers, nil)
	return lowered
}

// newRoutes makes the BGP side of a speaker with one peer, and a view of one
// Service.
func newRoutes(t *testing.T, spec v1beta1.BGPPeerSpec) (*router, *bgp.Fake, *plan.View) {
	t.Helper()
	spec.MyASN, spec.PeerASN = 64513, 64512
	if spec.Interface == "" && spec.DefaultGateway == "" {
		spec.PeerAddress = "192.0.2.254"
	}
	paper := &paperRoutes{passwords: map[string]string{}, objects: kube.BGPObjects{
		Peers:          []*v1beta1.BGPPeer{{ObjectMeta: metav1.ObjectMeta{Name: "rack"}, Spec: spec}},
		Advertisements: []*v1beta1.BGPAdvertisement{{ObjectMeta: metav1.ObjectMeta{Name: "all"}}},
	}}
	fake := bgp.NewFake()
	r := &router{
		routes: &routes{node: "n1", sessions: fake, paths: noBFD{}}, t: t, cluster: paper,
		machine: node.New(node.Config{Name: "n1", DrainTime: 30 * time.Second}),
	}
	objects := config.Objects{Pools: []*v1beta1.IPAddressPool{{
		ObjectMeta: metav1.ObjectMeta{Name: "lan"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []v1beta1.AddressRange{"203.0.113.0/24"}},
	}}}
	objects.BGP = config.BGPObjects(paper.objects)
	snapshot, problems := config.Build(objects)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return r, fake, &plan.View{Self: "n1", Config: snapshot, Services: plan.ServicesOf(served()), Nodes: map[string]plan.Node{}}
}

// served is a Service with an endpoint on n1.
func served() plan.Service {
	return plan.Service{
		Key: "default/web", Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.1")},
		IPv4: plan.Endpoints{Any: true, Nodes: map[string]bool{"n1": true}},
	}
}

func TestB11_A_drained_node_lowers_and_withdraws(t *testing.T) {
	r, fake, view := newRoutes(t, v1beta1.BGPPeerSpec{})
	prefix := netip.MustParsePrefix("203.0.113.1/32")
	now := time.Unix(1000, 0)
	check := func(after time.Duration, excluded string, told, lowered bool) {
		t.Helper()
		view.Nodes["n1"] = plan.Node{Excluded: excluded}
		r.pass(now.Add(after), view, link.Gateways{})
		paths, _ := fake.Told("rack")
		path, known := paths[prefix]
		if known != told || known && (path.Communities == model.CommunitiesOf(65535<<16)) != lowered {
			t.Errorf("after %s the router knows %+v", after, path)
		}
	}
	check(0, "", true, false)
	check(time.Second, "the label", true, true)
	check(30*time.Second, "the label", true, true)
	check(32*time.Second, "the label", false, false)
	check(33*time.Second, "", true, false)
	if !r.lower() {
		t.Error("a speaker that ends lowers nothing")
	}
	if paths, _ := fake.Told("rack"); paths[prefix].Communities.Len() != 1 {
		t.Errorf("a speaker that ends announces %+v", paths[prefix])
	}
}

// A node that is excluded when its speaker starts is told to nobody at any time; one
// that cannot serve is withdrawn at once, and stays so when only the wish to drain
// it is left.
func TestD7_T02_B17_A_node_drains_only_if_it_was_announcing(t *testing.T) {
	for sentence, nodes := range map[string][]plan.Node{
		"excluded at start":                     {{Excluded: "the label"}, {Excluded: "the label"}},
		"without network at start":              {{Excluded: "no network", Unusable: true}, {Excluded: "the label"}},
		"without network later":                 {{}, {Excluded: "no network", Unusable: true}, {Excluded: "the label"}},
		"without network while it is draining":  {{}, {Excluded: "the label"}, {Excluded: "no network", Unusable: true}},
		"excluded before it announces anything": {{}, {Excluded: "the label"}},
	} {
		r, fake, view := newRoutes(t, v1beta1.BGPPeerSpec{})
		services := view.Services
		for i, node := range nodes {
			view.Services = services
			if i == 0 && sentence == "excluded before it announces anything" {
				view.Services = plan.ServicesOf()
			}
			view.Nodes["n1"] = node
			r.pass(time.Unix(1000+int64(i), 0), view, link.Gateways{})
			paths, _ := fake.Told("rack")
			draining := node.Excluded == "the label" && i > 0 && nodes[i-1].Excluded == "" && sentence == "without network while it is draining"
			serving := node.Excluded == "" && view.Services == services
			if want := serving || draining; (len(paths) > 0) != want {
				t.Errorf("%s: in step %d the router is told %d prefixes", sentence, i, len(paths))
			}
		}
	}
}

// D6, T10: of two BGPPeers that lead to one router on one node the older has the
// session, and the other says why it has none.
func TestD6_T10_One_session_with_each_router(t *testing.T) {
	gateway := link.Gateways{IPv4: netip.MustParseAddr("192.0.2.254")}
	peer := func(name string, age int64, change func(*v1beta1.BGPPeerSpec)) *v1beta1.BGPPeer {
		p := &v1beta1.BGPPeer{
			ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.Unix(age, 0)},
			Spec:       v1beta1.BGPPeerSpec{MyASN: 64513, PeerASN: 64512, PeerAddress: "192.0.2.254"},
		}
		change(&p.Spec)
		return p
	}
	for sentence, test := range map[string]struct {
		change func(*v1beta1.BGPPeerSpec)
		both   bool
	}{
		"selectors that both match": {func(s *v1beta1.BGPPeerSpec) {
			s.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"gpu": "true"}}}
		}, false},
		"the default gateway": {func(s *v1beta1.BGPPeerSpec) { s.PeerAddress, s.DefaultGateway = "", v1beta1.GatewayIPv4 }, false},
		"taken from the node": {func(s *v1beta1.BGPPeerSpec) {
			s.PeerAddress, s.PeerAddressFrom = "", &v1beta1.NodeValue{NodeLabel: "tor"}
		}, false},
		"another port":   {func(s *v1beta1.BGPPeerSpec) { s.PeerPort = 1790 }, true},
		"another source": {func(s *v1beta1.BGPPeerSpec) { s.SourceAddress = "192.0.2.12" }, true},
	} {
		r, fake, view := newRoutes(t, v1beta1.BGPPeerSpec{})
		paper := &paperRoutes{objects: kube.BGPObjects{Peers: []*v1beta1.BGPPeer{
			peer("a-younger", 2000, test.change), peer("b-older", 1000, func(s *v1beta1.BGPPeerSpec) {
				s.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"rack": "1"}}}
			}),
		}, Advertisements: []*v1beta1.BGPAdvertisement{{ObjectMeta: metav1.ObjectMeta{Name: "all"}}}}}
		objects := config.Objects{BGP: config.BGPObjects(paper.objects)}
		view.Config, _ = config.Build(objects)
		view.Nodes["n1"] = plan.Node{Labels: map[string]string{"rack": "1", "gpu": "true", "tor": "192.0.2.254"}}
		r.pass(time.Unix(3000, 0), view, gateway)
		_, older := fake.Told("b-older")
		_, younger := fake.Told("a-younger")
		if !older || younger != test.both {
			t.Errorf("%s: sessions of the older %v, of the younger %v", sentence, older, younger)
		}
		said := r.report().Peers[0]
		if !test.both && !strings.Contains(said.LastError, "BGPPeer b-older") {
			t.Errorf("%s: reported %+v", sentence, said)
		}
	}
}

// B19, B16: prefixes that are announced by opt-in are counted, and what is not says
// why, beside the reasons of addresses.
func TestB19_B16_Other_prefixes_are_reported(t *testing.T) {
	r, fake, view := newRoutes(t, v1beta1.BGPPeerSpec{})
	paper := &paperRoutes{objects: kube.BGPObjects{
		Peers: r.cluster.objects.Peers,
		Advertisements: []*v1beta1.BGPAdvertisement{{
			ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: v1beta1.BGPAdvertisementSpec{ClusterIPs: true, PodCIDRs: true},
		}},
	}}
	objects := config.Objects{BGP: config.BGPObjects(paper.objects)}
	view.Config, _ = config.Build(objects)
	web := served()
	web.Addresses, web.ClusterIPs = nil, []netip.Addr{netip.MustParseAddr("198.18.0.1")}
	view.Services = plan.ServicesOf(web)
	r.pass(time.Unix(1000, 0), view, link.Gateways{})
	if report := r.report(); report.OtherCount != 1 || report.AnnouncedCount != 0 {
		t.Errorf("reported: %+v", report)
	}
	if got := r.withheld(); len(got) != 1 || got[0].Reason != v1beta1.ReasonNoPodCIDR || got[0].Count != 1 || len(got[0].Addresses) != 0 {
		t.Errorf("withheld: %+v", got)
	}
	view.Nodes["n1"] = plan.Node{PodCIDRs: []netip.Prefix{netip.MustParsePrefix("198.18.64.0/24")}}
	r.pass(time.Unix(1001, 0), view, link.Gateways{})
	if report := r.report(); report.OtherCount != 2 {
		t.Errorf("reported: %+v", report)
	}
	fake.Refuse("rack", "connection refused")
	<-fake.Changes()
	r.pass(time.Unix(1002, 0), view, link.Gateways{})
	got := r.withheld()
	if len(got) != 1 || got[0].Reason != v1beta1.ReasonNoSession || len(got[0].Addresses) != 2 || got[0].Addresses[1] != "198.18.64.0/24" {
		t.Errorf("withheld: %+v", got)
	}
}

// S3: that a node is the last choice reaches its Speaker and its metrics.
func TestS3_B16_Draining_is_said(t *testing.T) {
	r, _, view := newRoutes(t, v1beta1.BGPPeerSpec{})
	for i, want := range []int32{0, 1} {
		r.pass(time.Unix(1000+int64(i), 0), view, link.Gateways{})
		counts := &r.done.Counts
		if int32(counts.Draining) != want || r.report().DrainingCount != want {
			t.Errorf("pass %d: draining %d, %d in metrics", i, r.report().DrainingCount, counts.Draining)
		}
		if ready := r.done.Status.Conditions[0].Reason; (ready == string(v1beta1.ReasonDraining)) != (want > 0) {
			t.Errorf("pass %d: Ready says %s", i, ready)
		}
		view.Nodes["n1"] = plan.Node{Excluded: "the label"}
	}
}

func TestB10_Where_the_router_keeps_routes_nothing_is_lowered(t *testing.T) {
	r, _, view := newRoutes(t, v1beta1.BGPPeerSpec{EnableGracefulRestart: true})
	r.pass(time.Unix(1000, 0), view, link.Gateways{})
	if r.lower() {
		t.Error("lowered before a restart")
	}
}

func TestAPeerWaitsForItsPassword(t *testing.T) {
	r, fake, view := newRoutes(t, v1beta1.BGPPeerSpec{PasswordSecret: &v1beta1.PasswordSecret{Name: "rack"}})
	r.pass(time.Unix(1000, 0), view, link.Gateways{})
	if fake.Peer("rack").Password != "" || r.report().Peers[0].State != "Idle" {
		t.Error("a session without its password")
	}
	if said := r.report().Peers; len(said) != 1 || said[0].State != "Idle" || !strings.Contains(said[0].LastError, "Secret rack") {
		t.Errorf("reported: %+v", said)
	}
	r.cluster.passwords["rack"] = "opensesame"
	r.pass(time.Unix(1001, 0), view, link.Gateways{})
	if fake.Peer("rack").Password != "opensesame" {
		t.Error("no session with its password")
	}
	if said := r.report().Peers; len(said) != 1 || said[0].State != "Established" || said[0].LastError != "" {
		t.Errorf("reported: %+v", said)
	}
}

// D17: a Secret that is replaced, or a default route that blinks, is away for a
// moment: what there is goes on as it was.
func TestD17_A_Secret_or_a_gateway_that_blinks(t *testing.T) {
	r, fake, view := newRoutes(t, v1beta1.BGPPeerSpec{PasswordSecret: &v1beta1.PasswordSecret{Name: "rack"}})
	paper := r.cluster
	paper.passwords["rack"] = "opensesame"
	r.pass(time.Unix(1000, 0), view, link.Gateways{})
	delete(paper.passwords, "rack")
	r.pass(time.Unix(1001, 0), view, link.Gateways{})
	if fake.Peer("rack").Password != "opensesame" || r.report().AnnouncedCount != 1 {
		t.Errorf("the session did not go on: %+v", r.report())
	}
	r, fake, view = newRoutes(t, v1beta1.BGPPeerSpec{DefaultGateway: v1beta1.GatewayIPv4})
	r.pass(time.Unix(1000, 0), view, link.Gateways{IPv4: netip.MustParseAddr("192.0.2.1")})
	r.pass(time.Unix(1001, 0), view, link.Gateways{})
	if fake.Peer("rack").Address != netip.MustParseAddr("192.0.2.1") || r.report().AnnouncedCount != 1 {
		t.Errorf("the session did not go on: %+v", r.report())
	}
}

// D5, T06: what a session does not carry is not announced, and the Service says
// why.
func TestD5_T06_A_family_that_is_not_carried_is_not_announced(t *testing.T) {
	r, fake, view := newRoutes(t, v1beta1.BGPPeerSpec{})
	fake.Uncarry("rack", false, "the router does not offer IPv4 in this session")
	r.pass(time.Unix(1000, 0), view, link.Gateways{})
	report := r.report()
	if report.AnnouncedCount != 0 || len(report.Announced) != 0 || report.Peers[0].State != "Established" || report.Peers[0].RoutesSent != 0 {
		t.Errorf("reported: %+v", report)
	}
	if !strings.Contains(report.Peers[0].LastError, "does not offer IPv4") {
		t.Errorf("the peer says %q", report.Peers[0].LastError)
	}
	if w := r.withheld(); len(w) != 1 || !strings.Contains(w[0].Message, "rack does not carry the address: the router does not offer IPv4") {
		t.Errorf("withheld: %+v", w)
	}
}

// D9: graceful restart is what both ends agreed on. A router without it is told
// that this speaker ends.
func TestD9_A_router_without_graceful_restart_is_told_of_the_end(t *testing.T) {
	r, fake, view := newRoutes(t, v1beta1.BGPPeerSpec{EnableGracefulRestart: true})
	fake.RefuseGracefulRestart("rack")
	r.pass(time.Unix(1000, 0), view, link.Gateways{})
	if !r.lower() {
		t.Error("nothing is lowered")
	}
	if paths, _ := fake.Told("rack"); paths[netip.MustParsePrefix("203.0.113.1/32")].Communities.Len() != 1 {
		t.Errorf("the router knows %+v", paths)
	}
}

func TestB05_The_default_gateway_is_each_nodes_own(t *testing.T) {
	r, fake, view := newRoutes(t, v1beta1.BGPPeerSpec{DefaultGateway: v1beta1.GatewayIPv4})
	r.pass(time.Unix(1000, 0), view, link.Gateways{IPv6: netip.MustParseAddr("fe80::1%eth0")})
	if said := r.report().Peers; len(said) != 1 || said[0].Address != "" || !strings.Contains(said[0].LastError, "no IPv4 default route") {
		t.Errorf("reported: %+v", said)
	}
	for i, gateway := range []string{"192.0.2.1", "192.0.2.2"} {
		r.pass(time.Unix(1001+int64(i), 0), view, link.Gateways{IPv4: netip.MustParseAddr(gateway)})
		if said := r.report().Peers; fake.Peer("rack").Address.String() != gateway || said[0].Address != gateway {
			t.Errorf("the peer is %s, reported %+v", fake.Peer("rack").Address, said)
		}
	}
}

// Defect 7: over BGP each node announces the addresses of all.
func TestDefect7_WhatIsAnnouncedOverBGPIsReportedInRanges(t *testing.T) {
	r, _, view := newRoutes(t, v1beta1.BGPPeerSpec{})
	var services []plan.Service
	for i := 1; i <= 200; i++ {
		if i == 100 {
			continue
		}
		s := served()
		s.Key, s.Addresses = fmt.Sprintf("default/s%d", i), []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})}
		services = append(services, s)
	}
	view.Services = plan.ServicesOf(services...)
	r.pass(time.Unix(1000, 0), view, link.Gateways{})
	report := r.report()
	if got := fmt.Sprint(report.AnnouncedCount, report.Announced); got != "199 [203.0.113.1-203.0.113.99 203.0.113.101-203.0.113.200]" {
		t.Errorf("reported: %s", got)
	}
}

func TestWhatIsReportedOfRoutes(t *testing.T) {
	r, fake, view := newRoutes(t, v1beta1.BGPPeerSpec{})
	r.pass(time.Unix(1000, 0), view, link.Gateways{})
	report := r.report()
	if report == nil || report.AnnouncedCount != 1 || report.Announced[0] != "203.0.113.1" || report.Peers[0].State != "Established" {
		t.Errorf("reported: %+v", report)
	}
	if got := r.withheld(); len(got) != 0 {
		t.Errorf("withheld, though a router knows it: %+v", got)
	}
	fake.Refuse("rack", "connection refused")
	<-fake.Changes()
	r.pass(time.Unix(1001, 0), view, link.Gateways{})
	if got := r.withheld(); len(got) != 1 || got[0].Reason != v1beta1.ReasonNoSession {
		t.Errorf("withheld: %+v", got)
	}
	if report := r.report(); report.AnnouncedCount != 0 || report.Peers[0].LastError != "connection refused" {
		t.Errorf("reported: %+v", report)
	}
}
