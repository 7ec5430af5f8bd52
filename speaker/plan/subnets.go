package plan

import (
	"encoding/binary"
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
)

// fitness is how well an interface fits an address. Where a node has one that fits
// better, those that fit less do not count: neighbors of the address are not on
// their network, or cannot be spoken to in its family.
type fitness int

const (
	unfit fitness = iota // there is none
	// anyFamily is what is known of an interface without addresses of the family,
	// and of one of which nothing is known.
	anyFamily
	ofFamily // it has an address of the family
	inSubnet // the address is in one of its subnets
)

// fitnessOf an interface that can be used and has these addresses.
func fitnessOf(addrs []netip.Prefix, address netip.Addr) fitness {
	best := anyFamily
	for _, p := range addrs {
		if holds(p, address) {
			return inSubnet
		}
		if p.Addr().Is4() == address.Is4() {
			best = ofFamily
		}
	}
	return best
}

// holds reports whether an address is in an interface's subnet. An address that
// has none of its own (/32, /128) says nothing of the network.
func holds(subnet netip.Prefix, address netip.Addr) bool {
	return !subnet.IsSingleIP() && subnet.Contains(address)
}

// interfaces yields those of a node that an advertisement means and that can be
// used, as far as they are known.
func (c *candidate) interfaces(of *config.L2Advertisement) iter.Seq[*model.Link] {
	return func(yield func(*model.Link) bool) {
		for i := range c.links {
			if on := &c.links[i]; on.Usable && meant(of, on.Name, on.Suitable) && !yield(on) {
				return
			}
		}
	}
}

// meant reports whether an advertisement means an interface: one that it names
// or, if it names none, a suitable one.
func meant(by *config.L2Advertisement, name string, suitable bool) bool {
	if len(by.Interfaces) == 0 {
		return suitable
	}
	return slices.Contains(by.Interfaces, name)
}

// fitness is that of the best interface of the node for an address by an
// advertisement. What the node has said nothing of counts as usable.
func (c *candidate) fitness(by *config.L2Advertisement, address netip.Addr) fitness {
	best := unfit
	if c.silent(by) {
		best = anyFamily
	}
	for on := range c.interfaces(by) {
		best = max(best, fitnessOf(on.Addrs, address))
	}
	return best
}

// silent reports whether nothing is known of an interface that an advertisement
// means.
func (c *candidate) silent(by *config.L2Advertisement) bool {
	if !c.told || c.toldAll {
		return !c.told
	}
	return slices.ContainsFunc(by.Interfaces, func(name string) bool {
		return !slices.ContainsFunc(c.links, func(on model.Link) bool { return on.Name == name })
	})
}

// subnets are those of all candidates. Addresses that are in the same of them need
// to be looked at once only.
type subnets struct {
	sorted []netip.Prefix
	next   int
	// around are the places of those that the last address is in, the widest first.
	around []int
}

func (p *planner) subnetsOfAll() *subnets {
	seen := map[netip.Prefix]bool{}
	note := func(links []model.Link) {
		for i := range links {
			for _, p := range links[i].Addrs {
				if !p.IsSingleIP() {
					seen[p.Masked()] = true
				}
			}
		}
	}
	for i := range p.candidates {
		note(p.candidates[i].links)
	}
	note(p.self.links)
	return &subnets{sorted: slices.SortedFunc(maps.Keys(seen), netip.Prefix.Compare)}
}

// appendKey appends to key what addresses have in common that are of one family
// and in the same subnets. It is to be asked for addresses in their order.
func (s *subnets) appendKey(key []byte, address netip.Addr) []byte {
	for s.next < len(s.sorted) && !address.Less(s.sorted[s.next].Addr()) {
		s.leave(s.sorted[s.next].Addr())
		s.around = append(s.around, s.next)
		s.next++
	}
	s.leave(address)
	// Two subnets have nothing in common unless one is in the other: the
	// narrowest says which the others are.
	if last := len(s.around) - 1; last >= 0 {
		return binary.BigEndian.AppendUint32(key, uint32(s.around[last]))
	}
	return append(key, byte(address.BitLen()))
}

// leave drops those that an address further on is not in.
func (s *subnets) leave(address netip.Addr) {
	for last := len(s.around) - 1; last >= 0 && !s.sorted[s.around[last]].Contains(address); last-- {
		s.around = s.around[:last]
	}
}
