package cluster

import (
	"net/netip"
	"testing"
	"time"
)

func TestWhatBIRDSaysOfAPrefix(t *testing.T) {
	const out = `BIRD 2.0.12 ready.
Table master4:
203.0.113.1/32       unicast [n1 02:26:38.000] * (100) [AS64513i]
	via 192.0.2.11 on eth0
	Type: BGP univ
	BGP.origin: IGP
	BGP.as_path: 64513 64513
	BGP.next_hop: 192.0.2.11
	BGP.med: 50
	BGP.local_pref: 250
	BGP.community: (64513,77) (64513,100)
	BGP.large_community: (64513, 1, 2)
                     unicast [n2 02:26:38.000] (100) [AS64513i]
	via 192.0.2.12 on eth0
	BGP.as_path: 64513
	BGP.community: (65535,0)
203.0.113.2/32       unicast [n1 02:26:38.000] * (100) [AS64513i]
	BGP.as_path: 1
`
	at := time.Date(2026, 1, 2, 3, 0, 0, 0, time.Local)
	if age, err := birdAge(out, at); err != nil || age != 33*time.Minute+22*time.Second {
		t.Errorf("age %s, %v", age, err)
	}
	got := birdPaths(out, netip.MustParsePrefix("203.0.113.1/32"))
	if len(got) != 2 || got[1].ASPath.String != "64513" || got[1].Community.String != GracefulShutdown {
		t.Fatalf("%+v", got)
	}
	if p := got[0]; p.ASPath.String != "64513 64513" || p.Metric != 50 || p.LocalPref != 250 ||
		p.Community.String != "64513:77 64513:100" || p.LargeCommunity.String != "64513:1:2" {
		t.Errorf("%+v", p)
	}
}

func TestWhatBIRDSaysOfBFD(t *testing.T) {
	const out = `BIRD 2.0.12 ready.
bfd1:
IP address                Interface  State      Since         Interval  Timeout
192.0.2.11                eth0       Up         07:01:02.003    0.100    0.300
192.0.2.12                eth0       Up         07:01:02.003    1.000    3.000
192.0.2.13                eth0       Down       07:01:02.003    1.000    0.000
`
	all := []netip.Addr{netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("192.0.2.12"), netip.MustParseAddr("192.0.2.13")}
	if !birdWatches(out, all[:1]) || birdWatches(out, all[:2]) || birdWatches(out, all) {
		t.Error("it has one of three up at full pace")
	}
}
