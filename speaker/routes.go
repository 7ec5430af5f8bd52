package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/bgp"
	"github.com/baliza-lb/baliza/speaker/link"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// routing is what BGP needs of kube.SpeakerView.
type routing interface {
	BGP() kube.BGPObjects
	Password(secret string) (string, bool)
	WatchOtherServices() error
}

// announcer is what the loop needs of bgp.Sessions.
type announcer interface {
	Apply(desired []bgp.Desired)
	Status() []bgp.Status
	Changes() <-chan struct{}
	Close(ctx context.Context)
}

var (
	_ announcer = (*bgp.Sessions)(nil)
	_ announcer = (*bgp.Fake)(nil)
)

// routes is the BGP side of a speaker. It is owned by the speaker's goroutine;
// one without sessions does nothing.
type routes struct {
	log      *slog.Logger
	cluster  routing
	sessions announcer
	// namespace of Baliza itself, where the Secrets of peers are.
	namespace string
	// drainTime is how long a node that is being drained goes on as the last
	// choice.
	drainTime time.Duration

	drained    plan.Drain // of the last pass
	drainSince time.Time  // when Lowering began
	gateways   link.Gateways
	weights    weights
	made       plan.BGPPlan
	planned    planned
	status     []bgp.Status
	up         map[string]bool     // the peers with an established session
	known      map[*string]bool    // of which lists of peers, by the first, one is up
	shapes     map[shape]*bgp.Path // of the last pass
	// lists are the routes of the last pass, translated, by the first of the plan's:
	// peers share them, and so do passes.
	lists map[*plan.Route]bgp.Paths
	// absent is why a peer has no session, by name.
	absent map[string]string
}

// capacity is the bandwidth that one ready pod stands for, in bytes a second;
// only ratios matter to a router.
const capacity = 1.25e8

// changes is what the loop waits for.
func (r *routes) changes() <-chan struct{} {
	if r == nil {
		return nil
	}
	return r.sessions.Changes()
}

// objects adds those about BGP.
func (r *routes) objects(to *config.Objects) {
	if r != nil {
		to.BGP, to.Namespace = config.BGPObjects(r.cluster.BGP()), r.namespace
	}
}

// watch sees to it that there is what the configuration announces.
func (r *routes) watch(configuration *config.Snapshot) {
	if r == nil || !configuration.AnnouncesOtherServices() {
		return
	}
	if err := r.cluster.WatchOtherServices(); err != nil {
		r.log.Error("cluster IPs and external IPs of Services that are no load balancers are not announced", "error", err)
	}
}

// pass brings the sessions up to date. It returns when it wants to be called
// again, or zero.
func (r *routes) pass(now time.Time, view *plan.View, gateways link.Gateways) time.Duration {
	if r == nil {
		return 0
	}
	again := r.drain(now, view.Nodes[view.Self])
	r.made = r.planned.plan(&plan.BGPView{View: *view, Drain: r.drained})
	again = sooner(again, r.weights.damp(now, &r.made))
	r.gateways = gateways
	r.sessions.Apply(r.desired())
	r.status, r.up, r.known = r.withAbsent(r.sessions.Status()), map[string]bool{}, map[*string]bool{}
	for i := range r.status {
		r.up[r.status[i].Name] = r.status[i].State == bgp.Established
	}
	return again
}

// planned is the last plan, and what it follows from: a pass that peers bring
// about, which come and go, plans nothing anew.
type planned struct {
	plan.BGPPlan
	config   *config.Snapshot
	services *plan.Services
	revision uint64
	self     plan.Node
	drain    plan.Drain
}

// plan makes the plan of a view, or takes the last. Its list of peers may be
// changed.
func (p *planned) plan(view *plan.BGPView) plan.BGPPlan {
	now := planned{config: view.Config, services: view.Services, revision: view.Services.Revision(), self: view.Nodes[view.Self], drain: view.Drain}
	if p.config != now.config || p.services != now.services || p.revision != now.revision || p.drain != now.drain || !p.self.Equal(&now.self) {
		now.BGPPlan = plan.MakeBGP(view)
		*p = now
	}
	made := p.BGPPlan
	made.Peers = slices.Clone(made.Peers)
	return made
}

// drain moves this node on its way out, and returns how far it is. Only what is
// announced can be drained: a node that is excluded when its speaker starts is
// told to nobody at any time, and one that cannot serve withdraws at once.
func (r *routes) drain(now time.Time, self plan.Node) time.Duration {
	switch {
	case self.Excluded == "":
		r.drained = plan.Serving
	case self.Unusable || r.drained == plan.Serving && !r.announces():
		r.drained = plan.Withdrawn
	case r.drained == plan.Serving:
		r.drained, r.drainSince = plan.Lowering, now
		r.log.Info("this node is being drained: its BGP paths become the last choice, and are withdrawn later", "withdrawn_in", r.drainTime)
	}
	if r.drained != plan.Lowering {
		return 0
	}
	left := r.drainTime - now.Sub(r.drainSince)
	if left <= 0 {
		r.drained = plan.Withdrawn
	}
	return max(left, 0)
}

// announces reports whether routers were told anything in the last pass.
func (r *routes) announces() bool {
	return slices.ContainsFunc(r.made.Peers, func(p plan.PeerPlan) bool { return len(p.Routes) > 0 })
}

// desired translates the plan for the sessions.
func (r *routes) desired() []bgp.Desired {
	all := make([]bgp.Desired, 0, len(r.made.Peers))
	absent, shapes, lists := map[string]string{}, map[shape]*bgp.Path{}, map[*plan.Route]bgp.Paths{}
	peers, lacking := make([]bgp.Peer, len(r.made.Peers)), make([]string, len(r.made.Peers))
	for i := range r.made.Peers {
		peers[i], lacking[i] = r.peer(r.made.Peers[i].Peer)
	}
	for i := range r.made.Peers {
		p, peer := &r.made.Peers[i], peers[i]
		if why := cmp.Or(p.Problem, lacking[i], r.taken(i, peers)); why != "" {
			absent[p.Peer.Name] = why
			if r.absent[p.Peer.Name] != why {
				r.log.Warn("no BGP session", "peer", p.Peer.Name, "error", why)
			}
			continue
		}
		all = append(all, bgp.Desired{Peer: peer, Paths: r.paths(p.Routes, shapes, lists)})
	}
	r.shapes, r.lists = shapes, lists
	r.absent = absent
	return all
}

// taken says that an older BGPPeer leads to the same router, which takes a second
// session for a restart of the first, and ends that: one of the two is opened.
func (r *routes) taken(place int, all []bgp.Peer) string {
	mine := &all[place]
	for i := range all {
		other := &r.made.Peers[i]
		if other.Problem != "" || other.Peer.Rank >= r.made.Peers[place].Peer.Rank {
			continue
		}
		if all[i].Address == mine.Address && all[i].Interface == mine.Interface && all[i].Port == mine.Port && all[i].Source == mine.Source {
			return fmt.Sprintf("on this node its router is that of BGPPeer %s, which is older", other.Peer.Name)
		}
	}
	return ""
}

// paths translates a list of routes.
func (r *routes) paths(routes []plan.Route, shapes map[shape]*bgp.Path, lists map[*plan.Route]bgp.Paths) bgp.Paths {
	if len(routes) == 0 {
		return bgp.Paths{}
	}
	first := &routes[0]
	if lists[first] == nil {
		lists[first] = r.lists[first]
	}
	if len(lists[first]) != len(routes) {
		all := make(bgp.Paths, 0, len(routes))
		for i := range routes {
			all = append(all, bgp.Route{Prefix: routes[i].Prefix, Path: r.path(&routes[i], shapes)})
		}
		lists[first] = all
	}
	return lists[first]
}

// path translates a route. Routes of one shape share a path, with those of the
// last time, too, so that it is cheap to see that nothing has changed.
func (r *routes) path(route *plan.Route, shapes map[shape]*bgp.Path) *bgp.Path {
	s := shapeOf(route)
	path := shapes[s]
	if path == nil {
		if path = r.shapes[s]; path == nil {
			path = toPath(route)
		}
		shapes[s] = path
	}
	return path
}

// shape tells cheaply that two routes surely have the same path: most come
// from the same advertisements.
type shape struct {
	localPref, med  *uint32
	communities     *config.CommunityValue
	count           int
	prepend, weight int
}

func shapeOf(r *plan.Route) shape {
	s := shape{localPref: r.LocalPref, med: r.MED, count: len(r.Communities), prepend: r.Prepend, weight: r.Weight}
	if s.count > 0 {
		s.communities = &r.Communities[0]
	}
	return s
}

func toPath(r *plan.Route) *bgp.Path {
	p := &bgp.Path{LocalPref: r.LocalPref, MED: r.MED, Prepend: r.Prepend, Bandwidth: float32(r.Weight) * capacity}
	for _, c := range r.Communities {
		if c.Large {
			p.LargeCommunities = append(p.LargeCommunities, [3]uint32{c.A, c.B, c.C})
		} else {
			p.Communities = append(p.Communities, c.B<<16|c.C)
		}
	}
	return p
}

// peer translates a peer, or says why there can be no session: the node has no
// such gateway, or the password is not there yet, without which the router
// would accept none.
func (r *routes) peer(p *config.BGPPeer) (peer bgp.Peer, why string) {
	peer = bgp.Peer{
		Name: p.Name, Address: p.Address, Interface: p.Interface, Port: p.Port, Source: p.Source, RouterID: p.RouterID,
		MyASN: p.MyASN, LocalASN: p.LocalASN, PeerASN: p.PeerASN, Dynamic: bgp.Side(p.Dynamic),
		HoldTime: p.HoldTime, KeepAlive: p.KeepAlive, ConnectTime: p.ConnectTime, Password: bgp.Secret(p.Password),
		GracefulRestart: p.GracefulRestart, MultiHop: p.MultiHop, TTLSecurity: p.TTLSecurity, DualFamily: p.DualFamily,
	}
	if p.BFD != nil {
		peer.BFD = bgp.BFD{
			Receive: p.BFD.Receive, Transmit: p.BFD.Transmit, Multiplier: p.BFD.Multiplier, MinTTL: p.BFD.MinTTL, Passive: p.BFD.Passive,
		}
	}
	switch p.Gateway {
	case v1beta1.GatewayIPv4:
		peer.Address = r.gateways.IPv4
	case v1beta1.GatewayIPv6:
		peer.Address = r.gateways.IPv6
	}
	if p.Gateway != "" && !peer.Address.IsValid() {
		return peer, fmt.Sprintf("this node has no %s default route with a gateway", p.Gateway)
	}
	if p.PasswordSecret != "" {
		password, ok := r.cluster.Password(p.PasswordSecret)
		if !ok {
			return peer, fmt.Sprintf("Secret %s with the password does not exist in Baliza's namespace, is not of type kubernetes.io/basic-auth, "+
				"or has no password", p.PasswordSecret)
		}
		peer.Password = bgp.Secret(password)
	}
	return peer, ""
}

// lower makes this node's paths the last choice, because the speaker is about
// to end: except for routers that keep them over a restart.
func (r *routes) lower() (lowered bool) {
	if r == nil {
		return false
	}
	for _, p := range r.made.Peers {
		lowered = lowered || len(p.Routes) > 0 && !p.Peer.GracefulRestart
	}
	if !lowered {
		return false
	}
	var last uint32
	for i := range r.made.Peers {
		p := &r.made.Peers[i]
		if p.Peer.GracefulRestart {
			continue
		}
		p.Routes = slices.Clone(p.Routes) // they are shared
		for j := range p.Routes {
			p.Routes[j] = plan.Lowered(p.Routes[j], &last)
		}
	}
	r.sessions.Apply(r.desired())
	return true
}

// closeTimeout bounds the end of the sessions.
const closeTimeout = 2 * time.Second

func (r *routes) close() {
	if r == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	r.sessions.Close(ctx)
}
