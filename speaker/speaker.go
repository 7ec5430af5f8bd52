package main

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/config/daemon"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/link"
	"github.com/baliza-lb/baliza/speaker/members"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Times of the loop.
const (
	// gather is how long changes of the cluster are gathered, at least, before
	// they are acted on. Members and interfaces are never kept waiting.
	gather = 10 * time.Millisecond
	// rest is how long they are gathered, at most, as a multiple of what the
	// last pass took: a stream of changes to thousands of Services does not
	// keep a core busy.
	rest = 5
	// fullPass is how often everything is looked at without a cause: what
	// failed is tried again, and what is held is compared with what should be.
	fullPass = 10 * time.Second
	// callEvery is how often lost speakers are asked for on the segment.
	callEvery = 100 * time.Millisecond
	// longestTurn of the loop is several full passes: whoever takes longer
	// hangs. Nothing in a turn waits for the API server.
	longestTurn = 45 * time.Second
)

// parts are what the speaker brings together.
type parts struct {
	log            *slog.Logger
	node           string
	version        string
	serveClassless bool
	classes        []string
	ignoreExclude  bool

	cluster   cluster
	members   membership
	links     interfaces
	responder *l2.Responder
	reports   reporter
	routes    *routes // nil without BGP
	pulse     *daemon.Pulse
}

// cluster is what the loop needs of kube.SpeakerView.
type cluster interface {
	Synced() bool
	Changes() <-chan struct{}
	Take() kube.SpeakerChanges
	objects
}

// objects are the cached ones.
type objects interface {
	Service(key string) (*corev1.Service, []*discoveryv1.EndpointSlice)
	Nodes() []*corev1.Node
	Pools() []*v1beta1.IPAddressPool
	L2Advertisements() []*v1beta1.L2Advertisement
	Speakers() []*v1beta1.Speaker
}

// membership is what the loop needs of members.Members.
type membership interface {
	liveness
	directory
	presence
	ownership
	stations
}

type stations interface {
	Locate(macs []members.Station, links map[string]bool)
	Links() map[string]map[string]bool
	Speaks(mac members.Station) bool
}

type liveness interface {
	Alive() []string
	Ready() []string
	Changes() <-chan struct{}
}

type directory interface {
	Seek(peers map[string]netip.AddrPort)
	Lost() []netip.Addr
	Nudge()
}

type ownership interface {
	Ownership() (owners map[netip.Addr]string, contested []netip.Addr)
	Hold(addresses []netip.Addr)
	Settled() (again time.Duration, settled bool)
}

type presence interface {
	Address() netip.AddrPort
	SetReady()
	Leave(timeout time.Duration) error
	Close() error
}

// interfaces is what the loop needs of link.Watcher.
type interfaces interface {
	Snapshot() *link.Snapshot
	Changes() <-chan struct{}
}

// reporter is what the loop needs of kube.SpeakerWriter.
type reporter interface {
	Report(status v1beta1.SpeakerStatus, nodeUID types.UID)
	Lost()
}

var _ membership = (*members.Members)(nil)

// speaker is the state, owned by the goroutine of run.
type speaker struct {
	parts
	metrics *metrics
	ready   readiness

	services *plan.Services
	nodes    map[string]plan.Node
	nodeUID  types.UID
	config   *config.Snapshot

	start     start
	lastMove  time.Time            // of the membership
	alive     []string             // at the last pass
	since     map[string]time.Time // when each became ready
	usable    []link.Interface
	gateways  link.Gateways
	held      map[netip.Addr][]string
	contested []netip.Addr         // at the last pass
	away      map[string]time.Time // since when other speakers are
	handing   map[netip.Addr]time.Time
	conflicts conflicts
	condition condition
}

func newSpeaker(p parts) *speaker {
	s := &speaker{
		parts: p, services: plan.ServicesOf(), nodes: map[string]plan.Node{},
		held: map[netip.Addr][]string{}, handing: map[netip.Addr]time.Time{}, conflicts: newConflicts(),
	}
	s.config, _ = config.Build(config.Objects{})
	if s.pulse == nil {
		s.pulse = daemon.NewPulse(longestTurn, time.Now)
	}
	s.metrics = newMetrics(p.responder.Stats, func() int { return len(p.members.Alive()) })
	return s
}

// run acts on changes until ctx ends.
func (s *speaker) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	ticker := time.NewTicker(fullPass)
	defer ticker.Stop()
	due := time.Now() // when the timer fires; zero when it does not
	wake := func(after time.Duration) {
		if at := time.Now().Add(after); due.IsZero() || at.Before(due) {
			due = at
			timer.Reset(after)
		}
	}
	var rested time.Time
	calls := time.NewTicker(callEvery)
	defer calls.Stop()
	defer s.pulse.Rest()
	s.routes.setAddresses(s.links.Snapshot())
	for {
		s.pulse.Beat()
		select {
		case <-ctx.Done():
			return
		case <-s.cluster.Changes():
			wake(max(gather, time.Until(rested)))
			continue
		case <-s.members.Changes():
			s.lastMove = time.Now()
		case <-s.links.Changes():
			s.routes.setAddresses(s.links.Snapshot())
			if !s.noteLinks(s.links.Snapshot()) {
				continue // as when a pod comes or goes
			}
			s.members.Nudge()
		case <-calls.C:
			s.responder.Solicit(questions(s.members.Lost(), s.links.Snapshot()))
			continue
		case <-s.routes.changes():
			// What routers do is never worth more than a share of a core.
			wake(max(gather, time.Until(rested)))
			continue
		case <-s.responder.Sighted():
		case <-timer.C:
			due = time.Time{}
		case <-ticker.C:
		}
		began := time.Now()
		again := s.pass(began)
		ended := time.Now()
		rested = ended.Add(rest * ended.Sub(began))
		if again > 0 {
			wake(again)
		}
	}
}

// pass brings everything up to date. It returns when it wants to be called
// again though nothing has changed, or zero.
func (s *speaker) pass(now time.Time) time.Duration {
	s.read(s.cluster.Take())
	s.members.Locate(s.whereabouts(s.links.Snapshot()))
	if again := s.settle(now); again > 0 {
		return again
	}
	ready := s.members.Ready()
	s.noteAlive(s.members.Alive())
	again := sooner(s.noteReady(now, ready), s.noteAway(now))
	snapshot := s.links.Snapshot()
	owners, contested := s.members.Ownership()
	view := s.view(now, ready, owners, snapshot)
	again = sooner(again, s.routes.pass(now, &view, snapshot.Gateways))
	made := plan.Make(view)
	desired := desire(made, snapshot)
	desired.Self = s.node
	again = sooner(again, s.handOver(now, made, owners, &desired))
	if wait, settled := s.members.Settled(); !settled {
		s.takeNothing(&desired)
		again = sooner(again, wait)
	}
	again = sooner(again, s.avoid(now, &made, owners, &desired))
	problems := s.responder.Apply(desired)
	s.responder.Probe(s.conflicts.asking)
	s.insist(slices.DeleteFunc(contested, func(a netip.Addr) bool { return desired.Shared[a] != nil }))
	held := s.responder.Held()
	s.members.Hold(claimed(held, desired.Quiet))
	s.logChanges(held)
	s.logProblems(problems)
	status := s.report(now, made, held, problems)
	byReason, draining := counts(&status)
	s.metrics.observe(byReason, draining, held, desired.Addresses, time.Since(now))
	return again
}

// read takes over what changed in the cluster.
func (s *speaker) read(changes kube.SpeakerChanges) {
	changed := make(map[string]*plan.Service, len(changes.Services))
	for key := range changes.Services {
		changed[key] = nil
		service, slices := s.cluster.Service(key)
		if service == nil {
			continue
		}
		now := plan.ServiceOf(service, slices)
		if !config.Wanted(service, s.serveClassless, s.classes...) {
			now.Addresses = nil // another provider's
		}
		if len(now.Addresses)+len(now.ClusterIPs)+len(now.ExternalIPs) > 0 {
			changed[key] = &now
		}
	}
	if len(changed) > 0 {
		s.services.Update(changed)
	}
	if changes.Nodes {
		s.nodes = map[string]plan.Node{}
		for _, node := range s.cluster.Nodes() {
			s.nodes[node.Name] = plan.NodeOf(node, s.ignoreExclude)
			if node.Name == s.node {
				s.nodeUID = node.UID
			}
		}
	}
	if changes.Config {
		objects := config.Objects{Pools: s.cluster.Pools(), L2Advertisements: s.cluster.L2Advertisements()}
		s.routes.objects(&objects)
		s.config, _ = config.Build(objects)
		s.routes.watch(s.config)
	}
	if changes.Speakers {
		s.seek()
	}
}

// seek tells the membership who there should be.
func (s *speaker) seek() {
	own := false
	for _, object := range s.cluster.Speakers() {
		own = own || object.Name == s.node
	}
	if !own && s.cluster.Synced() {
		s.reports.Lost()
	}
	s.members.Seek(s.peers())
}

// peers are the other speakers that the cluster knows.
func (s *speaker) peers() map[string]netip.AddrPort {
	peers := map[string]netip.AddrPort{}
	for _, object := range s.cluster.Speakers() {
		if at, err := netip.ParseAddrPort(object.Status.MemberAddress); err == nil && object.Name != s.node {
			peers[object.Name] = at
		}
	}
	return peers
}

// noteAlive logs who came and went.
func (s *speaker) noteAlive(alive []string) {
	for _, name := range alive {
		if !slices.Contains(s.alive, name) {
			s.log.Info("speaker is alive", "speaker", name, "alive", len(alive))
		}
	}
	for _, name := range s.alive {
		if !slices.Contains(alive, name) {
			s.log.Info("speaker is gone", "speaker", name, "alive", len(alive))
		}
	}
	s.alive = alive
}

// noteReady remembers since when each speaker is ready, and returns when the
// next one will have been for as long as an advertisement wants it, or zero.
func (s *speaker) noteReady(now time.Time, ready []string) (again time.Duration) {
	since := make(map[string]time.Time, len(ready))
	for _, name := range ready {
		since[name] = now
		if before, ok := s.since[name]; ok {
			since[name] = before
		}
		for _, a := range s.config.L2Advertisements {
			if left := a.Failback - now.Sub(since[name]); a.Failback < config.FailbackNever && left > 0 {
				again = sooner(again, left)
			}
		}
	}
	s.since = since
	return again
}

func (s *speaker) view(now time.Time, ready []string, owners map[netip.Addr]string, snapshot *link.Snapshot) plan.View {
	v := plan.View{
		Self: s.node, Config: s.config, Services: s.services, Nodes: s.nodes,
		Alive: ready, Owners: owners, Links: s.members.Links(), AliveFor: map[string]time.Duration{},
	}
	for name, since := range s.since {
		v.AliveFor[name] = now.Sub(since)
	}
	for _, i := range snapshot.Interfaces {
		v.Interfaces = append(v.Interfaces, plan.Interface{Name: i.Name, Usable: i.Usable, Suitable: i.Suitable})
	}
	return v
}

// desire translates a plan for the responder.
func desire(made plan.Plan, snapshot *link.Snapshot) l2.Desired {
	desired := l2.Desired{Addresses: map[netip.Addr][]string{}, Shared: map[netip.Addr][]string{}}
	for _, i := range snapshot.Interfaces {
		if i.Usable {
			desired.Interfaces = append(desired.Interfaces, toL2(i))
		}
	}
	for _, d := range made.Decisions {
		if d.Announce {
			desired.Addresses[d.Address] = d.Interfaces
			if len(d.Sharers) > 0 {
				desired.Shared[d.Address] = d.Sharers
			}
		}
	}
	return desired
}

func toL2(i link.Interface) l2.Interface {
	return l2.Interface{Name: i.Name, Index: i.Index, MAC: i.MAC, Epoch: i.Epoch}
}
