package link_test

import (
	"net/netip"
	"testing"

	"github.com/baliza-lb/baliza/speaker/link"
)

func TestB05_The_default_gateway_is_followed_from_events(t *testing.T) {
	w := watch(t)
	ip(t, "link add lan1 type veth peer name far1")
	t.Cleanup(func() { ip(t, "link del lan1") })
	ip(t, "link set far1 up")
	ip(t, "link set lan1 up")
	ip(t, "addr add 192.0.2.11/24 dev lan1")
	leads := func(v4, v6 string) func(*link.Snapshot) bool {
		var want link.Gateways
		if v4 != "" {
			want.IPv4 = netip.MustParseAddr(v4)
		}
		if v6 != "" {
			want.IPv6 = netip.MustParseAddr(v6)
		}
		return func(s *link.Snapshot) bool { return s.Gateways == want }
	}
	await(t, w, "no gateway", leads("", ""))
	ip(t, "route add 198.51.100.0/24 via 192.0.2.9")
	ip(t, "route add default via 192.0.2.8 table 100")
	ip(t, "route add default via 192.0.2.2 metric 200")
	await(t, w, "a default route", leads("192.0.2.2", ""))
	ip(t, "route add default via 192.0.2.3 metric 100")
	await(t, w, "a better one", leads("192.0.2.3", ""))
	ip(t, "route add default metric 50 nexthop via 192.0.2.7 nexthop via 192.0.2.5")
	await(t, w, "one with two gateways", leads("192.0.2.5", ""))
	ip(t, "route del default metric 50")
	await(t, w, "the one before", leads("192.0.2.3", ""))
	ip(t, "-6 route add default via fe80::1 dev lan1")
	await(t, w, "a link-local one", leads("192.0.2.3", "fe80::1%lan1"))
	ip(t, "link set lan1 down")
	await(t, w, "none without the interface", leads("", ""))
}
