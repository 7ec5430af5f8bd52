package main

import (
	"context"
	"fmt"
	"log/slog"
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

	drainSince time.Time // zero unless this node is excluded
	gateways   link.Gateways
	weights    weights
	made       plan.BGPPlan
	status     []bgp.Status
	up         map[string]bool     // the peers with an established session
	shapes     map[shape]*bgp.Path // of the last pass
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

// pass brings the sessions up to date. It returns when it wants to be called
// again, or zero.
func (r *routes) pass(now time.Time, view *plan.View, gateways link.Gateways) time.Duration {
	if r == nil {
		return 0
	}
	drain, again := r.drain(now, view.Nodes[view.Self].Excluded != "")
	r.made = plan.MakeBGP(&plan.BGPView{View: *view, Drain: drain})
	again = sooner(again, r.weights.damp(now, &r.made))
	r.gateways = gateways
	r.sessions.Apply(r.desired())
	r.status, r.up = r.withAbsent(r.sessions.Status()), map[string]bool{}
	for i := range r.status {
		r.up[r.status[i].Name] = r.status[i].State == bgp.Established
	}
	return again
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

// desired translates the plan for the sessions.
func (r *routes) desired() []bgp.Desired {
	all := make([]bgp.Desired, 0, len(r.made.Peers))
	absent, shapes := map[string]string{}, map[shape]*bgp.Path{}
	for i := range r.made.Peers {
		p := &r.made.Peers[i]
		peer, why := r.peer(p.Peer)
		if why != "" {
			absent[p.Peer.Name] = why
			if r.absent[p.Peer.Name] != why {
				r.log.Warn("no BGP session", "peer", p.Peer.Name, "error", why)
			}
			continue
		}
		d := bgp.Desired{Peer: peer, Paths: make(bgp.Paths, 0, len(p.Routes))}
		for j := range p.Routes {
			d.Paths = append(d.Paths, bgp.Route{Prefix: p.Routes[j].Prefix, Path: r.path(&p.Routes[j], shapes)})
		}
		all = append(all, d)
	}
	r.shapes = shapes
	r.absent = absent
	return all
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
