package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/ipam"
)

// PoolChoice is what becomes of a Service's request in one pool.
type PoolChoice struct {
	Pool string `json:"pool"`
	// Chosen says that the Service's addresses are of the pool; Fits that the pool
	// could serve it.
	Chosen bool `json:"chosen"`
	Fits   bool `json:"fits"`
	// Reason and Message say why it does not.
	Reason  v1beta1.Reason `json:"reason,omitempty"`
	Message string         `json:"message,omitempty"`
}

// choices asks the allocator of each pool, in the order in which they are tried,
// whether it would serve a Service. Cool-downs are known to the controller alone.
func (c *Cluster) choices(svc *corev1.Service, request config.Request) []PoolChoice {
	pools := slices.Clone(c.snapshot.Pools)
	slices.SortStableFunc(pools, func(a, b *config.Pool) int { return cmp.Compare(a.Priority, b.Priority) })
	given, _ := config.Annotation(svc, v1beta1.AnnotationAllocatedPool)
	if len(shown(svc)) == 0 {
		given = ""
	}
	allocator := c.allocator(request.Key)
	all := make([]PoolChoice, 0, len(pools))
	for _, pool := range pools {
		choice := PoolChoice{Pool: pool.Name, Chosen: pool.Name == given}
		choice.Reason, choice.Message = c.refusal(allocator, pool, request)
		choice.Fits = choice.Reason == ""
		all = append(all, choice)
	}
	return all
}

// refusal is why a pool does not serve a request, or empty.
func (c *Cluster) refusal(allocator *ipam.IPAM, pool *config.Pool, request config.Request) (v1beta1.Reason, string) {
	switch named := c.poolNamed(request); {
	case named != "" && named != pool.Name:
		return v1beta1.ReasonAddressOutsidePools, "the Service asks for pool " + named + ", by its name or by an address of it"
	case named == "" && len(request.Addresses) > 0:
		return v1beta1.ReasonAddressOutsidePools, "it does not give " + texts(request.Addresses)
	case named == "" && !pool.AutoAssign:
		return v1beta1.ReasonAutoAssignDisabled, "it has autoAssign off and is not named"
	}
	request.Pool = pool.Name
	_, refusal := allocator.Assign(request, c.namespaceLabels(request.Namespace), c.now)
	allocator.Release(request.Key)
	if refusal == nil || refusal.Reason == v1beta1.ReasonPartiallyAllocated {
		return "", ""
	}
	return refusal.Reason, strings.TrimPrefix(refusal.Message, "pool "+pool.Name+": ")
}

// poolNamed is the pool that a request confines itself to, or empty.
func (c *Cluster) poolNamed(request config.Request) string {
	if request.Pool != "" {
		return request.Pool
	}
	for _, a := range request.Addresses {
		if p := c.snapshot.PoolOf(a); p != nil {
			return p.Name
		}
	}
	return ""
}

// allocator has allocated what all Services show but one.
func (c *Cluster) allocator(but string) *ipam.IPAM {
	m := ipam.New()
	m.SetSnapshot(c.snapshot)
	m.Advance(c.now)
	for _, pool := range c.objects.Pools {
		for _, q := range pool.Status.Quarantined {
			if a, err := config.ParseAddress(q.Address); err == nil && (q.Until == nil || q.Until.After(c.now)) {
				m.Quarantine(a)
			}
		}
	}
	for _, svc := range c.objects.Services { // in order of their keys
		addresses := shown(svc)
		if len(addresses) == 0 || config.ServiceKey(svc) == but || !c.served(svc) {
			continue
		}
		request, _ := config.ParseService(svc)
		givenBy, _ := config.Annotation(svc, v1beta1.AnnotationAllocatedPool)
		m.Adopt(request, addresses, givenBy)
	}
	return m
}

// namespaceLabels are nil for a namespace that is not known.
func (c *Cluster) namespaceLabels(name string) labels.Set {
	for _, n := range c.objects.Namespaces {
		if n.Name != name {
			continue
		}
		if n.Labels == nil {
			return labels.Set{}
		}
		return n.Labels
	}
	return nil
}

func texts[T fmt.Stringer](all []T) string {
	out := make([]string, 0, len(all))
	for _, one := range all {
		out = append(out, one.String())
	}
	return strings.Join(out, ", ")
}

// placeOf says of an address that no Service has what it is to the pools.
func (c *Cluster) placeOf(a netip.Addr) (pool string, v Verdict) {
	if by := c.snapshot.UsedBy(a); by != "" {
		return "", wrong(v1beta1.ReasonUsedByCluster, fmt.Sprintf("%s is of %s: no Service is given it", a, by))
	}
	p := c.snapshot.PoolOf(a)
	if p == nil {
		for _, one := range c.snapshot.Pools {
			if slices.ContainsFunc(one.Ranges, func(r config.PoolRange) bool { return r.Contains(a) }) {
				return one.Name, Verdict{Well: true, Message: fmt.Sprintf("pool %s excludes %s: no Service is given it", one.Name, a)}
			}
		}
		return "", wrong(v1beta1.ReasonAddressOutsidePools, fmt.Sprintf("%s is of no pool, and no Service has it", a))
	}
	for _, o := range c.objects.Pools {
		for _, q := range o.Status.Quarantined {
			if q.Address == a.String() {
				message := fmt.Sprintf("%s is in quarantine: the host %s on the network answers for it", a, q.MAC)
				return p.Name, wrong(v1beta1.ReasonAddressConflict, message)
			}
		}
	}
	for i := range p.Reservations {
		r := &p.Reservations[i]
		if slices.ContainsFunc(r.Ranges, func(one config.Range) bool { return one.Contains(a) }) {
			return p.Name, Verdict{Well: true, Message: fmt.Sprintf("no Service has %s; it is reserved for %s", a, r.For())}
		}
	}
	return p.Name, Verdict{Well: true, Message: fmt.Sprintf("no Service has %s; pool %s may give it", a, p.Name)}
}

// wrong is a verdict with the cure for its reason.
func wrong(reason v1beta1.Reason, message string) Verdict {
	return Verdict{Reason: reason, Message: message, Cure: cureFor(reason)}.referring()
}
