package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// lans is a cluster whose nodes are on any networks, with any advertisements, and
// each one's view of it.
type lans struct {
	plan.View
	services   []plan.Service
	advertised []*v1beta1.L2Advertisement
	interfaces map[string][]model.Interface
}

// as is the view of one node: what it tells the others, or what it has.
func (l *lans) as(name string, told bool) plan.View {
	v := l.View
	v.Self, v.Interfaces = name, l.interfaces[name]
	if !told {
		v.Links = map[string][]model.Link{}
		for other, links := range l.Links {
			if other != name {
				v.Links[other] = links
			}
		}
	}
	return v
}

func lanAddresses() []netip.Addr {
	var all []netip.Addr
	for _, text := range []string{"198.18.0.1", "198.18.0.200", "198.18.7.1", "198.19.0.1", "203.0.113.1", "2001:db8::1", "2001:db8:1::1", "2001:db8:2::1"} {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

// subset draws some, in their order.
func subset[T any](t *rapid.T, of []T, label string) (some []T) {
	for _, one := range of {
		if rapid.Bool().Draw(t, label) {
			some = append(some, one)
		}
	}
	return some
}

func drawLANs(t *rapid.T) *lans {
	names := []string{"n1", "n2", "n3", "n4", "n5"}
	l := &lans{interfaces: map[string][]model.Interface{}}
	l.View = plan.View{
		Nodes: map[string]plan.Node{}, Owners: map[netip.Addr]string{}, Links: map[string][]model.Link{}, Unable: map[netip.Addr][]string{},
		Alive: rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, len(names), rapid.ID).Draw(t, "alive"),
	}
	l.advertise(t)
	for _, name := range names {
		zone := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "zone")
		excluded := rapid.SampledFrom([]string{"", "", "", "excluded"}).Draw(t, "excluded")
		l.Nodes[name] = plan.Node{Labels: labels.Set{"zone": zone}, Excluded: excluded}
		l.wire(t, name)
	}
	for i := range rapid.IntRange(1, 6).Draw(t, "services") {
		s := plan.Service{
			Key: fmt.Sprintf("default/s%d", i), Local: rapid.Bool().Draw(t, "local"), Addresses: subset(t, lanAddresses(), "address"),
			Labels: labels.Set{"tier": rapid.SampledFrom([]string{"front", "back"}).Draw(t, "tier")},
		}
		for _, e := range []*plan.Endpoints{&s.IPv4, &s.IPv6} {
			*e = plan.Endpoints{Nodes: map[string]bool{}, Counts: map[string]int{}}
			for _, name := range subset(t, names, "endpoint") {
				e.Any, e.Nodes[name], e.Counts[name] = true, true, rapid.IntRange(1, 3).Draw(t, "pods")
			}
		}
		l.services = append(l.services, s)
	}
	l.Services = plan.ServicesOf(l.services...)
	for _, a := range lanAddresses() {
		if rapid.Bool().Draw(t, "owned") {
			l.Owners[a] = rapid.SampledFrom(names).Draw(t, "owner")
		}
		if rapid.Bool().Draw(t, "some are unable") {
			l.Unable[a] = subset(t, names, "unable")
		}
	}
	return l
}

// advertise draws the advertisements.
func (l *lans) advertise(t *rapid.T) {
	match := func(label string, values ...string) []metav1.LabelSelector {
		if value := rapid.SampledFrom(values).Draw(t, label); value != "" {
			return []metav1.LabelSelector{{MatchLabels: map[string]string{label: value}}}
		}
		return nil
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "advertisements") {
		a := &v1beta1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("a%d", i)}}
		a.Spec.Interfaces = rapid.SampledFrom([][]string{nil, nil, {"eth0"}, {"eth1"}, {"eth0", "eth1"}, {"eth0", "eth9"}}).Draw(t, "named")
		a.Spec.NodeSelectors, a.Spec.ServiceSelectors = match("zone", "", "", "a", "b"), match("tier", "", "", "front")
		for _, selector := range match("zone", "", "", "a") {
			a.Spec.PreferredNodes = []v1beta1.PreferredNode{{Weight: 10, NodeSelector: selector}}
		}
		a.Spec.Failback = rapid.SampledFrom([]v1beta1.Failback{"", "", v1beta1.FailbackImmediate}).Draw(t, "failback")
		l.advertised = append(l.advertised, a)
	}
	l.configure()
}

func (l *lans) configure() {
	l.Config, _ = config.Build(config.Objects{
		Pools: []*v1beta1.IPAddressPool{{
			ObjectMeta: metav1.ObjectMeta{Name: "lan"},
			Spec:       v1beta1.IPAddressPoolSpec{Addresses: []v1beta1.AddressRange{"198.18.0.0/15", "203.0.113.0/24", "2001:db8::/32"}},
		}},
		L2Advertisements: l.advertised,
	})
}

// wire draws a node's interfaces, and what it tells of them: those that are usable
// and suitable or named, and those that are named and are not there.
func (l *lans) wire(t *rapid.T, node string) {
	var prefixes []netip.Prefix
	for _, text := range []string{
		"198.18.0.9/25", "198.18.0.9/24", "198.18.0.9/16", "198.18.0.9/32", "198.19.0.9/24", "192.0.2.9/24", "2001:db8::9/64", "2001:db8:1::9/64",
		"2001:db8::9/32", "2001:db8:1::9/128", "fe80::9/64",
	} {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	there := map[string]bool{}
	for _, name := range subset(t, []string{"eth0", "eth1", "eth2"}, "interface") {
		on := model.Interface{Name: name, Usable: rapid.Bool().Draw(t, "usable") || rapid.Bool().Draw(t, "usable after all")}
		on.Suitable = on.Usable && rapid.Bool().Draw(t, "suitable")
		on.Addrs = rapid.SliceOfNDistinct(rapid.SampledFrom(prefixes), 0, 3, rapid.ID).Draw(t, "addrs")
		l.interfaces[node] = append(l.interfaces[node], on)
		if named := l.named(name); on.Usable && (on.Suitable || named) {
			there[name] = true
			l.Links[node] = append(l.Links[node], model.Link{Name: name, Usable: true, Suitable: on.Suitable, Addrs: on.Addrs})
		}
	}
	for _, name := range []string{"eth0", "eth1", "eth9"} {
		if l.named(name) && !there[name] {
			l.Links[node] = append(l.Links[node], model.Link{Name: name})
		}
	}
	if l.Links[node] == nil {
		l.Links[node] = []model.Link{}
	}
}

func (l *lans) named(name string) bool {
	return slices.ContainsFunc(l.advertised, func(a *v1beta1.L2Advertisement) bool { return slices.Contains(a.Spec.Interfaces, name) })
}

// fitting finds out again, in other words, which of a node's interfaces may
// announce an address for a Service, by how well they fit.
func (l *lans) fitting(node string, address netip.Addr, s *plan.Service) (by [3][]string) {
	selects := func(selectors []metav1.LabelSelector, label string, set labels.Set) bool {
		return len(selectors) == 0 || selectors[0].MatchLabels[label] == set[label]
	}
	for _, a := range l.advertised {
		if !selects(a.Spec.NodeSelectors, "zone", l.Nodes[node].Labels) || !selects(a.Spec.ServiceSelectors, "tier", s.Labels) {
			continue
		}
		for _, on := range l.interfaces[node] {
			if !on.Usable || len(a.Spec.Interfaces) == 0 && !on.Suitable || len(a.Spec.Interfaces) > 0 && !slices.Contains(a.Spec.Interfaces, on.Name) {
				continue
			}
			family := func(p netip.Prefix) bool { return p.Addr().Is4() == address.Is4() }
			subnet := func(p netip.Prefix) bool {
				return family(p) && p.Bits() < p.Addr().BitLen() && p.Masked() == netip.PrefixFrom(address, p.Bits()).Masked()
			}
			switch {
			case slices.ContainsFunc(on.Addrs, subnet):
				by[0] = append(by[0], on.Name)
			case slices.ContainsFunc(on.Addrs, family):
				by[1] = append(by[1], on.Name)
			default:
				by[2] = append(by[2], on.Name)
			}
		}
	}
	return by
}

// counting is which of a node's interfaces count for a Service: the best that any
// living node has that is not excluded.
func (l *lans) counting(node string, address netip.Addr, s *plan.Service) []string {
	own := l.fitting(node, address, s)
	for rank := range own {
		for _, other := range l.Alive {
			if l.Nodes[other].Excluded == "" && len(l.fitting(other, address, s)[rank]) > 0 {
				return own[rank]
			}
		}
	}
	return nil
}

// serves says on which interfaces a node may announce an address, and for how many
// of its Services.
func (l *lans) serves(node string, address netip.Addr) (on []string, services int) {
	for i := range l.services {
		s := &l.services[i]
		e := s.IPv4
		if address.Is6() {
			e = s.IPv6
		}
		if !slices.Contains(s.Addresses, address) || l.Nodes[node].Excluded != "" || !e.Any || s.Local && !e.Nodes[node] {
			continue
		}
		if counting := l.counting(node, address, s); len(counting) > 0 {
			on, services = append(on, counting...), services+1
		}
	}
	slices.Sort(on)
	return slices.Compact(on), services
}

// owners are those that may own an address.
func (l *lans) owners(address netip.Addr) []string {
	choose := func(among []string) (best []string) {
		most := 1
		for _, node := range among {
			if _, services := l.serves(node, address); services > most {
				most, best = services, []string{node}
			} else if services == most {
				best = append(best, node)
			}
		}
		return best
	}
	able := slices.DeleteFunc(slices.Clone(l.Alive), func(node string) bool { return slices.Contains(l.Unable[address], node) })
	if best := choose(able); len(best) > 0 {
		return best
	}
	return choose(l.Alive)
}

// L04, R05, R07, R14, T12: whatever networks the nodes are on, all of them name one
// owner. It can serve the address as well as any; no other node has an interface
// that fits the address better; it is not one that is unable while others are not;
// and it announces on those of its interfaces that fit, and on no other.
func TestTheOwnerLacksNothingThatOthersHave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLANs(t)
		owners := map[netip.Addr]string{}
		for _, self := range l.Alive {
			for _, told := range []bool{true, false} {
				for _, d := range plan.Make(l.as(self, told)).Decisions {
					if before, ok := owners[d.Address]; ok && before != d.Owner {
						t.Fatalf("%s: %s says %q owns it, and %s (told %v) %q", d.Address, l.Alive[0], before, self, told, d.Owner)
					}
					owners[d.Address] = d.Owner
					on, _ := l.serves(self, d.Address)
					if d.Announce != (d.Owner == self) || d.Announce && !slices.Equal(on, d.Interfaces) {
						t.Fatalf("%s: %s announces %v on %v, could on %v", self, d.Address, d.Announce, d.Interfaces, on)
					}
					if d.Reason == "" || d.Message == "" {
						t.Fatalf("%s explains nothing: %+v", self, d)
					}
				}
			}
		}
		for address, owner := range owners {
			may := l.owners(address)
			if (owner == "") != (len(may) == 0) || owner != "" && !slices.Contains(may, owner) {
				t.Fatalf("%s: owner is %q, of %v", address, owner, may)
			}
			present := l.Owners[address]
			goesBack := slices.ContainsFunc(l.advertised, func(a *v1beta1.L2Advertisement) bool { return a.Spec.Failback != "" })
			if slices.Contains(may, present) && !goesBack && owner != present {
				t.Fatalf("%s: moved from %s to %s, and need not", address, present, owner)
			}
		}
	})
}

// R08: who has yielded an address leaves it to its living owner, whatever it thinks
// of that one, unless that one says that it is unable.
func TestWhoYieldedLeavesTheAddressToItsOwner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLANs(t)
		v := l.as(l.Alive[0], rapid.Bool().Draw(t, "told"))
		v.Yielded = map[netip.Addr]bool{}
		for _, a := range subset(t, lanAddresses(), "yielded") {
			v.Yielded[a] = true
		}
		for _, d := range plan.Make(v).Decisions {
			present := v.Owners[d.Address]
			if !v.Yielded[d.Address] || present == v.Self || !slices.Contains(v.Alive, present) || slices.Contains(v.Unable[d.Address], present) {
				continue
			}
			if d.Owner != present || d.Announce {
				t.Fatalf("%s: owner is %q, not %s", d.Address, d.Owner, present)
			}
		}
	})
}

// Of equals that can own an address by the policy Local the one with the most pods
// gets it, if nobody has it.
func TestTheMostPodsGetAFreeAddress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLANs(t)
		for _, a := range l.advertised {
			a.Spec.PreferredNodes, a.Spec.Failback = nil, ""
		}
		l.configure()
		clear(l.Owners)
		pods := func(node string, address netip.Addr) (sum int) {
			for i := range l.services {
				s := &l.services[i]
				e := s.IPv4
				if address.Is6() {
					e = s.IPv6
				}
				if s.Local && slices.Contains(s.Addresses, address) && e.Any && len(l.counting(node, address, s)) > 0 {
					sum += e.Counts[node]
				}
			}
			return sum
		}
		for address, owner := range ownersOf(l.as(l.Alive[0], true)) {
			for _, node := range l.owners(address) {
				if pods(node, address) > pods(owner, address) {
					t.Fatalf("%s: %s gets it, %s has more pods", address, owner, node)
				}
			}
		}
	})
}
