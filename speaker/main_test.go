package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestMemberAddressIsOneThatOthersCanReach(t *testing.T) {
	for address, valid := range map[string]bool{
		"192.0.2.11": true, "2001:db8::11": true,
		"": false, "n1": false, "192.0.2.11:7946": false,
		"0.0.0.0": false, "::": false, "127.0.0.1": false, "::1": false,
		"224.0.0.1": false, "fe80::1": false, "fe80::1%eth0": false,
	} {
		f := flags{nodeName: "n1", keyFile: "key", memberAddress: address, memberPort: 7946, shutdownGrace: time.Second}
		listen, err := f.check()
		if valid && (err != nil || listen != netip.AddrPortFrom(netip.MustParseAddr(address), 7946)) {
			t.Errorf("%q: %s, %v", address, listen, err)
		}
		if !valid && err == nil {
			t.Errorf("%q is accepted", address)
		}
	}
}

func TestL11_TheDepartureWindowIsBounded(t *testing.T) {
	for window, valid := range map[time.Duration]bool{
		minShutdownGrace: true, 800 * time.Millisecond: true, maxShutdownGrace: true,
		0: false, -time.Second: false, minShutdownGrace - 1: false, maxShutdownGrace + 1: false, 10 * time.Second: false,
	} {
		f := flags{nodeName: "n1", keyFile: "key", memberAddress: "192.0.2.11", memberPort: 7946, shutdownGrace: window}
		if _, err := f.check(); (err == nil) != valid || err != nil && !strings.Contains(err.Error(), "--shutdown-grace-period "+window.String()+": must be from 100ms to 3s") {
			t.Errorf("%s: %v", window, err)
		}
	}
}
