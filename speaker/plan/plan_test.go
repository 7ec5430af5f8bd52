package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/plan"
)

func everything() *config.Snapshot { return advertised(v1beta1.L2AdvertisementSpec{}) }

// advertised is the configuration of one pool and one advertisement.
func advertised(spec v1beta1.L2AdvertisementSpec) *config.Snapshot {
	snapshot, _ := config.Build(config.Objects{
		Pools: []*v1beta1.IPAddressPool{{
			ObjectMeta: metav1.ObjectMeta{Name: "lan"},
			Spec:       v1beta1.IPAddressPoolSpec{Addresses: []v1beta1.AddressRange{"198.18.0.0/15", "2001:db8::/64"}},
		}},
		L2Advertisements: []*v1beta1.L2Advertisement{
			{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: spec},
		},
	})
	return snapshot
}

// drawView makes any view: some nodes alive, excluded or unknown, Services that
// share addresses, with endpoints here and there.
func drawView(t *rapid.T) (v plan.View, services []plan.Service) {
	names := []string{"n1", "n2", "n3", "n4", "n5", "n6"}
	v = plan.View{Config: everything(), Nodes: map[string]plan.Node{}, Owners: map[netip.Addr]string{}}
	v.Interfaces = []model.Interface{{Name: "eth0", Usable: true, Suitable: true}}
	for _, name := range names {
		if rapid.Bool().Draw(t, "known") {
			excluded := rapid.SampledFrom([]string{"", "", "", "excluded"}).Draw(t, "excluded")
			v.Nodes[name] = plan.Node{Excluded: excluded}
		}
	}
	v.Alive = rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, len(names), rapid.ID).Draw(t, "alive")
	addresses := []netip.Addr{
		netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2"), netip.MustParseAddr("2001:db8::1"),
	}
	endpoints := func() plan.Endpoints {
		e := plan.Endpoints{Nodes: map[string]bool{}, Unknown: rapid.Bool().Draw(t, "unknown")}
		for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID).Draw(t, "endpoints") {
			e.Nodes[name] = true
		}
		e.Any = e.Unknown || len(e.Nodes) > 0
		return e
	}
	for i := range rapid.IntRange(1, 5).Draw(t, "services") {
		services = append(services, plan.Service{
			Key: fmt.Sprintf("default/s%d", i), Local: rapid.Bool().Draw(t, "local"), IPv4: endpoints(), IPv6: endpoints(),
			Addresses: rapid.SliceOfNDistinct(rapid.SampledFrom(addresses), 1, 2, rapid.ID).Draw(t, "addresses"),
		})
	}
	v.Services = plan.ServicesOf(services...)
	for _, a := range addresses {
		if rapid.Bool().Draw(t, "owned") {
			v.Owners[a] = rapid.SampledFrom(names).Draw(t, "owner")
		}
	}
	return v, services
}

// L01: of all nodes that share a view exactly one announces each address that
// any of them could announce, and all name the same owner.
func TestExactlyOneAnnouncesIfAnyCan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, services := drawView(t)
		owners, announcers := map[netip.Addr]string{}, map[netip.Addr]int{}
		for _, self := range v.Alive {
			v.Self = self
			for _, d := range plan.Make(v).Decisions {
				if before, ok := owners[d.Address]; ok && before != d.Owner {
					t.Fatalf("%s: one says %q owns it, another %q", d.Address, before, d.Owner)
				}
				owners[d.Address] = d.Owner
				if d.Announce {
					announcers[d.Address]++
				}
				if d.Reason == "" || d.Message == "" || d.Announce != (d.Reason == v1beta1.ReasonAnnounced) {
					t.Fatalf("%s explains nothing: %+v", self, d)
				}
			}
		}
		for address, owner := range owners {
			want := 0
			if owner != "" {
				want = 1
			}
			if announcers[address] != want {
				t.Fatalf("%s is announced by %d nodes, want %d (owner %q)", address, announcers[address], want, owner)
			}
			if could := anyCould(v, services, address); could != (owner != "") {
				t.Fatalf("%s: could be announced: %v, owner %q", address, could, owner)
			}
		}
	})
}

// anyCould decides again, in other words, whether some living node could own
// the address.
func anyCould(v plan.View, services []plan.Service, address netip.Addr) bool {
	for _, name := range v.Alive {
		for _, s := range services {
			e := s.IPv4
			if address.Is6() {
				e = s.IPv6
			}
			here := !s.Local || e.Nodes[name] || len(e.Nodes) == 0
			if v.Nodes[name].Excluded == "" && slices.Contains(s.Addresses, address) && e.Any && here {
				return true
			}
		}
	}
	return false
}

// The order of what comes in does not matter.
func TestThePlanDoesNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, services := drawView(t)
		v.Self = v.Alive[0]
		before := fmt.Sprint(plan.Make(v))
		v.Services = plan.ServicesOf(rapid.Permutation(services).Draw(t, "services")...)
		v.Alive = rapid.Permutation(v.Alive).Draw(t, "alive")
		if after := fmt.Sprint(plan.Make(v)); after != before {
			t.Fatalf("%s\n%s", before, after)
		}
	})
}

// drawCluster is drawView where every Service has externalTrafficPolicy Cluster.
func drawCluster(t *rapid.T) plan.View {
	v, services := drawView(t)
	for i := range services {
		services[i].Local = false
	}
	v.Services = plan.ServicesOf(services...)
	return v
}

// Only the addresses of the node that went move.
func TestANodeThatGoesTakesOnlyItsAddresses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawCluster(t) // a Local Service may lose its best node
		// What is known to be owned; what is not yet is shared out anew among
		// those that are there, so that none has too much.
		before := ownersOf(v)
		v.Owners = before
		gone := rapid.SampledFrom(v.Alive).Draw(t, "gone")
		v.Alive = slices.DeleteFunc(slices.Clone(v.Alive), func(n string) bool { return n == gone })
		for address, owner := range ownersOf(v) {
			if before[address] != gone && before[address] != owner {
				t.Fatalf("%s moved from %s to %s, though %s went", address, before[address], owner, gone)
			}
		}
	})
}

// L14: who returns takes nothing back where the owners are known.
func TestAPresentOwnerStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawCluster(t)
		v.Owners = ownersOf(v)
		v.Alive = append(v.Alive, "new-1", "new-2", "new-3")
		for address, owner := range ownersOf(v) {
			if before := v.Owners[address]; before != "" && owner != before {
				t.Fatalf("%s moved from %s to %s", address, before, owner)
			}
		}
	})
}

func ownersOf(v plan.View) map[netip.Addr]string {
	owners := map[netip.Addr]string{}
	for _, d := range plan.Make(v).Decisions {
		owners[d.Address] = d.Owner
	}
	return owners
}

// crowd makes a view of many single addresses on many nodes.
func crowd(nodeName string, nodes, addresses int) plan.View {
	lan := netip.MustParsePrefix("198.18.255.1/15")
	v := plan.View{Config: everything(), Nodes: map[string]plan.Node{}, Links: map[string][]model.Link{}}
	for i := range nodes {
		name := fmt.Sprintf(nodeName, i)
		v.Alive = append(v.Alive, name)
		v.Links[name] = []model.Link{
			{Name: "eth0", Usable: true, Suitable: true, Addrs: []netip.Prefix{lan, netip.MustParsePrefix("fe80::1/64")}},
			{Name: "eth1", Usable: true, Suitable: true, Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
		}
	}
	v.Self = v.Alive[0]
	address := netip.MustParseAddr("198.18.0.1")
	services := make([]plan.Service, 0, addresses)
	for i := range addresses {
		e := plan.Endpoints{Any: true, Nodes: map[string]bool{v.Alive[i%nodes]: true}}
		services = append(services, plan.Service{Key: fmt.Sprintf("default/s%d", i), Addresses: []netip.Addr{address}, IPv4: e})
		address = address.Next()
	}
	v.Services = plan.ServicesOf(services...)
	v.Interfaces = []model.Interface{{Name: "eth0", Usable: true, Suitable: true, Addrs: []netip.Prefix{lan}}}
	return v
}

// L14: 1,000 addresses on 10 nodes, from nothing and after a node has failed.
func TestL14_AddressesSpreadEvenly(t *testing.T) {
	const clusters, most = 100, 1.25
	for i := range clusters {
		v := crowd(fmt.Sprintf("cluster%d-node-%%d", i), 10, 1000)
		v.Owners = ownersOf(v)
		if ratio := spread(v.Owners, 10); ratio > most {
			t.Errorf("cluster %d: max/mean is %.2f", i, ratio)
		}
		before := v.Owners
		v.Alive = v.Alive[1:]
		v.Owners = ownersOf(v)
		if ratio := spread(v.Owners, 9); ratio > most {
			t.Errorf("cluster %d with a node less: max/mean is %.2f", i, ratio)
		}
		for address, owner := range before {
			if owner != crowd(fmt.Sprintf("cluster%d-node-%%d", i), 1, 0).Self && v.Owners[address] != owner {
				t.Fatalf("%s moved from %s to %s, which both live", address, owner, v.Owners[address])
			}
		}
	}
}

func spread(owners map[netip.Addr]string, nodes int) float64 {
	counts := map[string]int{}
	most := 0
	for _, owner := range owners {
		counts[owner]++
		most = max(most, counts[owner])
	}
	return float64(most*nodes) / float64(len(owners))
}

// L14: an address goes back only where an advertisement asks for it, and after
// the time that it asks for.
func TestL14_FailbackIsAChoice(t *testing.T) {
	prefer := func(label string, weight int32) v1beta1.PreferredNode {
		return v1beta1.PreferredNode{Weight: weight, NodeSelector: metav1.LabelSelector{MatchLabels: map[string]string{label: "yes"}}}
	}
	minute := &metav1.Duration{Duration: time.Minute}
	address := netip.MustParseAddr("198.18.0.1")
	labelled := func(names ...string) plan.Node {
		n := plan.Node{Labels: labels.Set{}}
		for _, name := range names {
			n.Labels[name] = "yes"
		}
		return n
	}
	for name, test := range map[string]struct {
		spec  v1beta1.L2AdvertisementSpec
		owner string // present
		back  time.Duration
		want  string
	}{
		"the most preferred gets what is free":   {want: "n3"},
		"an owner stays by default":              {owner: "n1", back: time.Hour, want: "n1"},
		"Never leaves it where it is":            {spec: v1beta1.L2AdvertisementSpec{Failback: v1beta1.FailbackNever}, owner: "n1", back: time.Hour, want: "n1"},
		"Immediate gives it back at once":        {spec: v1beta1.L2AdvertisementSpec{Failback: v1beta1.FailbackImmediate}, owner: "n1", want: "n3"},
		"After waits":                            {spec: v1beta1.L2AdvertisementSpec{Failback: v1beta1.FailbackAfter, FailbackDelay: minute}, owner: "n1", back: 59 * time.Second, want: "n1"},
		"After gives it back when the time came": {spec: v1beta1.L2AdvertisementSpec{Failback: v1beta1.FailbackAfter, FailbackDelay: minute}, owner: "n1", back: time.Minute, want: "n3"},
		"a dead owner owns nothing":              {owner: "n9", want: "n3"},
	} {
		t.Run(name, func(t *testing.T) {
			// Weights add up: n3 has 20 + 40 and n2 only 50.
			test.spec.PreferredNodes = []v1beta1.PreferredNode{prefer("ssd", 20), prefer("fast", 40), prefer("near", 50)}
			v := plan.View{
				Alive: []string{"n1", "n2", "n3"}, Self: "n1", Owners: map[netip.Addr]string{},
				Interfaces: []model.Interface{{Name: "eth0", Usable: true, Suitable: true}},
				Nodes:      map[string]plan.Node{"n1": labelled(), "n2": labelled("near"), "n3": labelled("ssd", "fast")},
				Services:   plan.ServicesOf(plan.Service{Key: "default/web", Addresses: []netip.Addr{address}, IPv4: plan.Endpoints{Any: true}}),
				AliveFor:   map[string]time.Duration{"n1": test.back, "n2": test.back, "n3": test.back},
			}
			v.Config = advertised(test.spec)
			if test.owner != "" {
				v.Owners[address] = test.owner
			}
			if got := ownersOf(v)[address]; got != test.want {
				t.Errorf("owner is %s, want %s", got, test.want)
			}
		})
	}
}

// What planning costs: where all addresses have owners, where none has (the most),
// where each has an owner that is unable, with the policy Local, and where clients
// are divided.
func BenchmarkMake(b *testing.B) {
	for _, size := range []struct{ addresses, nodes int }{{1000, 10}, {10000, 10}, {10000, 100}, {10000, 1000}} {
		v := crowd("node-%d", size.nodes, size.addresses)
		free := v
		v.Owners = ownersOf(v)
		run := func(name string, v plan.View) {
			b.Run(fmt.Sprintf("%dx%d/%s", size.addresses, size.nodes, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					plan.Make(v)
				}
			})
		}
		run("owned", v)
		run("free", free)
		unable := v
		unable.Unable = map[netip.Addr][]string{}
		for address, owner := range v.Owners {
			unable.Unable[address] = []string{owner}
		}
		run("unable", unable)
		run("local", localCrowd(free, size.addresses))
		perClient := v
		perClient.Config = advertised(v1beta1.L2AdvertisementSpec{Balancing: v1beta1.BalancePerClient})
		run("per client", perClient)
		back := v
		back.Config = advertised(v1beta1.L2AdvertisementSpec{Failback: v1beta1.FailbackImmediate})
		run("failback", back)
	}
}

// localCrowd gives each address of a crowd the policy Local, and three nodes with
// pods.
func localCrowd(v plan.View, addresses int) plan.View {
	services, address := make([]plan.Service, 0, addresses), netip.MustParseAddr("198.18.0.1")
	for i := range addresses {
		e := plan.Endpoints{Any: true, Nodes: map[string]bool{}, Counts: map[string]int{}}
		for j := range 3 {
			name := v.Alive[(i*7+j)%len(v.Alive)]
			e.Nodes[name] = true
			e.Counts[name] += 1 + j
		}
		services = append(services, plan.Service{Key: fmt.Sprintf("default/s%d", i), Addresses: []netip.Addr{address}, IPv4: e, Local: true})
		address = address.Next()
	}
	v.Services = plan.ServicesOf(services...)
	return v
}
