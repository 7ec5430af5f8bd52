package main

import (
	"maps"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/link"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/node"
)

func aLink(name string, suitable bool) link.Interface {
	return link.Interface{Name: name, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Usable: true, Suitable: suitable}
}

// L04: what the others are told, and what makes this speaker look for them, is
// about the interfaces that addresses can be announced on, not about pods.
func TestL04_OnlyInterfacesThatMatterAreToldAndActedOn(t *testing.T) {
	var seen seenLinks
	of, _ := config.Build(config.Objects{L2Advertisements: []*v1beta1.L2Advertisement{{
		ObjectMeta: metav1.ObjectMeta{Name: "some"}, Spec: v1beta1.L2AdvertisementSpec{Interfaces: []string{"eth1", "eth2"}},
	}}})
	now := &link.Snapshot{}
	step := func(what string, changes bool, links map[string]bool, macs int) {
		t.Helper()
		if got := seen.changed(&link.Snapshot{Interfaces: slices.Clone(now.Interfaces)}, of); got != changes {
			t.Errorf("%s: counts as a change: %v", what, got)
		}
		machine := node.New(node.Config{Name: "n1"})
		out := machine.Step(node.Input{Members: &model.Membership{Self: "n1"}, Cluster: node.Cluster{Config: of}, Interfaces: seen.all})
		gotMACs, gotLinks := out.MACs, out.Links
		if !maps.Equal(gotLinks, links) || len(gotMACs) != macs {
			t.Errorf("%s: told are %v and %d MACs", what, gotLinks, len(gotMACs))
		}
	}
	step("nothing", false, map[string]bool{"": false, "eth1": false, "eth2": false}, 0)
	now.Interfaces = append(now.Interfaces, aLink("eth0", true))
	step("the LAN", true, map[string]bool{"": true, "eth1": false, "eth2": false}, 1)
	now.Interfaces = append(now.Interfaces, aLink("veth1234", false))
	step("a pod", false, map[string]bool{"": true, "eth1": false, "eth2": false}, 1)
	now.Interfaces = append(now.Interfaces, aLink("eth2", false))
	step("a named one", true, map[string]bool{"": true, "eth1": false, "eth2": true}, 2)
	down := aLink("eth1", false)
	down.Usable = false
	now.Interfaces = append(now.Interfaces, down)
	step("one that is down", false, map[string]bool{"": true, "eth1": false, "eth2": true}, 2)
	// T03: the node must not hold it.
	now.Interfaces[0].Addrs = []netip.Prefix{netip.MustParsePrefix("192.0.2.11/24"), netip.MustParsePrefix("192.0.2.100/32")}
	step("another address of the node", true, map[string]bool{"": true, "eth1": false, "eth2": true}, 2)
}

// L12: lost speakers are asked for where they are neighbors, in our own name.
func TestL12_LostSpeakersAreAskedForOnTheirSubnet(t *testing.T) {
	lan, other, pod := aLink("eth0", true), aLink("eth1", true), aLink("veth1", false)
	lan.Addrs = []netip.Prefix{netip.MustParsePrefix("192.0.2.11/24"), netip.MustParsePrefix("2001:db8::11/64")}
	other.Addrs = []netip.Prefix{netip.MustParsePrefix("198.51.100.11/24")}
	pod.Addrs = []netip.Prefix{netip.MustParsePrefix("192.0.2.12/32")}
	lost := []netip.Addr{netip.MustParseAddr("192.0.2.12"), netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8::13")}
	want := []l2.NeighborRequest{
		{On: toL2(lan), Source: lan.Addrs[0].Addr(), Target: lost[0]},
		{On: toL2(lan), Source: lan.Addrs[1].Addr(), Target: lost[2]},
	}
	if got := neighborRequests(lost, &link.Snapshot{Interfaces: []link.Interface{lan, other, pod}}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
