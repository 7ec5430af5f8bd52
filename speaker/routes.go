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

	drainSince time.Time // zero unless this node is excluded
	gateways   link.Gateways
	editDelay  time.Duration
	weights    weights
	made       plan.BGPPlan
	status     []bgp.Status
	attributes map[shape]bgp.Attributes // of the last pass
	lists      map[string]bgp.Paths     // of the last pass, by peer
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

// pass brings the sessions up to date. It returns when it wants to be called
// again, or zero.
func (r *routes) pass(now time.Time, view *plan.View, gateways link.Gateways) time.Duration {
	if r == nil {
		return 0
	}
	drain, again := r.drain(now, view.Nodes[view.Self].Excluded != "")
	r.made = plan.MakeBGP(&plan.BGPView{View: *view, Drain: drain})
	again = sooner(again, r.weights.damp(now, &r.made))
	r.gateways, r.editDelay = gateways, bgp.EditDelay(view.Self, slices.Collect(maps.Keys(view.Nodes)))
	if r.paths != nil {
		r.paths.Configure(r.profiles()) // before a session could begin without
	}
	r.sessions.Apply(r.desired())
	r.status = r.sessions.Status()
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

// drain tells how far this node is on its way out.
func (r *routes) drain(now time.Time, excluded bool) (plan.Drain, time.Duration) {
	if !excluded {
		r.drainSince = time.Time{}
		return plan.Serving, 0
	}
	if r.drainSince.IsZero() {
		r.drainSince = now
		r.log.Info("this node is being drained: its BGP paths become the last choice, and are withdrawn later", "withdrawn_in", r.drainTime)
	}
	if left := r.drainTime - now.Sub(r.drainSince); left > 0 {
		return plan.Lowering, left
	}
	return plan.Withdrawn, 0
}

// gatewayGrace is how long a session goes on without the default route that its
// router was found by: it is away for a moment when DHCP renews it.
const gatewayGrace = 10 * time.Second

// desired translates the plan for the sessions.
func (r *routes) desired() []bgp.Desired {
	all := make([]bgp.Desired, 0, len(r.made.Peers))
	attributes, lists := map[shape]bgp.Attributes{}, make(map[string]bgp.Paths, len(r.made.Peers))
	shared := map[*plan.Route]bgp.Paths{} // peers that are told the same share one list
	for i := range r.made.Peers {
		p := &r.made.Peers[i]
		d := r.peer(p.Peer)
		d.EditDelay = r.editDelay
		if len(p.Routes) > 0 {
			known, ok := shared[&p.Routes[0]]
			if !ok {
				known = r.translate(p.Routes, attributes, r.lists[p.Peer.Name])
				shared[&p.Routes[0]] = known
			}
			d.Paths = known
		}
		lists[p.Peer.Name] = d.Paths
		all = append(all, d)
	}
	r.attributes, r.lists = attributes, lists
	return all
}

// translate returns the routes as the sessions want them: the list of before where
// it is the same, so that a session sees at once that it is.
func (r *routes) translate(routes []plan.Route, attributes map[shape]bgp.Attributes, before bgp.Paths) bgp.Paths {
	paths := make(bgp.Paths, 0, len(routes))
	for i := range routes {
		paths = append(paths, bgp.Route{Prefix: routes[i].Prefix, Attributes: r.attributesOf(&routes[i], attributes)})
	}
	if slices.Equal(before, paths) {
		return before
	}
	return paths
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
}

func shapeOf(r *plan.Route) shape {
	s := shape{localPref: r.LocalPref, med: r.MED, count: len(r.Communities), prepend: r.Prepend, weight: r.Weight}
	if s.count > 0 {
		s.communities = &r.Communities[0]
	}
	return s
}

func toAttributes(r *plan.Route) model.Attributes {
	a := model.Attributes{
		LocalPref: optional(r.LocalPref), MED: optional(r.MED), Prepend: r.Prepend, Bandwidth: uint64(r.Weight) * capacity,
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
