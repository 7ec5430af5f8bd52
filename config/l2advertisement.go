package config

import (
	"slices"

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

func parseL2Advertisement(object *v1beta1.L2Advertisement) (*L2Advertisement, []Problem) {
	a := &L2Advertisement{Name: object.Name, PoolNames: object.Spec.IPAddressPools, Interfaces: object.Spec.Interfaces}
	var pools, services, nodes []Problem
	a.poolSelectors, pools = parseSelectors(KindL2Advertisement, a.Name, "spec.ipAddressPoolSelectors", object.Spec.IPAddressPoolSelectors)
	a.serviceSelectors, services = parseSelectors(KindL2Advertisement, a.Name, "spec.serviceSelectors", object.Spec.ServiceSelectors)
	a.nodeSelectors, nodes = parseSelectors(KindL2Advertisement, a.Name, "spec.nodeSelectors", object.Spec.NodeSelectors)
	return a, slices.Concat(pools, services, nodes)
}
