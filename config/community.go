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

// resolve reads a community by value or name.
func (n communityNames) resolve(text string) (CommunityValue, v1beta1.Reason, error) {
	if value, ok := n[text]; ok {
		return value, "", nil
	}
	if strings.Contains(text, ":") {
		value, err := ParseCommunity(text)
		return value, v1beta1.ReasonInvalidSpec, err
	}
	return CommunityValue{}, v1beta1.ReasonDanglingReference, fmt.Errorf("no Community object defines %q", text)
}

// resolveAll reads a list, in order and without doubles.
func (n communityNames) resolveAll(a *BGPAdvertisement, texts []string) []Problem {
	var problems []Problem
	for i, text := range texts {
		value, reason, err := n.resolve(text)
		if err != nil {
			problems = append(problems, Problem{KindBGPAdvertisement, a.Name, fmt.Sprintf("spec.communities[%d]", i), reason, err.Error()})
			continue
		}
		a.Communities = append(a.Communities, value)
	}
	slices.SortFunc(a.Communities, CommunityValue.Compare)
	a.Communities = slices.Compact(a.Communities)
	return problems
}
