package config

import (
	"math/big"
	"net/netip"
	"strings"
	"testing"
)

func TestParseRange(t *testing.T) {
	for text, expected := range map[string]string{
		"192.0.2.0/24":               "192.0.2.0-192.0.2.255",
		" 192.0.2.0/31 ":             "192.0.2.0-192.0.2.1",
		"192.0.2.7/32":               "192.0.2.7-192.0.2.7",
		"192.0.2.10-192.0.2.20":      "192.0.2.10-192.0.2.20",
		"192.0.2.10 - 192.0.2.20":    "192.0.2.10-192.0.2.20",
		"192.0.2.10-192.0.2.10":      "192.0.2.10-192.0.2.10",
		"2001:db8::/126":             "2001:db8::-2001:db8::3",
		"2001:db8::a-2001:db8::1:0":  "2001:db8::a-2001:db8::1:0",
		"192.0.2.20-192.0.2.10":      "error: the range is reversed",
		"192.0.2.1/24":               "error: host bits set: did you mean 192.0.2.0/24?",
		"2001:db8::1/64":             "error: host bits set: did you mean 2001:db8::/64?",
		"192.0.2.1":                  "error: single address: write 192.0.2.1/32",
		"2001:db8::1":                "error: single address: write 2001:db8::1/128",
		"":                           "error: neither a CIDR",
		"lan":                        "error: neither a CIDR",
		"192.0.2.0/33":               "error: neither a CIDR",
		"192.0.2.0/24/24":            "error: neither a CIDR",
		"192.0.2.256-192.0.3.1":      "error: not an IP address",
		"192.0.2.1-":                 "error: not an IP address",
		"-192.0.2.1":                 "error: not an IP address",
		"192.0.2.1-192.0.2.2-3":      "error: not an IP address",
		"192.0.2.01-192.0.2.2":       "error: not an IP address",
		"192.0.2.1-2001:db8::1":      "error: different families",
		"fe80::1%eth0-fe80::2%eth0":  "error: zone",
		"fe80::100-fe80::1ff":        "error: link-local", // T18
		"169.254.10.0/24":            "error: link-local",
		"::ffff:192.0.2.1/128":       "error: IPv4-mapped",
		"::ffff:192.0.2.1-::ffff:c0": "error: IPv4-mapped",
		"0.0.0.0/0":                  "error: the unspecified address",
		"::/0":                       "error: the unspecified address",
		"126.0.0.0-128.0.0.0":        "error: loopback",
		"223.255.255.0-240.0.0.1":    "error: multicast",
		"240.0.0.0/4":                "error: broadcast",
		"::2-1::":                    "error: IPv4-mapped",
		"ff02::1-ff02::2":            "error: multicast",
		"127.0.0.1-127.0.0.2":        "error: loopback",
	} {
		t.Run(text, func(t *testing.T) {
			r, err := ParseRange(text)
			if wrong, isError := strings.CutPrefix(expected, "error: "); isError {
				if err == nil || !strings.Contains(err.Error(), wrong) {
					t.Errorf("got %s and %v, want an error with %q", r, err, wrong)
				}
				return
			}
			if err != nil || r.String() != expected {
				t.Errorf("got %s and %v, want %s", r, err, expected)
			}
		})
	}
}

func TestParseAddress(t *testing.T) {
	for text, wrong := range map[string]string{
		"192.0.2.1": "", "2001:db8::1": "", "fe80::1": "",
		"fe80::1%eth0": "zone", "::ffff:192.0.2.1": "IPv4-mapped", "192.0.2.1/32": "not an IP address", "": "not an IP address",
		"0.0.0.0": "unspecified", "::": "unspecified", "127.0.0.1": "loopback", "::1": "loopback",
		"224.0.0.1": "multicast", "ff02::1": "multicast", "255.255.255.255": "broadcast",
	} {
		a, err := ParseAddress(text)
		switch {
		case wrong == "" && (err != nil || a.String() != text):
			t.Errorf("%q: got %s, %v", text, a, err)
		case wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong) || a.IsValid()):
			t.Errorf("%q: got %s and %v, want an error with %q", text, a, err, wrong)
		}
	}
}

func TestRangeArithmetic(t *testing.T) {
	parse := func(text string) Range {
		t.Helper()
		r, err := ParseRange(text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	four, six := parse("192.0.2.16/28"), parse("2001:db8::/32")
	if four.Size().Int64() != 16 || six.Size().Cmp(new(big.Int).Lsh(big.NewInt(1), 96)) != 0 {
		t.Errorf("sizes %s and %s", four.Size(), six.Size())
	}
	for text, inside := range map[string]bool{
		"192.0.2.15": false, "192.0.2.16": true, "192.0.2.31": true, "192.0.2.32": false, "2001:db8::": false,
	} {
		if four.Contains(netip.MustParseAddr(text)) != inside {
			t.Errorf("%s in %s: want %v", text, four, inside)
		}
	}
	for text, overlaps := range map[string]bool{
		"192.0.2.0/28": false, "192.0.2.0-192.0.2.16": true, "192.0.2.31-192.0.2.40": true,
		"192.0.2.32/27": false, "192.0.2.20/32": true, "192.0.2.0/24": true, "2001:db8::/64": false,
	} {
		if r := parse(text); four.Overlaps(r) != overlaps || r.Overlaps(four) != overlaps {
			t.Errorf("%s and %s overlap: want %v", four, r, overlaps)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, seed := range []string{
		"192.0.2.0/24", "192.0.2.10-192.0.2.20", "2001:db8::/64", "2001:db8::1-2001:db8::2", "::/0", "0.0.0.0/0", "192.0.2.1",
		"fe80::1%eth0-fe80::2%eth0", "::ffff:192.0.2.1/128", "192.0.2.20-192.0.2.10", "-", "/", "1-2-3", "\x00", "٣.0.2.1/8",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRange(text)
		if err != nil {
			if r.First.IsValid() || r.Last.IsValid() {
				t.Fatalf("%q: a range comes with the error %v", text, err)
			}
			return
		}
		switch {
		case r.Last.Less(r.First), r.First.BitLen() != r.Last.BitLen(), r.First.Zone() != "", r.First.Is4In6():
			t.Fatalf("%q: %s is no range", text, r)
		case !r.Contains(r.First), !r.Contains(r.Last), r.Size().Sign() <= 0:
			t.Fatalf("%q: %s does not contain its ends", text, r)
		}
		again, err := ParseRange(r.String())
		if err != nil || again != r {
			t.Fatalf("%q: %s reads back as %s, %v", text, r, again, err)
		}
	})
}
