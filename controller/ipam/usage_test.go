package ipam

import (
	"net/netip"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Each address that a pool covers is used for one thing.
func TestUsageCountsEachAddressOnce(t *testing.T) {
	m := books(t, with(poolOf("lan", "192.0.2.8-192.0.2.15", "2001:db8::/126"), func(spec *v1beta1.IPAddressPoolSpec) {
		spec.Excluded = []v1beta1.AddressRange{"192.0.2.8/32"}
		spec.Reservations = []v1beta1.Reservation{{Addresses: []v1beta1.ReservedAddresses{"192.0.2.14", "192.0.2.15"}, Namespace: "default", Service: "vip"}}
	}))
	now := time.Unix(1000, 0)
	for _, name := range []string{"a", "b", "vip"} {
		if _, refusal := m.Assign(want(name), nil, now); refusal != nil {
			t.Fatal(refusal)
		}
	}
	m.Release("default/b")
	m.Quarantine(netip.MustParseAddr("192.0.2.13"))
	u := m.Usage("lan", false)
	if u.Assigned != 2 || u.Quarantined != 1 || u.Reserved.Int64() != 1 || u.Free.Int64() != 3 {
		t.Errorf("IPv4: %+v", u)
	}
	if u := m.Usage("lan", true); u.Assigned != 0 || u.Free.Int64() != 4 || u.Reserved.Sign() != 0 {
		t.Errorf("IPv6: %+v", u)
	}
	if u := m.Usage("other", false); u.Free.Sign() != 0 {
		t.Errorf("of no pool: %+v", u)
	}
	if got := m.Resting(10); len(got) != 1 || got[0] != netip.MustParseAddr("192.0.2.10") {
		t.Errorf("resting: %v", got)
	}
	if got := m.Resting(0); len(got) != 0 {
		t.Errorf("none of them: %v", got)
	}
	m.Advance(now.Add(2 * time.Minute))
	if got := m.Resting(10); len(got) != 0 {
		t.Errorf("after the rest: %v", got)
	}
}
