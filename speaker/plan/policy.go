package plan

import (
	"slices"
	"strings"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// refusal is why a node cannot own an address for a Service.
type refusal struct {
	// stage is the place of the policy that refused in the chain.
	stage   int
	reason  v1beta1.Reason
	message string
}

// policy is one rule that a node must keep. Rules that are the same for every
// node come first.
type policy func(p *planner, c *candidate, on *claim) (reason v1beta1.Reason, message string, violated bool)

// policies returns the chain. (It is no variable, so that nobody changes it.)
func policies() [6]policy {
	return [...]policy{hasAdvertisement, hasEndpoint, isIncluded, isSelected, hasInterface, hasLocalEndpoint}
}

// refuse returns the first violation, or nil if the node can own the address.
func (p *planner) refuse(c *candidate, on *claim) *refusal {
	for stage, rule := range policies() {
		if reason, message, violated := rule(p, c, on); violated {
			return &refusal{stage, reason, message}
		}
	}
	return nil
}

func hasAdvertisement(_ *planner, _ *candidate, on *claim) (v1beta1.Reason, string, bool) {
	return v1beta1.ReasonNoAdvertisement, "no L2Advertisement selects the address's pool and the Service", len(on.advertisements) == 0
}

func hasEndpoint(_ *planner, _ *candidate, on *claim) (v1beta1.Reason, string, bool) {
	return v1beta1.ReasonNoEndpoint, "the Service has no usable endpoint of the address's family", !on.endpoints.Any
}

func isIncluded(_ *planner, c *candidate, _ *claim) (v1beta1.Reason, string, bool) {
	return v1beta1.ReasonNodeExcluded, c.Excluded, c.Excluded != ""
}

func isSelected(p *planner, c *candidate, on *claim) (v1beta1.Reason, string, bool) {
	selected := slices.ContainsFunc(on.advertisements, func(a *config.L2Advertisement) bool { return p.selected[a][c.name] })
	return v1beta1.ReasonNodeNotSelected, "no L2Advertisement of the address selects this node", !selected
}

// hasInterface: of the interfaces that an advertisement wants, one is enough.
func hasInterface(p *planner, c *candidate, on *claim) (v1beta1.Reason, string, bool) {
	var missing []string
	for _, a := range on.advertisements {
		if !p.selected[a][c.name] {
			continue
		}
		if p.linked[a][c.name] {
			return "", "", false
		}
		missing = append(missing, a.Interfaces...)
	}
	slices.Sort(missing)
	return v1beta1.ReasonInterfaceMissing, lacking(slices.Compact(missing)), true
}

// lacking puts into words which interfaces are not there, or that none is.
func lacking(missing []string) string {
	if len(missing) == 0 {
		return "this node has no interface to announce on: none is Ethernet, up, and on a subnet"
	}
	return "interface " + strings.Join(missing, ", ") + " does not exist here or is not usable"
}

// hasLink tells whether a node has an interface that an advertisement wants, or
// may have one for all that is known.
func (p *planner) hasLink(node string, a *config.L2Advertisement) bool {
	wanted := a.Interfaces
	if len(wanted) == 0 {
		wanted = []string{""}
	}
	return slices.ContainsFunc(wanted, func(name string) bool {
		if node != p.view.Self {
			usable, known := p.view.Links[node][name]
			return usable || !known
		}
		return slices.ContainsFunc(p.view.Interfaces, func(i Interface) bool {
			return i.Usable && (i.Name == name || name == "" && i.Suitable)
		})
	})
}

// hasLocalEndpoint: an endpoint whose node is unknown does not make a node
// eligible in the presence of others whose node is known; if there are only
// such, any node may be the right one.
func hasLocalEndpoint(_ *planner, c *candidate, on *claim) (v1beta1.Reason, string, bool) {
	allowed := !on.service.Local || on.endpoints.Nodes[c.name] || len(on.endpoints.Nodes) == 0 && on.endpoints.Unknown
	return v1beta1.ReasonNoLocalEndpoint, "externalTrafficPolicy is Local and this node has no usable endpoint", !allowed
}
