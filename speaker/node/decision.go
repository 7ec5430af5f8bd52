package node

import (
	"cmp"
	"fmt"
	"net/netip"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Verdict is what becomes of an address by one protocol.
type Verdict struct {
	// Announced says that neighbors are answered, or that a router was told.
	Announced bool
	// Reason why it is or is not, empty where there is nothing to say, and a
	// message that says the same for every address of that kind.
	Reason  v1beta1.Reason
	Message string
}

// Decision is what becomes of an address on this node. Report, metrics, log and
// page all say what Reason says.
type Decision struct {
	Address  netip.Addr
	Services []string
	// Elsewhere says that other nodes own the address: what keeps this one from
	// it is nobody's concern.
	Elsewhere bool
	L2, BGP   Verdict
}

// Reason ranks the verdicts: why the address is announced by this node, by either
// protocol, or why by neither. It is empty where there is nothing to say yet: in
// half a second it is held or in conflict.
func (d *Decision) Reason() (v1beta1.Reason, string) {
	switch {
	case d.L2.Announced, d.L2.Reason == "" && !d.BGP.Announced:
		return d.L2.Reason, d.L2.Message
	case d.BGP.Announced:
		return d.BGP.Reason, d.BGP.Message
	case d.L2.Reason == v1beta1.ReasonNoAdvertisement && d.BGP.Reason != "":
		return d.BGP.Reason, d.BGP.Message
	}
	return d.L2.Reason, d.L2.Message
}

// Announced reports whether either protocol announces the address.
func (d *Decision) Announced() bool { return d.L2.Announced || d.BGP.Announced }

// decision is the one at a place of the plan.
func (n *Node) decision(place int, held map[netip.Addr][]string) Decision {
	of := &n.step.made.Decisions[place]
	d := Decision{
		Address: of.Address, Services: of.Services, Elsewhere: !of.Announce && (of.Owner != "" && of.Owner != n.config.Name || len(of.Sharers) > 0),
		L2: n.verdict(place, of, len(held[of.Address]) > 0), BGP: n.routes.verdict(place),
	}
	return d
}

func (n *Node) verdict(place int, of *plan.Decision, held bool) Verdict {
	fate := n.step.fates[place]
	switch {
	case held && of.Announce:
		return Verdict{true, of.Reason, of.Message}
	case held:
		return Verdict{true, v1beta1.ReasonAnnounced, "answered for until the next owner does"}
	case fate == inConflict:
		return Verdict{false, v1beta1.ReasonAddressConflict, n.conflicts.byAddress[of.Address].host.message()}
	case fate == waiting:
		return Verdict{}
	case fate == ownAddress:
		return Verdict{false, v1beta1.ReasonLocalAddress, plan.LocalAddress(n.step.local[of.Address])}
	case of.Announce:
		// Planned, but the sockets refuse; the Ready condition has the details.
		return Verdict{false, v1beta1.ReasonSocketError, "no socket could be opened for the address"}
	}
	return Verdict{false, of.Reason, of.Message}
}

// verdict on the address at a place of the plan. That no BGPAdvertisement selects
// it is not worth a word.
func (r *routes) verdict(place int) Verdict {
	if len(r.made.Decisions) == 0 {
		return Verdict{}
	}
	d := &r.made.Decisions[place]
	if d.Reason == v1beta1.ReasonNoAdvertisement {
		return Verdict{}
	}
	return r.outcome(d)
}

// outcome is what became of a decision about BGP.
func (r *routes) outcome(d *plan.BGPDecision) Verdict {
	if len(d.Peers) == 0 {
		return Verdict{false, d.Reason, d.Message}
	}
	standing := r.established(d)
	for _, s := range standing {
		if s.Told.Covers(d.Address) {
			return Verdict{true, d.Reason, d.Message}
		}
	}
	if len(standing) == 0 {
		return Verdict{false, v1beta1.ReasonNoSession, "no BGP session to a configured peer is established: see status.bgp"}
	}
	first := standing[0]
	cause := first.Why(d.Address)
	for _, u := range first.Unsent {
		if cause == "" && u.Prefix.Contains(d.Address) {
			cause = u.Why
		}
	}
	if cause == "" {
		return Verdict{false, v1beta1.ReasonNoSession, fmt.Sprintf("the router of %s has not been told yet", first.Name)}
	}
	return Verdict{false, v1beta1.ReasonNoSession, fmt.Sprintf("the BGP session with %s does not carry the address: %s", first.Name, cause)}
}

// established are the sessions that stand of those that are told of an address.
// Decisions share the lists of these.
func (r *routes) established(d *plan.BGPDecision) []*model.Session {
	all, known := r.standing[&d.Peers[0]]
	if !known {
		for _, name := range d.Peers {
			if s := r.session(name); s != nil && s.Established {
				all = append(all, s)
			}
		}
		r.standing[&d.Peers[0]] = all
	}
	return all
}

// problemOf is what an operator has to know of a session first: why there is
// none, or what of it does not work.
func problemOf(s *model.Session) string {
	switch {
	case s.LastError != "" || !s.Established:
		return s.LastError
	case s.WhyIPv4 != "" || s.WhyIPv6 != "":
		return cmp.Or(s.WhyIPv4, s.WhyIPv6)
	case len(s.Unsent) > 0:
		return fmt.Sprintf("%s is not announced: %s", s.Unsent[0].Prefix, s.Unsent[0].Why)
	}
	return s.BFDError
}

// others yields the prefixes beside those of load balancers that are to be
// announced, how each is written, and the verdict on it. A host's is written as
// an address; of what has no address there is nothing to write.
func (r *routes) others(yield func(text string, v Verdict)) {
	for i := range r.made.Others {
		d := &r.made.Others[i]
		text := ""
		switch {
		case d.Prefix.IsValid() && d.Prefix.IsSingleIP():
			text = d.Prefix.Addr().String()
		case d.Prefix.IsValid():
			text = d.Prefix.String()
		}
		yield(text, r.outcome(&d.BGPDecision))
	}
}
