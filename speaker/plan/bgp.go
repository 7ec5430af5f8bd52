package plan

import (
	"net/netip"
	"slices"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// Drain is how far a node is on its way out of load balancing, as far as BGP
// is concerned.
type Drain int

const (
	// Serving means that it is not.
	Serving Drain = iota
	// Lowering means that its paths are marked as the last choice (RFC 8326), so that
	// traffic moves while the node still answers.
	Lowering
	// Withdrawn means that it announces nothing.
	Withdrawn
)

// BGPView is what a plan for BGP follows from, beside View.
type BGPView struct {
	View
	Drain Drain
}

// Route is a prefix that peers are told, with what belongs to its path.
// Routes may share slices: nobody changes them.
type Route struct {
	Prefix netip.Prefix
	// LocalPref and MED are nil unless they are set.
	LocalPref, MED *uint32
	// Prepend is how often the AS number is repeated.
	Prepend     int
	Communities []config.CommunityValue
	// Weight is the number of ready endpoints behind the route, or zero when
	// the operator does not want the router to know.
	Weight int
}

// PeerPlan is what one peer of this node is told, in the order of prefixes.
type PeerPlan struct {
	Peer   *config.BGPPeer
	Routes []Route
}

// BGPDecision is what becomes of one address in BGP, on this node.
type BGPDecision struct {
	Address netip.Addr
	// Peers that are told of it, by name; empty when it is not announced.
	// Decisions may share them: nobody changes them.
	Peers []string
	// Reason and Message are those of Decision.
	Reason  v1beta1.Reason
	Message string
}

// BGPPlan is one PeerPlan for each peer of this node, by name, and one
// BGPDecision for each address, in the order of Plan's; none where there is no
// BGPAdvertisement.
type BGPPlan struct {
	Peers     []PeerPlan
	Decisions []BGPDecision
}

// gracefulShutdown is the well-known community GRACEFUL_SHUTDOWN (RFC 8326).
func gracefulShutdown() config.CommunityValue { return config.CommunityValue{B: 65535, C: 0} }

// MakeBGP makes the plan that follows from a view.
func MakeBGP(view *BGPView) BGPPlan {
	b := newBGPPlanner(view)
	var plan BGPPlan
	if len(view.Config.BGPAdvertisements) > 0 {
		plan.Decisions = make([]BGPDecision, 0, view.Services.holdings())
		for holdings := range view.Services.byAddress() {
			plan.Decisions = append(plan.Decisions, b.decide(holdings[0].address, holdings))
		}
	}
	for _, p := range b.peers {
		plan.Peers = append(plan.Peers, PeerPlan{p.config, merged(p.routes)})
	}
	return plan
}

// merged brings routes in order and makes one of those to the same prefix.
func merged(routes []Route) []Route {
	byPrefix := func(x, y Route) int { return x.Prefix.Compare(y.Prefix) }
	// They come in the order of addresses; only prefixes of several lengths
	// are not in order then.
	if !slices.IsSortedFunc(routes, byPrefix) {
		slices.SortStableFunc(routes, byPrefix)
	}
	kept := routes[:0]
	for i := range routes {
		if last := len(kept) - 1; last >= 0 && kept[last].Prefix == routes[i].Prefix {
			kept[last] = merge(kept[last], routes[i])
		} else {
			kept = append(kept, routes[i])
		}
	}
	return kept
}

type bgpPlanner struct {
	view  *BGPView
	self  Node
	peers []*told
	// here are the advertisements that select this node.
	here map[*config.BGPAdvertisement]bool
	// last are an advertisement's communities and GRACEFUL_SHUTDOWN.
	last  map[*config.BGPAdvertisement][]config.CommunityValue
	least uint32
	// names are those of the peers of the decision that is being made, alike
	// those of the one before: most addresses go to the same peers.
	names, alike []string
	claim        bgpClaim // that is being looked at
}

// told is a peer of this node with what it is told so far.
type told struct {
	config *config.BGPPeer
	routes []Route
}

func newBGPPlanner(view *BGPView) *bgpPlanner {
	b := &bgpPlanner{
		view: view, self: view.Nodes[view.Self],
		here: map[*config.BGPAdvertisement]bool{}, last: map[*config.BGPAdvertisement][]config.CommunityValue{},
	}
	for _, p := range view.Config.BGPPeers {
		if p.SelectsNode(b.self.Labels) {
			b.peers = append(b.peers, &told{config: p, routes: make([]Route, 0, view.Services.holdings())})
		}
	}
	for _, a := range view.Config.BGPAdvertisements {
		b.here[a] = a.SelectsNode(b.self.Labels)
	}
	return b
}

// decide finds out who is told of an address, and why nobody is.
func (b *bgpPlanner) decide(address netip.Addr, holdings []holding) BGPDecision {
	d := BGPDecision{Address: address}
	b.names = b.names[:0]
	var first *refusal
	for _, h := range holdings {
		s := &h.service.Service
		on := &b.claim
		*on = bgpClaim{
			service: s, endpoints: s.of(address), address: address,
			advertisements: selecting(b.view.Config, b.view.Config.BGPAdvertisements, address, s, on.advertisements[:0]),
		}
		if r := b.refuse(on); r != nil {
			// Of several Services, the one that came furthest explains.
			if first == nil || r.stage > first.stage {
				first = r
			}
			continue
		}
		for _, a := range on.advertisements {
			if b.here[a] {
				b.tell(a, on)
			}
		}
	}
	d.Peers = b.told()
	switch {
	case len(d.Peers) == 0 && first != nil:
		d.Reason, d.Message = first.reason, first.message
	case len(d.Peers) > 0 && b.view.Drain == Lowering:
		d.Reason, d.Message = v1beta1.ReasonDraining, "announced by this node as the last choice, while it is being drained"
	default:
		d.Reason, d.Message = v1beta1.ReasonAnnounced, "announced by this node"
	}
	return d
}

// told are the names, in order and each once; many decisions share them.
func (b *bgpPlanner) told() []string {
	slices.Sort(b.names)
	b.names = slices.Compact(b.names)
	if !slices.Equal(b.names, b.alike) {
		b.alike = slices.Clone(b.names)
	}
	return b.alike
}

// tell adds an advertisement's path to what its peers are told.
func (b *bgpPlanner) tell(a *config.BGPAdvertisement, on *bgpClaim) {
	length := a.LengthV4
	if on.address.Is6() {
		length = a.LengthV6
	}
	prefix, err := on.address.Prefix(length)
	if err != nil {
		return // the schema bounds the length
	}
	route := Route{Prefix: prefix, LocalPref: a.LocalPref, MED: a.MED, Prepend: a.Prepend, Communities: a.Communities}
	if a.Weighted && on.service.Local {
		route.Weight = on.endpoints.Counts[b.view.Self]
	}
	if b.view.Drain == Lowering {
		route = b.lowered(a, &route)
	}
	for _, p := range b.peers {
		if !a.SelectsPeer(p.config.Name) || !p.config.Carries(on.address) {
			continue
		}
		p.routes = append(p.routes, route)
		b.names = append(b.names, p.config.Name)
	}
}

// lowered is Lowered, with what many routes share made once.
func (b *bgpPlanner) lowered(a *config.BGPAdvertisement, route *Route) Route {
	if b.last[a] == nil {
		b.last[a] = union(a.Communities, []config.CommunityValue{gracefulShutdown()})
	}
	lowered := *route
	lowered.LocalPref, lowered.Communities = &b.least, b.last[a]
	return lowered
}

// Lowered makes a route the last choice: GRACEFUL_SHUTDOWN, and the least
// preference, which stands in least.
func Lowered(route Route, least *uint32) Route {
	route.LocalPref = least
	route.Communities = union(route.Communities, []config.CommunityValue{gracefulShutdown()})
	return route
}

// merge makes one route of two advertisements, or two addresses under one
// prefix: all communities; of the rest what prefers the path more, except that
// the longer path was asked for.
func merge(a, b Route) Route {
	a.Communities = union(a.Communities, b.Communities)
	if a.LocalPref == nil || b.LocalPref != nil && *b.LocalPref > *a.LocalPref {
		a.LocalPref = b.LocalPref
	}
	if a.MED == nil || b.MED != nil && *b.MED < *a.MED {
		a.MED = b.MED
	}
	a.Prepend = max(a.Prepend, b.Prepend)
	a.Weight = max(a.Weight, b.Weight)
	return a
}

// union of two lists that are in order and without doubles.
func union(a, b []config.CommunityValue) []config.CommunityValue {
	if len(b) == 0 || slices.Equal(a, b) {
		return a
	}
	if len(a) == 0 {
		return b
	}
	all := slices.Concat(a, b)
	slices.SortFunc(all, config.CommunityValue.Compare)
	return slices.Compact(all)
}
