package main

import (
	"net/netip"
	"testing"
)

func TestMemberAddressIsOneThatOthersCanReach(t *testing.T) {
	for address, valid := range map[string]bool{
		"192.0.2.11": true, "2001:db8::11": true,
		"": false, "n1": false, "192.0.2.11:7946": false,
		"0.0.0.0": false, "::": false, "127.0.0.1": false, "::1": false,
		"224.0.0.1": false, "fe80::1": false, "fe80::1%eth0": false,
	} {
		f := flags{nodeName: "n1", keyFile: "key", memberAddress: address, memberPort: 7946}
		listen, err := f.check()
		if valid && (err != nil || listen != netip.AddrPortFrom(netip.MustParseAddr(address), 7946)) {
			t.Errorf("%q: %s, %v", address, listen, err)
		}
		if !valid && err == nil {
			t.Errorf("%q is accepted", address)
		}
	}
}
