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
}

type record struct {
	Service
	// gone says that its holdings are to be dropped.
	gone bool
}

// holding is one of a Service's addresses.
type holding struct {
	address netip.Addr
	service *record
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
	for key := range changed {
		if before := s.byKey[key]; before != nil {
			before.gone = true
			delete(s.byKey, key)
		}
	}
	s.held = slices.DeleteFunc(s.held, func(h holding) bool { return h.service.gone })
	for key, service := range changed {
		if service == nil {
			continue
		}
		now := &record{Service: *service}
		s.byKey[key] = now
		for i, address := range service.Addresses {
			if !slices.Contains(service.Addresses[:i], address) {
				s.held = append(s.held, holding{address, now})
			}
		}
	}
	slices.SortFunc(s.held, func(x, y holding) int {
		if c := x.address.Compare(y.address); c != 0 {
			return c
		}
		return cmp.Compare(x.service.Key, y.service.Key)
	})
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
	return func(yield func([]holding) bool) {
		if s == nil {
			return
		}
		for rest := s.held; len(rest) > 0; {
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
