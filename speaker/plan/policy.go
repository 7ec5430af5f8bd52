package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/baliza-lb/baliza/api/v1beta1"
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

// refuse returns the first violation, if the node cannot own the address.
func (p *planner) refuse(c *candidate, on *claim) (refusal, bool) {
	if on.allows(c) {
		return refusal{}, false
	}
	for stage, rule := range policies() {
		if reason, message, violated := rule(p, c, on); violated {
			return refusal{stage, reason, message}, true
		}
	}
	return refusal{}, false
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

// hasInterface: of the interfaces that an advertisement means one is enough, if no
// other node has one that fits the address better.
func hasInterface(p *planner, c *candidate, on *claim) (v1beta1.Reason, string, bool) {
	if on.linked[c.index] {
		return "", "", false
	}
	if on.lacking == "" && c == &p.self { // nobody asks what others lack
		on.lacking = p.unlinked(on.group)
	}
	return v1beta1.ReasonInterfaceUnavailable, on.lacking, true
}

// unlinked puts into words what this node has no interface for, and others have.
func (p *planner) unlinked(g *group) string {
	own := unfit
	var named []string
	for _, a := range g.advertisements {
		if a.SelectsNode(p.self.Labels) {
			own, named = max(own, p.self.fitness(a, g.sample)), append(named, a.Interfaces...)
		}
	}
	if own == unfit {
		slices.Sort(named)
		return p.lacking(slices.Compact(named))
	}
	if g.best == inSubnet {
		return "this node has no interface to announce on in " + g.subnet().String() + ", where other nodes have one" + p.elsewhere(g, named)
	}
	family := "IPv4"
	if g.sample.Is6() {
		family = "IPv6"
	}
	return "this node has no interface with an " + family + " address to announce on, unlike other nodes"
}

// subnet is the one that a member of the group has an interface in that counts.
func (g *group) subnet() (found netip.Prefix) {
	for _, one := range g.nodes {
		for _, a := range g.advertisements {
			if !a.SelectsNode(one.Labels) {
				continue
			}
			for on := range one.interfaces(a) {
				if i := slices.IndexFunc(on.Addrs, func(p netip.Prefix) bool { return holds(p, g.sample) }); i >= 0 {
					return on.Addrs[i].Masked()
				}
			}
		}
	}
	return found
}

// elsewhere says of this node's interfaces in the subnet why they do not count.
func (p *planner) elsewhere(g *group, named []string) string {
	return parenthesis(p.view.Interfaces, func(on *model.Interface) string {
		switch {
		case fitnessOf(on.Addrs, g.sample) != inSubnet:
			return ""
		case on.Usable && len(named) > 0:
			return "is named by no L2Advertisement of the address"
		}
		return on.Why
	})
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
	return parenthesis(p.view.Interfaces, func(on *model.Interface) string {
		if on.Suitable || !slices.ContainsFunc(on.Addrs, func(p netip.Prefix) bool { return p.Addr().IsGlobalUnicast() }) {
			return ""
		}
		return on.Why
	})
}

// parenthesis is what there is to say of some interfaces, or empty.
func parenthesis(of []model.Interface, say func(*model.Interface) string) string {
	var texts []string
	const most = 3
	for i := range of {
		if text := say(&of[i]); text != "" && len(texts) < most {
			texts = append(texts, of[i].Name+" "+text)
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return " (" + strings.Join(texts, "; ") + ")"
}

// hasLocalEndpoint: an endpoint whose node is unknown does not make a node
// eligible in the presence of others whose node is known; if there are only
// such, any node may be the right one.
func hasLocalEndpoint(_ *planner, c *candidate, on *claim) (v1beta1.Reason, string, bool) {
	return v1beta1.ReasonNoLocalEndpoint, "externalTrafficPolicy is Local and this node has no usable endpoint", !on.hasLocal(c)
}

// hasLocal reports whether the Service's traffic may come to a candidate.
func (on claim) hasLocal(c *candidate) bool {
	return !on.confined() || on.endpoints.Nodes[c.name]
}

// confined reports whether it depends on the endpoints which nodes that are.
func (on claim) confined() bool {
	return on.service.Local && (len(on.endpoints.Nodes) > 0 || !on.endpoints.Unknown)
}

// allows reports whether the rules have nothing against a candidate.
func (on claim) allows(c *candidate) bool {
	return on.endpoints.Any && on.member[c.index] && on.hasLocal(c)
}
