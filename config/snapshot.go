package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Objects are the operator's objects as the API server has them, in any order.
type Objects struct {
	Pools            []*v1beta1.IPAddressPool
	L2Advertisements []*v1beta1.L2Advertisement
	BGP              BGPObjects
	// InUse are the addresses that the cluster itself has, in order.
	InUse []InUse
	// Namespace of Baliza itself, where the Secrets of BGPPeers are.
	Namespace string
}

// Snapshot is the configuration in use: everything of Objects that can be
// understood.
type Snapshot struct {
	// Pools, the oldest first; the name decides between equally old ones.
	Pools []*Pool
	// L2Advertisements, by name.
	L2Advertisements []*L2Advertisement
	// BGPPeers and BGPAdvertisements, by name.
	BGPPeers          []*BGPPeer
	BGPAdvertisements []*BGPAdvertisement

	byName map[string]*Pool
	index  []indexed
}

// indexed is one range of a pool in the address order of all ranges.
type indexed struct {
	Range
	pool *Pool
}

// Problem is something in an object that cannot be used as it stands.
type Problem struct {
	// Kind of the object: IPAddressPool, L2Advertisement or Service.
	Kind string
	// Name of the object; namespace/name for a Service.
	Name string
	// Field is the path of the field ("spec.addresses[1]") or the annotation
	// ("metadata.annotations[baliza.io/pool]").
	Field string
	// Reason of the condition that reports it.
	Reason v1beta1.Reason
	// Message in words for the operator.
	Message string
}

// Error makes a Problem usable as an error: "IPAddressPool lan:
// spec.addresses[0]: …".
func (p Problem) Error() string {
	return fmt.Sprintf("%s %s: %s: %s", p.Kind, p.Name, p.Field, p.Message)
}

// Build makes the Snapshot of objects. The outcome does not depend on their
// order: where two pools overlap, the older keeps the addresses.
func Build(objects Objects) (*Snapshot, []Problem) {
	s := &Snapshot{byName: make(map[string]*Pool, len(objects.Pools))}
	var problems []Problem

	raw := slices.Clone(objects.Pools)
	slices.SortFunc(raw, func(a, b *v1beta1.IPAddressPool) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	for _, object := range raw {
		pool, found := parsePool(object)
		problems = append(problems, found...)
		problems = append(problems, s.add(pool)...)
		problems = append(problems, pool.avoid(objects.InUse)...)
	}
	for _, object := range objects.L2Advertisements {
		advertisement, found := parseL2Advertisement(object)
		s.L2Advertisements = append(s.L2Advertisements, advertisement)
		problems = append(problems, found...)
		problems = append(problems, s.references(advertisement)...)
	}
	slices.SortFunc(s.L2Advertisements, func(a, b *L2Advertisement) int { return cmp.Compare(a.Name, b.Name) })
	problems = append(problems, s.disagreements()...)
	return s, append(problems, s.buildBGP(objects.BGP, objects.Namespace)...)
}

// add takes a pool into the snapshot, less the ranges that an older pool has.
func (s *Snapshot) add(pool *Pool) []Problem {
	var problems []Problem
	kept := pool.Ranges[:0]
	for _, r := range pool.Ranges {
		if other := s.overlapping(r.Range); other != nil {
			problems = append(problems, Problem{
				Kind: KindPool, Name: pool.Name, Field: r.field, Reason: v1beta1.ReasonOverlap,
				Message: fmt.Sprintf("%s overlaps pool %s, which is older and keeps the addresses", r.Range, other.Name),
			})
			continue
		}
		kept = append(kept, r)
	}
	pool.Ranges = kept
	for _, r := range kept {
		s.index = append(s.index, indexed{r.Range, pool})
	}
	slices.SortFunc(s.index, func(a, b indexed) int { return a.First.Compare(b.First) })
	s.Pools = append(s.Pools, pool)
	s.byName[pool.Name] = pool
	return problems
}

// overlapping returns the pool that has an address of r, or nil.
func (s *Snapshot) overlapping(r Range) *Pool {
	i, _ := slices.BinarySearchFunc(s.index, r.First, func(e indexed, first netip.Addr) int { return e.Last.Compare(first) })
	if i < len(s.index) && s.index[i].First.Compare(r.Last) <= 0 && s.index[i].First.BitLen() == r.First.BitLen() {
		return s.index[i].pool
	}
	return nil
}

// references finds the names and selectors of an advertisement that lead
// nowhere.
func (s *Snapshot) references(a *L2Advertisement) []Problem {
	var problems []Problem
	for i, name := range a.PoolNames {
		if s.byName[name] == nil {
			problems = append(problems, Problem{
				Kind: KindL2Advertisement, Name: a.Name, Field: fmt.Sprintf("spec.ipAddressPools[%d]", i),
				Reason: v1beta1.ReasonReferenceNotFound, Message: fmt.Sprintf("there is no IPAddressPool %q", name),
			})
		}
	}
	if len(problems) == 0 && !slices.ContainsFunc(s.Pools, func(p *Pool) bool { return a.SelectsPool(p.Name, p.Labels) }) {
		problems = append(problems, Problem{
			Kind: KindL2Advertisement, Name: a.Name, Field: "spec", Reason: v1beta1.ReasonNoMatch,
			Message: "no IPAddressPool is selected",
		})
	}
	return problems
}

// Pool returns the pool of that name, or nil.
func (s *Snapshot) Pool(name string) *Pool { return s.byName[name] }

// PoolOf returns the pool that covers the address, or nil. An excluded
// address is covered by no pool.
func (s *Snapshot) PoolOf(address netip.Addr) *Pool {
	i, _ := slices.BinarySearchFunc(s.index, address, func(e indexed, a netip.Addr) int { return e.Last.Compare(a) })
	if i < len(s.index) && s.index[i].Contains(address) && s.index[i].pool.Covers(address) {
		return s.index[i].pool
	}
	return nil
}

// Kinds that Problems name.
const (
	KindPool            = "IPAddressPool"
	KindL2Advertisement = "L2Advertisement"
	KindService         = "Service"
)

// Selectors is a list of label selectors of which one must match; an empty
// list does not restrict.
type Selectors []labels.Selector

// Match tells whether one of the selectors matches, or there is none.
func (s Selectors) Match(set labels.Set) bool {
	return len(s) == 0 || slices.ContainsFunc(s, func(one labels.Selector) bool { return one.Matches(set) })
}

// parseSelectors parses what it can. A selector that cannot be parsed matches
// nothing, so that a restriction never turns into its absence.
func parseSelectors(kind, name, field string, raw []metav1.LabelSelector) (Selectors, []Problem) {
	var selectors Selectors
	var problems []Problem
	for i := range raw {
		selector, err := metav1.LabelSelectorAsSelector(&raw[i])
		if err != nil {
			selector = labels.Nothing()
			problems = append(problems, Problem{
				Kind: kind, Name: name, Field: fmt.Sprintf("%s[%d]", field, i),
				Reason: v1beta1.ReasonInvalidSpec, Message: err.Error(),
			})
		}
		selectors = append(selectors, selector)
	}
	return selectors, problems
}
