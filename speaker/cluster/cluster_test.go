package cluster

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
)

// paper is a cluster that stands in a test.
type paper struct {
	changes  kube.SpeakerChanges
	bgp      kube.BGPObjects
	members  []*v1beta1.Member
	own      *v1beta1.Speaker // nil unless this node has both its objects
	watching bool             // other Services
}

func (p *paper) Synced() bool                                                   { return true }
func (p *paper) Changes() <-chan struct{}                                       { return nil }
func (p *paper) Nodes() []*corev1.Node                                          { return nil }
func (p *paper) Pools() []*v1beta1.IPAddressPool                                { return nil }
func (p *paper) L2Advertisements() []*v1beta1.L2Advertisement                   { return nil }
func (p *paper) Members() ([]*v1beta1.Member, *v1beta1.Speaker)                 { return p.members, p.own }
func (p *paper) BGP() kube.BGPObjects                                           { return p.bgp }
func (p *paper) Password(secret string) (string, bool)                          { return "of " + secret, secret == "rack" }
func (p *paper) Service(string) (*corev1.Service, []*discoveryv1.EndpointSlice) { return nil, nil }

func (p *paper) Take() kube.SpeakerChanges {
	taken := p.changes
	p.changes = kube.SpeakerChanges{}
	return taken
}

func (p *paper) WatchOtherServices() error {
	p.watching = true
	return nil
}

// B19: Services that are no load balancers are watched once they are announced,
// and passwords are those of the peers that there are.
func TestB19_WhatTheConfigurationNeedsIsRead(t *testing.T) {
	p := &paper{changes: kube.SpeakerChanges{Config: true}}
	v := NewView(Config{Log: slog.New(slog.DiscardHandler), Node: "n1"}, p)
	v.Read()
	if p.watching || len(v.Current.Passwords) > 0 {
		t.Errorf("watching %v, %d passwords, though nothing asks for either", p.watching, len(v.Current.Passwords))
	}
	peer := func(name, secret string) *v1beta1.BGPPeer {
		return &v1beta1.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1beta1.BGPPeerSpec{
			MyASN: 64513, PeerASN: 64512, PeerAddress: "192.0.2.254", PasswordSecret: &v1beta1.PasswordSecret{Name: secret},
		}}
	}
	p.bgp.Peers = []*v1beta1.BGPPeer{peer("a", "rack")}
	p.bgp.Advertisements = []*v1beta1.BGPAdvertisement{{
		ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: v1beta1.BGPAdvertisementSpec{ClusterIPs: true},
	}}
	p.changes.Config = true
	v.Read()
	if !p.watching || v.Current.Passwords["rack"] != "of rack" {
		t.Errorf("watching %v, passwords %v", p.watching, v.Current.Passwords)
	}
}

// Others are where their Members say; that this node lacks its own objects is told.
func TestMembersAreThePeersButForThisOne(t *testing.T) {
	lost := 0
	p := &paper{changes: kube.SpeakerChanges{Members: true}}
	v := NewView(Config{Log: slog.New(slog.DiscardHandler), Node: "n1", Lost: func() { lost++ }}, p)
	if peers := v.Read(); len(peers) != 0 || peers == nil || lost != 1 {
		t.Errorf("without Members: %v, told %d times", peers, lost)
	}
	for _, name := range []string{"n1", "n2", "n3"} {
		s := &v1beta1.Member{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if name != "n3" { // whose speaker has said nothing yet
			s.Status.MemberAddress = "192.0.2.12:7946"
		}
		s.Status.Unreachable = []v1beta1.UnreachableSpeaker{{Name: "n9"}}
		s.Status.ConfirmedAlive = []v1beta1.UnreachableSpeaker{{Name: "n9"}, {Name: name[:1] + "1", Since: metav1.Unix(1000, 0)}}
		s.Status.LocalAddresses = []string{"192.0.2.100", "not one"}
		p.members = append(p.members, s)
	}
	p.changes.Members = true
	p.own = &v1beta1.Speaker{Status: v1beta1.SpeakerStatus{Moves: []v1beta1.AddressMove{{Address: "192.0.2.1"}}}}
	if peers := v.Read(); len(peers) != 1 || peers["n2"] != netip.MustParseAddrPort("192.0.2.12:7946") || lost != 1 {
		t.Errorf("peers %v, told %d times", peers, lost)
	}
	if m := v.Current.Moves; len(m) != 1 || m[0].Address != "192.0.2.1" {
		t.Errorf("this node's own moves: %v", m)
	}
	if len(v.Current.Missed) != 3 || v.Current.Missed[1].By != "n2" {
		t.Errorf("missed: %+v", v.Current.Missed)
	}
	if c := v.Current.Confirmed; len(c) != 2 || c["n2"].Unix() != 1000 {
		t.Errorf("confirmed: %v", c)
	}
	if own := v.Current.Local; len(own) != 2 || len(own["n1"]) > 0 || !slices.Equal(own["n3"], []netip.Addr{netip.MustParseAddr("192.0.2.100")}) {
		t.Errorf("the nodes' own addresses: %v", own)
	}
	if peers := v.Read(); peers != nil {
		t.Errorf("nothing has changed, and yet: %v", peers)
	}
}
