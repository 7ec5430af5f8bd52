package schematest

import (
	"maps"
	"strconv"
	"strings"
)

// bgpCases are the cases of what belongs to BGP.
func bgpCases() map[string]Case {
	const largest = int64(4294967295)
	selector := func(int) any { return map[string]any{} }
	digits := func(n int) any { return "1:" + strings.Repeat("1", n-2) }
	cases := map[string]Case{
		"bgppeers spec.dynamicASN enum":                                                                       {"external", "any"},
		"bgppeers spec.defaultGateway enum":                                                                   {"IPv6", "Both"},
		"bgppeers spec.interface maxLength":                                                                   {text(15), text(16)},
		"bgppeers spec.interface must be the name of an interface":                                            {"eth0.100", "eth0/1"},
		"bgppeers spec.holdTime must be 0s, or from 3s to 65535s":                                             {"3s", "2s"},
		"bgppeers spec.keepaliveTime must be from 1s to 21845s":                                               {"1s", "999ms"},
		"bgppeers spec.connectTime must be from 1s to 65535s":                                                 {"65535s", "65536s"},
		"bgppeers spec.nodeSelectors maxItems":                                                                {many(64, selector), many(65, selector)},
		"bgppeers spec.routerID minLength":                                                                    {"1.1.1.1", "1.1.1."},
		"bgppeers spec.routerID maxLength":                                                                    {"203.200.113.254", "203.200.113.2540"},
		"bgppeers spec.routerID must have the form of an IPv4 address":                                        {"192.0.2.254", "2001:db8::1"},
		"bgppeers spec.passwordSecret.namespace maxLength":                                                    {text(63), text(64)},
		"bgppeers spec.peerPort minimum":                                                                      {int64(1), int64(0)},
		"bgppeers spec.peerPort maximum":                                                                      {int64(65535), int64(65536)},
		"bgpadvertisements spec.ipAddressPools maxItems":                                                      {many(256, number), many(257, number)},
		"bgpadvertisements spec.ipAddressPools[] maxLength":                                                   {text(253), text(254)},
		"bgpadvertisements spec.peers maxItems":                                                               {many(256, number), many(257, number)},
		"bgpadvertisements spec.peers[] maxLength":                                                            {text(253), text(254)},
		"bgpadvertisements spec.communities maxItems":                                                         {many(63, number), many(64, number)},
		"bgpadvertisements spec.communities[] minLength":                                                      {text(1), text(0)},
		"bgpadvertisements spec.communities[] maxLength":                                                      {text(253), text(254)},
		"bfdprofiles spec.echoMode the echo function is not supported":                                        {false, true},
		"communities spec.communities maxItems":                                                               {many(256, alias), many(257, alias)},
		"communities spec.communities[].name minLength":                                                       {text(1), text(0)},
		"communities spec.communities[].name maxLength":                                                       {text(253), text(254)},
		"communities spec.communities[].value maxLength":                                                      {digits(40), digits(41)},
		"communities spec.communities[].value must be like 64512:100 or large:64512:1:2":                      {"large:4200000000:1:2", "64512:1:2"},
		"communities spec.communities[].name must not contain a colon, which would make it look like a value": {"backup", "back:up"},
		"bgppeers spec.vrf VRFs are not supported: the session runs in the node's main routing table":         {"", "red"},
	}
	cases["bgpadvertisements spec podCIDRs and externalIPs exclude aggregationLength and aggregationLengthV6: "+
		"the network around them is not this node's, or not the cluster's"] = Case{
		map[string]any{"podCIDRs": true, "externalIPs": true, "clusterIPs": true, "aggregationLength": int64(32)},
		map[string]any{"podCIDRs": true, "aggregationLength": int64(24)},
	}
	for _, list := range []string{"ipAddressPoolSelectors", "serviceSelectors", "nodeSelectors"} {
		cases["bgpadvertisements spec."+list+" maxItems"] = Case{many(64, selector), many(65, selector)}
	}
	for field, most := range map[string]int{"bfdProfile": 253, "password": 80, "passwordSecret.name": 253} {
		cases["bgppeers spec."+field+" minLength"] = Case{text(1), text(0)}
		cases["bgppeers spec."+field+" maxLength"] = Case{text(most), text(most + 1)}
	}
	for field, bounds := range map[string][2]int64{
		"bgppeers spec.myASN": {1, largest}, "bgppeers spec.localASN": {1, largest}, "bgppeers spec.peerASN": {0, largest},
		"bgpadvertisements spec.aggregationLength": {1, 32}, "bgpadvertisements spec.aggregationLengthV6": {1, 128},
		"bgpadvertisements spec.localPref": {0, largest}, "bgpadvertisements spec.med": {0, largest},
		"bgpadvertisements spec.asPathPrepend": {0, 10},
		"bfdprofiles spec.detectMultiplier":    {2, 255}, "bfdprofiles spec.minimumTtl": {1, 254},
		"bfdprofiles spec.receiveInterval": {10, 60000}, "bfdprofiles spec.transmitInterval": {10, 60000}, "bfdprofiles spec.echoInterval": {10, 60000},
	} {
		cases[field+" minimum"] = Case{bounds[0], bounds[0] - 1}
		cases[field+" maximum"] = Case{bounds[1], bounds[1] + 1}
	}
	for _, field := range []string{"peerAddress", "sourceAddress"} {
		const long = "0000:0000:0000:0000:0000:0000:255.255.255.255"
		field = "bgppeers spec." + field
		cases[field+" minLength"] = Case{"::", ":"}
		cases[field+" maxLength"] = Case{long, long + "0"}
		cases[field+" must be an IP address"] = Case{"2001:db8::1", "router.example"}
	}
	maps.Copy(cases, peerCases())
	return cases
}

// peerCases are the cases of what fields of a BGPPeer say together.
func peerCases() map[string]Case {
	cases := map[string]Case{
		"set one of peerASN, peerASNFrom and dynamicASN": {with("peerASN", nil, "peerASNFrom", asnLabel()), with("peerASNFrom", asnLabel())},
		"set either myASN or myASNFrom":                  {with("myASN", nil, "myASNFrom", asnLabel()), with("myASNFrom", asnLabel())},
		"set either password or passwordSecret":          {with("password", "a"), with("password", "a", "passwordSecret", map[string]any{"name": "a"})},
		"localASN must differ from myASN":                {with("localASN", int64(64999)), with("localASN", int64(64513))},
		"set one of peerAddress, peerAddressFrom, interface and defaultGateway; only a link-local peerAddress goes with its interface": {
			with("peerAddress", "fe80::1", "interface", "eth0"), with("peerAddress", "2001:db8::1", "interface", "eth0"),
		},
		"sourceAddress goes with peerAddress": {
			with("sourceAddress", "192.0.2.11"), with("sourceAddress", "192.0.2.11", "peerAddress", nil, "defaultGateway", "IPv4"),
		},
		"sourceAddress and peerAddress must be of one family": {
			with("sourceAddress", "2001:db8::11", "peerAddress", "2001:db8::1"), with("sourceAddress", "2001:db8::11"),
		},
		"ttlSecurity is for peers one hop away: it excludes ebgpMultiHop": {
			with("ttlSecurity", true, "ebgpMultiHop", false), with("ttlSecurity", true, "ebgpMultiHop", true),
		},
		"ebgpMultiHop goes with peerAddress: what an interface or a default route leads to is one hop away": {
			with("ebgpMultiHop", true, "bfdProfile", "fast"), with("ebgpMultiHop", true, "peerAddress", nil, "interface", "eth0"),
		},
		"disableMP excludes dualStackAddressFamily": {with("disableMP", true), with("disableMP", true, "dualStackAddressFamily", true)},
	}
	named := make(map[string]Case, len(cases))
	for name, c := range cases {
		named["bgppeers spec "+name] = c
	}
	for _, field := range []string{"peerAddressFrom", "peerASNFrom", "myASNFrom"} {
		field = "bgppeers spec." + field
		named[field+" set either nodeLabel or nodeAnnotation"] = Case{
			map[string]any{"nodeAnnotation": "example.com/tor"}, map[string]any{"nodeAnnotation": "example.com/tor", "nodeLabel": "example.com/tor"},
		}
		for _, key := range []string{"nodeLabel", "nodeAnnotation"} {
			named[field+"."+key+" minLength"] = Case{text(1), text(0)}
			named[field+"."+key+" maxLength"] = Case{text(317), text(318)}
		}
	}
	return named
}

func asnLabel() map[string]any { return map[string]any{"nodeLabel": "asn"} }

// with is a peer's spec with these fields; nil removes one.
func with(fields ...any) any {
	changes := map[string]any{}
	for i := 0; i < len(fields); i += 2 {
		changes[fields[i].(string)] = fields[i+1]
	}
	return peerSpec(changes)
}

func alias(i int) any { return map[string]any{"name": strconv.Itoa(i), "value": "1:1"} }
