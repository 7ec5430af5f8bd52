package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/model"
)

// Wire is what the network itself says about an address.
type Wire struct {
	// NotAsked says why it was not asked. Then nothing follows.
	NotAsked string `json:"notAsked,omitempty"`
	// WireProbe is what a speaker has found; nil if none was asked.
	*model.WireProbe
}

// Namespace is that of Baliza itself.
func (c *Cluster) Namespace() string { return c.installation.namespace }

// Askers are the nodes whose speakers can be asked for an address on the network, the
// best first, or why none can: whoever answers for it does not hear itself.
func (c *Cluster) Askers(a netip.Addr) (nodes []string, whyNot string) {
	var l2, bgp, shared bool
	for _, one := range c.announcers[a] {
		l2, bgp, shared = l2 || !one.bgp, bgp || one.bgp, shared || one.perClient
	}
	switch {
	case c.snapshot.PoolOf(a) == nil:
		return nil, a.String() + " is of no IPAddressPool"
	case bgp && !l2:
		return nil, "it is announced over BGP alone, by which no MAC answers"
	}
	owners := c.owners(a)
	var rest []string
	for _, s := range c.Speakers() {
		switch {
		case !s.Alive || slices.Contains(owners, s.Node) && !shared:
		case s.Ready:
			nodes = append(nodes, s.Node)
		default:
			rest = append(rest, s.Node)
		}
	}
	if nodes = append(nodes, rest...); len(nodes) == 0 {
		return nil, "no speaker is alive but the one that answers for it"
	}
	return nodes, ""
}

// TCPPort is the first TCP port of the Services that have an address, or zero.
func (c *Cluster) TCPPort(a netip.Addr) uint16 {
	for _, svc := range c.holders[a] {
		for _, p := range svc.Spec.Ports {
			if protocolOf(p.Protocol) == corev1.ProtocolTCP {
				return uint16(p.Port)
			}
		}
	}
	return 0
}

// SetWire adds what the network says about an address. It comes before Address and
// Service.
func (c *Cluster) SetWire(a netip.Addr, w Wire) {
	if c.wire == nil {
		c.wire = map[netip.Addr]*Wire{}
	}
	c.wire[a] = &w
}

// OnWire is the verdict that follows from the network alone, whatever the objects say;
// it is well where that is what they say. Where the network was not asked it is unknown,
// and says why.
func (c *Cluster) OnWire(a netip.Addr) Verdict {
	if v, wrong := c.wrongOnWire(a); wrong {
		return v
	}
	switch w := c.wire[a]; {
	case w == nil:
		return Verdict{Unknown: true, Message: "nobody was asked"}
	case w.WireProbe == nil:
		return Verdict{Unknown: true, Message: w.NotAsked}
	case len(w.Answers) == 0:
		return Verdict{Unknown: true, Message: "node " + w.Node + " heard nobody: " + strings.Join(slices.Concat(w.Interfaces, w.Problems), "; ")}
	}
	return Verdict{Well: true, Reason: v1beta1.ReasonAnnounced, Message: a.String() + " is answered for as the speakers say"}
}

// wrongOnWire is the verdict that follows from the network alone, whatever the objects
// say; false if it is what they say, or was not asked.
func (c *Cluster) wrongOnWire(a netip.Addr) (Verdict, bool) {
	w := c.wire[a]
	if w == nil || w.WireProbe == nil {
		return Verdict{}, false
	}
	claiming, shared := c.claiming(a)
	var nodes []string
	for _, one := range w.Answers {
		if one.Node == "" {
			return wrong(v1beta1.ReasonAddressConflict, fmt.Sprintf(
				"another host on the network answers for %s: %s, which is no node's, as node %s hears on %s",
				a, one.MAC, w.Node, one.Interface)), true
		}
		nodes = append(nodes, one.Node)
	}
	slices.Sort(nodes)
	nodes = slices.Compact(nodes)
	silent := slices.DeleteFunc(slices.Clone(nodes), func(node string) bool { return slices.Contains(claiming, node) })
	switch {
	case len(nodes) == 0 && len(w.Interfaces) > 0 && len(w.Problems) == 0 && len(claiming) > 0:
		return wrong(v1beta1.ReasonNoAnswer, fmt.Sprintf("%s answers for %s, and node %s, which asked on %s, heard nobody",
			shorten(claiming), a, w.Node, strings.Join(w.Interfaces, ", "))), true
	case len(silent) > 0 && len(claiming) == 0:
		return wrong(v1beta1.ReasonLocalAddress, fmt.Sprintf("node %s answers for %s on the network, and no speaker says that it does",
			shorten(silent), a)), true
	case len(silent) > 0:
		v := wrong(v1beta1.ReasonMultipleOwners, fmt.Sprintf("on the network %s is answered for by %s, and only %s says so",
			a, strings.Join(nodes, " and "), strings.Join(claiming, " and ")))
		v.Cure = "If the address has only just moved, ask again. Else the kernel of " + strings.Join(silent, " and ") +
			" answers by itself: let kube-proxy in IPVS mode have strictARP, and take the address off the node's interfaces."
		return v, true
	case len(nodes) > 1 && !shared:
		return wrong(v1beta1.ReasonMultipleOwners, c.severalOwners(a, nodes)), true
	}
	return Verdict{}, false
}

// claiming are the nodes that say that they answer for an address on layer 2, and
// whether several may.
func (c *Cluster) claiming(a netip.Addr) (nodes []string, shared bool) {
	for _, one := range c.announcers[a] {
		if !one.bgp {
			nodes, shared = append(nodes, one.node), shared || one.perClient
		}
	}
	slices.Sort(nodes)
	return nodes, shared
}
