package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// Refusal is why a Service does not get what it asks for.
type Refusal struct {
	Reason v1beta1.Reason
	// Message for the Service's owner. It names each pool that was considered.
	Message string
}

// Error makes a Refusal usable as an error.
func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Message }

// rule says why a pool does not do for a request, or returns nil.
type rule func(*ask, *pool) *Refusal

// poolRules are tried in order; the first objection counts.
var poolRules = []rule{notFrozen, autoAssigned, admitted}

func notFrozen(_ *ask, p *pool) *Refusal {
	if !p.Frozen {
		return nil
	}
	return &Refusal{v1beta1.ReasonInvalidSpec, "it gives nothing until its spec is corrected"}
}

func autoAssigned(q *ask, p *pool) *Refusal {
	if p.AutoAssign || q.Pool != "" || len(q.Addresses) > 0 {
		return nil
	}
	return &Refusal{v1beta1.ReasonAutoAssignDisabled, "it has autoAssign off and is not named"}
}

func admitted(q *ask, p *pool) *Refusal {
	if p.Allows(q.Namespace, q.namespaceLabels, q.Labels) {
		return nil
	}
	return &Refusal{v1beta1.ReasonPoolNotAllowed, "its serviceAllocation does not admit this Service"}
}

// namedAddress says why the Service cannot have an address that it named.
func (m *IPAM) namedAddress(q *ask, p *pool, a netip.Addr) *Refusal {
	other, objection := m.clash(q.holding, a)
	one := p.partOf(a)
	switch {
	case !one.admits(q):
		return &Refusal{v1beta1.ReasonAddressReserved, fmt.Sprintf("%s is reserved for %s", a, one.reservation.For())}
	case other == nil:
		return m.cooldownRefusal(q, p, a)
	case q.holding.sharing == nil || other.sharing == nil:
		return &Refusal{v1beta1.ReasonAddressInUse, fmt.Sprintf("%s is held by %s", a, other.key)}
	}
	return &Refusal{v1beta1.ReasonSharingNotAllowed, fmt.Sprintf("%s is held by %s and cannot be shared: %s", a, other.key, objection)}
}

// homeless says why a Service whose pool is gone gains nothing.
func homeless(q *ask) *Refusal {
	reason := v1beta1.ReasonPoolNotFound
	if q.Policy == corev1.IPFamilyPolicyPreferDualStack {
		reason = v1beta1.ReasonPartiallyAllocated
	}
	return &Refusal{
		reason,
		fmt.Sprintf("its present address is of pool %s, which is gone: the other family must come from the same pool", q.holding.pool),
	}
}

// adoptable says why an address that the cluster shows cannot be booked.
func (m *IPAM) adoptable(h *holding, a netip.Addr, givenBy string) *Refusal {
	present := h.addresses[familyOf(a)]
	if present == a {
		return nil
	}
	if present.IsValid() {
		return &Refusal{v1beta1.ReasonInvalidRequest, fmt.Sprintf("%s is shown beside %s of the same family", a, present)}
	}
	if givenBy == "" && m.covering(a) == nil {
		return &Refusal{v1beta1.ReasonAddressOutsidePools, a.String() + " is not an address that an IPAddressPool gives"}
	}
	if other, objection := m.clashing(h, a, false); other != nil {
		return &Refusal{v1beta1.ReasonAddressInUse, fmt.Sprintf("%s is held by %s: %s", a, other.key, objection)}
	}
	return nil
}

// refusals are what several pools said.
type refusals struct {
	pools []string
	each  []Refusal
}

// mentioned is how many pools a message names at most.
const mentioned = 50

func (r *refusals) add(pool string, refusal Refusal) {
	r.pools = append(r.pools, pool)
	r.each = append(r.each, refusal)
}

func (r *refusals) message() string {
	var b strings.Builder
	for i, one := range r.each {
		if i == mentioned {
			fmt.Fprintf(&b, "; and %d more pools", len(r.each)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString("pool " + r.pools[i] + ": " + one.Message)
	}
	return b.String()
}

// sum makes one refusal of all: its reason is the one that all share.
func (r *refusals) sum() *Refusal {
	reason := r.each[0].Reason
	if slices.ContainsFunc(r.each, func(o Refusal) bool { return o.Reason != reason }) {
		reason = v1beta1.ReasonNoEligiblePool
	}
	return &Refusal{reason, r.message()}
}

// partly is the refusal of a second family that the Service only prefers.
func (r *refusals) partly() *Refusal {
	return &Refusal{v1beta1.ReasonPartiallyAllocated, r.message()}
}

// Malformed is the refusal of a request that cannot be understood.
func Malformed(p config.Problem) *Refusal {
	return &Refusal{p.Reason, p.Field + ": " + p.Message}
}

func quoted(name string) string { return strconv.Quote(name) }
