package config

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAddressListsAreWrittenAsRanges(t *testing.T) {
	for text, all := range map[string][]string{
		"[]":                                        nil,
		"[192.0.2.1]":                               {"192.0.2.1"},
		"[192.0.2.1-192.0.2.3 192.0.2.5]":           {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.5"},
		"[192.0.2.255-192.0.3.0 2001:db8::ffff]":    {"192.0.2.255", "192.0.3.0", "2001:db8::ffff"},
		"[198.18.0.1 2001:db8::1-2001:db8::2]":      {"198.18.0.1", "2001:db8::1", "2001:db8::2"},
		"[223.255.255.255 2001:db8::1:0]":           {"223.255.255.255", "2001:db8::1:0"},
		"[2001:db8::ffff-2001:db8::1:1 2001:db9::]": {"2001:db8::ffff", "2001:db8::1:0", "2001:db8::1:1", "2001:db9::"},
	} {
		var addresses []netip.Addr
		for _, a := range all {
			addresses = append(addresses, netip.MustParseAddr(a))
		}
		if got := fmt.Sprint(FormatAddresses(addresses)); got != text {
			t.Errorf("%s, want %s", got, text)
		}
	}
}

// What is reported comes from nodes, any of which may have been broken into.
func TestAddressListsThatAreWrongAreReadAsFarAsTheyGo(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1":                     "[192.0.2.1]",
		"192.0.2.1-192.0.2.1":           "[192.0.2.1]",
		"192.0.2.1-192.0.2.2":           "[192.0.2.1 192.0.2.2]",
		"::2-ffff:ffff::":               "[]",
		"2001:db8::-2001:db8:ffff::":    "[2001:db8:: 2001:db8::1 2001:db8::2]",
		"192.0.2.2-192.0.2.1":           "[]",
		"192.0.2.1-2001:db8::1":         "[]",
		"192.0.2.1-192.0.2.2-192.0.2.3": "[]",
		"192.0.2.1-":                    "[]",
		"-":                             "[]",
		"":                              "[]",
		"fe80::1%eth0":                  "[]",
		"223.255.255.254-224.0.0.1":     "[]",
	} {
		if got := fmt.Sprint(ParseAddresses([]string{text}, 3)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got := ParseAddresses([]string{"192.0.2.1-192.0.2.3", "nothing", "192.0.2.9", "192.0.2.11"}, 4); len(got) != 4 || got[3].String() != "192.0.2.9" {
		t.Errorf("%v", got)
	}
}

func TestAddressListsAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var addresses []netip.Addr
		for _, at := range rapid.SliceOfN(rapid.Uint16Range(0, 200), 0, 100).Draw(t, "addresses") {
			addresses = append(addresses, netip.AddrFrom4([4]byte{198, 18, byte(at >> 6), byte(at&63) + 192}))
		}
		slices.SortFunc(addresses, netip.Addr.Compare)
		addresses = slices.Compact(addresses)
		if got := ParseAddresses(FormatAddresses(addresses), 1000); !slices.Equal(got, addresses) {
			t.Fatalf("%v came back as %v", addresses, got)
		}
	})
}
