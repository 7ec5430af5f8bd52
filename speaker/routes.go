package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/bfd"
	"github.com/baliza-lb/baliza/speaker/bgp"
	"github.com/baliza-lb/baliza/speaker/link"
	"github.com/baliza-lb/baliza/speaker/model"
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
	SetAddresses(addresses []bgp.Address)
	Status() []bgp.Status
	Changes() <-chan struct{}
	Close(ctx context.Context)
}

// pathWatcher is what the loop needs of bfd.Sessions.
type pathWatcher interface {
	Configure(profiles map[string]bfd.Profile)
}

var (
	_ announcer   = (*bgp.Sessions)(nil)
	_ announcer   = (*bgp.Fake)(nil)
	_ pathWatcher = (*bfd.Sessions)(nil)
	_ bgp.Monitor = (*bfd.Sessions)(nil)
)

// routes is the BGP side of a speaker. It is owned by the speaker's goroutine;
// one without sessions does nothing.
type routes struct {
	log      *slog.Logger
	cluster  routing
	sessions announcer
	paths    pathWatcher // nil without BFD
	// namespace of Baliza itself, where the Secrets of peers are.
	namespace string
	// drainTime is how long a node that is being drained goes on as the last
	// choice.
	drainTime time.Duration

	drained    plan.Drain // of the last pass
	drainSince time.Time  // when Lowering began
	gateways   link.Gateways
	editDelay  time.Duration
	weights    weights
	made       plan.BGPPlan
	planned    planned
	status     []bgp.Status
	known      map[*string][]*bgp.Status // the established sessions of lists of peers, by the first
	attributes map[shape]bgp.Attributes  // of the last pass
	// lists are the routes of the last pass, translated, by the first of the plan's:
	// peers share them, and so do passes.
	lists map[*plan.Route]bgp.Paths
	// absent is why a peer has no session though nothing is missing, by name.
	absent map[string]string
}

// capacity is the bandwidth that one ready pod stands for, in bytes a second;
// only ratios matter to a router.
const capacity = 125_000_000

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
	r.gateways, r.editDelay = gateways, bgp.EditDelay(view.Self, slices.Collect(maps.Keys(view.Nodes)))
	if r.paths != nil {
		r.paths.Configure(r.profiles()) // before a session could begin without
	}
	r.sessions.Apply(r.desired())
	r.status, r.known = r.withAbsent(r.sessions.Status()), map[*string][]*bgp.Status{}
	return again
}

// setAddresses tells the sessions what may be a next hop.
func (r *routes) setAddresses(snapshot *link.Snapshot) {
	if r == nil {
		return
	}
	var all []bgp.Address
	for i := range snapshot.Interfaces {
		on := &snapshot.Interfaces[i]
		for j, prefix := range on.Addrs {
			state := on.States[j]
			if state.Tentative {
				continue
			}
			temporary := state.Temporary && prefix.Addr().Is6()
			all = append(all, bgp.Address{Interface: on.Name, Prefix: prefix, Deprecated: state.Deprecated, Temporary: temporary})
		}
	}
	r.sessions.SetAddresses(all)
}

// profiles by which paths are watched, by peer.
func (r *routes) profiles() map[string]bfd.Profile {
	all := map[string]bfd.Profile{}
	for i := range r.made.Peers {
		if p := r.made.Peers[i].Peer; p.BFD != nil {
			all[p.Name] = bfd.Profile{
				Receive: p.BFD.Receive, Transmit: p.BFD.Transmit, Multiplier: p.BFD.Multiplier, MinTTL: p.BFD.MinTTL, Passive: p.BFD.Passive,
			}
		}
	}
	return all
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

// gatewayGrace is how long a session goes on without the default route that its
// router was found by: it is away for a moment when DHCP renews it.
const gatewayGrace = 10 * time.Second

// desired translates the plan for the sessions.
func (r *routes) desired() []bgp.Desired {
	all := make([]bgp.Desired, 0, len(r.made.Peers))
	attributes, lists, absent := map[shape]bgp.Attributes{}, map[*plan.Route]bgp.Paths{}, map[string]string{}
	wanted := make([]bgp.Desired, len(r.made.Peers))
	for i := range r.made.Peers {
		wanted[i] = r.peer(r.made.Peers[i].Peer)
	}
	for i := range r.made.Peers {
		p, d := &r.made.Peers[i], wanted[i]
		if why := r.taken(i, wanted); why != "" {
			absent[p.Peer.Name] = why
			if r.absent[p.Peer.Name] != why {
				r.log.Warn("no BGP session", "peer", p.Peer.Name, "error", why)
			}
			continue
		}
		if p.Problem != "" { // a label may blink as a default route does
			d.Missing, d.Grace = p.Problem, gatewayGrace
		}
		d.EditDelay = r.editDelay
		d.Paths = r.translated(p.Routes, attributes, lists)
		all = append(all, d)
	}
	r.attributes, r.lists, r.absent = attributes, lists, absent
	return all
}

// taken says that an older BGPPeer leads to the same router, which takes a second
// session for a restart of the first, and ends that: one of the two is opened.
func (r *routes) taken(place int, all []bgp.Desired) string {
	mine := &all[place].Peer
	if r.made.Peers[place].Problem != "" || all[place].Missing != "" {
		return ""
	}
	for i := range all {
		other, at := &r.made.Peers[i], &all[i].Peer
		if other.Problem != "" || other.Peer.Rank >= r.made.Peers[place].Peer.Rank {
			continue
		}
		if at.Address == mine.Address && at.Interface == mine.Interface && at.Port == mine.Port && at.Source == mine.Source {
			return fmt.Sprintf("on this node its router is that of BGPPeer %s, which is older", other.Peer.Name)
		}
	}
	return ""
}

// translated translates a list of routes.
func (r *routes) translated(routes []plan.Route, now map[shape]bgp.Attributes, lists map[*plan.Route]bgp.Paths) bgp.Paths {
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
			all = append(all, bgp.Route{Prefix: routes[i].Prefix, Attributes: r.attributesOf(&routes[i], now)})
		}
		lists[first] = all
	}
	return lists[first]
}

// attributesOf translates a route's. Most routes come from the same
// advertisements, in this pass and the last.
func (r *routes) attributesOf(route *plan.Route, now map[shape]bgp.Attributes) bgp.Attributes {
	s := shapeOf(route)
	made, ok := now[s]
	if !ok {
		if made, ok = r.attributes[s]; !ok {
			made = bgp.AttributesOf(toAttributes(route))
		}
		now[s] = made
	}
	return made
}

// shape tells cheaply that two routes surely have the same path: most come
// from the same advertisements.
type shape struct {
	localPref, med  *uint32
	communities     *config.CommunityValue
	count           int
	prepend, weight int
	transitive      bool
}

func shapeOf(r *plan.Route) shape {
	s := shape{localPref: r.LocalPref, med: r.MED, count: len(r.Communities), prepend: r.Prepend, weight: r.Weight, transitive: r.Transitive}
	if s.count > 0 {
		s.communities = &r.Communities[0]
	}
	return s
}

func toAttributes(r *plan.Route) model.Attributes {
	a := model.Attributes{
		LocalPref: optional(r.LocalPref), MED: optional(r.MED), Prepend: r.Prepend, Bandwidth: uint64(r.Weight) * capacity,
		TransitiveBandwidth: r.Transitive,
	}
	var standard []uint32
	var large [][3]uint32
	for _, c := range r.Communities {
		if c.Large {
			large = append(large, [3]uint32{c.A, c.B, c.C})
		} else {
			standard = append(standard, c.B<<16|c.C)
		}
	}
	a.Communities, a.LargeCommunities = model.CommunitiesOf(standard...), model.LargeCommunitiesOf(large...)
	return a
}

func optional(n *uint32) model.Optional {
	if n == nil {
		return model.Optional{}
	}
	return model.Some(*n)
}

// peer translates a peer. What it lacks on this node it says: the gateway, or
// the password, without which the router would accept no session.
func (r *routes) peer(p *config.BGPPeer) bgp.Desired {
	d := bgp.Desired{Peer: bgp.Peer{
		Name: p.Name, Address: p.Address, Interface: p.Interface, Port: p.Port, Source: p.Source, RouterID: p.RouterID,
		MyASN: p.MyASN, LocalASN: p.LocalASN, PeerASN: p.PeerASN, Dynamic: bgp.Side(p.Dynamic),
		HoldTime: p.HoldTime, KeepAlive: p.KeepAlive, ConnectTime: p.ConnectTime, Password: bgp.Secret(p.Password),
		GracefulRestart: p.GracefulRestart, MultiHop: p.MultiHop, TTLSecurity: p.TTLSecurity, DualFamily: p.DualFamily,
	}}
	switch p.Gateway {
	case v1beta1.GatewayIPv4:
		d.Peer.Address = r.gateways.IPv4
	case v1beta1.GatewayIPv6:
		d.Peer.Address = r.gateways.IPv6
	}
	if p.Gateway != "" && !d.Peer.Address.IsValid() {
		d.Missing, d.Grace = fmt.Sprintf("this node has no %s default route with a gateway", p.Gateway), gatewayGrace
		return d
	}
	if p.PasswordSecret != "" {
		password, ok := r.cluster.Password(p.PasswordSecret)
		if !ok {
			d.Missing = fmt.Sprintf("Secret %s with the password does not exist in Baliza's namespace, is not of type kubernetes.io/basic-auth, "+
				"or has no password", p.PasswordSecret)
			return d
		}
		d.Peer.Password = bgp.Secret(password)
	}
	return d
}

// lower makes this node's paths the last choice, because the speaker is about
// to end: except for routers that agreed to keep them over a restart.
func (r *routes) lower() (lowered bool) {
	if r == nil {
		return false
	}
	keeps := map[string]bool{}
	for i := range r.status {
		keeps[r.status[i].Name] = r.status[i].GracefulRestart
	}
	var last uint32
	for i := range r.made.Peers {
		p := &r.made.Peers[i]
		if keeps[p.Peer.Name] && p.Peer.GracefulRestart || len(p.Routes) == 0 {
			continue
		}
		lowered = true
		p.Routes = slices.Clone(p.Routes)
		for j := range p.Routes {
			p.Routes[j] = plan.Lowered(p.Routes[j], &last)
		}
	}
	if lowered {
		r.sessions.Apply(r.desired())
	}
	return lowered
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
