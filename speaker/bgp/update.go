package bgp

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/baliza-lb/baliza/speaker/model"
)

// encoding is how paths are written in one session.
type encoding struct {
	// internal is a router of our own AS.
	internal bool
	// fourByte says that the router knows AS numbers of four bytes.
	fourByte bool
	// path is the AS path before anything is prepended, as is our number.
	path []uint32
	as   uint32
	// next4 and next6 are the next hops, once they were chosen; what there is
	// none of is not valid.
	next4, next6 netip.Addr
	chosen       bool
	// extended writes IPv4 prefixes with the IPv6 next hop (RFC 8950).
	extended bool
}

// bodySize is what a message has room for beside its header and lengths.
const bodySize = messageSize - headerSize - 4

// nextHop that prefixes of a family have.
func (e *encoding) nextHop(f family) netip.Addr {
	if f == familyIPv4 && !e.extended {
		return e.next4
	}
	return e.next6
}

// difference returns the messages that bring a router from what it was told to
// what it is to be told: first what is new or has changed, and all of the
// families that it wants again, then what is gone.
func (e *encoding) difference(told, desired Paths, again familySet) ([]*wire.BGPMessage, error) {
	groups := map[groupKey]*group{}
	add := func(route Route) {
		k := groupKey{route.Attributes, familyOf(route.Prefix.Addr())}
		if groups[k] == nil {
			groups[k] = &group{groupKey: k}
		}
		groups[k].prefixes = append(groups[k].prefixes, route.Prefix)
	}
	parts := desired.split()
	for _, f := range families() {
		if again[f] {
			for _, route := range parts[f] {
				add(route)
			}
		}
	}
	var gone []netip.Prefix
	desired.compare(told, func(route Route) {
		if !again[familyOf(route.Prefix.Addr())] {
			add(route)
		}
	}, func(prefix netip.Prefix) { gone = append(gone, prefix) })
	var messages []*wire.BGPMessage
	for _, g := range sorted(groups) {
		more, err := e.announce(g)
		if err != nil {
			return nil, err
		}
		messages = append(messages, more...)
	}
	more, err := withdraw(gone)
	return append(messages, more...), err
}

// groupKey is what prefixes must have in common to share a message.
type groupKey struct {
	attributes Attributes
	family     family
}

// group is the prefixes, in order, that share attributes, and so a message.
type group struct {
	groupKey
	prefixes []netip.Prefix
}

func sorted(groups map[groupKey]*group) []*group {
	all := slices.Collect(maps.Values(groups))
	slices.SortFunc(all, func(a, b *group) int { return a.prefixes[0].Compare(b.prefixes[0]) })
	return all
}

// fitting returns the routes, of one family, whose attributes leave room for a
// prefix in a message (RFC 4271 section 4.1: 4096 bytes), and the others.
func (e *encoding) fitting(routes Paths) (fit Paths, unsent []Unsent) {
	sizes := map[Attributes]bool{}
	fits := func(r Route) bool {
		known, ok := sizes[r.Attributes]
		if !ok {
			size, err := e.size(r.Attributes.Value(), familyOf(r.Prefix.Addr()))
			known = err == nil && room(size, r.Prefix.Addr().Is4()) > 0
			sizes[r.Attributes] = known
		}
		return known
	}
	if !slices.ContainsFunc(routes, func(r Route) bool { return !fits(r) }) {
		return routes, nil
	}
	for _, r := range routes {
		if fits(r) {
			fit = append(fit, r)
			continue
		}
		a := r.Attributes.Value()
		unsent = append(unsent, Unsent{r.Prefix, fmt.Sprintf("its path has more than fits into a BGP message: %d communities and %d large ones",
			a.Communities.Len(), a.LargeCommunities.Len())})
	}
	return fit, unsent
}

// size of the attributes, without prefixes, in bytes.
func (e *encoding) size(a model.Attributes, f family) (int, error) {
	plain := f == familyIPv4 && !e.extended
	attributes, err := e.attributes(a, plain)
	if err != nil {
		return 0, err
	}
	size := 0
	if f == familyIPv4 && !plain {
		size = reach
	}
	for _, a := range attributes {
		size += a.Len()
	}
	return size, nil
}

// reach is what MP_REACH_NLRI or MP_UNREACH_NLRI has before its prefixes, at
// most.
const reach = 40

// room is how many prefixes surely fit beside so many bytes.
func room(beside int, v4 bool) int {
	const size4, size6 = 5, 17
	if v4 {
		return (bodySize - beside) / size4
	}
	return (bodySize - beside - reach) / size6
}

func nlri(prefixes []netip.Prefix) ([]wire.PathNLRI, error) {
	all := make([]wire.PathNLRI, 0, len(prefixes))
	for _, p := range prefixes {
		one, err := wire.NewIPAddrPrefix(p)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", p, err)
		}
		all = append(all, wire.PathNLRI{NLRI: one})
	}
	return all, nil
}

// announce makes the UPDATEs of one group.
func (e *encoding) announce(g *group) ([]*wire.BGPMessage, error) {
	v4 := g.family == familyIPv4
	plain := v4 && !e.extended
	attributes, err := e.attributes(g.attributes.Value(), plain)
	if err != nil {
		return nil, err
	}
	size, err := e.size(g.attributes.Value(), g.family)
	if err != nil {
		return nil, err
	}
	var messages []*wire.BGPMessage
	for chunk := range slices.Chunk(g.prefixes, max(1, room(size, v4))) {
		prefixes, err := nlri(chunk)
		if err != nil {
			return nil, err
		}
		if plain {
			messages = append(messages, wire.NewBGPUpdateMessage(nil, attributes, prefixes))
			continue
		}
		reach, err := wire.NewPathAttributeMpReachNLRI(g.family.wire(), prefixes, e.next6)
		if err != nil {
			return nil, fmt.Errorf("encoding prefixes: %w", err)
		}
		// It comes first, so that errors in the rest can be told from it (RFC 7606).
		messages = append(messages, wire.NewBGPUpdateMessage(nil, append([]wire.PathAttributeInterface{reach}, attributes...), nil))
	}
	return messages, nil
}

// withdraw makes the UPDATEs that withdraw prefixes of both families, which are
// in order.
func withdraw(gone []netip.Prefix) ([]*wire.BGPMessage, error) {
	split := slices.IndexFunc(gone, func(p netip.Prefix) bool { return p.Addr().Is6() })
	if split < 0 {
		split = len(gone)
	}
	var messages []*wire.BGPMessage
	for chunk := range slices.Chunk(gone[:split], room(0, true)) {
		prefixes, err := nlri(chunk)
		if err != nil {
			return nil, err
		}
		messages = append(messages, wire.NewBGPUpdateMessage(prefixes, nil, nil))
	}
	for chunk := range slices.Chunk(gone[split:], room(0, false)) {
		prefixes, err := nlri(chunk)
		if err != nil {
			return nil, err
		}
		unreach, err := wire.NewPathAttributeMpUnreachNLRI(wire.RF_IPv6_UC, prefixes)
		if err != nil {
			return nil, fmt.Errorf("encoding withdrawn prefixes: %w", err)
		}
		messages = append(messages, wire.NewBGPUpdateMessage(nil, []wire.PathAttributeInterface{unreach}, nil))
	}
	return messages, nil
}

// attributes of a path, in the order of their types (RFC 4271 section 5);
// MP_REACH_NLRI is added with the prefixes, in place of NEXT_HOP.
func (e *encoding) attributes(a model.Attributes, nextHop bool) ([]wire.PathAttributeInterface, error) {
	const igp = 0
	all := append([]wire.PathAttributeInterface{wire.NewPathAttributeOrigin(igp)}, e.asPath(a.Prepend)...)
	if nextHop {
		next, err := wire.NewPathAttributeNextHop(e.next4)
		if err != nil {
			return nil, fmt.Errorf("encoding next hop %s: %w", e.next4, err)
		}
		all = append(all, next)
	}
	if a.MED.Set {
		all = append(all, wire.NewPathAttributeMultiExitDisc(a.MED.Value))
	}
	if e.internal {
		preference := uint32(100) //nolint:mnd // the usual
		if a.LocalPref.Set {
			preference = a.LocalPref.Value
		}
		all = append(all, wire.NewPathAttributeLocalPref(preference))
	}
	if a.Communities.Len() > 0 {
		all = append(all, wire.NewPathAttributeCommunities(slices.Collect(a.Communities.All())))
	}
	if a.Bandwidth > 0 {
		short := uint16(wire.AS_TRANS)
		if e.as <= math.MaxUint16 {
			short = uint16(e.as)
		}
		var bandwidth wire.ExtendedCommunityInterface = wire.NewLinkBandwidthExtended(short, float32(a.Bandwidth))
		if a.TransitiveBandwidth {
			bandwidth = wire.NewTwoOctetAsSpecificExtended(wire.EC_SUBTYPE_LINK_BANDWIDTH, short, math.Float32bits(float32(a.Bandwidth)), true)
		}
		all = append(all, wire.NewPathAttributeExtendedCommunities([]wire.ExtendedCommunityInterface{bandwidth}))
	}
	if a.LargeCommunities.Len() > 0 {
		var large []*wire.LargeCommunity
		for c := range a.LargeCommunities.All() {
			large = append(large, wire.NewLargeCommunity(c[0], c[1], c[2]))
		}
		all = append(all, wire.NewPathAttributeLargeCommunities(large))
	}
	slices.SortStableFunc(all, func(a, b wire.PathAttributeInterface) int { return cmp.Compare(a.GetType(), b.GetType()) })
	return all, nil
}

// asPath is AS_PATH and, for a router that knows only numbers of two bytes,
// AS4_PATH where one is larger (RFC 6793).
func (e *encoding) asPath(prepend int) []wire.PathAttributeInterface {
	if e.internal {
		return []wire.PathAttributeInterface{wire.NewPathAttributeAsPath(nil)}
	}
	path := append(slices.Repeat(e.path[:1], prepend), e.path...)
	four := wire.NewAs4PathParam(wire.BGP_ASPATH_ATTR_TYPE_SEQ, path)
	if e.fourByte {
		return []wire.PathAttributeInterface{wire.NewPathAttributeAsPath([]wire.AsPathParamInterface{four})}
	}
	short := make([]uint16, len(path))
	large := false
	for i, as := range path {
		short[i] = uint16(wire.AS_TRANS)
		if as <= math.MaxUint16 {
			short[i] = uint16(as)
		} else {
			large = true
		}
	}
	two := wire.NewAsPathParam(wire.BGP_ASPATH_ATTR_TYPE_SEQ, short)
	all := []wire.PathAttributeInterface{wire.NewPathAttributeAsPath([]wire.AsPathParamInterface{two})}
	if large {
		all = append(all, wire.NewPathAttributeAs4Path([]*wire.As4PathParam{four}))
	}
	return all
}
