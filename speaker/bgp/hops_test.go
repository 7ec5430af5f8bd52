package bgp

import (
	"net/netip"
	"testing"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/baliza-lb/baliza/internal/netnstest"
)

func TestB09_Over_how_many_hops_BFD_runs(t *testing.T) {
	netnstest.Need(t) // in which 127.0.0.0/8 is the only subnet
	const here, elsewhere = "127.0.0.9", "198.51.100.1"
	for sentence, test := range map[string]struct {
		peer     Peer
		internal bool
		router   string
		want     bool
	}{
		"another AS, on a subnet":                {Peer{}, false, here, false},
		"another AS, on none":                    {Peer{}, false, elsewhere, false},
		"another AS, and routers may be between": {Peer{MultiHop: true}, false, elsewhere, true},
		"the same, and it is on a subnet":        {Peer{MultiHop: true}, false, here, true},
		"our AS, on a subnet":                    {Peer{}, true, here, false},
		"our AS, on none":                        {Peer{}, true, elsewhere, true},
		"our AS, on none, one hop away":          {Peer{TTLSecurity: true}, true, elsewhere, false},
		"our AS, at the end of an interface":     {Peer{Interface: "eth0"}, true, "fe80::1%eth0", false},
	} {
		c := &conversation{session: &session{peer: test.peer}, router: netip.MustParseAddr(test.router), encoding: encoding{internal: test.internal}}
		if got := c.severalHops(); got != test.want {
			t.Errorf("%s: several hops %t", sentence, got)
		}
	}
}

// More than fits into one message, each with the IPv6 next hop (RFC 8950).
func TestB05_IPv4_prefixes_with_an_IPv6_next_hop(t *testing.T) {
	e := sample(false, true)
	e.extended, e.next4, e.next6 = true, netip.Addr{}, netip.MustParseAddr("fe80::1")
	desired := map[netip.Prefix]*Path{}
	for i := range 3000 {
		desired[netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 32)] = &Path{}
	}
	told := 0
	for _, update := range written(t, e, nil, ordered(desired)) {
		if len(update.NLRI) > 0 {
			t.Error("prefixes outside of MP_REACH_NLRI")
		}
		for _, a := range update.PathAttributes {
			switch a := a.(type) {
			case *wire.PathAttributeNextHop:
				t.Error("there is a NEXT_HOP")
			case *wire.PathAttributeMpReachNLRI:
				if a.AFI != wire.AFI_IP || a.Nexthop != e.next6 {
					t.Errorf("AFI %d, next hop %s", a.AFI, a.Nexthop)
				}
				told += len(a.Value)
			}
		}
	}
	if told != len(desired) {
		t.Errorf("%d prefixes, want %d", told, len(desired))
	}
	gone := 0
	for _, update := range written(t, e, ordered(desired), nil) {
		gone += len(update.WithdrawnRoutes)
	}
	if gone != len(desired) {
		t.Errorf("%d withdrawn, want %d", gone, len(desired))
	}
}
