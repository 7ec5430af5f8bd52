package lab

import (
	"errors"
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

func TestReport(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }
	good := func(start, latency int) Attempt {
		return Attempt{Start: at(start), Latency: time.Duration(latency) * time.Millisecond, Pod: "p", Node: "n"}
	}
	bad := func(start, latency int) Attempt {
		a := good(start, latency)
		a.Err = errors.New("no")
		return a
	}
	for name, c := range map[string]struct {
		all              []Attempt
		outage, begin    int
		successes, fails int
	}{
		"nothing tried":                                {nil, 0, 0, 0, 0},
		"all well":                                     {[]Attempt{good(0, 1), good(10, 1), good(20, 1)}, 10, 1, 3, 0},
		"an outage in the middle":                      {[]Attempt{good(0, 1), bad(10, 100), bad(20, 100), good(200, 1)}, 200, 1, 2, 2},
		"an outage that outlasts the probing":          {[]Attempt{good(0, 1), bad(10, 500)}, 509, 1, 1, 1},
		"never an answer":                              {[]Attempt{bad(0, 100), bad(10, 100)}, 110, 0, 0, 2},
		"a late answer does not count as an early one": {[]Attempt{good(0, 1), good(10, 900), good(905, 1)}, 905, 1, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := report(c.all)
			if r.Outage != time.Duration(c.outage)*time.Millisecond || r.Successes != c.successes || len(r.Failures) != c.fails {
				t.Errorf("got %s, %d failures", r, len(r.Failures))
			}
			if len(c.all) > 0 && !r.OutageStart.Equal(at(c.begin)) {
				t.Errorf("the outage began at %s", r.OutageStart.Sub(at(0)))
			}
		})
	}
}

func TestReadAnswer(t *testing.T) {
	pod, node, err := readAnswer(strings.NewReader("HTTP/1.0 200 OK\r\n\r\nweb-1 n2 192.0.2.100:5\n"))
	if pod != "web-1" || node != "n2" || err != nil {
		t.Errorf("got %q %q %v", pod, node, err)
	}
	if _, _, err := readAnswer(strings.NewReader("HTTP/1.0 503 No\r\n\r\n")); err == nil {
		t.Error("a 503 is no answer")
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
