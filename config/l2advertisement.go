package config

import (
	"fmt"
	"math"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// L2Advertisement is an L2Advertisement that has been understood.
type L2Advertisement struct {
	Name string
	// PoolNames as the spec lists them.
	PoolNames []string
	// Interfaces to announce on; empty means all suitable ones.
	Interfaces []string

	// Failback is how long a better node must be alive before an address goes
	// back to it; FailbackNever if it does not.
	Failback time.Duration

	preferred        []preference
	poolSelectors    Selectors
	serviceSelectors Selectors
	nodeSelectors    Selectors
}

// SelectsPool tells whether the addresses of a pool are announced. The pool
// is given by name and labels because it may have been deleted while Services
// still hold its addresses; its labels are nil then.
func (a *L2Advertisement) SelectsPool(name string, poolLabels labels.Set) bool {
	if len(a.PoolNames) == 0 && len(a.poolSelectors) == 0 {
		return true
	}
	return slices.Contains(a.PoolNames, name) ||
		len(a.poolSelectors) > 0 && poolLabels != nil && a.poolSelectors.Match(poolLabels)
}

// SelectsService tells whether a Service with these labels is announced.
func (a *L2Advertisement) SelectsService(set labels.Set) bool { return a.serviceSelectors.Match(set) }

// SelectsNode tells whether a node with these labels may announce.
func (a *L2Advertisement) SelectsNode(set labels.Set) bool { return a.nodeSelectors.Match(set) }

// FailbackNever is longer than anything is alive.
const FailbackNever = time.Duration(math.MaxInt64)

type preference struct {
	weight    int
	selectors Selectors
}

// Prefers tells whether any node is preferred.
func (a *L2Advertisement) Prefers() bool { return len(a.preferred) > 0 }

// Preference is the sum of the weights that prefer a node with these labels.
func (a *L2Advertisement) Preference(set labels.Set) int {
	sum := 0
	for _, p := range a.preferred {
		if p.selectors.Match(set) {
			sum += p.weight
		}
	}
	return sum
}

func failback(spec *v1beta1.L2AdvertisementSpec) time.Duration {
	switch {
	case spec.Failback == v1beta1.FailbackImmediate:
		return 0
	case spec.Failback == v1beta1.FailbackAfter && spec.FailbackDelay != nil:
		return spec.FailbackDelay.Duration
	}
	return FailbackNever
}

func parseL2Advertisement(object *v1beta1.L2Advertisement) (*L2Advertisement, []Problem) {
	a := &L2Advertisement{Name: object.Name, PoolNames: object.Spec.IPAddressPools, Interfaces: object.Spec.Interfaces}
	var pools, services, nodes []Problem
	a.poolSelectors, pools = parseSelectors(KindL2Advertisement, a.Name, "spec.ipAddressPoolSelectors", object.Spec.IPAddressPoolSelectors)
	a.serviceSelectors, services = parseSelectors(KindL2Advertisement, a.Name, "spec.serviceSelectors", object.Spec.ServiceSelectors)
	a.nodeSelectors, nodes = parseSelectors(KindL2Advertisement, a.Name, "spec.nodeSelectors", object.Spec.NodeSelectors)
	a.Failback = failback(&object.Spec)
	for i, preferred := range object.Spec.PreferredNodes {
		field := fmt.Sprintf("spec.preferredNodes[%d].nodeSelector", i)
		selectors, problems := parseSelectors(KindL2Advertisement, a.Name, field, []metav1.LabelSelector{preferred.NodeSelector})
		nodes = append(nodes, problems...)
		if len(problems) == 0 {
			a.preferred = append(a.preferred, preference{int(preferred.Weight), selectors})
		}
	}
	return a, slices.Concat(pools, services, nodes)
}
