package plan

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
)

// Services are those that a plan is for, in the order of their addresses, so
// that a change of one of thousands costs no sorting. The zero value, and nil,
// have none. It is for one goroutine.
type Services struct {
	byKey map[string]*record
	held  []holding
	// others are the addresses that no load balancer gave.
	others []holding
	// revision counts the changes.
	revision uint64
}

// Revision changes with every Update.
func (s *Services) Revision() uint64 {
	if s == nil {
		return 0
	}
	return s.revision
}

type record struct {
	Service
	// gone says that its holdings are to be dropped.
	gone bool
}

// addressKind is where a Service has an address from.
type addressKind int

const (
	ofLoadBalancer addressKind = iota
	ofCluster                  // spec.clusterIPs
	external                   // spec.externalIPs
)

// holding is one of a Service's addresses.
type holding struct {
	address netip.Addr
	service *record
	kind    addressKind
}

// ServicesOf makes Services; of those with one key the last counts.
func ServicesOf(all ...Service) *Services {
	s := &Services{}
	changed := make(map[string]*Service, len(all))
	for i := range all {
		changed[all[i].Key] = &all[i]
	}
	s.Update(changed)
	return s
}

// Get returns the Service of a key, or nil.
func (s *Services) Get(key string) *Service {
	if s == nil || s.byKey[key] == nil {
		return nil
	}
	return &s.byKey[key].Service
}

// Len is how many there are.
func (s *Services) Len() int {
	if s == nil {
		return 0
	}
	return len(s.byKey)
}

// Update puts the Services of these keys in the place of those that were
// there; those that are nil are gone.
func (s *Services) Update(changed map[string]*Service) {
	if s.byKey == nil {
		s.byKey = map[string]*record{}
	}
	s.revision++
	for key := range changed {
		if before := s.byKey[key]; before != nil {
			before.gone = true
			delete(s.byKey, key)
		}
	}
	gone := func(h holding) bool { return h.service.gone }
	s.held, s.others = slices.DeleteFunc(s.held, gone), slices.DeleteFunc(s.others, gone)
	for key, service := range changed {
		if service == nil {
			continue
		}
		now := &record{Service: *service}
		s.byKey[key] = now
		s.held = now.hold(s.held, service.Addresses, ofLoadBalancer)
		s.others = now.hold(s.others, service.ClusterIPs, ofCluster)
		s.others = now.hold(s.others, service.ExternalIPs, external)
	}
	slices.SortFunc(s.held, holding.compare)
	slices.SortFunc(s.others, holding.compare)
}

// hold adds addresses of a Service, each once.
func (r *record) hold(all []holding, addresses []netip.Addr, kind addressKind) []holding {
	for i, address := range addresses {
		if !slices.Contains(addresses[:i], address) {
			all = append(all, holding{address, r, kind})
		}
	}
	return all
}

func (h holding) compare(o holding) int {
	if c := h.address.Compare(o.address); c != 0 {
		return c
	}
	if c := cmp.Compare(h.service.Key, o.service.Key); c != 0 {
		return c
	}
	return cmp.Compare(h.kind, o.kind)
}

// holdings are how many addresses the Services have, each counted by itself.
func (s *Services) holdings() int {
	if s == nil {
		return 0
	}
	return len(s.held)
}

// keys returns a function that lists the keys of holdings, without a list of
// its own for each: it is to be asked for every address once.
func (s *Services) keys() func([]holding) []string {
	all := make([]string, 0, s.holdings())
	return func(holdings []holding) []string {
		begin := len(all)
		for _, h := range holdings {
			all = append(all, h.service.Key)
		}
		return all[begin:len(all):len(all)]
	}
}

// byAddress yields what is held of each address, in address order, the Services
// by key and each once. What is yielded is not empty.
func (s *Services) byAddress() iter.Seq[[]holding] {
	if s == nil {
		return grouped(nil)
	}
	return grouped(s.held)
}

// othersByAddress is the same of the addresses that no load balancer gave.
func (s *Services) othersByAddress() iter.Seq[[]holding] {
	if s == nil {
		return grouped(nil)
	}
	return grouped(s.others)
}

func grouped(all []holding) iter.Seq[[]holding] {
	return func(yield func([]holding) bool) {
		for rest := all; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].address == rest[0].address {
				n++
			}
			if !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}
