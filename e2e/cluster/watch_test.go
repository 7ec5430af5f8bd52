package cluster

import (
	"net/netip"
	"testing"
	"time"
)

func TestClaimedIsReadFromWhatTcpdumpSays(t *testing.T) {
	const arp = "ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 60"
	for text, want := range map[string]string{
		arp + ": Reply 192.0.2.200 is-at 02:00:c0:00:02:0b, length 46":                                                                                      "192.0.2.200",
		arp + ": Announcement 192.0.2.200, length 28":                                                                                                       "192.0.2.200",
		arp + ": Request who-has 192.0.2.200 tell 192.0.2.200, length 28":                                                                                   "192.0.2.200",
		arp + ": Request who-has 192.0.2.200 tell 192.0.2.100, length 28":                                                                                   "",
		arp + ": Request who-has 192.0.2.20 tell 192.0.2.200, length 28":                                                                                    "",
		"33:33:00:00:00:01, ethertype IPv6 (0x86dd), length 86: 2001:db8:1::11 > ff02::1: ICMP6, neighbor advertisement, tgt is 2001:db8:1::200, length 32": "2001:db8:1::200",
	} {
		a, ok := claimed(text)
		if ok != (want != "") || ok && a != netip.MustParseAddr(want) {
			t.Errorf("%s: %s %t, want %q", text, a, ok, want)
		}
	}
}

func TestMovesAreCountedForEachAddress(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.200"), netip.MustParseAddr("2001:db8:1::200")
	other := netip.MustParseAddr("192.0.2.1")
	said := func(all ...any) (answers []Answer) {
		for i := 0; i < len(all); i += 2 {
			answers = append(answers, Answer{Time: time.Unix(int64(i), 0), Address: all[i].(netip.Addr), Node: all[i+1].(string)})
		}
		return answers
	}
	for want, answers := range map[int][]Answer{
		0: said(a, "n1", b, "n2", a, "n1", other, "n1", other, "n2"),
		1: said(a, "n1", b, "n2", b, "n2", a, "n2"),
		3: said(a, "n1", a, "n2", a, "n1", b, "n1", b, "n3"),
	} {
		if got := Moves(answers, []netip.Addr{a, b}); len(got) != want {
			t.Errorf("%v, want %d: %v", got, want, answers)
		}
	}
}
