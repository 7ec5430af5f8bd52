package main

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/members"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// society is some speakers without sockets: their ledgers and plans are the
// real ones; the test says who hears whom, and in which order they act.
type society struct {
	config   *config.Snapshot
	services *plan.Services
	citizens map[string]*citizen
}

type citizen struct {
	ledger *members.Ledger
	side   int // who is on the same side hears each other
	hears  []string
}

func newSociety(addresses int) *society {
	s := &society{citizens: map[string]*citizen{}}
	s.config, _ = config.Build(config.Objects{
		Pools: []*v1beta1.IPAddressPool{{
			ObjectMeta: metav1.ObjectMeta{Name: "lan"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []v1beta1.AddressRange{"198.18.0.0/15"}},
		}},
		L2Advertisements: []*v1beta1.L2Advertisement{{ObjectMeta: metav1.ObjectMeta{Name: "all"}}},
	})
	services := make([]plan.Service, addresses)
	for i := range services {
		services[i] = plan.Service{
			Key: fmt.Sprintf("default/s%d", i), Addresses: []netip.Addr{address(i)}, IPv4: plan.Endpoints{Any: true},
		}
	}
	s.services = plan.ServicesOf(services...)
	return s
}

func (s *society) names() []string {
	var names []string
	for name := range s.citizens {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// act lets one speaker notice who lives, hear what they claim, and plan.
func (s *society) act(name string) {
	me := s.citizens[name]
	living := []string{name}
	for _, other := range s.names() {
		if o := s.citizens[other]; other != name && o.side == me.side {
			living = append(living, other)
			me.ledger.Hear(other, o.ledger.Claims())
		}
	}
	for _, before := range me.hears {
		if !slices.Contains(living, before) {
			me.ledger.Lose(before)
		}
	}
	me.hears = living
	if strength := int(me.ledger.Claims().Strength); len(living) < strength {
		me.ledger.Weigh(len(living))
	}
	owners, _ := me.ledger.Owners()
	made := plan.Make(plan.View{
		Self: name, Config: s.config, Services: s.services, Alive: living, Owners: owners,
		Interfaces: []plan.Interface{{Name: "eth0", Usable: true, Suitable: true}},
	})
	var held []netip.Addr
	for _, d := range made.Decisions {
		if d.Announce {
			held = append(held, d.Address)
		}
	}
	me.ledger.Hold(held)
}

func (s *society) holders() map[netip.Addr][]string {
	all := map[netip.Addr][]string{}
	for _, name := range s.names() {
		for _, c := range s.citizens[name].ledger.Claims().List {
			all[c.Address] = append(all[c.Address], name)
		}
	}
	return all
}

// L01, L12, L14: whatever joins, leaves, partitions and heals happen in
// whatever order, and however the speakers' turns fall, when all hear each
// other again each address has exactly one owner.
func TestL12_AnyHistoryEndsWithExactlyOneOwner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSociety(rapid.IntRange(1, 40).Draw(t, "addresses"))
		pool := []string{"n1", "n2", "n3", "n4", "n5"}
		s.citizens["n1"] = &citizen{ledger: members.NewLedger("n1")}
		for range rapid.IntRange(1, 40).Draw(t, "length") {
			name := rapid.SampledFrom(pool).Draw(t, "who")
			c := s.citizens[name]
			switch event := rapid.SampledFrom([]string{"join", "leave", "part", "heal", "act", "act", "act", "calm"}).Draw(t, "event"); {
			case event == "join" && c == nil:
				s.citizens[name] = &citizen{ledger: members.NewLedger(name)}
			case c == nil:
			case event == "leave" && len(s.citizens) > 1:
				delete(s.citizens, name)
			case event == "part":
				c.side = rapid.IntRange(0, 2).Draw(t, "side")
			case event == "heal":
				c.side = 0
			case event == "calm":
				c.ledger.Weigh(len(c.hears))
			case event == "act":
				s.act(name)
			}
		}
		for _, name := range s.names() {
			s.citizens[name].side = 0
		}
		const rounds = 4
		for range rounds {
			for _, name := range rapid.Permutation(s.names()).Draw(t, "turns") {
				s.act(name)
			}
		}
		holders := s.holders()
		for i := range s.services.Len() {
			if a := address(i); len(holders[a]) != 1 {
				t.Fatalf("%s is held by %v", a, holders[a])
			}
		}
	})
}
