package config

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Kinds of BGP that Problems name.
const (
	KindBGPPeer          = "BGPPeer"
	KindBGPAdvertisement = "BGPAdvertisement"
	KindBFDProfile       = "BFDProfile"
	KindCommunity        = "Community"
)

// BGPObjects are the operator's objects about BGP, in any order.
type BGPObjects struct {
	Peers          []*v1beta1.BGPPeer
	Advertisements []*v1beta1.BGPAdvertisement
	BFDProfiles    []*v1beta1.BFDProfile
	Communities    []*v1beta1.Community
}

// BGPAdvertisement is a BGPAdvertisement that has been understood.
type BGPAdvertisement struct {
	Name      string
	PoolNames []string
	// Peers by name; empty means all.
	Peers []string
	// LengthV4 and LengthV6 of the announced prefixes.
	LengthV4, LengthV6 int
	// LocalPref and MED are nil unless they are set.
	LocalPref, MED *uint32
	Prepend        int
	// ClusterIPs, ExternalIPs and PodCIDRs are announced beside the addresses of
	// pools.
	ClusterIPs, ExternalIPs, PodCIDRs bool
	// Communities in order, without doubles.
	Communities []CommunityValue
	// Incomplete says that a community could not be resolved: a path that the
	// advertisement has a part in must not be told.
	Incomplete bool
	Weighted   bool
	// Transitive is the form of the link bandwidth, if weighted.
	Transitive bool

	selection
}

// selection is what advertisements of both protocols select alike.
type selection struct {
	pools, services, nodes Selectors
}

// SelectsPool tells whether the addresses of a pool are announced; labels are
// nil when the pool has been deleted.
func (a *BGPAdvertisement) SelectsPool(name string, poolLabels labels.Set) bool {
	if len(a.PoolNames) == 0 && len(a.pools) == 0 {
		return !a.others()
	}
	return slices.Contains(a.PoolNames, name) || len(a.pools) > 0 && poolLabels != nil && a.pools.Match(poolLabels)
}

// others reports whether prefixes are announced that are no pool's.
func (a *BGPAdvertisement) others() bool { return a.ClusterIPs || a.ExternalIPs || a.PodCIDRs }

// AnnouncesOtherServices reports whether the speakers need to know Services that
// are no load balancers.
func (s *Snapshot) AnnouncesOtherServices() bool {
	return slices.ContainsFunc(s.BGPAdvertisements, func(a *BGPAdvertisement) bool { return a.ClusterIPs || a.ExternalIPs })
}

// AnnouncesOthers reports whether prefixes are announced that are no pool's.
func (s *Snapshot) AnnouncesOthers() bool {
	return slices.ContainsFunc(s.BGPAdvertisements, (*BGPAdvertisement).others)
}

// SelectsService tells whether a Service with these labels is announced.
func (a *BGPAdvertisement) SelectsService(set labels.Set) bool { return a.services.Match(set) }

// SelectsNode tells whether a node with these labels announces.
func (a *BGPAdvertisement) SelectsNode(set labels.Set) bool { return a.nodes.Match(set) }

// SelectsPeer tells whether a peer is told.
func (a *BGPAdvertisement) SelectsPeer(name string) bool {
	return len(a.Peers) == 0 || slices.Contains(a.Peers, name)
}

// buildBGP adds what BGP needs to a snapshot that has its pools.
func (s *Snapshot) buildBGP(objects BGPObjects, namespace string) []Problem {
	profiles := map[string]*BFDProfile{}
	for _, object := range objects.BFDProfiles {
		profiles[object.Name] = parseBFDProfile(object)
	}
	names, problems := parseCommunities(objects.Communities)
	for _, object := range oldestFirst(objects.Peers) {
		peer, found := parseBGPPeer(object, profiles, namespace)
		problems = append(problems, found...)
		if peer == nil {
			continue
		}
		peer.Rank = len(s.BGPPeers)
		problems = append(problems, s.twins(peer)...)
		s.BGPPeers = append(s.BGPPeers, peer)
	}
	slices.SortFunc(s.BGPPeers, func(a, b *BGPPeer) int { return cmp.Compare(a.Name, b.Name) })
	for _, object := range objects.Advertisements {
		a, found := parseBGPAdvertisement(object, names)
		problems = append(problems, found...)
		problems = append(problems, s.bgpReferences(a, objects.Peers)...)
		s.BGPAdvertisements = append(s.BGPAdvertisements, a)
	}
	slices.SortFunc(s.BGPAdvertisements, func(a, b *BGPAdvertisement) int { return cmp.Compare(a.Name, b.Name) })
	return append(problems, s.overfull()...)
}

// twins reports a peer whose router an older peer names for every node. Where the
// older selects some nodes, the younger is used on the others; the Speakers of
// those that both select say so.
func (s *Snapshot) twins(peer *BGPPeer) []Problem {
	for _, other := range s.BGPPeers {
		if other.router() == peer.router() && len(other.nodes) == 0 {
			return []Problem{{
				KindBGPPeer, peer.Name, peer.field(), v1beta1.ReasonOverlap,
				fmt.Sprintf("%s is already the router of BGPPeer %s, which is older and selects every node", peer.router(), other.Name),
			}}
		}
	}
	return nil
}

func parseBGPAdvertisement(object *v1beta1.BGPAdvertisement, names communityNames) (*BGPAdvertisement, []Problem) {
	spec := &object.Spec
	a := &BGPAdvertisement{
		Name: object.Name, PoolNames: spec.IPAddressPools, Peers: spec.Peers, LengthV4: bits4, LengthV6: bits6,
		LocalPref: number(spec.LocalPref), MED: number(spec.MED), Prepend: int(spec.ASPathPrepend), Weighted: spec.Weighted,
		Transitive: spec.TransitiveLinkBandwidth,
		ClusterIPs: spec.ClusterIPs, ExternalIPs: spec.ExternalIPs, PodCIDRs: spec.PodCIDRs,
	}
	if spec.AggregationLength != nil {
		a.LengthV4 = int(*spec.AggregationLength)
	}
	if spec.AggregationLengthV6 != nil {
		a.LengthV6 = int(*spec.AggregationLengthV6)
	}
	problems := names.resolveAll(a, spec.Communities)
	selectors := func(field string, raw []metav1.LabelSelector) Selectors {
		parsed, found := parseSelectors(KindBGPAdvertisement, a.Name, field, raw)
		problems = append(problems, found...)
		return parsed
	}
	a.pools = selectors("spec.ipAddressPoolSelectors", spec.IPAddressPoolSelectors)
	a.services = selectors("spec.serviceSelectors", spec.ServiceSelectors)
	a.nodes = selectors("spec.nodeSelectors", spec.NodeSelectors)
	return a, problems
}

// Lengths of an address, in bits.
const (
	bits4 = 32
	bits6 = 128
)

func number(value *int64) *uint32 {
	if value == nil {
		return nil
	}
	n := uint32(*value)
	return &n
}

// bgpReferences finds the names and selectors that lead nowhere. A peer that
// exists but is not usable has its own complaint.
func (s *Snapshot) bgpReferences(a *BGPAdvertisement, peers []*v1beta1.BGPPeer) []Problem {
	var problems []Problem
	complain := func(field string, reason v1beta1.Reason, message string) {
		problems = append(problems, Problem{KindBGPAdvertisement, a.Name, field, reason, message})
	}
	for i, name := range a.PoolNames {
		if s.byName[name] == nil {
			complain(fmt.Sprintf("spec.ipAddressPools[%d]", i), v1beta1.ReasonReferenceNotFound, fmt.Sprintf("there is no IPAddressPool %q", name))
		}
	}
	namesPools := len(a.PoolNames)+len(a.pools) > 0 || !a.others()
	if len(problems) == 0 && namesPools && !slices.ContainsFunc(s.Pools, func(p *Pool) bool { return a.SelectsPool(p.Name, p.Labels) }) {
		complain("spec", v1beta1.ReasonNoMatch, "no IPAddressPool is selected")
	}
	for i, name := range a.Peers {
		if !slices.ContainsFunc(peers, func(p *v1beta1.BGPPeer) bool { return p.Name == name }) {
			complain(fmt.Sprintf("spec.peers[%d]", i), v1beta1.ReasonReferenceNotFound, fmt.Sprintf("there is no BGPPeer %q", name))
		}
	}
	if len(peers) == 0 {
		complain("spec", v1beta1.ReasonNoMatch, "there is no BGPPeer")
	}
	return problems
}

// oldestFirst orders objects by age; the name decides between equally old ones.
func oldestFirst[T metav1.Object](objects []T) []T {
	sorted := slices.Clone(objects)
	slices.SortFunc(sorted, func(a, b T) int {
		x, y := a.GetCreationTimestamp(), b.GetCreationTimestamp()
		return cmp.Or(x.Compare(y.Time), cmp.Compare(a.GetName(), b.GetName()))
	})
	return sorted
}
