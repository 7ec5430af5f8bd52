package ethernet

import (
	"maps"
	"net"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
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
	var seen View
	of, _ := config.Build(config.Objects{L2Advertisements: []*v1beta1.L2Advertisement{{
		ObjectMeta: metav1.ObjectMeta{Name: "some"}, Spec: v1beta1.L2AdvertisementSpec{Interfaces: []string{"eth1", "eth2"}},
	}}})
	now := &link.Snapshot{}
	step := func(what string, changes bool, links map[string]bool, macs int) {
		t.Helper()
		if got := seen.Changed(&link.Snapshot{Interfaces: slices.Clone(now.Interfaces)}, of); got != changes {
			t.Errorf("%s: counts as a change: %v", what, got)
		}
		machine := node.New(node.Config{Name: "n1"})
		out := machine.Step(node.Input{Members: &model.Membership{Self: "n1"}, Cluster: node.Cluster{Config: of}, Interfaces: seen.all})
		gotMACs, gotLinks := out.MACs, map[string]bool{}
		for _, on := range out.Links {
			gotLinks[on.Name] = on.Usable
		}
		if !maps.Equal(gotLinks, links) || len(gotMACs) != macs {
			t.Errorf("%s: told are %v and %d MACs", what, gotLinks, len(gotMACs))
		}
	}
	step("nothing", false, map[string]bool{"eth1": false, "eth2": false}, 0)
	now.Interfaces = append(now.Interfaces, aLink("eth0", true))
	step("the LAN", true, map[string]bool{"eth0": true, "eth1": false, "eth2": false}, 1)
	now.Interfaces = append(now.Interfaces, aLink("veth1234", false))
	step("a pod", false, map[string]bool{"eth0": true, "eth1": false, "eth2": false}, 1)
	now.Interfaces = append(now.Interfaces, aLink("eth2", false))
	step("a named one", true, map[string]bool{"eth0": true, "eth1": false, "eth2": true}, 2)
	down := aLink("eth1", false)
	down.Usable = false
	now.Interfaces = append(now.Interfaces, down)
	step("one that is down", false, map[string]bool{"eth0": true, "eth1": false, "eth2": true}, 2)
}
