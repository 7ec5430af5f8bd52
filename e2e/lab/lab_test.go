package lab

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAddressesAreReservedForDocumentation(t *testing.T) {
	var reserved []netip.Prefix
	for _, p := range []string{"192.0.2.0/24", "198.18.0.0/15", "2001:db8::/32"} {
		reserved = append(reserved, netip.MustParsePrefix(p))
	}
	var ours []netip.Addr
	for _, p := range []string{LAN4, LAN6, Pods4, Pods6, Service4, Service6, VIPs4, VIPs6} {
		ours = append(ours, netip.MustParsePrefix(p).Addr())
	}
	for n := 1; n <= 89; n++ {
		h := newHost("x", 10+n)
		p4, p6 := podRanges(n)
		ours = append(ours, h.IPv4, h.IPv6, p4.Addr(), p6.Addr())
	}
	for _, a := range ours {
		if !slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) }) {
			t.Errorf("%s is nobody's to use", a)
		}
	}
}

func TestHardwareAddressesAreLocalAndDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, kind := range []byte{macHost, macSwitch} {
		for n := 1; n < 255; n++ {
			v4, _ := lanAddresses(n)
			m := mac(kind, v4)
			if m[0]&3 != 2 {
				t.Fatalf("%s is not a locally administered unicast address", m)
			}
			if seen[m.String()] {
				t.Fatalf("%s occurs twice", m)
			}
			seen[m.String()] = true
		}
	}
}

func TestControlPlaneArgumentsNameTheirFiles(t *testing.T) {
	all := strings.Join(slices.Concat(apiServerArgs("/x"), controllerManagerArgs("/x", "/x/k"), schedulerArgs("/x/k")), " ")
	for _, want := range []string{
		"--authorization-mode=Node,RBAC", "NodeRestriction", "--service-cluster-ip-range=198.19.0.0/17,2001:db8:3::/112",
		"--service-account-signing-key-file=/x/sa.key", "--root-ca-file=/x/ca.crt", "--kubeconfig=/x/k",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %s", want, all)
		}
	}
}

func TestParsePackets(t *testing.T) {
	got := parsePackets("tcpdump: listening on eth0, link-type EN10MB\n" +
		"1700000000.000000001 02:00 > 02:01, ARP, Reply 192.0.2.11 is-at 02:00, length 28\n" +
		"1 packet captured\n0 packets dropped by kernel\n")
	if len(got) != 1 || !got[0].Time.Equal(time.Unix(1700000000, 1)) || !strings.HasSuffix(got[0].Text, "length 28") {
		t.Errorf("got %v", got)
	}
}
