package main

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/baliza-lb/baliza/config/daemon"
	"github.com/baliza-lb/baliza/speaker/cluster"
	"github.com/baliza-lb/baliza/speaker/delivery"
	"github.com/baliza-lb/baliza/speaker/ethernet"
	"github.com/baliza-lb/baliza/speaker/inspect"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/link"
	"github.com/baliza-lb/baliza/speaker/members"
	"github.com/baliza-lb/baliza/speaker/metrics"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/node"
	"github.com/baliza-lb/baliza/speaker/ping"
)

// Times of the loop.
const (
	// minCoalesce is how long changes of the cluster are gathered, at least,
	// before they are acted on. Members and interfaces are never kept waiting.
	minCoalesce = 5 * time.Millisecond
	// coalesceFactor is how long they are gathered, at most, as a multiple of
	// what the last pass took: a stream of changes to thousands of Services does
	// not keep a core busy.
	coalesceFactor = 5
	// resyncPeriod is how often everything is looked at without a cause: what
	// failed is tried again, and what is held is compared with what should be.
	resyncPeriod = 10 * time.Second
	// homePeriod is how often is looked whether the node has its member address.
	homePeriod = time.Second
	// watchdogTimeout is several resync periods: a turn that takes longer hangs.
	// Nothing in one waits for the API server.
	watchdogTimeout = 45 * time.Second
)

// dependencies are what the speaker brings together.
type dependencies struct {
	log            *slog.Logger
	node, version  string
	serveClassless bool
	classes        []string
	ignoreExclude  bool
	drainTime      time.Duration

	namespace string // of Baliza itself
	cluster   cluster.Objects
	members   membership
	lan       *ethernet.LAN
	links     interfaces
	responder *l2.Responder
	pings     *ping.Table
	routes    *routes
	delivery  *delivery.Prober
	reports   cluster.Reporter
	watchdog  *daemon.Watchdog
	inspect   *inspect.Server
}

// membership is what the loop needs of members.Members.
type membership interface {
	directory
	claims
	ethernet.Membership
	Leave(timeout time.Duration) error
	Close() error
}

type directory interface {
	Address() netip.AddrPort
	Snapshot() *model.Membership
	Changes() <-chan struct{}
	Seek(peers map[string]netip.AddrPort)
	NetworkChanged()
}

type claims interface {
	Locate(macs []model.MAC, links []model.Link)
	SetReady()
	Cannot(addresses []netip.Addr, successions []model.Succession)
	Hold(addresses []netip.Addr)
}

// interfaces is what the loop needs of link.Watcher.
type interfaces interface {
	Snapshot() *link.Snapshot
	Changes() <-chan struct{}
}

var _ membership = (*members.Members)(nil)

// speaker carries out what a node.Node decides. All of it is owned by the
// goroutine of run but ready, which is for all.
type speaker struct {
	dependencies
	machine *node.Node
	view    *cluster.View
	seen    ethernet.View
	// acted is the state of the interfaces that was acted on last: see linksChanged.
	acted *link.Snapshot
	home  ethernet.Home
	// homeless is why the process ends, if it is not told to.
	homeless error
	metrics  *metrics.Metrics
	ready    readiness
}

func newSpeaker(d dependencies) *speaker {
	if d.watchdog == nil {
		d.watchdog = daemon.NewWatchdog(watchdogTimeout, time.Now)
	}
	if d.pings == nil {
		d.pings = &ping.Table{}
	}
	if d.inspect == nil {
		d.inspect = inspect.New(inspect.Wire{Resolve: l2.Resolve, Handshake: l2.Handshake}, time.Now)
	}
	s := &speaker{
		dependencies: d, view: cluster.NewView(cluster.Config{
			Log: d.log, Node: d.node, Namespace: d.namespace, ServeClassless: d.serveClassless, Classes: d.classes, IgnoreExclude: d.ignoreExclude,
			Lost: d.reports.Lost,
		}, d.cluster),
		machine: node.New(node.Config{Name: d.node, Version: d.version, DrainTime: d.drainTime, Booted: delivery.Booted()}),
	}
	s.metrics = metrics.New(metrics.Sources{
		Answers: d.responder.Stats, Sessions: d.routes.sessions,
		Alive:  func() int { return len(d.members.Snapshot().Alive) },
		Stalls: func() uint64 { return d.members.Snapshot().Stalls },
	})
	return s
}

// run acts on changes until ctx ends, or the node has lost its member address.
func (s *speaker) run(ctx context.Context) error { //nolint:cyclop // a case for each source of changes
	ctx, end := context.WithCancel(ctx)
	defer end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	resync := time.NewTicker(resyncPeriod)
	defer resync.Stop()
	home := time.NewTicker(homePeriod)
	defer home.Stop()
	defer s.watchdog.Stop()
	due := time.Now() // when the timer fires; zero when it does not
	wake := func(after time.Duration) {
		if at := time.Now().Add(after); due.IsZero() || at.Before(due) {
			due = at
			timer.Reset(after)
		}
	}
	var rested time.Time
	s.acted = s.links.Snapshot()
	s.routes.setAddresses(s.acted)
	for {
		s.watchdog.Kick()
		select {
		case <-ctx.Done():
			return s.homeless
		case <-s.cluster.Changes():
			wake(max(minCoalesce, time.Until(rested)))
			continue
		case <-s.members.Changes():
		case <-s.links.Changes():
			if !s.linksChanged(s.links.Snapshot()) {
				continue // as when a pod comes or goes
			}
		case <-home.C:
			s.checkHome(end)
			continue
		case <-s.routes.sessions.Changes():
			// What routers do is never worth more than a share of a core.
			wake(max(minCoalesce, time.Until(rested)))
			continue
		case <-s.delivery.Changes():
		case <-s.responder.Sighted():
			if s.see(time.Now()) {
				wake(max(0, time.Until(rested)))
			}
			continue
		case <-timer.C:
			due = time.Time{}
		case <-resync.C:
		}
		began := time.Now()
		again := s.pass(began)
		s.publish()
		ended := time.Now()
		rested = ended.Add(coalesceFactor * ended.Sub(began))
		if again > 0 {
			wake(again)
		}
	}
}

// checkHome ends the process when the node has lost its member address.
func (s *speaker) checkHome(end func()) {
	s.homeless = s.home.Check(s.members.Address().Addr(), s.links.Snapshot(), time.Now())
	if s.homeless != nil {
		s.log.Error("the speaker ends", "error", s.homeless)
		end()
	}
}

// linksChanged acts on a change of the interfaces, and reports whether it matters.
func (s *speaker) linksChanged(snapshot *link.Snapshot) bool {
	s.acted = snapshot
	s.routes.setAddresses(snapshot)
	changed := s.seen.Changed(snapshot, s.view.Current.Config)
	if changed {
		s.members.NetworkChanged()
	}
	return changed
}

// pass looks at everything, lets the machine decide, and carries that out in the
// order that node.Output and node.Result prescribe. It returns when it wants to
// be called again though nothing has changed, or zero.
func (s *speaker) pass(now time.Time) time.Duration {
	if peers := s.view.Read(); peers != nil {
		s.members.Seek(peers)
	}
	snapshot := s.links.Snapshot()
	// Before the membership is asked: whose link is back does not know enough yet, and
	// what this pass looks at may be newer than what was told.
	if snapshot != s.acted {
		s.linksChanged(snapshot)
	}
	interfaces := s.seen.Model(snapshot)
	unused := s.lan.Follow(snapshot, s.view.Current.Config)
	out := s.machine.Step(node.Input{
		Now: now, Cluster: s.view.Current, Members: s.members.Snapshot(), Interfaces: interfaces,
		Gateways: model.Gateways(snapshot.Gateways), Local: s.seen.Local(), Served: s.delivery.Served(),
	})
	s.write(out.Notes)
	s.members.Locate(out.MACs, out.Links)
	if out.Introduction != nil {
		s.reports.Report(*out.Introduction, s.view.NodeUID)
	}
	if out.Ready {
		s.members.SetReady()
	}
	s.ready.settled.Store(out.Acting)
	s.delivery.Ask(out.Checks)
	if !out.Acting {
		return out.Again
	}
	s.routes.apply(out.Routes, s.view.NodeNames)
	unanswered := s.pings.Apply(out.Pings)
	problems := s.responder.Apply(l2.Desired{Interfaces: ethernet.Usable(snapshot), Answers: out.Answers, Self: s.node})
	s.responder.Probe(out.Probes)
	s.responder.Reannounce(out.Reannounce)

	applied := node.Applied{Now: now, Held: s.responder.Held(), Problems: texts(problems, unused), Sessions: s.routes.status()}
	if unanswered != nil {
		applied.Ping = unanswered.Error()
	}
	done := s.machine.Done(applied)
	s.members.Cannot(done.Unable, done.Successions)
	s.members.Hold(done.Claims)
	s.write(done.Notes)
	s.ready.problems.Store(&done.Problems)
	s.reports.Report(done.Status, s.view.NodeUID)
	s.metrics.Moved(done.Moves)
	s.metrics.Observe(&done.Counts, time.Since(now))
	return out.Again
}

// publish has the last pass's outcome be there for those who ask.
func (s *speaker) publish() {
	s.inspect.Publish(&inspect.View{
		Node: s.node, Config: s.view.Current.Config, Askers: s.lan.Askers(), Members: s.members.Snapshot(), Moves: s.machine.Moves(),
	})
}

// see acts on what other hosts use of what is answered for, and reports whether a
// pass is due.
func (s *speaker) see(now time.Time) bool {
	seen := s.machine.See(s.responder.Sightings(), s.members.Snapshot(), now)
	s.write(seen.Notes)
	s.responder.Reannounce(seen.Reannounce)
	return seen.Changed
}

// depart tells the others, and goes on answering while they take over.
func (s *speaker) depart(window time.Duration) error {
	others := len(s.members.Snapshot().Alive) > 1
	peers, lowered := s.machine.Depart()
	if lowered {
		s.routes.apply(peers, s.view.NodeNames)
	}
	s.log.Info("shutting down", "held", len(s.responder.Held()), "others", others)
	s.responder.Quiet()
	if err := s.members.Leave(window); err != nil {
		s.log.Warn("leave message not sent; peers will detect this node as failed", "error", err)
	}
	if others {
		s.responder.Yield()
	}
	if others || lowered {
		time.Sleep(window)
	}
	s.routes.close()
	s.responder.Close()
	s.pings.Close()
	err := s.members.Close()
	s.lan.Close()
	return err
}

func (s *speaker) write(notes []node.Note) {
	for _, n := range notes {
		level := map[node.Level]slog.Level{node.Info: slog.LevelInfo, node.Warning: slog.LevelWarn, node.Failure: slog.LevelError}[n.Level]
		s.log.Log(context.Background(), level, n.Message, n.Pairs...) //nolint:sloglint // all of them are constants in package node
	}
}

func texts(problems []l2.Problem, unused error) (all []string) {
	if unused != nil {
		all = append(all, unused.Error())
	}
	for _, p := range problems {
		all = append(all, p.Error())
	}
	return all
}
