package plan

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
)

// holding is one of a Service's addresses.
type holding struct {
	address netip.Addr
	service *Service
}

// byAddress yields what is held of each address, in address order, the Services
// by key and each once. What is yielded is not empty.
func byAddress(services []Service) iter.Seq[[]holding] {
	all := make([]holding, 0, len(services))
	for i := range services {
		for _, address := range services[i].Addresses {
			all = append(all, holding{address, &services[i]})
		}
	}
	slices.SortFunc(all, func(x, y holding) int {
		if c := x.address.Compare(y.address); c != 0 {
			return c
		}
		return cmp.Compare(x.service.Key, y.service.Key)
	})
	return func(yield func([]holding) bool) {
		for rest := slices.Compact(all); len(rest) > 0; {
			n := slices.IndexFunc(rest, func(one holding) bool { return one.address != rest[0].address })
			if n < 0 {
				n = len(rest)
			}
			if !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}
