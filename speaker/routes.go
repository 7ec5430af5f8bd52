package main

import (
	"context"
	"time"

	"github.com/baliza-lb/baliza/speaker/bfd"
	"github.com/baliza-lb/baliza/speaker/bgp"
	"github.com/baliza-lb/baliza/speaker/link"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/node"
	"github.com/baliza-lb/baliza/speaker/plan"
)

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

// routes carries out what is decided about BGP. It is owned by the speaker's
// goroutine.
type routes struct {
	node     string
	sessions announcer
	paths    pathWatcher

	attributes map[plan.Shape]bgp.Attributes // of the last time
	// lists are the routes of the last time, translated, by the first of the
	// plan's: peers share them.
	lists map[*plan.Route]bgp.Paths
}

// apply has the sessions that are wanted. nodes are the names of all nodes of the
// cluster, sorted.
func (r *routes) apply(peers []node.Peer, nodes []string) {
	delay := bgp.EditDelay(r.node, nodes)
	desired, profiles := make([]bgp.Desired, 0, len(peers)), map[string]bfd.Profile{}
	attributes, lists := map[plan.Shape]bgp.Attributes{}, map[*plan.Route]bgp.Paths{}
	for i := range peers {
		p := &peers[i]
		if b := p.BFD; b != nil {
			profiles[p.Name] = bfd.Profile{Receive: b.Receive, Transmit: b.Transmit, Multiplier: b.Multiplier, MinTTL: b.MinTTL, Passive: b.Passive}
		}
		desired = append(desired, bgp.Desired{
			Peer: toPeer(p), Missing: p.Missing, Grace: p.Grace, EditDelay: delay, Paths: r.translated(p.Routes, attributes, lists),
		})
	}
	r.attributes, r.lists = attributes, lists
	r.paths.Configure(profiles) // before a session could begin without
	r.sessions.Apply(desired)
}

// translated translates a list of routes.
func (r *routes) translated(routes []plan.Route, now map[plan.Shape]bgp.Attributes, lists map[*plan.Route]bgp.Paths) bgp.Paths {
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
func (r *routes) attributesOf(route *plan.Route, now map[plan.Shape]bgp.Attributes) bgp.Attributes {
	s := route.Shape()
	made, ok := now[s]
	if !ok {
		if made, ok = r.attributes[s]; !ok {
			made = bgp.AttributesOf(route.Attributes())
		}
		now[s] = made
	}
	return made
}

func toPeer(p *node.Peer) bgp.Peer {
	return bgp.Peer{
		Name: p.Name, Address: p.Router, Interface: p.Interface, Port: p.Port, Source: p.Source, RouterID: p.RouterID,
		MyASN: p.MyASN, LocalASN: p.LocalASN, PeerASN: p.PeerASN, Dynamic: bgp.Side(p.Dynamic),
		HoldTime: p.HoldTime, KeepAlive: p.KeepAlive, ConnectTime: p.ConnectTime, Password: bgp.Secret(p.Secret),
		GracefulRestart: p.GracefulRestart, MultiHop: p.MultiHop, TTLSecurity: p.TTLSecurity, DualFamily: p.DualFamily,
	}
}

// status is what became of the sessions.
func (r *routes) status() []model.Session {
	status := r.sessions.Status()
	all := make([]model.Session, len(status))
	for i := range status {
		s := &status[i]
		all[i] = model.Session{
			Name: s.Name, Address: s.Address, Established: s.State == bgp.Established, Since: s.Since, PeerASN: s.PeerASN,
			LastError: s.LastError, BFD: s.BFD, BFDError: s.BFDError, WhyIPv4: s.IPv4.Why, WhyIPv6: s.IPv6.Why,
			GracefulRestart: s.GracefulRestart, Told: s.Told, Sent: s.Sent,
		}
		for _, u := range s.Unsent {
			all[i].Unsent = append(all[i].Unsent, model.Unsent(u))
		}
	}
	return all
}

// setAddresses tells the sessions what may be a next hop.
func (r *routes) setAddresses(snapshot *link.Snapshot) {
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

// closeTimeout bounds the end of the sessions.
const closeTimeout = 2 * time.Second

func (r *routes) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	r.sessions.Close(ctx)
}
