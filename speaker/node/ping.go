package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/baliza-lb/baliza/speaker/model"
)

// answerPing fills in Pings: of the addresses that are answered for from now on,
// and of those that still are, since a ping must meet the one before the other
// begins, and until it ends.
func (n *Node) answerPing(in *Input, out *Output) {
	next, own := out.Answers, localPrefixes(in)
	for i := range n.step.made.Decisions {
		d := &n.step.made.Decisions[i]
		on, answered := n.held[d.Address], false
		if len(next) > 0 && next[0].Address == d.Address {
			if next[0].Mode != model.Probe {
				on, answered = next[0].Interfaces, true
			}
			next = next[1:]
		}
		if !d.AnswerPing || !answered && len(on) == 0 {
			continue
		}
		local := localFor(d.Address, on, own)
		if !local.IsValid() {
			n.step.pingless = append(n.step.pingless, pingless(d.Address))
			continue
		}
		out.Pings = append(out.Pings, model.Ping{Address: d.Address, Local: local})
	}
	if len(out.Pings) == 0 {
		return
	}
	for _, a := range in.Cluster.Config.L2Advertisements {
		if a.AnswerPing {
			n.step.pingers = append(n.step.pingers, a.Name)
		}
	}
}

// localPrefix is an address of this node with the length of its subnet's prefix.
type localPrefix struct {
	netip.Prefix
	on string
}

// localPrefixes are those of Input.Local.
func localPrefixes(in *Input) (all []localPrefix) {
	for i := range in.Interfaces {
		for _, p := range in.Interfaces[i].Addrs {
			if in.Local[p.Addr()] == in.Interfaces[i].Name {
				all = append(all, localPrefix{p, in.Interfaces[i].Name})
			}
		}
	}
	return all
}

// localFor is the address of this node by which its kernel answers ping for another,
// which is answered for on some interfaces: rather one that these have, and whose
// subnet holds that other. It is invalid if the node has none of the family.
func localFor(a netip.Addr, on []string, own []localPrefix) (best netip.Addr) {
	const some, there, near = 1, 2, 3
	found := 0
	for _, p := range own {
		fit := some
		switch {
		case p.Addr().Is4() != a.Is4():
			continue
		case !slices.Contains(on, p.on):
		case p.Contains(a):
			fit = near
		default:
			fit = there
		}
		if fit > found {
			found, best = fit, p.Addr()
		}
	}
	return best
}

func pingless(a netip.Addr) string {
	family := "IPv6"
	if a.Is4() {
		family = "IPv4"
	}
	return "this node has no " + family + " address of its own by which its kernel could answer ping"
}

// unanswered is why ping is not answered, in complaints.
func (n *Node) unanswered(why string) []string {
	complaints := slices.Compact(slices.Sorted(slices.Values(n.step.pingless)))
	if why != "" {
		complaints = append(complaints, fmt.Sprintf("ping is not answered, which answerPing of L2Advertisement %s asks for: %s",
			strings.Join(n.step.pingers, ", "), why))
	}
	return complaints
}
