package plan_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/baliza-lb/baliza/speaker/plan"
)

// However Services came and went, the plan is that of those that are there.
func TestServicesThatCameAndWentLeaveNoTrace(t *testing.T) {
	addresses := []netip.Addr{
		netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2"), netip.MustParseAddr("2001:db8::1"),
	}
	rapid.Check(t, func(t *rapid.T) {
		there, services := map[string]plan.Service{}, &plan.Services{}
		for range rapid.IntRange(0, 8).Draw(t, "updates") {
			changed := map[string]*plan.Service{}
			for range rapid.IntRange(0, 8).Draw(t, "changes") {
				key := fmt.Sprintf("default/s%d", rapid.IntRange(0, 4).Draw(t, "key"))
				if rapid.Bool().Draw(t, "gone") {
					changed[key] = nil
					delete(there, key)
					continue
				}
				s := plan.Service{
					Key: key, Addresses: rapid.SliceOfN(rapid.SampledFrom(addresses), 0, 3).Draw(t, "addresses"),
					IPv4: plan.Endpoints{Any: rapid.Bool().Draw(t, "endpoint")},
				}
				changed[key], there[key] = &s, s
			}
			services.Update(changed)
		}
		v, _ := drawView(t)
		v.Self = v.Alive[0]
		v.Services = services
		got := fmt.Sprint(plan.Make(v))
		v.Services = plan.ServicesOf(slices.Collect(maps.Values(there))...)
		if want := fmt.Sprint(plan.Make(v)); got != want || services.Len() != len(there) {
			t.Fatalf("%d Services, not %d:\n%s\nnot\n%s", services.Len(), len(there), got, want)
		}
	})
}
