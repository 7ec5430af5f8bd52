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

	// PerClient says that each client of an address is answered by one of the
	// nodes, and no node owns the address.
	PerClient bool

	// AnswerPing says that ICMP echo requests are answered, too.
	AnswerPing bool

	preferred        []preference
	poolSelectors    Selectors
	serviceSelectors Selectors
	nodeSelectors    Selectors
}

// SelectsPool reports whether the addresses of a pool are announced. The pool
// is given by name and labels because it may have been deleted while Services
// still hold its addresses; its labels are nil then.
func (a *L2Advertisement) SelectsPool(name string, poolLabels labels.Set) bool {
	if len(a.PoolNames) == 0 && len(a.poolSelectors) == 0 {
		return true
	}
	return slices.Contains(a.PoolNames, name) ||
		len(a.poolSelectors) > 0 && poolLabels != nil && a.poolSelectors.Match(poolLabels)
}

// SelectsService reports whether a Service with these labels is announced.
func (a *L2Advertisement) SelectsService(set labels.Set) bool { return a.serviceSelectors.Match(set) }

// SelectsNode reports whether a node with these labels may announce.
func (a *L2Advertisement) SelectsNode(set labels.Set) bool { return a.nodeSelectors.Match(set) }

// FailbackNever is longer than anything is alive.
const FailbackNever = time.Duration(math.MaxInt64)

type preference struct {
	weight    int
	selectors Selectors
}

// Prefers reports whether any node is preferred.
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

// disagreements finds advertisements PerClient with others that are not, and
// that select all of its Services in one of its pools: it is in vain there.
// (Whether two service selectors have Services in common is not known here.)
func (s *Snapshot) disagreements() []Problem {
	var problems []Problem
	for _, a := range s.L2Advertisements {
		if !a.PerClient {
			continue
		}
		for _, other := range s.L2Advertisements {
			if other.PerClient || len(other.serviceSelectors) > 0 {
				continue
			}
			both := func(p *Pool) bool { return a.SelectsPool(p.Name, p.Labels) && other.SelectsPool(p.Name, p.Labels) }
			if i := slices.IndexFunc(s.Pools, both); i >= 0 {
				problems = append(problems, Problem{
					Kind: KindL2Advertisement, Name: a.Name, Field: "spec.balancing", Reason: v1beta1.ReasonOverlap,
					Message: fmt.Sprintf("L2Advertisement %s selects pool %s, too, without PerClient: one node owns its addresses",
						other.Name, s.Pools[i].Name),
				})
				break
			}
		}
	}
	return problems
}

func parseL2Advertisement(object *v1beta1.L2Advertisement) (*L2Advertisement, []Problem) {
	a := &L2Advertisement{Name: object.Name, PoolNames: object.Spec.IPAddressPools, Interfaces: object.Spec.Interfaces}
	var pools, services, nodes []Problem
	a.poolSelectors, pools = parseSelectors(KindL2Advertisement, a.Name, "spec.ipAddressPoolSelectors", object.Spec.IPAddressPoolSelectors)
	a.serviceSelectors, services = parseSelectors(KindL2Advertisement, a.Name, "spec.serviceSelectors", object.Spec.ServiceSelectors)
	a.nodeSelectors, nodes = parseSelectors(KindL2Advertisement, a.Name, "spec.nodeSelectors", object.Spec.NodeSelectors)
	a.Failback = failback(&object.Spec)
	a.PerClient = object.Spec.Balancing == v1beta1.BalancePerClient
	a.AnswerPing = object.Spec.AnswerPing
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
