package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Address is what is known of one address.
type Address struct {
	Address string `json:"address"`
	// Pool that covers it, or that it was given from.
	Pool string `json:"pool,omitempty"`
	// Services, as namespace/name, that have it.
	Services []string `json:"services"`
	// Advertisements that select it, as kind/name.
	Advertisements []string `json:"advertisements,omitempty"`
	// Owners are the nodes that answer for it on layer 2: one, but under PerClient.
	Owners []string `json:"owners,omitempty"`
	// Nodes say for each node and protocol whether it announces the address, and why
	// not.
	Nodes     []NodeView `json:"nodes"`
	Sessions  []Session  `json:"sessions,omitempty"`
	Conflicts []Conflict `json:"conflicts,omitempty"`
	// Wire is what the network itself says, if that was wanted.
	Wire *Wire `json:"wire,omitempty"`
	// LastMove is how it came to where it is, as far as Speakers report.
	LastMove *PastMove `json:"lastMove,omitempty"`
	Verdict  Verdict   `json:"verdict"`
}

// Protocol by which an address is announced.
type Protocol string

// Protocols.
const (
	L2  Protocol = "L2"
	BGP Protocol = "BGP"
)

// NodeView is what becomes of an address on one node.
type NodeView struct {
	Node     string   `json:"node"`
	Protocol Protocol `json:"protocol"`
	// Announces says that the node's speaker says so.
	Announces bool `json:"announces"`
	// On are the interfaces, or the peers.
	On      []string       `json:"on,omitempty"`
	Reason  v1beta1.Reason `json:"reason,omitempty"`
	Message string         `json:"message,omitempty"`
	// Reported says that the speaker gave the reason; else it follows from the objects.
	Reported bool `json:"reported"`
}

// Session is a BGP session of a node.
type Session struct {
	Node    string     `json:"node"`
	Peer    string     `json:"peer"`
	Address string     `json:"address,omitempty"`
	ASN     int64      `json:"asn,omitempty"`
	State   string     `json:"state"`
	Since   *time.Time `json:"since,omitempty"`
	BFD     string     `json:"bfd,omitempty"`
	Routes  int32      `json:"routes"`
	Error   string     `json:"error,omitempty"`
}

// Address explains an address. The EndpointSlices of its Services must be among the
// objects.
func (c *Cluster) Address(a netip.Addr) Address {
	services := c.holders[a]
	out := Address{Address: a.String(), Services: keysOf(services), Wire: c.wire[a], LastMove: c.lastMove(a)}
	for _, one := range c.Conflicts() {
		if one.Address == out.Address {
			out.Conflicts = append(out.Conflicts, one)
		}
	}
	if len(services) == 0 {
		out.Pool, out.Verdict = c.placeOf(a)
		if len(out.Conflicts) > 0 {
			out.Verdict = wrong(v1beta1.ReasonAddressConflict, "another host on the network answers for "+out.Address+": "+out.Conflicts[0].MAC)
		}
		if v, found := c.wrongOnWire(a); found {
			out.Verdict = v
		}
		return out
	}
	out.Pool, _ = config.Annotation(services[0], v1beta1.AnnotationAllocatedPool)
	if p := c.snapshot.PoolOf(a); p != nil {
		out.Pool = p.Name
	}
	out.Advertisements = c.advertising(out.Pool, services)
	for _, one := range c.announcers[a] {
		if !one.bgp && !slices.Contains(out.Owners, one.node) {
			out.Owners = append(out.Owners, one.node)
		}
	}
	slices.Sort(out.Owners)
	out.Nodes = c.nodeViews(a, services, out.Owners)
	if slices.ContainsFunc(out.Nodes, func(v NodeView) bool { return v.Protocol == BGP }) {
		out.Sessions = c.Peers()
	}
	out.Verdict = c.verdictOfAddress(a, services).referring()
	return out
}

// advertising are the advertisements that select a pool and one of the Services.
func (c *Cluster) advertising(pool string, services []*corev1.Service) []string {
	var poolLabels map[string]string
	if p := c.snapshot.Pool(pool); p != nil {
		poolLabels = p.Labels
	}
	return c.advertisers(pool, poolLabels, func(selects func(labels.Set) bool) bool {
		return slices.ContainsFunc(services, func(svc *corev1.Service) bool { return selects(svc.Labels) })
	})
}

// verdictOfAddress is that of the first of its Services that is in trouble.
func (c *Cluster) verdictOfAddress(a netip.Addr, services []*corev1.Service) Verdict {
	if v, found := c.wrongOnWire(a); found {
		return v
	}
	for _, svc := range services {
		if v := c.verdictOf(svc); !v.Well {
			return v
		}
	}
	if owners := c.owners(a); len(owners) > 1 {
		return wrong(v1beta1.ReasonMultipleOwners, c.severalOwners(a, owners))
	}
	return Verdict{Well: true, Reason: v1beta1.ReasonAnnounced, Message: a.String() + " is announced by " + shorten(c.announcing(a))}
}

// severalOwners puts that into words.
func (c *Cluster) severalOwners(a netip.Addr, owners []string) string {
	port := "the members' port"
	if s := c.speakers[owners[0]]; s != nil {
		if at, err := netip.ParseAddrPort(s.Status.MemberAddress); err == nil {
			port = fmt.Sprintf("port %d", at.Port())
		}
	}
	return fmt.Sprintf("%s is answered for by %s at once: open %s between them", a, strings.Join(owners, ", "), port)
}

// announcing are the nodes that announce an address, by name.
func (c *Cluster) announcing(a netip.Addr) []string {
	var nodes []string
	for _, one := range c.announcers[a] {
		nodes = append(nodes, one.node)
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// nodeViews says of each node why it announces an address or does not, for each
// protocol that is configured.
func (c *Cluster) nodeViews(a netip.Addr, services []*corev1.Service, owners []string) []NodeView {
	view := plan.View{Config: c.snapshot, Services: c.planned(services), Nodes: c.nodes, Owners: map[netip.Addr]string{}}
	if len(owners) > 0 {
		view.Owners[a] = owners[0]
	}
	l2 := len(c.snapshot.L2Advertisements) > 0 || len(c.snapshot.BGPAdvertisements) == 0
	var all []NodeView
	for _, s := range c.Speakers() {
		if l2 {
			all = append(all, c.l2View(&s, a, view))
		}
		if len(c.snapshot.BGPAdvertisements) > 0 {
			all = append(all, c.bgpView(&s, a, view))
		}
	}
	slices.SortStableFunc(all, func(x, y NodeView) int {
		switch {
		case x.Announces == y.Announces:
			return cmp.Compare(y.Protocol, x.Protocol) // L2 first
		case x.Announces:
			return -1
		}
		return 1
	})
	return all
}

// planned are Services as speakers see them.
func (c *Cluster) planned(services []*corev1.Service) *plan.Services {
	all := make([]plan.Service, 0, len(services))
	for _, svc := range services {
		service := plan.ServiceOf(svc, c.slicesOf(svc))
		if c.withoutEndpoints() { // they may be anywhere
			service.IPv4 = plan.Endpoints{Any: true, Unknown: true}
			service.IPv6 = service.IPv4
		}
		all = append(all, service)
	}
	return plan.ServicesOf(all...)
}

// withoutEndpoints reports whether nothing is known of endpoints: what speakers say of
// them counts.
func (c *Cluster) withoutEndpoints() bool { return c.unread(KindEndpointSlices) }

// KindEndpointSlices is what Objects.Unread calls endpoints.
const KindEndpointSlices = "endpointslices"

func (c *Cluster) slicesOf(svc *corev1.Service) []*discoveryv1.EndpointSlice {
	return c.endpoints[config.ServiceKey(svc)]
}

// leftToOthers is what there is to say where speakers look at no address of a Service.
const leftToOthers = "another program writes what the Service shows: it is that one's to announce"

// l2View asks the speakers' rules about one node, beside the owner alone: they say
// of each node why it may not own an address, whoever else there is.
func (c *Cluster) l2View(s *Speaker, a netip.Addr, view plan.View) NodeView {
	out := NodeView{Node: s.Node, Protocol: L2}
	if c.told(&out, s, a) {
		return out
	}
	view.Self, view.Alive = s.Node, []string{s.Node}
	if owner := view.Owners[a]; owner != "" && owner != s.Node {
		view.Alive = append(view.Alive, owner)
	}
	// Nothing is known of its interfaces: as of other nodes that have said nothing yet,
	// any may be the right one.
	view.Links = map[string][]model.Link{s.Node: {{Usable: true, Suitable: true}}}
	out.Message = leftToOthers
	for _, d := range plan.Make(view).Decisions {
		if d.Address != a {
			continue
		}
		out.Reason, out.Message = d.Reason, d.Message
		if d.Owner == s.Node || slices.Contains(d.Sharers, s.Node) {
			out.Reason, out.Message = "", "by the rules it may own the address, and its speaker does not say that it does"
		}
	}
	return out
}

// bgpView asks the speakers' rules about one node.
func (c *Cluster) bgpView(s *Speaker, a netip.Addr, view plan.View) NodeView {
	out := NodeView{Node: s.Node, Protocol: BGP}
	announces := c.told(&out, s, a)
	if announces && !out.Announces {
		return out
	}
	bgp := plan.BGPView{View: view}
	bgp.Self, bgp.Local = s.Node, c.localOf(s.Node)
	if s.Excluded != "" {
		bgp.Drain = plan.Withdrawn
	}
	if !out.Announces {
		out.Message = leftToOthers
	}
	for _, d := range plan.MakeBGP(&bgp).Decisions {
		if d.Address != a {
			continue
		}
		switch out.On = d.Peers; {
		case out.Announces:
		case len(d.Peers) == 0:
			out.Reason, out.Message = d.Reason, d.Message
		default:
			out.Reason = v1beta1.ReasonNoSession
			down := c.downAmong(s.Node, "the session", func(peer string) bool { return slices.Contains(d.Peers, peer) })
			out.Message = cmp.Or(down, "the speaker does not say that it told "+strings.Join(d.Peers, ", "))
		}
	}
	return out
}

// downAmong says which sessions of a node are down, of those to some peers.
func (c *Cluster) downAmong(node, session string, to func(peer string) bool) string {
	var down []string
	for _, one := range c.sessionsOf(node) {
		if one.State != Established && to(one.Peer) {
			down = append(down, session+" to "+one.Peer+" is down"+prefixed(": ", one.Error))
		}
	}
	return strings.Join(down, "; ")
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// told fills in what is known of a node without asking the rules: what its speaker
// says, or that there is none that could. It reports whether that is all.
func (c *Cluster) told(out *NodeView, s *Speaker, a netip.Addr) bool {
	if !s.Alive {
		out.Message = cmp.Or(s.Trouble, prefixed("no speaker runs on this node: ", s.NotMeant))
		if s.Reason == v1beta1.ReasonStopped && s.NotMeant == "" {
			out.Reason = v1beta1.ReasonStopped
		}
		return true
	}
	for _, one := range c.announcers[a] {
		if one.node == s.Node && one.bgp == (out.Protocol == BGP) {
			out.Announces, out.On, out.Reason, out.Reported = true, one.interfaces, v1beta1.ReasonAnnounced, true
			return true
		}
	}
	// What speakers alone can know.
	for _, one := range c.withheld[a] {
		if one.node != s.Node || !c.aloneKnows(one.reason, out.Protocol) {
			continue
		}
		out.Reason, out.Message, out.Reported = one.reason, one.message, true
		return true
	}
	return false
}

// aloneKnows reports whether a speaker's reason is one that the rules cannot give, and one
// of a protocol.
func (c *Cluster) aloneKnows(reason v1beta1.Reason, protocol Protocol) bool {
	switch reason {
	case v1beta1.ReasonLocalAddress:
		return true
	case v1beta1.ReasonAddressConflict, v1beta1.ReasonInterfaceUnavailable, v1beta1.ReasonSocketError:
		return protocol == L2
	case v1beta1.ReasonNoSession:
		return protocol == BGP
	case v1beta1.ReasonNoEndpoint, v1beta1.ReasonNoLocalEndpoint:
		return c.withoutEndpoints() // else what there is now counts more
	default:
		return false
	}
}

// localOf are the addresses of pools that a node has itself.
func (c *Cluster) localOf(node string) map[netip.Addr]string {
	found := map[netip.Addr]string{}
	if s := c.speakers[node]; s != nil {
		for _, text := range s.Status.LocalAddresses {
			if a, err := config.ParseAddress(text); err == nil {
				found[a] = "of its own"
			}
		}
	}
	return found
}

// Peers are the BGP sessions of all nodes, by peer and node.
func (c *Cluster) Peers() []Session {
	all := []Session{} // which is no null in JSON
	for _, s := range c.objects.Speakers {
		all = append(all, c.sessionsOf(s.Name)...)
	}
	for _, p := range c.objects.BGP.Peers {
		if !slices.ContainsFunc(all, func(s Session) bool { return s.Peer == p.Name }) {
			all = append(all, Session{Peer: p.Name, State: "None", Error: "no speaker has a session to it: does it select a node?"})
		}
	}
	slices.SortStableFunc(all, func(a, b Session) int { return cmp.Or(cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Node, b.Node)) })
	return all
}

func (c *Cluster) sessionsOf(node string) []Session {
	s := c.speakers[node]
	if s == nil || s.Status.BGP == nil {
		return nil
	}
	all := make([]Session, 0, len(s.Status.BGP.Peers))
	for i := range s.Status.BGP.Peers {
		p := &s.Status.BGP.Peers[i]
		one := Session{
			Node: node, Peer: p.Name, Address: p.Address, ASN: p.PeerASN, State: p.State, BFD: p.BFD, Routes: p.RoutesSent, Error: p.LastError,
		}
		if p.Since != nil {
			at := p.Since.Time
			one.Since = &at
		}
		if p.State == Established {
			one.Error = "" // it tells of the session before
		}
		all = append(all, one)
	}
	return all
}
