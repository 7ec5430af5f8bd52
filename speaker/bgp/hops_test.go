package bgp

import (
	"net/netip"
	"testing"
)

func TestB09_Over_how_many_hops_BFD_runs(t *testing.T) {
	needNetns(t) // in which 127.0.0.0/8 is the only subnet
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
