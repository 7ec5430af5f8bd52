package bgp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"pgregory.net/rapid"

	"github.com/baliza-lb/baliza/speaker/model"
)

func TestB09_Over_how_many_hops_BFD_runs(t *testing.T) {
	const here, elsewhere = "192.0.2.9", "198.51.100.1"
	addresses := []Address{{Interface: "eth0", Prefix: netip.MustParsePrefix("192.0.2.11/24")}}
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
		"our AS, on this node":                   {Peer{}, true, "127.0.0.1", false},
	} {
		c := &conn{peer: test.peer, router: netip.MustParseAddr(test.router), encoding: encoding{internal: test.internal}}
		if got := c.multihop(addresses); got != test.want {
			t.Errorf("%s: several hops %t", sentence, got)
		}
	}
}

// More than fits into one message, each with the IPv6 next hop (RFC 8950).
func TestB05_IPv4_prefixes_with_an_IPv6_next_hop(t *testing.T) {
	e := sample(false, true)
	e.extended, e.next4, e.next6 = true, netip.Addr{}, netip.MustParseAddr("fe80::1")
	desired := map[netip.Prefix]model.Attributes{}
	for i := range 3000 {
		desired[netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 32)] = model.Attributes{}
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

// D4, T07, T08: which address stands as next hop.
func TestD4_T07_T08_NextHops(t *testing.T) {
	at := func(name, prefix string) Address {
		return Address{Interface: name, Prefix: netip.MustParsePrefix(prefix)}
	}
	deprecated, temporary := at("eth0", "2001:db8:1::d/64"), at("eth0", "2001:db8:1::7e/64")
	deprecated.Deprecated, temporary.Temporary = true, true
	lan := []Address{at("lo", "127.0.0.1/8"), at("lo", "::1/128"), at("eth0", "192.0.2.11/24"), at("eth0", "fe80::11/64"), at("docker0", "172.17.0.1/16"), at("docker0", "2001:db8:d::1/64")}
	with := func(more ...Address) []Address { return append(append([]Address(nil), lan...), more...) }
	for sentence, test := range map[string]struct {
		local, router string
		family        family
		current       string
		node          string
		source        string
		addresses     []Address
		want          string
	}{
		"the session's own":                            {local: "192.0.2.11", family: familyIPv4, addresses: lan, want: "192.0.2.11"},
		"the interface has none":                       {local: "192.0.2.11", family: familyIPv6, addresses: lan, want: "no IPv6 next hop on eth0"},
		"it has one":                                   {local: "192.0.2.11", family: familyIPv6, addresses: with(at("eth0", "2001:db8:1::11/64")), want: "2001:db8:1::11"},
		"T07: a virtual one beside it":                 {local: "192.0.2.11", family: familyIPv6, addresses: with(at("eth0", "2001:db8:1::aa/128"), at("eth0", "2001:db8:1::eb/64")), want: "2001:db8:1::eb"},
		"only one without a subnet, as DHCPv6 has it":  {local: "192.0.2.11", family: familyIPv6, addresses: with(at("eth0", "2001:db8:1::aa/128")), want: "2001:db8:1::aa"},
		"T07: a deprecated and a temporary one":        {local: "192.0.2.11", family: familyIPv6, addresses: with(deprecated, temporary, at("eth0", "2001:db8:1::ff/64")), want: "2001:db8:1::ff"},
		"only a deprecated one, which still works":     {local: "192.0.2.11", family: familyIPv6, addresses: with(deprecated), want: "2001:db8:1::d"},
		"rather temporary than deprecated":             {local: "192.0.2.11", family: familyIPv6, addresses: with(deprecated, temporary), want: "2001:db8:1::7e"},
		"it stays with the one that is told":           {local: "192.0.2.11", family: familyIPv6, current: "2001:db8:1::eb", addresses: with(at("eth0", "2001:db8:1::aa/64"), at("eth0", "2001:db8:1::eb/64")), want: "2001:db8:1::eb"},
		"until that goes":                              {local: "192.0.2.11", family: familyIPv6, current: "2001:db8:1::eb", addresses: with(at("eth0", "2001:db8:1::aa/64")), want: "2001:db8:1::aa"},
		"T08: a loopback with both":                    {local: "2001:db8:0:1::1", router: "2001:db8:1::ff", family: familyIPv4, addresses: with(at("lo", "2001:db8:0:1::1/128"), at("lo", "198.51.100.1/32")), want: "198.51.100.1"},
		"T08: one of the interface to the router":      {local: "2001:db8:0:1::1", router: "2001:db8:1::ff", family: familyIPv4, addresses: with(at("lo", "2001:db8:0:1::1/128"), at("eth0", "2001:db8:1::11/64")), want: "192.0.2.11"},
		"T08: the router is further away":              {local: "2001:db8:0:1::1", router: "2001:db8:9::ff", source: "2001:db8:1::11", family: familyIPv4, addresses: with(at("lo", "2001:db8:0:1::1/128"), at("eth0", "2001:db8:1::11/64")), want: "192.0.2.11"},
		"T08: none can be had":                         {local: "2001:db8:0:1::1", router: "2001:db8:9::ff", family: familyIPv4, addresses: with(at("lo", "2001:db8:0:1::1/128")), want: "no IPv4 next hop"},
		"T09: a router on this node":                   {local: "127.0.0.2", router: "127.0.0.1", family: familyIPv4, node: "192.0.2.11", addresses: lan, want: "192.0.2.11"},
		"T09: for the other family, too":               {local: "127.0.0.2", router: "127.0.0.1", family: familyIPv6, node: "192.0.2.11", addresses: with(at("eth0", "2001:db8:1::11/64")), want: "2001:db8:1::11"},
		"T09: and nothing is known of the node":        {local: "127.0.0.2", router: "127.0.0.1", family: familyIPv4, addresses: lan, want: "no IPv4 next hop"},
		"unnumbered":                                   {local: "fe80::11%eth0", router: "fe80::1%eth0", family: familyIPv6, addresses: lan, want: "fe80::11"},
		"unnumbered, IPv4 without extended next hops":  {local: "fe80::11%eth0", router: "fe80::1%eth0", family: familyIPv4, addresses: lan, want: "192.0.2.11"},
		"an address that no interface has (any more?)": {local: "192.0.2.99", router: "203.0.113.1", family: familyIPv6, addresses: lan, want: "no interface of this node has the session's address"},
	} {
		w := where{local: netip.MustParseAddr(test.local), router: netip.MustParseAddr("192.0.2.254"), addresses: test.addresses}
		if test.router != "" {
			w.router = netip.MustParseAddr(test.router)
		}
		w.source = func(netip.Addr) netip.Addr { a, _ := netip.ParseAddr(test.source); return a }
		w.node, _ = netip.ParseAddr(test.node)
		current, _ := netip.ParseAddr(test.current)
		next, why := w.nextHop(test.family, current)
		if got := next.String(); next.IsValid() && got != test.want || !next.IsValid() && !strings.Contains(why, test.want) {
			t.Errorf("%s: %s %q, want %s", sentence, next, why, test.want)
		}
	}
}

// D4, D5: an address that comes after the session is opened, moves and goes is
// followed, in the same session; the status says what is carried, and why not.
func TestD4_D5_NextHopsFollowTheAddresses(t *testing.T) {
	r, s := newRouter(t), newSessions(t)
	r.both = true
	peer := r.peer("r")
	peer.DualFamily = true
	v4, v6 := netip.MustParsePrefix("203.0.113.1/32"), netip.MustParsePrefix("2001:db8:5::1/128")
	node := Address{Interface: "eth0", Prefix: netip.MustParsePrefix("192.0.2.11/24")}
	s.SetAddresses([]Address{node})
	s.Apply([]Desired{{Peer: peer, Paths: Paths{{v4, plain()}, {v6, plain()}}}})
	conn, _ := r.meet(64512)
	defer func() { _ = conn.Close() }()
	st := await(t, s, "r", "told of one", func(st *Status) bool { return st.Sent == 1 })
	if st.IPv6.Carried || !st.IPv6.Wanted || !strings.Contains(st.IPv6.Why, "no IPv6 next hop on eth0") || st.Told.Covers(v6.Addr()) || !st.Told.Covers(v4.Addr()) {
		t.Errorf("%+v", st)
	}
	for _, hop := range []string{"2001:db8:1::11", "2001:db8:1::12"} {
		s.SetAddresses([]Address{node, {Interface: "eth0", Prefix: netip.PrefixFrom(netip.MustParseAddr(hop), 64)}})
		st = await(t, s, "r", "told by "+hop, func(st *Status) bool { return st.Sent == 2 && st.IPv6.NextHop.String() == hop })
		if !st.IPv6.Carried || st.IPv6.Why != "" || !st.Told.Covers(v6.Addr()) {
			t.Errorf("%+v", st)
		}
	}
	s.SetAddresses([]Address{node})
	if st = await(t, s, "r", "told of one again", func(st *Status) bool { return st.Sent == 1 }); st.Established != 1 {
		t.Errorf("%d sessions", st.Established)
	}
}

// D5, T06: the router has not activated a family.
func TestD5_T06_AFamilyThatTheRouterDoesNotOffer(t *testing.T) {
	r, s := newRouter(t), newSessions(t)
	peer := r.peer("r")
	peer.DualFamily = true
	s.Apply([]Desired{{Peer: peer, Paths: Paths{{netip.MustParsePrefix("2001:db8:5::1/128"), plain()}}}})
	r.meet(64512)
	st := await(t, s, "r", "established", func(st *Status) bool { return established(st) && st.IPv4.Carried })
	if st.IPv6.Carried || !strings.Contains(st.IPv6.Why, "does not offer IPv6") || st.Sent != 0 || len(st.Told) != 0 {
		t.Errorf("%+v", st)
	}
}

// Covers is what a walk over all prefixes finds.
func TestCovers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := map[netip.Prefix]model.Attributes{}
		address := func(what string) netip.Addr {
			last := byte(rapid.IntRange(0, 255).Draw(t, what))
			if rapid.Bool().Draw(t, "IPv6") {
				return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: last})
			}
			return netip.AddrFrom4([4]byte{198, 18, byte(rapid.IntRange(0, 1).Draw(t, what)), last})
		}
		for range rapid.IntRange(0, 8).Draw(t, "count") {
			a := address("prefix")
			prefix, _ := a.Prefix(a.BitLen() - rapid.IntRange(0, 12).Draw(t, "bits"))
			all[prefix] = model.Attributes{}
		}
		paths, a := ordered(all), address("address")
		want := slices.ContainsFunc(paths, func(r Route) bool { return r.Prefix.Contains(a) })
		if got := paths.Covers(a); got != want {
			t.Fatalf("%v covers %s: %t", paths, a, got)
		}
	})
}
