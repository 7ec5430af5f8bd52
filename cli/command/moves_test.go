package command_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/command"
)

// obey has the speakers do what a write asks for: an address goes to the node that its
// Service names, and what a node has that is excluded goes to n3.
func (w *world) obey(client, custom *clienttesting.Fake) {
	custom.PrependReactor("list", "speakers", func(clienttesting.Action) (bool, runtime.Object, error) {
		list := &v1beta1.SpeakerList{}
		for _, s := range w.speakers {
			list.Items = append(list.Items, *s)
		}
		return !w.forbidden["speakers"] && !w.unreachable, list, nil
	})
	client.PrependReactor("patch", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		patch, _ := action.(clienttesting.PatchAction)
		w.patched = append(w.patched, fmt.Sprintf("%s %s %s", action.GetResource().Resource, patch.GetName(), patch.GetPatch()))
		var body struct {
			Metadata struct{ Annotations, Labels map[string]*string }
		}
		if err := json.Unmarshal(patch.GetPatch(), &body); err != nil || w.lazy {
			return false, nil, err
		}
		if node := body.Metadata.Annotations[v1beta1.AnnotationPreferredNode]; node != nil {
			w.move(func(held v1beta1.HeldAddress, _ string) bool { return held.Services[0] == "shop/"+patch.GetName() }, *node)
		}
		if body.Metadata.Labels[v1beta1.LabelExcludeNode] != nil {
			w.move(func(_ v1beta1.HeldAddress, on string) bool { return on == patch.GetName() }, "n3")
		}
		return false, nil, nil
	})
}

// move brings what nodes hold to another.
func (w *world) move(what func(held v1beta1.HeldAddress, on string) bool, to string) {
	var moved []v1beta1.HeldAddress
	for _, s := range w.speakers {
		var stays []v1beta1.HeldAddress
		for _, held := range s.Status.Held {
			if what(held, s.Name) {
				moved = append(moved, held)
			} else {
				stays = append(stays, held)
			}
		}
		s.Status.Held = stays
	}
	for _, s := range w.speakers {
		if s.Name == to {
			s.Status.Held = append(s.Status.Held, moved...)
		}
		s.Status.HeldCount = int32(len(s.Status.Held))
	}
}

// K01, L11: planned moves are waited for until they are done, and leave nothing behind.
func TestMovesAreWaitedForAndLeaveNoWish(t *testing.T) {
	for name, one := range map[string]struct {
		set    func(*world)
		ask    string
		status int
	}{
		"failover":             {nil, "failover 192.0.2.10", command.StatusWell},
		"failover-to":          {nil, "failover 192.0.2.10 --to n3", command.StatusWell},
		"failover-dual":        {dual, "failover 192.0.2.10 --to n3", command.StatusWell},
		"rebalance-dual":       {dual, "rebalance", command.StatusWell},
		"failover-to-owner":    {nil, "failover 192.0.2.10 --to n1", command.StatusUnknown},
		"failover-to-excluded": {func(w *world) { w.nodes[1].Labels = map[string]string{v1beta1.LabelExcludeNode: ""} }, "failover 192.0.2.10 --to n2", command.StatusUnknown},
		"failover-to-nobody":   {nil, "failover 192.0.2.10 --to n9", command.StatusUnknown},
		"failover-of-nothing":  {nil, "failover 192.0.2.99", command.StatusUnknown},
		"failover-is-named":    {func(w *world) { w.services[0].Annotations[v1beta1.AnnotationPreferredNode] = "n1" }, "failover 192.0.2.10", command.StatusUnknown},
		"failover-never":       {func(w *world) { w.lazy = true }, "failover 192.0.2.10 --timeout 1s", command.StatusWrong},
		"failover-unowned":     {noEndpoint, "failover 192.0.2.10", command.StatusUnknown},
		"drain":                {nil, "drain n1", command.StatusWell},
		"drain-never":          {func(w *world) { w.lazy = true }, "drain n1 --timeout 1s", command.StatusWrong},
		"drain-of-nothing":     {nil, "drain n9", command.StatusUnknown},
		"undrain":              {nil, "undrain n1", command.StatusWell},
		"rebalance":            {tilted, "rebalance --wave 2", command.StatusWell},
		"rebalance-dry":        {tilted, "rebalance --dry-run", command.StatusWell},
		"rebalance-is-even":    {nil, "rebalance", command.StatusWell},
		"rebalance-by-nothing": {nil, "rebalance --wave 0", command.StatusUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			if one.set != nil {
				one.set(w)
			}
			w.expect(t, "moves-"+name, one.ask, one.status)
			wishes := strings.Count(strings.Join(w.patched, "\n"), `"`+v1beta1.AnnotationPreferredNode+`":"`)
			if taken := strings.Count(strings.Join(w.patched, "\n"), `"`+v1beta1.AnnotationPreferredNode+`":null`); wishes != taken {
				t.Errorf("%d wishes, of which %d were taken back", wishes, taken)
			}
		})
	}
}

// tilted has n1 answer for seven addresses: one has to stay, as its Service names n1, and
// one has its only endpoint on n2.
func tilted(w *world) {
	w.pools[0].Spec.Addresses = []v1beta1.AddressRange{"192.0.2.10-192.0.2.30"}
	for i := range 6 {
		name, address := fmt.Sprintf("s%d", i), fmt.Sprintf("192.0.2.%d", i+20)
		svc := service(name)
		give(svc, address)
		w.hold(w.speakers[0], address, "shop/"+name)
		w.services, w.endpoints = append(w.services, svc), append(w.endpoints, slice(name, "n2", "n3"))
	}
	w.services[1].Annotations[v1beta1.AnnotationPreferredNode] = "n1"
	w.services[2].Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	w.endpoints[2] = slice("s1", "n2", "n1")
}

// dual has n1 answer for the addresses of three Services with two families each.
func dual(w *world) {
	w.pools[0].Spec.Addresses = append(w.pools[0].Spec.Addresses, "192.0.2.20-192.0.2.30", "2001:db8::/64")
	for i, name := range []string{"web", "s1", "s2"} {
		v4, v6 := fmt.Sprintf("192.0.2.%d", 20+i), fmt.Sprintf("2001:db8::%d", 10+i)
		if i == 0 {
			v4 = "192.0.2.10"
		} else {
			w.services, w.endpoints = append(w.services, service(name)), append(w.endpoints, slice(name, "n2", "n3"))
			w.hold(w.speakers[0], v4, "shop/"+name)
		}
		svc := w.services[i]
		give(svc, v4)
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: v6})
		six := slice(name, "n2", "n3")
		six.Name, six.AddressType = name+"-6", discoveryv1.AddressTypeIPv6
		w.endpoints = append(w.endpoints, six)
		w.hold(w.speakers[0], v6, "shop/"+name)
	}
}
