package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
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

func isSelected(_ *planner, c *candidate, on *claim) (v1beta1.Reason, string, bool) {
	return v1beta1.ReasonNodeNotSelected, "no L2Advertisement of the address selects this node", !on.selected[c.index]
}

// hasInterface: of the interfaces that an advertisement wants, one is enough.
func hasInterface(p *planner, c *candidate, on *claim) (v1beta1.Reason, string, bool) {
	if on.linked[c.index] {
		return "", "", false
	}
	if on.lacking == "" && c == &p.self { // nobody asks what others lack
		var missing []string
		for _, a := range on.advertisements {
			if a.SelectsNode(c.Labels) {
				missing = append(missing, a.Interfaces...)
			}
		}
		slices.Sort(missing)
		on.lacking = p.lacking(slices.Compact(missing))
	}
	return v1beta1.ReasonInterfaceUnavailable, on.lacking, true
}

// lacking puts into words which interfaces of this node are not there or cannot
// be used, and why, or that there is none at all.
func (p *planner) lacking(missing []string) string {
	if len(missing) == 0 {
		return "this node has no interface to announce on: none is Ethernet, up, and on a subnet" + p.unsuitable()
	}
	var texts []string
	for _, name := range missing {
		text := "does not exist here"
		for i := range p.view.Interfaces {
			if on := &p.view.Interfaces[i]; on.Name == name {
				text = cmp.Or(on.Why, "is not usable")
			}
		}
		texts = append(texts, "interface "+name+" "+text)
	}
	return strings.Join(texts, "; ")
}

// unsuitable says what is wrong with the interfaces that an operator may have
// meant: those with an address of the node.
func (p *planner) unsuitable() string {
	var texts []string
	const most = 3
	for i := range p.view.Interfaces {
		on := &p.view.Interfaces[i]
		addressed := slices.ContainsFunc(on.Addrs, func(p netip.Prefix) bool { return p.Addr().IsGlobalUnicast() })
		if !on.Suitable && on.Why != "" && addressed && len(texts) < most {
			texts = append(texts, on.Name+" "+on.Why)
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return " (" + strings.Join(texts, "; ") + ")"
}

// hasLink reports whether a node has an interface that an advertisement wants, or
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
		return slices.ContainsFunc(p.view.Interfaces, func(i model.Interface) bool {
			return i.Usable && (i.Name == name || name == "" && i.Suitable)
		})
	})
}

// hasLocalEndpoint: an endpoint whose node is unknown does not make a node
// eligible in the presence of others whose node is known; if there are only
// such, any node may be the right one.
func hasLocalEndpoint(_ *planner, c *candidate, on *claim) (v1beta1.Reason, string, bool) {
	return v1beta1.ReasonNoLocalEndpoint, "externalTrafficPolicy is Local and this node has no usable endpoint", !on.hasLocal(c)
}

func (on *claim) hasLocal(c *candidate) bool {
	return !on.service.Local || on.endpoints.Nodes[c.name] || len(on.endpoints.Nodes) == 0 && on.endpoints.Unknown
}

// allows reports whether refuse finds nothing against a candidate.
func (on *claim) allows(c *candidate) bool {
	return on.endpoints.Any && on.member[c.index] && on.hasLocal(c)
}
