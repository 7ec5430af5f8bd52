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
	// Transitive is the form in which the weight is told.
	Transitive bool
}

// PeerPlan is what one peer of this node is told, in the order of prefixes.
type PeerPlan struct {
	Peer   *config.BGPPeer
	Routes []Route
	// Problem says why there can be no session on this node, whose labels and
	// annotations lack what the peer takes from them; it is empty if there can.
	Problem string
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

// OtherDecision is what becomes of a prefix that is no load balancer's: a cluster
// IP, an external IP, or a pod range of the node.
type OtherDecision struct {
	// Prefix is not valid where a pod range is to be announced and the node has
	// none.
	Prefix netip.Prefix
	BGPDecision
}

// BGPPlan is one PeerPlan for each peer of this node, by name, and one
// BGPDecision for each address, in the order of Plan's; none where there is no
// BGPAdvertisement.
type BGPPlan struct {
	Peers     []PeerPlan
	Decisions []BGPDecision
	// Others are those that a BGPAdvertisement selects.
	Others []OtherDecision
}

// gracefulShutdown is the well-known community GRACEFUL_SHUTDOWN (RFC 8326).
func gracefulShutdown() config.CommunityValue { return config.CommunityValue{B: 65535, C: 0} }

// MakeBGP makes the plan that follows from a view. Where a path cannot be told
// as it should be, the prefix is not told at all; the plan is then made a second
// time, so that the decisions say so.
func MakeBGP(view *BGPView) BGPPlan {
	b := newBGPPlanner(view, nil)
	made := b.plan()
	if len(b.refused) > 0 {
		made = newBGPPlanner(view, b.refused).plan()
	}
	return made
}

type bgpPlanner struct {
	view *BGPView
	self Node
	// peers are those that are told the same, as one; members are they, by name.
	peers   []*told
	members []member
	// here are the advertisements that select this node.
	here map[*config.BGPAdvertisement]bool
	// last are an advertisement's communities and GRACEFUL_SHUTDOWN.
	last  map[*config.BGPAdvertisement][]config.CommunityValue
	least uint32
	// hearing are the peers of the decision that is being made, before those of
	// the one before, and alike their names: most addresses go to the same peers.
	hearing, heard []*told
	alike          []string
	claim          bgpClaim // that is being looked at
	// refused are the routes that were found not to be tellable, and before
	// those that an earlier planner found.
	refused, before map[routeKey]v1beta1.Reason
	// unsaid is why a peer is not told of the decision that is being made, though
	// it should be.
	unsaid v1beta1.Reason
}

func (b *bgpPlanner) plan() BGPPlan {
	view := b.view
	var plan BGPPlan
	if len(view.Config.BGPAdvertisements) > 0 {
		plan.Decisions = make([]BGPDecision, 0, view.Services.holdings())
		for holdings := range view.Services.byAddress() {
			plan.Decisions = append(plan.Decisions, b.decide(holdings[0].address, holdings))
		}
	}
	if view.Config.AnnouncesOthers() {
		plan.Others = b.others()
	}
	for _, t := range b.peers {
		t.routes = b.sendable(t.config.Name, merged(t.routes))
	}
	for _, m := range b.members {
		plan.Peers = append(plan.Peers, PeerPlan{m.peer, m.of.routes, m.of.problem})
	}
	return plan
}

// sendable refuses the routes whose communities no message has room for: one
// tenant's advertisements must not end the session of all.
func (b *bgpPlanner) sendable(peer string, routes []Route) []Route {
	return slices.DeleteFunc(routes, func(r Route) bool {
		fits := config.CommunitiesFit(r.Communities)
		if !fits {
			b.refuseRoute(peer, r.Prefix, v1beta1.ReasonTooManyCommunities)
		}
		return !fits
	})
}

// refuseRoute notes that a peer must not be told a prefix.
func (b *bgpPlanner) refuseRoute(peer string, prefix netip.Prefix, reason v1beta1.Reason) {
	if b.refused == nil {
		b.refused = map[routeKey]v1beta1.Reason{}
	}
	b.refused[routeKey{peer, prefix}] = reason
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

// routeKey is one prefix that one peer is told.
type routeKey struct {
	peer   string
	prefix netip.Prefix
}

// told are peers of this node that are told the same, with what that is so far:
// many routers cost no more to plan for than one.
type told struct {
	config  *config.BGPPeer // of the first of them
	names   []string
	routes  []Route
	problem string
}

// member is one of them.
type member struct {
	peer *config.BGPPeer
	of   *told
}

// join adds a peer to those that the same advertisements select, and that carry the
// same families; one that has a problem is by itself.
func (b *bgpPlanner) join(p *config.BGPPeer, kinds map[string]*told) {
	here, err := p.On(b.self.Labels, b.self.Annotations)
	if err != nil {
		t := &told{config: p, problem: err.Error()}
		b.peers, b.members = append(b.peers, t), append(b.members, member{p, t})
		return
	}
	kind := make([]byte, 0, len(b.view.Config.BGPAdvertisements)+len("46"))
	mark := func(is bool) {
		mark := byte('-')
		if is {
			mark = '+'
		}
		kind = append(kind, mark)
	}
	mark(here.Carries(netip.IPv4Unspecified()))
	mark(here.Carries(netip.IPv6Unspecified()))
	for _, a := range b.view.Config.BGPAdvertisements {
		mark(a.SelectsPeer(here.Name))
	}
	t := kinds[string(kind)]
	if t == nil {
		t = &told{config: here, routes: make([]Route, 0, b.view.Services.holdings())}
		kinds[string(kind)], b.peers = t, append(b.peers, t)
	}
	t.names, b.members = append(t.names, here.Name), append(b.members, member{here, t})
}

// hears reports whether an advertisement's path to an address of that family is
// one for the peer.
func (t *told) hears(a *config.BGPAdvertisement, address netip.Addr) bool {
	return t.problem == "" && a.SelectsPeer(t.config.Name) && t.config.Carries(address)
}

func newBGPPlanner(view *BGPView, refused map[routeKey]v1beta1.Reason) *bgpPlanner {
	b := &bgpPlanner{
		view: view, self: view.Nodes[view.Self], before: refused,
		here: map[*config.BGPAdvertisement]bool{}, last: map[*config.BGPAdvertisement][]config.CommunityValue{},
	}
	kinds := map[string]*told{}
	for _, p := range view.Config.BGPPeers {
		if p.SelectsNode(b.self.Labels) {
			b.join(p, kinds)
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
	b.hearing, b.unsaid = b.hearing[:0], ""
	var first *refusal
	for _, h := range holdings {
		s := &h.service.Service
		on := &b.claim
		*on = bgpClaim{
			service: s, endpoints: s.of(address), address: address, kind: h.kind,
			advertisements: b.selecting(h, on.advertisements[:0]),
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
	case len(d.Peers) == 0 && b.unsaid != "":
		d.Reason, d.Message = b.unsaid, unsaidMessage(b.unsaid)
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
	if slices.Equal(b.hearing, b.heard) {
		return b.alike
	}
	b.heard, b.alike = slices.Clone(b.hearing), nil
	for _, t := range b.heard {
		b.alike = append(b.alike, t.names...)
	}
	slices.Sort(b.alike)
	return b.alike
}

// unsaidMessage puts into words why no peer is told, though some should be.
func unsaidMessage(reason v1beta1.Reason) string {
	if reason == v1beta1.ReasonCommunityUnresolved {
		return "a BGPAdvertisement of the address names a community that nothing defines: see the Ready conditions"
	}
	return "the BGPAdvertisements of the address together have more communities than a message carries"
}

// lengthOf the prefixes that an advertisement makes of an address's family.
func lengthOf(a *config.BGPAdvertisement, address netip.Addr) int {
	if address.Is4() {
		return a.LengthV4
	}
	return a.LengthV6
}

// tell adds an advertisement's path to what its peers are told.
func (b *bgpPlanner) tell(a *config.BGPAdvertisement, on *bgpClaim) {
	route := Route{LocalPref: a.LocalPref, MED: a.MED, Prepend: a.Prepend, Communities: a.Communities}
	if a.Weighted && on.local() {
		route.Weight, route.Transitive = on.endpoints.Counts[b.view.Self], a.Transitive
	}
	if b.view.Drain == Lowering {
		route = b.lowered(a, &route)
	}
	for _, p := range b.peers {
		if !p.hears(a, on.address) {
			continue
		}
		prefix, err := on.address.Prefix(b.length(a, on, p))
		if err != nil {
			continue // the schema bounds the length
		}
		b.add(p, a, prefix, route)
	}
}

// add adds one route to what a peer is told, unless it cannot be told as it
// should be.
func (b *bgpPlanner) add(p *told, a *config.BGPAdvertisement, prefix netip.Prefix, route Route) {
	if reason := b.before[routeKey{p.config.Name, prefix}]; reason != "" {
		b.unsaid = reason
		return
	}
	if a.Incomplete {
		b.refuseRoute(p.config.Name, prefix, v1beta1.ReasonCommunityUnresolved)
		return
	}
	route.Prefix = prefix
	p.routes = append(p.routes, route)
	if !slices.Contains(b.hearing, p) {
		b.hearing = append(b.hearing, p)
	}
}

// length of the prefix that a peer is told. An aggregate leads to addresses that
// only other nodes serve, if their Services want the traffic where the pods are
// (externalTrafficPolicy Local): for such a Service the peer is told the address
// itself, and the aggregate only beside it.
func (b *bgpPlanner) length(a *config.BGPAdvertisement, on *bgpClaim, p *told) int {
	length, host := lengthOf(a, on.address), on.address.BitLen()
	if length == host || !on.local() {
		return length
	}
	guided := slices.ContainsFunc(on.advertisements, func(o *config.BGPAdvertisement) bool {
		_, refused := b.before[routeKey{p.config.Name, netip.PrefixFrom(on.address, host)}]
		return b.here[o] && p.hears(o, on.address) && lengthOf(o, on.address) == host && !refused
	})
	if guided {
		return length
	}
	return host
}

// lowered is Lowered, with what many routes share made once.
func (b *bgpPlanner) lowered(a *config.BGPAdvertisement, route *Route) Route {
	if b.last[a] == nil {
		b.last[a] = config.UnionOfCommunities(a.Communities, []config.CommunityValue{gracefulShutdown()})
	}
	lowered := *route
	lowered.LocalPref, lowered.Communities = &b.least, b.last[a]
	return lowered
}

// Lowered makes a route the last choice: GRACEFUL_SHUTDOWN, and the least
// preference, which stands in least.
func Lowered(route Route, least *uint32) Route {
	route.LocalPref = least
	route.Communities = config.UnionOfCommunities(route.Communities, []config.CommunityValue{gracefulShutdown()})
	return route
}

// merge makes one route of two advertisements, or two addresses under one
// prefix: all communities; of the rest what prefers the path more, except that
// the longer path was asked for.
func merge(a, b Route) Route {
	a.Communities = config.UnionOfCommunities(a.Communities, b.Communities)
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
