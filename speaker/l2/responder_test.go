package l2_test

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/internal/netnstest"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/model"
)

var (
	vip4 = netip.MustParseAddr("192.0.2.10")
	vip6 = netip.MustParseAddr("2001:db8::10")
)

// lan returns lan0 as it is now.
func lan(t *testing.T, epoch uint64) l2.Interface {
	t.Helper()
	i, err := net.InterfaceByName("lan0")
	if err != nil {
		t.Fatal(err)
	}
	return l2.Interface{Name: i.Name, Index: i.Index, MAC: i.HardwareAddr, Epoch: epoch}
}

func desire(on l2.Interface, addresses ...netip.Addr) l2.Desired {
	d := l2.Desired{Interfaces: []l2.Interface{on}}
	for _, a := range slices.SortedFunc(slices.Values(addresses), netip.Addr.Compare) {
		d.Answers = append(d.Answers, model.Answer{Address: a, Interfaces: []string{on.Name}})
	}
	return d
}

func start(t *testing.T) *l2.Responder {
	t.Helper()
	r := l2.New()
	t.Cleanup(r.Close)
	return r
}

func apply(t *testing.T, r *l2.Responder, d l2.Desired) {
	t.Helper()
	if problems := r.Apply(d); len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
}

// L06, with arping as the witness.
func TestARPIsAnsweredForHeldAddressesOnly(t *testing.T) {
	s := segment(t)
	r := start(t)
	on := lan(t, 1)
	apply(t, r, desire(on, vip4))

	out := s.Run("arping -C 2 -w 30 -I eth0 192.0.2.10")
	if !strings.Contains(strings.ToLower(out), on.MAC.String()) {
		t.Errorf("arping did not hear our MAC %s: %s", on.MAC, out)
	}
	if out, err := s.Try("arping -c 1 -w 0.3 -I eth0 192.0.2.11"); err == nil {
		t.Errorf("an address that is not held was answered: %s", out)
	}
	if out, err := s.Try("arping -d -c 1 -w 1 -I eth0 192.0.2.10"); err != nil && strings.Contains(out, "duplicate") {
		t.Errorf("more than one answer: %s", out)
	}
	if out, _ := s.Try("arping -0 -C 1 -w 30 -I eth0 192.0.2.10"); !strings.Contains(strings.ToLower(out), on.MAC.String()) {
		t.Errorf("a probe from 0.0.0.0 (RFC 5227) was not answered: %s", out)
	}
	unicast := "arping -C 1 -w 30 -I eth0 -t " + on.MAC.String() + " 192.0.2.10"
	if out, _ := s.Try(unicast); !strings.Contains(strings.ToLower(out), on.MAC.String()) {
		t.Errorf("a unicast request was not answered: %s", out)
	}
	apply(t, r, l2.Desired{})
	if out, err := s.Try("arping -c 1 -w 0.3 -I eth0 192.0.2.10"); err == nil {
		t.Errorf("an address that was let go is answered: %s", out)
	}
	if got := r.Stats().ARP.Answered; got == 0 {
		t.Error("answers are not counted")
	}
}

// L06: requests for addresses far from ours do not reach the process, and the
// kernel's filter follows what is held.
func TestTheKernelDropsWhatIsForOthers(t *testing.T) {
	s := segment(t)
	r := start(t)
	on := lan(t, 1)
	apply(t, r, desire(on, vip4))
	for _, other := range []string{"192.0.2.9", "192.0.2.11", "203.0.113.1"} {
		if _, err := s.Try("arping -c 2 -w 0.3 -I eth0 " + other); err == nil {
			t.Errorf("%s is answered", other)
		}
	}
	if got := r.Stats().ARP; got.Ignored > 0 {
		t.Errorf("they reached us: %+v", got)
	}
	more := netip.MustParseAddr("192.0.2.200")
	apply(t, r, desire(on, vip4, more))
	for _, a := range []netip.Addr{vip4, more} {
		s.Run("arping -C 1 -w 30 -I eth0 " + a.String())
	}
	apply(t, r, desire(on, more))
	s.Run("arping -C 1 -w 30 -I eth0 " + more.String())
	answered := r.Stats().ARP
	if _, err := s.Try("arping -c 1 -w 0.3 -I eth0 " + vip4.String()); err == nil || r.Stats().ARP.Ignored > answered.Ignored {
		t.Errorf("what was let go reaches us still: %+v", r.Stats().ARP)
	}
}

// L07, with ndisc6 and the kernel's own neighbor discovery as witnesses.
func TestNDPIsAnsweredMulticastAndUnicast(t *testing.T) {
	s := segment(t)
	r := start(t)
	on := lan(t, 1)
	apply(t, r, desire(on, vip6))

	out := s.Run("ndisc6 -1 -r 30 -w 1000 2001:db8::10 eth0")
	if !strings.Contains(strings.ToLower(out), on.MAC.String()) {
		t.Errorf("ndisc6 did not hear our MAC %s: %s", on.MAC, out)
	}
	if out, err := s.Try("ndisc6 -1 -r 1 -w 200 2001:db8::11 eth0"); err == nil {
		t.Errorf("an address that is not held was answered: %s", out)
	}
	// The kernel resolves, then verifies by unicast (NUD): stale to reachable.
	_, _ = s.Try("ping -6 -c 1 -W 1 2001:db8::10")
	awaitNeighbor(t, s, "2001:db8::10", on.MAC.String()+" (REACHABLE|STALE|DELAY|PROBE)")
	s.Run("ip neigh change 2001:db8::10 dev eth0 lladdr " + on.MAC.String() + " nud probe")
	awaitNeighbor(t, s, "2001:db8::10", on.MAC.String()+" REACHABLE")
}

// A duplicate address probe finds that the address is taken.
func TestDuplicateAddressDetectionFindsTheAddressTaken(t *testing.T) {
	s := segment(t)
	r := start(t)
	apply(t, r, desire(lan(t, 1), vip6))
	s.Run("ip addr add 2001:db8::10/64 dev eth0")
	deadline := time.Now().Add(ceiling)
	for !strings.Contains(s.Run("ip -6 addr show dev eth0"), "dadfailed") {
		if time.Now().After(deadline) {
			t.Fatalf("the kernel did not see the duplicate: %s", s.Run("ip -6 addr show dev eth0"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// L07: the groups are joined again after the link flapped.
func TestGroupsAndSocketsSurviveALinkFlapAndAMACChange(t *testing.T) {
	s := segment(t)
	r := start(t)
	apply(t, r, desire(lan(t, 1), vip4, vip6))
	ip(t, "link set lan0 down")
	apply(t, r, l2.Desired{Answers: desire(l2.Interface{Name: "lan0"}, vip4, vip6).Answers})
	if held := r.Held(); len(held) != 0 {
		t.Errorf("held on an interface that is gone: %v", held)
	}
	ip(t, "link set lan0 address 02:00:00:00:00:77")
	ip(t, "link set lan0 up")
	apply(t, r, desire(lan(t, 2), vip4, vip6))
	for _, probe := range []string{"arping -C 1 -w 30 -I eth0 192.0.2.10", "ndisc6 -1 -r 30 -w 1000 2001:db8::10 eth0"} {
		if out := s.Run(probe); !strings.Contains(strings.ToLower(out), "02:00:00:00:00:77") {
			t.Errorf("%s: the new MAC was not heard: %s", probe, out)
		}
	}
	maddr := func() string {
		return netnstest.Run(t, "ip -6 maddr show dev lan0")
	}
	if !strings.Contains(maddr(), "ff02::1:ff00:10") {
		t.Errorf("the solicited-node group is not joined: %s", maddr())
	}
	apply(t, r, desire(lan(t, 2), vip4))
	if strings.Contains(maddr(), "ff02::1:ff00:10") {
		t.Errorf("the solicited-node group was not left: %s", maddr())
	}
}

// L08: a neighbor that had another MAC is repointed by the announcements,
// though Linux ignores the first ones of them for a second ("locktime").
func TestAnnouncementsRepointANeighbor(t *testing.T) {
	s := segment(t)
	r := start(t)
	s.Neighbors("eth0", "02:aa:aa:aa:aa:aa", "192.0.2.10", "2001:db8::10")
	on := lan(t, 1)
	begin := time.Now()
	apply(t, r, desire(on, vip4, vip6))
	awaitNeighbor(t, s, "192.0.2.10", on.MAC.String())
	t.Logf("IPv4 neighbor repointed after %s", time.Since(begin).Round(time.Millisecond))
	awaitNeighbor(t, s, "2001:db8::10", on.MAC.String())
	t.Logf("IPv6 neighbor repointed after %s", time.Since(begin).Round(time.Millisecond))
}

// More solicited-node groups than one socket can be in.
func TestAThousandIPv6AddressesAreReachable(t *testing.T) {
	s := segment(t)
	r := start(t)
	var addresses []netip.Addr
	for i := range 1000 {
		addresses = append(addresses, netip.MustParseAddr(fmt.Sprintf("2001:db8::1:%x", i+1)))
	}
	begin := time.Now()
	apply(t, r, desire(lan(t, 1), addresses...))
	t.Logf("applied in %s", time.Since(begin).Round(time.Millisecond))
	for _, a := range []netip.Addr{addresses[0], addresses[499], addresses[999]} {
		s.Run("ndisc6 -1 -r 30 -w 1000 " + a.String() + " eth0")
	}
}

func TestAMissingInterfaceIsAProblemAndTheOthersGoOn(t *testing.T) {
	s := segment(t)
	r := start(t)
	on := lan(t, 1)
	gone := l2.Interface{Name: "gone0", Index: 9999, MAC: on.MAC}
	d := l2.Desired{
		Interfaces: []l2.Interface{on, gone},
		Answers:    []model.Answer{{Address: vip4, Interfaces: []string{"gone0", "lan0"}}},
	}
	problems := r.Apply(d)
	if len(problems) != 1 || problems[0].Interface != "gone0" {
		t.Errorf("problems: %v", problems)
	}
	s.Run("arping -C 1 -w 30 -I eth0 192.0.2.10")
	if got := r.Held()[vip4]; len(got) != 1 || got[0] != "lan0" {
		t.Errorf("held on %v", got)
	}
}

func awaitNeighbor(t *testing.T, s *otherHost, address, pattern string) {
	t.Helper()
	want := regexp.MustCompile(pattern)
	deadline := time.Now().Add(ceiling)
	for {
		out := s.Run("ip neigh show " + address)
		if want.MatchString(out) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("neighbor %s: %q, want %s", address, out, pattern)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
