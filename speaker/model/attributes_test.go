package model

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A set is the same whatever the order of its making, and gives back what was
// put in; sets that differ are not equal (D22: standard and large communities
// share no form).
func TestSetsAreCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOfN(rapid.Uint32Range(0, 5), 0, 6).Draw(t, "numbers")
		backwards := slices.Clone(numbers)
		slices.Reverse(backwards)
		set := CommunitiesOf(numbers...)
		if set != CommunitiesOf(backwards...) {
			t.Fatal("the order counts")
		}
		want := slices.Compact(slices.Sorted(slices.Values(numbers)))
		if got := slices.Collect(set.All()); !slices.Equal(got, want) || set.Len() != len(want) {
			t.Fatalf("%v, want %v", got, want)
		}
		var triples [][3]uint32
		for _, n := range numbers {
			triples = append(triples, [3]uint32{n, 1, n})
		}
		large := LargeCommunitiesOf(triples...)
		if got := slices.Collect(large.All()); len(got) != len(want) || large.Len() != len(want) || len(got) > 0 && got[0] != [3]uint32{want[0], 1, want[0]} {
			t.Fatalf("%v of %v", got, triples)
		}
	})
	number := Attributes{Communities: CommunitiesOf(8192<<16|252, 8448<<16, 8704<<16)}
	if number == (Attributes{LargeCommunities: LargeCommunitiesOf([3]uint32{8192<<16 | 252, 8448 << 16, 8704 << 16})}) {
		t.Error("D22: standard communities equal a large one")
	}
	if (Attributes{MED: Some(0)}) == (Attributes{}) {
		t.Error("a MED of zero equals none")
	}
}
