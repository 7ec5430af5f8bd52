package command_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/baliza-lb/baliza/cli/command"
)

// K01: what a change would do is said without a write, by the same rules that decide.
func TestSimulate(t *testing.T) {
	tagged := func(w *world) {
		routed(w)
		w.nodes[1].Labels = map[string]string{"example.org/rack": "b"}
	}
	aggregated := func(w *world) {
		routed(w)
		length := int32(32)
		w.bgp[0].Spec.AggregationLengthV6 = &length
		w.peers[0].Spec.DualStackAddressFamily = true
		w.pools[0].Spec.Addresses = append(w.pools[0].Spec.Addresses, "2001:db8::/32")
		give(w.services[0], "2001:db8::10")
		w.endpoints[0].AddressType = discoveryv1.AddressTypeIPv6
		w.services[0].Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol}
	}
	labelled := func(w *world) {
		for _, node := range w.nodes {
			node.Labels = map[string]string{"kubernetes.io/hostname": node.Name}
		}
	}
	for name, one := range map[string]struct {
		set    func(*world)
		ask    string
		status int
	}{
		"nothing":          {nil, "simulate -f testdata/simulate/no-advertisement.yaml --exit-code", command.StatusWell},
		"bigger-pool":      {exhausted, "simulate -f testdata/simulate/bigger-pool.yaml --exit-code", command.StatusWrong},
		"moved-pool":       {exhausted, "simulate -f testdata/simulate/moved-pool.yaml", command.StatusWell},
		"other-nodes":      {labelled, "simulate -f testdata/simulate/other-nodes.yaml", command.StatusWell},
		"no-advertisement": {nil, "simulate -f testdata/simulate/no-advertisement.yaml --prune", command.StatusWell},
		"named":            {nil, "simulate -f testdata/simulate/named.yaml", command.StatusWell},
		"drain":            {nil, "simulate --drain n1 --exit-code", command.StatusWrong},
		"drain-idle":       {nil, "simulate --drain n3 --exit-code", command.StatusWell},
		"without-two":      {nil, "simulate --without n1,n2", command.StatusWell},
		"without-all":      {nil, "simulate --without n1,n2 --drain n3", command.StatusWell},
		"bgp":              {tagged, "simulate -f testdata/simulate/prefer.yaml", command.StatusWell},
		"bgp-drain":        {routed, "simulate --drain n2", command.StatusWell},
		"prefer-node":      {nil, "simulate -f testdata/simulate/prefer-node.yaml", command.StatusWell},
		"aggregate":        {aggregated, "simulate --drain n2", command.StatusWell},
		"json":             {nil, "simulate --drain n1 -o json", command.StatusWell},
		"no-change":        {nil, "simulate", command.StatusUnknown},
		"no-node":          {nil, "simulate --drain n9", command.StatusUnknown},
		"broken":           {nil, "simulate -f testdata/simulate/broken.yaml", command.StatusUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			if one.set != nil {
				one.set(w)
			}
			w.expect(t, "simulate-"+name, one.ask, one.status)
			if len(w.patched) > 0 {
				t.Errorf("it wrote %v", w.patched)
			}
		})
	}
}
