package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/baliza-lb/baliza/config"
)

// TestSpaceAgainstASet compares the intervals with a plain set of addresses,
// at both ends of each family's numbers.
func TestSpaceAgainstASet(t *testing.T) {
	for _, text := range []string{"192.0.2.0/27", "0.0.0.0/27", "255.255.255.224/27", "2001:db8::ffff:fff0/124", "::/123", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/124"} {
		t.Run(text, func(t *testing.T) {
			prefix := netip.MustParsePrefix(text)
			var all []netip.Addr
			for a := prefix.Addr(); a.IsValid() && prefix.Contains(a); a = a.Next() {
				all = append(all, a)
			}
			rapid.Check(t, func(t *rapid.T) {
				s := newSpace(familyOf(all[0]), false)
				s.add(config.Range{First: all[0], Last: all[len(all)-1]})
				free := make(map[netip.Addr]bool)
				for _, a := range all {
					free[a] = true
				}
				t.Repeat(map[string]func(*rapid.T){
					"take": func(t *rapid.T) {
						a := rapid.SampledFrom(all).Draw(t, "address")
						if s.take(a) != free[a] {
							t.Fatalf("%s free: %v", a, free[a])
						}
						free[a] = false
					},
					"give": func(t *rapid.T) {
						a := rapid.SampledFrom(all).Draw(t, "address")
						s.give(a)
						free[a] = true
					},
					"": func(t *rapid.T) { checkSpace(t, s, all, free) },
				})
			})
		})
	}
}

// checkSpace checks that the intervals are the runs of free addresses, and
// as few as can be.
func checkSpace(t *rapid.T, s *space, all []netip.Addr, free map[netip.Addr]bool) {
	var runs []interval
	for i, a := range all {
		switch n := numberOf(a); {
		case !free[a]:
		case i > 0 && free[all[i-1]]:
			runs[len(runs)-1].last = n
		default:
			runs = append(runs, interval{n, n})
		}
	}
	var got []interval
	s.tree.Ascend(func(i interval) bool {
		got = append(got, i)
		return true
	})
	if !slices.Equal(got, runs) {
		t.Fatalf("got %v, want %v", got, runs)
	}
	lowest, found := s.lowest()
	if found != (len(runs) > 0) || found && numberOf(lowest) != runs[0].first {
		t.Fatalf("lowest is %s (%v)", lowest, found)
	}
}

func TestSubtract(t *testing.T) {
	for sentence, test := range map[string]struct {
		from, expected string
		excluded       []string
	}{
		"nothing excluded":               {"192.0.2.0/30", "[192.0.2.0-192.0.2.3]", nil},
		"everything":                     {"192.0.2.0/30", "[]", []string{"192.0.0.0/16"}},
		"both ends":                      {"192.0.2.0/30", "[192.0.2.1-192.0.2.2]", []string{"192.0.2.0/32", "192.0.2.3/32"}},
		"the middle, twice, overlapping": {"192.0.2.0/28", "[192.0.2.0-192.0.2.1 192.0.2.8-192.0.2.15]", []string{"192.0.2.2-192.0.2.7", "192.0.2.4-192.0.2.5"}},
		"the other family":               {"192.0.2.0/30", "[192.0.2.0-192.0.2.3]", []string{"2001::/16"}},
		"the last address there is":      {"ffff::/16", "[ffff::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]", []string{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			var excluded []config.Range
			for _, e := range test.excluded {
				excluded = append(excluded, rangeOf(e))
			}
			if got := fmt.Sprint(subtract(rangeOf(test.from), excluded)); got != test.expected {
				t.Errorf("got %s, want %s", got, test.expected)
			}
		})
	}
}

// rangeOf reads a range without asking whether it suits a pool.
func rangeOf(text string) config.Range {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		last := prefix.Addr()
		for next := last; next.IsValid() && prefix.Contains(next) && prefix.Bits() > 16; next = next.Next() {
			last = next
		}
		if prefix.Bits() <= 16 {
			bytes := prefix.Addr().AsSlice()
			for i := prefix.Bits() / 8; i < len(bytes); i++ {
				bytes[i] = 0xff
			}
			last, _ = netip.AddrFromSlice(bytes)
		}
		return config.Range{First: prefix.Addr(), Last: last}
	}
	var first, last string
	for i := range text {
		if text[i] == '-' {
			first, last = text[:i], text[i+1:]
		}
	}
	return config.Range{First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}
}
