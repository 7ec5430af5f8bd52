package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// InUse is a range of addresses that the cluster itself has: a node's own, pods',
// Services' cluster IPs, those of the API server. No Service is given one: from
// the moment that it stands in a status, kube-proxy on every node captures it.
type InUse struct {
	Range
	// By says who has it: "node n1".
	By string
}

// Prefixed makes a range of a prefix.
func Prefixed(p netip.Prefix) Range { return Range{First: p.Masked().Addr(), Last: lastOf(p.Masked())} }

// SortInUse puts ranges in order, without duplicates.
func SortInUse(all []InUse) []InUse {
	slices.SortFunc(all, func(a, b InUse) int {
		return cmp.Or(a.First.Compare(b.First), a.Last.Compare(b.Last), cmp.Compare(a.By, b.By))
	})
	return slices.Compact(all)
}

// mostInUse is how many such ranges the message of a pool names.
const mostInUse = 5

// avoid excludes from a pool what the cluster itself has, and says so.
func (p *Pool) avoid(inUse []InUse) []Problem {
	var named []string
	count := 0
	for _, one := range inUse {
		if !slices.ContainsFunc(p.Ranges, func(r PoolRange) bool { return r.Overlaps(one.Range) }) {
			continue
		}
		p.inUse = append(p.inUse, one)
		p.Excluded = append(p.Excluded, one.Range)
		count++
		if count <= mostInUse {
			named = append(named, one.name()+" is of "+one.By)
		}
	}
	if count == 0 {
		return nil
	}
	slices.SortFunc(p.Excluded, func(a, b Range) int { return cmp.Or(a.First.Compare(b.First), a.Last.Compare(b.Last)) })
	if count > mostInUse {
		named = append(named, fmt.Sprintf("and %d more", count-mostInUse))
	}
	return []Problem{{
		Kind: KindPool, Name: p.Name, Field: "spec.addresses", Reason: v1beta1.ReasonUsedByCluster,
		Message: strings.Join(named, "; ") + "; these addresses are not given to Services: take them out of the pool, or exclude them",
	}}
}

func (u InUse) name() string {
	if u.First == u.Last {
		return u.First.String()
	}
	return u.String()
}

// UsedBy says who in the cluster has an address of one of the pools, or is empty.
func (s *Snapshot) UsedBy(a netip.Addr) string {
	for _, p := range s.Pools {
		for _, one := range p.inUse {
			if one.Contains(a) {
				return one.By
			}
		}
	}
	return ""
}
