package node

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Peer is a BGP session to have, and what to tell the router.
type Peer struct {
	*config.BGPPeer
	// Router is its address on this node; not valid where Interface says at
	// whose other end it is.
	Router netip.Addr
	// Secret is the password, or empty.
	Secret model.Secret
	// Missing is why the peer is not complete just now: a session that there is
	// goes on as it was, for Grace, or for as long as it takes where that is
	// zero; none is begun.
	Missing string
	Grace   time.Duration
	// Routes are in the order of prefixes. Peers share lists, and so do Steps:
	// nobody changes them.
	Routes []plan.Route
}

// gatewayGrace is how long a session goes on without the default route that its
// router was found by: it is away for a moment when DHCP renews it.
const gatewayGrace = 10 * time.Second

// routes is what a node remembers of BGP.
type routes struct {
	drainTime  time.Duration
	drained    plan.Drain // of the last Step
	drainSince time.Time  // when Lowering began
	weights    weights
	planned    planned
	made       plan.BGPPlan
	peers      []Peer
	// absent is why a peer has no session though nothing is missing, by name.
	absent   map[string]string
	sessions []model.Session              // of the last Done, by name
	standing map[*string][]*model.Session // the established ones of lists of peers, by the first
}

// step returns the sessions to have, and when it wants to be called again, or zero.
func (r *routes) step(in *Input, view *plan.View, out *Output) ([]Peer, time.Duration) {
	again := r.drain(in.Now, view.Nodes[view.Self], out)
	r.made = r.planned.plan(&plan.BGPView{View: *view, Drain: r.drained})
	again = sooner(again, r.weights.damp(in.Now, &r.made))
	all := make([]Peer, len(r.made.Peers))
	for i := range r.made.Peers {
		all[i] = peer(in, &r.made.Peers[i])
	}
	absent := map[string]string{}
	r.peers = make([]Peer, 0, len(all))
	for i := range all {
		why := sameRouter(&all[i], all)
		if why == "" {
			r.peers = append(r.peers, all[i])
			continue
		}
		absent[all[i].Name] = why
		if r.absent[all[i].Name] != why {
			out.note(Warning, "no BGP session", "peer", all[i].Name, "error", why)
		}
	}
	r.absent = absent
	return r.peers, again
}

// planned is the last plan, and what it follows from: a Step that peers bring
// about, which come and go, plans nothing anew.
type planned struct {
	plan.BGPPlan
	config   *config.Snapshot
	services *plan.Services
	revision uint64
	self     plan.Node
	drain    plan.Drain
	local    map[netip.Addr]string
}

// plan makes the plan of a view, or takes the last. Its list of peers may be
// changed.
func (p *planned) plan(view *plan.BGPView) plan.BGPPlan {
	now := planned{
		config: view.Config, services: view.Services, revision: view.Services.Revision(), self: view.Nodes[view.Self],
		drain: view.Drain, local: view.Local,
	}
	if p.config != now.config || p.services != now.services || p.revision != now.revision || p.drain != now.drain || !p.self.Equal(&now.self) ||
		!maps.Equal(p.local, now.local) {
		now.BGPPlan = plan.MakeBGP(view)
		*p = now
	}
	made := p.BGPPlan
	made.Peers = slices.Clone(made.Peers)
	return made
}

// peer says what a peer is on this node. What it lacks here it says: the gateway,
// or the password, without which the router would accept no session.
func peer(in *Input, of *plan.PeerPlan) Peer {
	p := Peer{BGPPeer: of.Peer, Router: of.Peer.Address, Secret: model.Secret(of.Peer.Password), Routes: of.Routes}
	switch p.Gateway {
	case v1beta1.GatewayIPv4:
		p.Router = in.Gateways.IPv4
	case v1beta1.GatewayIPv6:
		p.Router = in.Gateways.IPv6
	}
	password, known := in.Cluster.Passwords[p.PasswordSecret]
	if p.PasswordSecret != "" && known {
		p.Secret = password
	}
	switch {
	case of.Problem != "": // a label may blink as a default route does
		p.Missing, p.Grace = of.Problem, gatewayGrace
	case p.Gateway != "" && !p.Router.IsValid():
		p.Missing, p.Grace = fmt.Sprintf("this node has no %s default route with a gateway", p.Gateway), gatewayGrace
	case p.PasswordSecret != "" && !known:
		p.Missing = fmt.Sprintf("Secret %s with the password does not exist in Baliza's namespace, is not of type kubernetes.io/basic-auth, "+
			"or has no password", p.PasswordSecret)
	}
	return p
}

// sameRouter says that an older BGPPeer leads to the same router, which takes a
// second session for a restart of the first, and ends that: one of the two is
// opened.
func sameRouter(one *Peer, all []Peer) string {
	if one.Missing != "" {
		return ""
	}
	for i := range all {
		other := &all[i]
		if other.Rank < one.Rank && other.Router == one.Router && other.Interface == one.Interface && other.Port == one.Port &&
			other.Source == one.Source && (other.Missing == "" || other.Grace == 0) {
			return fmt.Sprintf("on this node its router is that of BGPPeer %s, which is older", other.Name)
		}
	}
	return ""
}

// drain moves this node on its way out, and returns how far it is. Only what is
// announced can be drained: a node that is excluded when its speaker starts is
// told to nobody at any time, and one that cannot serve withdraws at once.
func (r *routes) drain(now time.Time, self plan.Node, out *Output) time.Duration {
	switch {
	case self.Excluded == "":
		r.drained = plan.Serving
	case self.Unusable || r.drained == plan.Serving && !r.announces():
		r.drained = plan.Withdrawn
	case r.drained == plan.Serving:
		r.drained, r.drainSince = plan.Lowering, now
		out.note(Info, "this node is being drained: its BGP paths become the last choice, and are withdrawn later", "withdrawn_in", r.drainTime)
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

// announces reports whether routers were told anything in the last Step.
func (r *routes) announces() bool {
	return slices.ContainsFunc(r.made.Peers, func(p plan.PeerPlan) bool { return len(p.Routes) > 0 })
}

// Depart returns the sessions of the last Step with paths that are the last
// choice, because the speaker is about to end, and whether any is: except for
// routers that agreed to keep them over a restart.
func (n *Node) Depart() (peers []Peer, lowered bool) {
	var least uint32
	for _, p := range n.routes.peers {
		s := n.routes.session(p.Name)
		keeps := s != nil && s.GracefulRestart && p.GracefulRestart
		if !keeps && len(p.Routes) > 0 {
			lowered = true
			p.Routes = slices.Clone(p.Routes)
			for i := range p.Routes {
				p.Routes[i] = plan.Lowered(p.Routes[i], &least)
			}
		}
		peers = append(peers, p)
	}
	return peers, lowered
}

// took takes in what became of the sessions.
func (r *routes) took(sessions []model.Session) {
	r.sessions, r.standing = slices.Clone(sessions), map[*string][]*model.Session{}
	for i := range r.made.Peers {
		p := r.made.Peers[i].Peer
		if why := r.absent[p.Name]; why != "" {
			r.sessions = append(r.sessions, model.Session{Name: p.Name, Address: p.Address, LastError: why})
		}
	}
	slices.SortFunc(r.sessions, func(a, b model.Session) int { return cmp.Compare(a.Name, b.Name) })
}

// session returns that of a peer, or nil.
func (r *routes) session(name string) *model.Session {
	at, found := slices.BinarySearchFunc(r.sessions, name, func(s model.Session, name string) int { return cmp.Compare(s.Name, name) })
	if !found {
		return nil
	}
	return &r.sessions[at]
}
