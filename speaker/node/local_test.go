package node

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/model"
)

// T03: a node never holds what is on an interface of its own, whatever the
// controller gives and whether or not it held it before, and says so.
func TestT03_ANodeDoesNotHoldItsOwnAddress(t *testing.T) {
	r := newRig(t, 2)
	r.in.Local = map[netip.Addr]string{address(1): "eth0", netip.MustParseAddr("192.0.2.11"): "eth0"}
	expect := func(held []string) {
		t.Helper()
		status := &r.done.Status
		var got []string
		for _, one := range status.Held {
			got = append(got, one.Address)
		}
		claims := slices.DeleteFunc(slices.Clone(r.done.Claims), func(a netip.Addr) bool { _, own := r.in.Local[a]; return own })
		if !slices.Equal(got, held) || len(claims) != len(held) || !slices.Contains(r.done.Claims, address(1)) {
			t.Errorf("held %v, claimed %v, want %v", got, r.done.Claims, held)
		}
		own := slices.IndexFunc(status.Withheld, func(w v1beta1.WithheldAddresses) bool { return w.Reason == v1beta1.ReasonLocalAddress })
		if own < 0 || status.Withheld[own].Addresses[0] != address(1).String() ||
			status.Withheld[own].Message != "the address is this node's own, on interface eth0: take it off, or out of the pool" {
			t.Errorf("withheld: %+v", status.Withheld)
		}
		if !slices.Contains(status.LocalAddresses, address(1).String()) || slices.Contains(status.LocalAddresses, "192.0.2.11") {
			t.Errorf("its own addresses of pools are said to be %v", status.LocalAddresses)
		}
	}
	for range probeNum + 2 {
		r.turn(probeInterval)
	}
	expect([]string{address(2).String()})
	if slices.Contains(r.out.Probes, address(1)) {
		t.Error("its own address is probed for")
	}
	// An address that it holds already comes on an interface.
	r.in.Local[address(2)] = "eth1"
	r.turn(time.Second)
	expect(nil)
	delete(r.in.Local, address(2))
	for range probeNum + 2 {
		r.turn(probeInterval)
	}
	expect([]string{address(2).String()})
}

// T03: what another node reports as its own, and answers for, is not taken over
// from it. Either alone is no reason: reports may lie, and a node that is heard may
// have owned the address a moment ago.
func TestT03_AnotherNodesOwnAddressIsNotTakenOver(t *testing.T) {
	mac := model.MAC{2, 0, 0, 0, 0, 0x99}
	for name, c := range map[string]struct {
		says, answers bool
		want          string
	}{
		"it says so and answers": {true, true, "198.18.0.1 02:00:00:00:00:99 eth0 FirstUse 1"},
		"it only says so":        {true, false, "held"},
		"it answers once":        {false, true, "held"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.in.Members = &model.Membership{
				Self: "n1", Alive: []string{"n1", "n9"}, Ready: []string{"n1"}, MACs: map[model.MAC]string{mac: "n9"},
			}
			if c.says {
				r.in.Cluster.Local = map[string][]netip.Addr{"n9": {address(1)}}
			}
			r.turn(0)
			r.expect(time.Second, "probing")
			if c.answers {
				r.intrude()
			}
			r.turn(0)
			if c.want == "held" {
				r.turn(2 * probeInterval)
				r.probed(c.want)
				return
			}
			r.expect(time.Second, c.want)
			if message := r.done.Status.Withheld[0].Message; message != "the address is node n9's own, which answers for it on eth0" {
				t.Errorf("it says: %s", message)
			}
			r.intrude()
			r.expect(retryInterval, "198.18.0.1 02:00:00:00:00:99 eth0 FirstUse 31")
		})
	}
}

// T03: of the node's own addresses the first 16 of pools are reported, gateways
// among them, in order.
func TestT03_LocalAddressesAreThoseOfPoolsAndFew(t *testing.T) {
	r := newRig(t, 0)
	r.in.Local = map[netip.Addr]string{netip.MustParseAddr("192.0.2.11"): "eth0", netip.MustParseAddr("2001:db8::11"): "eth0"}
	r.in.Gateways = model.Gateways{IPv4: address(3), IPv6: netip.MustParseAddr("fe80::1%eth0")}
	r.turn(0)
	r.turn(time.Second)
	if got := fmt.Sprint(r.done.Status.LocalAddresses); got != "[198.18.0.3]" {
		t.Errorf("reported: %s", got)
	}
	for i := range 20 {
		r.in.Local[address(40-i)] = "eth0"
	}
	r.turn(time.Second)
	got := r.done.Status.LocalAddresses
	if len(got) != maxLocal || got[0] != "198.18.0.3" || got[1] != "198.18.0.21" || got[15] != "198.18.0.35" {
		t.Errorf("reported: %v", got)
	}
}

// T03: what counts as a node's own address.
func TestT03_LocalAddressesAreUnicastAndNotKubeProxys(t *testing.T) {
	prefixes := func(texts ...string) (all []netip.Prefix) {
		for _, text := range texts {
			all = append(all, netip.MustParsePrefix(text))
		}
		return all
	}
	got := LocalAddresses([]model.Interface{
		{Name: "lo", Addrs: prefixes("127.0.0.1/8", "::1/128", "198.51.100.1/32")},
		{Name: "eth0", Addrs: prefixes("192.0.2.11/24", "192.0.2.100/32", "2001:db8::11/64", "fe80::1/64")},
		{Name: "kube-ipvs0", Addrs: prefixes("192.0.2.50/32")},
		{Name: "kube-dummy-if", Addrs: prefixes("192.0.2.51/32")},
	})
	want := map[netip.Addr]string{
		netip.MustParseAddr("198.51.100.1"): "lo", netip.MustParseAddr("192.0.2.11"): "eth0", netip.MustParseAddr("192.0.2.100"): "eth0",
		netip.MustParseAddr("2001:db8::11"): "eth0",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
