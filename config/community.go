package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// CommunityValue is a BGP community: a standard one (RFC 1997) or a large one
// (RFC 8092).
type CommunityValue struct {
	Large bool
	// Standard communities have their two halves in B and C.
	A, B, C uint32
}

// String writes the value as it is written in objects.
func (c CommunityValue) String() string {
	if c.Large {
		return fmt.Sprintf("large:%d:%d:%d", c.A, c.B, c.C)
	}
	return fmt.Sprintf("%d:%d", c.B, c.C)
}

// Compare orders values.
func (c CommunityValue) Compare(o CommunityValue) int {
	if c.Large != o.Large {
		if c.Large {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(c.A, o.A), cmp.Compare(c.B, o.B), cmp.Compare(c.C, o.C))
}

// ParseCommunity reads "64512:100" or "large:64512:1:2".
func ParseCommunity(text string) (CommunityValue, error) {
	rest, large := strings.CutPrefix(text, "large:")
	parts := strings.Split(rest, ":")
	size, count := 16, 2
	if large {
		size, count = 32, 3
	}
	if len(parts) != count {
		return CommunityValue{}, fmt.Errorf("%q is no community: write it like 64512:100 or large:64512:1:2", text)
	}
	var numbers [3]uint32
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, size)
		if err != nil {
			return CommunityValue{}, fmt.Errorf("%q is no community: %q is no number of %d bits", text, part, size)
		}
		numbers[3-count+i] = uint32(n)
	}
	return CommunityValue{large, numbers[0], numbers[1], numbers[2]}, nil
}

// names are the communities that have one.
type communityNames map[string]CommunityValue

// parseCommunities gathers the names; the older object has a name that two
// define.
func parseCommunities(objects []*v1beta1.Community) (communityNames, []Problem) {
	names, owner := communityNames{}, map[string]string{}
	var problems []Problem
	for _, object := range oldestFirst(objects) {
		for i, alias := range object.Spec.Communities {
			field := fmt.Sprintf("spec.communities[%d]", i)
			value, err := ParseCommunity(alias.Value)
			switch {
			case err != nil:
				problems = append(problems, Problem{KindCommunity, object.Name, field, v1beta1.ReasonInvalidSpec, err.Error()})
			case owner[alias.Name] != "":
				problems = append(problems, Problem{
					KindCommunity, object.Name, field, v1beta1.ReasonOverlap,
					fmt.Sprintf("%q is already defined by Community %s, which is older", alias.Name, owner[alias.Name]),
				})
			default:
				names[alias.Name], owner[alias.Name] = value, object.Name
			}
		}
	}
	return names, problems
}

// wellKnown are the communities whose names everybody knows. A Community object
// that defines such a name wins.
func wellKnown(name string) (CommunityValue, bool) {
	const reserved = 65535
	low, ok := map[string]uint32{
		"graceful-shutdown": 0,     // RFC 8326
		"blackhole":         666,   // RFC 7999
		"no-export":         65281, // RFC 1997
		"no-advertise":      65282, // RFC 1997
		"no-peer":           65284, // RFC 3765
	}[name]
	return CommunityValue{B: reserved, C: low}, ok
}

// resolve reads a community by value or name.
func (n communityNames) resolve(text string) (CommunityValue, v1beta1.Reason, error) {
	if value, ok := n[text]; ok {
		return value, "", nil
	}
	if value, ok := wellKnown(text); ok {
		return value, "", nil
	}
	if strings.Contains(text, ":") {
		value, err := ParseCommunity(text)
		return value, v1beta1.ReasonInvalidSpec, err
	}
	return CommunityValue{}, v1beta1.ReasonReferenceNotFound, fmt.Errorf("no Community object defines %q", text)
}

// resolveAll reads a list, in order and without doubles. One that cannot be
// resolved may be what keeps a prefix in: the advertisement is then incomplete,
// and nothing is announced that it would give a path.
func (n communityNames) resolveAll(a *BGPAdvertisement, texts []string) []Problem {
	var problems []Problem
	for i, text := range texts {
		value, reason, err := n.resolve(text)
		if err != nil {
			a.Incomplete = true
			problems = append(problems, Problem{
				KindBGPAdvertisement, a.Name, fmt.Sprintf("spec.communities[%d]", i), reason,
				err.Error() + ": what this advertisement selects is not announced to its peers until it is",
			})
			continue
		}
		a.Communities = append(a.Communities, value)
	}
	slices.SortFunc(a.Communities, CommunityValue.Compare)
	a.Communities = slices.Compact(a.Communities)
	return problems
}

// What communities take in an UPDATE message, in bytes: a standard one (RFC
// 1997), a large one (RFC 8092), and how many there may be of them all. The
// message has 4,096 (RFC 4271 section 4.1); the header, every other attribute
// with the longest AS path that can be asked for, and one prefix take less than
// the rest.
const (
	standardSize  = 4
	largeSize     = 12
	communityRoom = 3584
)

// CommunitiesFit reports whether a message that carries these communities has
// room for one prefix.
func CommunitiesFit(all []CommunityValue) bool {
	if len(all) <= communityRoom/largeSize {
		return true
	}
	size := 0
	for i := range all {
		size += standardSize
		if all[i].Large {
			size += largeSize - standardSize
		}
	}
	return size <= communityRoom
}

// UnionOfCommunities of two lists that are in order and without doubles.
func UnionOfCommunities(a, b []CommunityValue) []CommunityValue {
	if len(b) == 0 || slices.Equal(a, b) {
		return a
	}
	if len(a) == 0 {
		return b
	}
	all := slices.Concat(a, b)
	slices.SortFunc(all, CommunityValue.Compare)
	return slices.Compact(all)
}

// overfull reports advertisements that for sure give a path more communities
// than a message carries: those that select a pool and a peer on every node, for
// every Service. Those that may, because some Service or node is selected by
// all of them, are found where the path is planned.
func (s *Snapshot) overfull() []Problem {
	count := 0
	for _, a := range s.BGPAdvertisements {
		count += len(a.Communities)
	}
	if count <= communityRoom/largeSize {
		return nil
	}
	found := map[string]Problem{}
	for _, pool := range s.Pools {
		for _, peer := range s.BGPPeers {
			s.overfullPath(pool, peer, found)
		}
	}
	var problems []Problem
	for _, a := range s.BGPAdvertisements {
		if p, ok := found[a.Name]; ok {
			problems = append(problems, p)
		}
	}
	return problems
}

// overfullPath looks at what one peer is told of one pool: paths to prefixes of
// one length are one path.
func (s *Snapshot) overfullPath(pool *Pool, peer *BGPPeer, found map[string]Problem) {
	for _, length := range []func(*BGPAdvertisement) int{
		func(a *BGPAdvertisement) int { return a.LengthV4 }, func(a *BGPAdvertisement) int { return a.LengthV6 },
	} {
		together := map[int][]CommunityValue{}
		names := map[int][]string{}
		for _, a := range s.BGPAdvertisements {
			if len(a.services)+len(a.nodes) == 0 && a.SelectsPool(pool.Name, pool.Labels) && a.SelectsPeer(peer.Name) {
				together[length(a)] = UnionOfCommunities(together[length(a)], a.Communities)
				names[length(a)] = append(names[length(a)], a.Name)
			}
		}
		for bits, all := range together {
			if CommunitiesFit(all) {
				continue
			}
			for _, name := range names[bits] {
				found[name] = Problem{
					KindBGPAdvertisement, name, "spec.communities", v1beta1.ReasonTooManyCommunities, fmt.Sprintf(
						"BGPAdvertisements %s together give the addresses of pool %s %d communities, more than one message carries: "+
							"they are not announced to BGPPeer %s",
						strings.Join(names[bits], ", "), pool.Name, len(all), peer.Name),
				}
			}
		}
	}
}
