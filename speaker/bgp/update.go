package bgp

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
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
	// next4 and next6 are the next hops.
	next4, next6 netip.Addr
	// extended writes IPv4 prefixes with the IPv6 next hop (RFC 8950).
	extended bool
}

// bodySize is what a message has room for beside its header and lengths.
const bodySize = messageSize - headerSize - 4

// difference returns the messages that bring a router from what it was told to
// what it is to be told: first what is new or has changed, then what is gone.
func (e *encoding) difference(told, desired Paths) ([]*wire.BGPMessage, error) {
	groups := map[string]*group{}
	var gone []netip.Prefix
	desired.compare(told, func(route Route) {
		k := key(route.Path, route.Prefix.Addr().Is4())
		if groups[k] == nil {
			groups[k] = &group{path: route.Path}
		}
		groups[k].prefixes = append(groups[k].prefixes, route.Prefix)
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

// group is the prefixes, in order, that share a path, and so a message.
type group struct {
	path     *Path
	prefixes []netip.Prefix
}

func sorted(groups map[string]*group) []*group {
	all := slices.Collect(maps.Values(groups))
	slices.SortFunc(all, func(a, b *group) int { return a.prefixes[0].Compare(b.prefixes[0]) })
	return all
}

// key is the same for paths that are equal.
func key(p *Path, v4 bool) string {
	var b []byte
	number := func(n uint32) { b = binary.BigEndian.AppendUint32(b, n) }
	optional := func(n *uint32) {
		if n == nil {
			b = append(b, 0)
			return
		}
		b = append(b, 1)
		number(*n)
	}
	if v4 {
		b = append(b, 4)
	}
	optional(p.LocalPref)
	optional(p.MED)
	number(uint32(p.Prepend))
	number(math.Float32bits(p.Bandwidth))
	for _, c := range p.Communities {
		number(c)
	}
	b = append(b, ' ')
	for _, c := range p.LargeCommunities {
		number(c[0])
		number(c[1])
		number(c[2])
	}
	return string(b)
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
	v4 := g.prefixes[0].Addr().Is4()
	plain := v4 && !e.extended
	attributes, err := e.attributes(g.path, plain)
	if err != nil {
		return nil, err
	}
	size, family := 0, wire.RF_IPv6_UC
	if v4 {
		family = wire.RF_IPv4_UC
	}
	if v4 && !plain {
		size = reach
	}
	for _, a := range attributes {
		size += a.Len()
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
		reach, err := wire.NewPathAttributeMpReachNLRI(family, prefixes, e.next6)
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

// attributes of a path, in the order of their types; MP_REACH_NLRI is added
// with the prefixes, in place of NEXT_HOP.
func (e *encoding) attributes(p *Path, nextHop bool) ([]wire.PathAttributeInterface, error) {
	const igp = 0
	all := append([]wire.PathAttributeInterface{wire.NewPathAttributeOrigin(igp)}, e.asPath(p)...)
	if nextHop {
		next, err := wire.NewPathAttributeNextHop(e.next4)
		if err != nil {
			return nil, fmt.Errorf("encoding next hop %s: %w", e.next4, err)
		}
		all = append(all, next)
	}
	if p.MED != nil {
		all = append(all, wire.NewPathAttributeMultiExitDisc(*p.MED))
	}
	if e.internal {
		preference := uint32(100) //nolint:mnd // the usual
		if p.LocalPref != nil {
			preference = *p.LocalPref
		}
		all = append(all, wire.NewPathAttributeLocalPref(preference))
	}
	if len(p.Communities) > 0 {
		all = append(all, wire.NewPathAttributeCommunities(p.Communities))
	}
	if p.Bandwidth > 0 {
		short := uint16(wire.AS_TRANS)
		if e.as <= math.MaxUint16 {
			short = uint16(e.as)
		}
		bandwidth := []wire.ExtendedCommunityInterface{wire.NewLinkBandwidthExtended(short, p.Bandwidth)}
		all = append(all, wire.NewPathAttributeExtendedCommunities(bandwidth))
	}
	if len(p.LargeCommunities) > 0 {
		var large []*wire.LargeCommunity
		for _, c := range p.LargeCommunities {
			large = append(large, wire.NewLargeCommunity(c[0], c[1], c[2]))
		}
		all = append(all, wire.NewPathAttributeLargeCommunities(large))
	}
	return all, nil
}

// asPath is AS_PATH and, for a router that knows only numbers of two bytes,
// AS4_PATH where one is larger (RFC 6793).
func (e *encoding) asPath(p *Path) []wire.PathAttributeInterface {
	if e.internal {
		return []wire.PathAttributeInterface{wire.NewPathAttributeAsPath(nil)}
	}
	path := append(slices.Repeat(e.path[:1], p.Prepend), e.path...)
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
