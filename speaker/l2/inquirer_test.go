package l2_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/internal/netnstest"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/model"
)

// answers are what an Inquirer tells.
type answers chan string

func inquire(t *testing.T, on l2.Interface, addrs ...string) (*l2.Inquirer, answers) {
	t.Helper()
	heard := make(answers, 1000)
	i := l2.NewInquirer(func(on string, mac model.MAC, address netip.Addr) {
		select {
		case heard <- fmt.Sprintf("%s %s %s", on, mac, address):
		default:
		}
	})
	t.Cleanup(i.Close)
	var own []netip.Prefix
	for _, a := range addrs {
		ip(t, "addr add "+a+" dev "+on.Name+" nodad")
		own = append(own, netip.MustParsePrefix(a))
	}
	if err := i.Use([]l2.Asker{{Interface: on, Addrs: own}}); err != nil {
		t.Fatal(err)
	}
	return i, heard
}

func (a answers) await(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-a:
		if got != want {
			t.Fatalf("heard %q, want %q", got, want)
		}
	case <-time.After(ceiling):
		t.Fatalf("never heard %q", want)
	}
}

func (a answers) silent(t *testing.T, what string) {
	t.Helper()
	select {
	case got := <-a:
		t.Errorf("%s: heard %q", what, got)
	case <-time.After(300 * time.Millisecond):
	}
}

func ask(i *l2.Inquirer, targets ...string) {
	var all []l2.Question
	for _, target := range targets {
		all = append(all, l2.Question{On: "lan0", Target: netip.MustParseAddr(target)})
	}
	i.Ask(all)
}

// R1: any kernel answers a question in this node's name, from any of its addresses
// or none, and what answers is told: it is the proof that the host lives.
func TestR1_AKernelAnswersWhatIsAsked(t *testing.T) {
	for name, own := range map[string][]string{
		"from an address of the subnet": {"192.0.2.1/24", "2001:db8::1/64"},
		"from another's":                {"198.51.100.1/24"},
		"from none":                     nil,
	} {
		t.Run(name, func(t *testing.T) {
			s := segment(t)
			i, heard := inquire(t, lan(t, 1), own...)
			ask(i, "192.0.2.100")
			heard.await(t, "lan0 "+s.mac()+" 192.0.2.100")
			ask(i, "192.0.2.101") // nobody has it
			heard.silent(t, "nobody has it")
		})
	}
	t.Run("alone", func(t *testing.T) {
		s := segment(t)
		i, heard := inquire(t, lan(t, 1), "192.0.2.1/24")
		question := l2.Question{On: "lan0", Target: netip.MustParseAddr("192.0.2.100"), MAC: model.MAC{2, 0, 0, 0, 0, 0x99}}
		i.Ask([]l2.Question{question})
		heard.silent(t, "another was asked")
		hardware, err := net.ParseMAC(s.mac())
		if err != nil {
			t.Fatal(err)
		}
		question.MAC = model.MACOf(hardware)
		i.Ask([]l2.Question{question})
		heard.await(t, "lan0 "+s.mac()+" 192.0.2.100")
	})
	t.Run("IPv6", func(t *testing.T) {
		s := segment(t)
		i, heard := inquire(t, lan(t, 1), "2001:db8::1/64")
		ask(i, "2001:db8::100")
		heard.await(t, "lan0 "+s.mac()+" 2001:db8::100")
	})
	t.Run("IPv6 with a link-local address alone", func(t *testing.T) {
		s := segment(t)
		i, heard := inquire(t, lan(t, 1), "fe80::1/64")
		ask(i, "2001:db8::100")
		heard.await(t, "lan0 "+s.mac()+" 2001:db8::100")
	})
}

// R1: what announces itself is told for some time after the question, and nothing
// else ever.
func TestR1_WhatAnnouncesItselfIsTold(t *testing.T) {
	s := segment(t)
	i, heard := inquire(t, lan(t, 1), "192.0.2.1/24", "2001:db8::1/64")
	announce := func() { _, _ = s.Try("arping -U -c 1 -w 1 -i eth0 -S 192.0.2.50 192.0.2.50") }
	announce()
	heard.silent(t, "nobody has asked")
	ask(i, "192.0.2.50")
	announce()
	heard.await(t, "lan0 "+s.mac()+" 192.0.2.50")
	_, _ = s.Try("arping -U -c 1 -w 1 -i eth0 -S 192.0.2.51 192.0.2.51")
	heard.silent(t, "another address")
	time.Sleep(2100 * time.Millisecond) // watchTime
	announce()
	heard.silent(t, "long after the question")
}

func TestQuestionsFollowTheInterfaces(t *testing.T) {
	s := segment(t)
	i, heard := inquire(t, lan(t, 1), "192.0.2.1/24")
	if err := i.Use(nil); err != nil {
		t.Fatal(err)
	}
	ask(i, "192.0.2.100")
	heard.silent(t, "no interface")
	if err := i.Use([]l2.Asker{{Interface: lan(t, 2)}}); err != nil {
		t.Fatal(err)
	}
	ask(i, "192.0.2.100") // the filter that was set meanwhile holds for the new socket
	heard.await(t, "lan0 "+s.mac()+" 192.0.2.100")
	if err := i.Use([]l2.Asker{{Interface: l2.Interface{Name: "lan9", Index: 9999, MAC: lan(t, 1).MAC}}}); err == nil {
		t.Error("an interface is used that does not exist")
	}
}

// S1, T13: what comes in on an upper interface, as on a VLAN's, is neither answered
// nor seen on the lower one, whose sockets get it, too.
func TestT13_AnUpperInterfacesFramesAreNotTheLowers(t *testing.T) {
	s := segment(t)
	ip(t, "link add link lan0 name upper address 02:00:00:00:00:09 type macvlan mode bridge")
	ip(t, "link set upper up")
	ip(t, "addr add 192.0.2.9/24 dev upper")
	r := start(t)
	on := lan(t, 1)
	apply(t, r, desire(on, vip4))
	i, heard := inquire(t, on)
	upper, err := net.InterfaceByName("upper")
	if err != nil {
		t.Fatal(err)
	}
	seen := func() uint64 { return r.Stats().ARP.Answered + r.Stats().ARP.Ignored }
	before := seen()
	// By its MAC it is for the upper one alone.
	_, _ = s.Try("arping -c 3 -w 1 -I eth0 -t " + upper.HardwareAddr.String() + " " + vip4.String())
	if after := seen(); after != before {
		t.Errorf("%d requests to the upper interface's MAC came to the lower's socket", after-before)
	}
	ask(i, "192.0.2.100")
	heard.await(t, "lan0 "+s.mac()+" 192.0.2.100")
	netnstest.Run(t, "ip link del upper")
	s.Run("arping -C 1 -w 30 -I eth0 " + vip4.String())
}
