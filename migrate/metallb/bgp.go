package metallb

import (
	"slices"

	ours "github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// bits4 and bits6 are how long an address is.
const (
	bits4 = 32
	bits6 = 128
)

// bgpAdvertisement translates an advertisement, given all peers and those that are
// lost. One that names lost peers alone is left out: without names it would be told
// to all.
func (t *translator) bgpAdvertisement(object *BGPAdvertisement, peers []*BGPPeer, lost map[string]bool) {
	from, a := &object.Spec, about{t, config.KindBGPAdvertisement, object.Name}
	to := &ours.BGPAdvertisement{TypeMeta: typeMeta(a.kind), ObjectMeta: metaOf(object)}
	to.Spec = ours.BGPAdvertisementSpec{
		IPAddressPools: unique(from.IPAddressPools), IPAddressPoolSelectors: slices.Clone(from.IPAddressPoolSelectors),
		ServiceSelectors: slices.Clone(from.ServiceSelectors), NodeSelectors: slices.Clone(from.NodeSelectors),
		AggregationLength:   a.length("spec.aggregationLength", from.AggregationLength, bits4),
		AggregationLengthV6: a.length("spec.aggregationLengthV6", from.AggregationLengthV6, bits6),
		Communities:         unique(from.Communities),
	}
	a.fit("spec.ipAddressPools", len(to.Spec.IPAddressPools), mostNames)
	a.fit("spec.ipAddressPoolSelectors", len(from.IPAddressPoolSelectors), mostSelectors)
	a.fit("spec.serviceSelectors", len(from.ServiceSelectors), mostSelectors)
	a.fit("spec.nodeSelectors", len(from.NodeSelectors), mostSelectors)
	a.fit("spec.peers", len(from.Peers), mostNames)
	a.fit("spec.communities", len(to.Spec.Communities), mostCommunities)
	for _, name := range unique(from.Peers) {
		if lost[name] {
			a.note(Lost, "spec.peers", "BGPPeer %s cannot be carried over, and is not told", name)
			continue
		}
		to.Spec.Peers = append(to.Spec.Peers, name)
	}
	a.localPref(from, to, peers)
	if len(from.Peers) > 0 && len(to.Spec.Peers) == 0 {
		a.note(Lost, "spec.peers", "no peer is left: the advertisement is left out, for without a name it would be told to all")
		return
	}
	t.objects.BGP.Advertisements = append(t.objects.BGP.Advertisements, to)
}

// length translates an aggregation length.
func (a about) length(field string, value *int32, bits int32) *int32 {
	if value == nil {
		return nil
	}
	length := *value
	switch {
	case length < 1 || length > bits:
		a.note(Lost, field, "%d is none: it must be from 1 to %d, and is left out", length, bits)
		return nil
	case length < bits:
		a.note(Differs, field, "a Service with externalTrafficPolicy Local is announced by its address all the same, "+
			"so that no node attracts what only others serve")
	}
	return &length
}

// localPref translates the LOCAL_PREF that peers of our own AS are told.
func (a about) localPref(from *BGPAdvertisementSpec, to *ours.BGPAdvertisement, peers []*BGPPeer) {
	if from.LocalPref != nil {
		value := int64(*from.LocalPref)
		to.Spec.LocalPref = &value
		return
	}
	for _, peer := range sorted(peers) {
		if internal(&peer.Spec) && (len(from.Peers) == 0 || slices.Contains(from.Peers, peer.Name)) {
			a.note(Differs, "spec.localPref", "BGPPeer %s is of the cluster's own AS, and is told a LOCAL_PREF of 100; "+
				"MetalLB's native mode tells it 0: set localPref where another path to the address must win", peer.Name)
			return
		}
	}
}

// internal reports whether a peer is of the cluster's own AS.
func internal(spec *BGPPeerSpec) bool {
	return spec.DynamicASN == string(ours.DynamicASNInternal) || spec.PeerASN != 0 && spec.PeerASN == spec.MyASN
}

func (t *translator) bfdProfile(object *BFDProfile) {
	from, a := &object.Spec, about{t, config.KindBFDProfile, object.Name}
	to := &ours.BFDProfile{TypeMeta: typeMeta(a.kind), ObjectMeta: metaOf(object)}
	to.Spec = ours.BFDProfileSpec{
		ReceiveInterval:  a.within("spec.receiveInterval", from.ReceiveInterval, shortest, longest),
		TransmitInterval: a.within("spec.transmitInterval", from.TransmitInterval, shortest, longest),
		DetectMultiplier: a.within("spec.detectMultiplier", from.DetectMultiplier, leastMultiplier, mostMultiplier),
		EchoInterval:     a.within("spec.echoInterval", from.EchoInterval, shortest, longest),
		MinimumTTL:       a.within("spec.minimumTtl", from.MinimumTTL, 1, mostTTL),
		PassiveMode:      from.PassiveMode != nil && *from.PassiveMode,
	}
	if from.EchoMode != nil && *from.EchoMode {
		a.note(Lost, "spec.echoMode", "the echo function is not supported: the path is watched by control packets alone, "+
			"every transmitInterval; shorten that where echoInterval was what found a failure")
	}
	t.objects.BGP.BFDProfiles = append(t.objects.BGP.BFDProfiles, to)
}

// Bounds of a BFDProfile; intervals are in milliseconds.
const (
	shortest, longest               = 10, 60000
	leastMultiplier, mostMultiplier = 2, 255
	mostTTL                         = 254
)

// within is a number that may be absent; 0 stands for the default.
func (a about) within(field string, value *uint32, least, most uint32) int32 {
	if value == nil {
		return 0
	}
	if *value < least || *value > most {
		a.note(Lost, field, "%d is none: it must be from %d to %d, and is left out", *value, least, most)
		return 0
	}
	return int32(*value)
}

func (t *translator) community(object *Community) {
	a := about{t, config.KindCommunity, object.Name}
	to := &ours.Community{TypeMeta: typeMeta(a.kind), ObjectMeta: metaOf(object)}
	for i, alias := range object.Spec.Communities {
		if _, err := config.ParseCommunity(alias.Value); err != nil {
			a.note(Lost, index("spec.communities", i), "%s", err)
			continue
		}
		to.Spec.Communities = append(to.Spec.Communities, ours.CommunityAlias(alias))
	}
	a.fit("spec.communities", len(to.Spec.Communities), mostNames)
	t.objects.BGP.Communities = append(t.objects.BGP.Communities, to)
}
