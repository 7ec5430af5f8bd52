package node

import (
	"maps"
	"net/netip"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Config of a Node. It does not change.
type Config struct {
	// Name of the Kubernetes node, and Version of the program.
	Name, Version string
	// DrainTime is how long a node that is being drained goes on announcing
	// over BGP, as the last choice.
	DrainTime time.Duration
	// Booted is when the node did, or zero where that is not known.
	Booted time.Time
}

// Input is everything that a Step looks at, read at one moment. A Node changes
// none of it and keeps none of it but what is never changed after.
type Input struct {
	Now time.Time
	// Cluster is what the API server has said last.
	Cluster Cluster
	// Members are the speakers, and what they claim.
	Members *model.Membership
	// Interfaces of this node, and where its default routes lead.
	Interfaces []model.Interface
	Gateways   model.Gateways
	// Local are the LocalAddresses of Interfaces.
	Local map[netip.Addr]string
	// Served are the Services of which the node's proxy has said that it serves
	// them, of those that were in Checks; the empty key is the proxy itself.
	Served map[string]bool
}

// Cluster is what the node's part of the API server's objects means.
type Cluster struct {
	// Synced says that everything has been read once.
	Synced bool
	// Version grows with each change of what follows.
	Version uint64
	// Services that are served.
	Services *plan.Services
	// Nodes by name.
	Nodes map[string]plan.Node
	// Config in use, never nil.
	Config *config.Snapshot
	// Peers are where the speakers of other nodes are to be found, by node.
	Peers map[string]netip.AddrPort
	// Missed are the speakers that others say they miss.
	Missed []Missed
	// Confirmed are the speakers that say that they are alive though this one
	// does not hear them, and since when they say that it does not.
	Confirmed map[string]metav1.Time
	// Local are the addresses that other nodes say are their own, by node.
	Local map[string][]netip.Addr
	// Passwords of BGP peers by the name of their Secret.
	Passwords map[string]model.Secret
	// Moves are those that this node's own speaker has reported. They are looked at
	// once, when everything has been read.
	Moves []v1beta1.AddressMove
}

// Missed is a speaker's word for another's absence.
type Missed struct {
	By string
	v1beta1.UnreachableSpeaker
}

// Output is what a Step wants done. It is carried out in the order of its
// fields, and never edited.
type Output struct {
	// Notes are for the operator's log.
	Notes []Note
	// MACs with which this node answers, and its interfaces, sorted by name: the
	// other speakers are told before it answers with them, or they would take
	// it for another host.
	MACs  []model.MAC
	Links []model.Link
	// Introduction, unless it is nil, is a first report: the others find this
	// speaker by it. It has to be on its way before Ready is waited for.
	Introduction *v1beta1.SpeakerStatus
	// Ready says that the others may give addresses to this node from now on.
	Ready bool
	// Acting says that the start is over. Until it is the rest is empty and is
	// not carried out, and Done is not called: what a process before this one
	// has told routers stays.
	Acting bool
	// Routes are the BGP sessions and what goes with each: the whole of them, by
	// the name of the peer. BFD comes before the session that it watches.
	Routes []Peer
	// Pings are the addresses for which the kernel is to answer ping: the whole of
	// them, in the order of addresses. They are in force before Answers, and those
	// that Answers ends are left out a Step later: what reaches the node meanwhile
	// would be sent back to the LAN.
	Pings []model.Ping
	// Answers are the addresses that are answered and probed for: the whole of
	// them, in the order of addresses. What this node lets go has been claimed
	// by another before, or is quiet until it is.
	Answers []model.Answer
	// Checks are what to ask the node's proxy until it says yes: the whole of them.
	Checks []model.Check
	// Probes are those of Answers that are asked for now, once Answers is in
	// force: an answer would not be seen before.
	Probes []netip.Addr
	// Reannounce are those of Answers that the neighbors are told again,
	// because another host or node has told them something else.
	Reannounce []netip.Addr
	// Again is when to call Step again though nothing has happened, or zero.
	Again time.Duration
}

// Note is a line for the operator's log.
type Note struct {
	Level   Level
	Message string
	// Pairs are keys and values by turns.
	Pairs []any
}

// Level of a Note.
type Level int

// Levels.
const (
	Info Level = iota
	Warning
	Failure
)

// Applied is what became of an Output.
type Applied struct {
	Now time.Time
	// Held is what is answered for now, with the interfaces by name.
	Held map[netip.Addr][]string
	// Problems are what the sockets refused, in words, and Ping why the kernel does
	// not answer for Output.Pings, or empty.
	Problems []string
	Ping     string
	// Sessions of BGP, by name.
	Sessions []model.Session
}

// Result is what follows from it, to be carried out in this order.
type Result struct {
	// Claims are the addresses that this node says it owns, sorted: what its
	// sockets hold and it does not hand over.
	Claims []netip.Addr
	// Unable are the addresses that this node would own and cannot answer for, or
	// is about to hand over, sorted: the others are told, and take them.
	Unable []netip.Addr
	// Successions are those that it hands to another that is to have them, sorted.
	Successions []model.Succession
	Notes       []Note
	// Moves are those that this node has to tell of.
	Moves []Move
	// Problems are those of Applied in one text, or empty.
	Problems string
	Status   v1beta1.SpeakerStatus
	Counts   Counts
}

// Counts are what metrics say.
type Counts struct {
	// Held is how many addresses are answered for, and Drift how many of them
	// should not be, or should and are not.
	Held, Drift int
	// Withheld are how many addresses this node neither answers for nor
	// announces, by reason: the same that Status gives, and those that others
	// own.
	Withheld map[v1beta1.Reason]int
	// Draining are how many it announces as the last choice.
	Draining int
}

// Node is the machine. It is for one goroutine.
type Node struct {
	config Config
	start  start

	alive     []string             // at the last Step
	broken    map[string]string    // interfaces, likewise
	since     map[string]time.Time // when each became ready
	away      map[string]time.Time // since when other speakers are
	parted    map[string]time.Time // since when some are, though alive
	held      map[netip.Addr][]string
	contested []netip.Addr
	handing   map[netip.Addr]time.Time
	ranks     ranks
	balance   balance
	history   history
	conflicts conflicts
	routes    routes
	condition condition
	problems  string
	ping      string // the last Applied.Ping

	step step
}

// step is what Done has to know of the Step before it.
type step struct {
	made     plan.Plan
	fates    []fate // of made's decisions
	answers  []model.Answer
	missed   []v1beta1.UnreachableSpeaker // see confirmedAlive
	members  *model.Membership
	given    []model.Succession
	services *plan.Services // that the plan is for
	local    map[netip.Addr]string
	// theirs are the addresses that other nodes say are their own.
	theirs  map[string][]netip.Addr
	ofPools []string // see localOfPools
	parts   []string // see partitions
	// pingers are the advertisements that want ping answered; pingless says what
	// of it this node cannot.
	pingers, pingless []string
}

// fate is what keeps a planned address from being answered for in a Step.
type fate uint8

const (
	asPlanned fate = iota
	waiting        // it is probed for, or too little is known just now
	inConflict
	ownAddress // of the node itself
)

// New makes a Node that has seen nothing.
func New(config Config) *Node {
	return &Node{
		config: config, held: map[netip.Addr][]string{}, handing: map[netip.Addr]time.Time{}, ranks: newRanks(), balance: newBalance(),
		conflicts: conflicts{byAddress: map[netip.Addr]*detection{}}, routes: routes{drainTime: config.DrainTime},
	}
}

// Step looks at everything and decides.
func (n *Node) Step(in Input) Output {
	var out Output
	in.Interfaces = working(in.Interfaces, in.Members.Broken)
	out.MACs, out.Links = locate(&in)
	if !n.started(&in, &out) {
		return out
	}
	out.Acting = true
	n.noteAlive(in.Members.Alive, &out)
	n.noteBroken(in.Members.Broken, &out)
	out.Again = sooner(n.noteReady(&in), n.noteAway(&in))
	n.ranks.begin(&in, n.held)
	n.balance.note(in.Now, n.step.members, in.Members)
	n.history.note(in.Now, n.step.members, in.Members)
	given, wait := n.balance.successions(&in, n.ready(in.Members), n.since)
	out.Again = sooner(out.Again, wait)
	view := n.view(&in, out.Links)
	view.Successions = successions(in.Members, given)
	out.Routes, wait = n.routes.step(&in, &view, &out)
	out.Again = sooner(out.Again, wait)
	n.step = step{
		made: plan.Make(view), missed: n.confirmedAlive(&in), members: in.Members, given: given,
		services: in.Cluster.Services, local: in.Local, theirs: in.Cluster.Local, ofPools: localOfPools(&in),
	}
	out.Again = sooner(out.Again, n.balance.offer(in.Now, n.step.made.Moves, n.since))
	n.step.parts = n.partitions(&in, &out)
	n.decide(&in, &out)
	n.answerPing(&in, &out)
	n.reannounceContested(&in, &out)
	n.step.answers = out.Answers
	return out
}

// decide goes through the addresses, in their order, and decides how each is
// answered for.
func (n *Node) decide(in *Input, out *Output) {
	n.conflicts.begin(in.Now)
	wait, settled := in.Members.Settled(in.Now)
	if !settled {
		out.Again = sooner(out.Again, wait)
	}
	made, handing := n.step.made.Decisions, map[netip.Addr]time.Time{}
	n.step.fates = make([]fate, len(made))
	for i := range made {
		d := &made[i]
		on, owner := n.held[d.Address], in.Members.Owners[d.Address]
		_, own := in.Local[d.Address]
		out.Again = sooner(out.Again, n.ranks.wait(in, d, settled))
		if !own && n.wanted(in, i, settled, out) {
			n.answer(in, i, out)
			continue
		}
		out.Again = sooner(out.Again, n.conflicts.rest(in, d.Address, owner))
		switch {
		case own && d.Announce:
			// Never held, whoever is to own it: this node answers for it as a host.
			n.step.fates[i] = ownAddress
		case !own && n.handOver(in, d, on, owner, handing, out):
			n.leave(i)
			out.Answers = append(out.Answers, model.Answer{Address: d.Address, Interfaces: on, Mode: model.Quiet})
		}
	}
	n.handing = handing
	n.ranks.end()
	n.conflicts.end()
}

// wanted reports whether the address at a place of the plan is to be answered for
// now: what is not held yet waits until enough is known, and the node can deliver.
func (n *Node) wanted(in *Input, place int, settled bool, out *Output) bool {
	d := &n.step.made.Decisions[place]
	if !d.Announce || in.Members.Duplicate {
		return false
	}
	if len(n.held[d.Address]) > 0 {
		return true
	}
	checks, left := n.undelivered(in, d)
	if settled && len(checks) == 0 {
		return true
	}
	out.check(checks)
	out.Again = sooner(out.Again, left)
	n.step.fates[place] = waiting
	return false
}

// answer decides how an address that is wanted is answered for.
func (n *Node) answer(in *Input, place int, out *Output) {
	d := &n.step.made.Decisions[place]
	one := model.Answer{Address: d.Address, Interfaces: d.Interfaces, Sharers: d.Sharers}
	if len(d.Sharers) > 0 {
		one.Mode = model.Shared
	}
	verdict, again, probe := n.conflicts.use(in, d.Address, in.Members.Owners[d.Address], len(n.held[d.Address]) > 0)
	out.Again = sooner(out.Again, again)
	switch verdict {
	case free:
		out.Answers = append(out.Answers, one)
		return
	case unsure, unsureAgain:
		one.Mode, one.Sharers = model.Probe, nil
		out.Answers = append(out.Answers, one)
		if probe {
			out.Probes = append(out.Probes, d.Address)
		}
	case taken:
	}
	n.step.fates[place] = waiting
	if verdict != unsure {
		n.step.fates[place] = inConflict
	}
}

func (n *Node) view(in *Input, links []model.Link) plan.View {
	v := plan.View{
		Self: n.config.Name, Config: in.Cluster.Config, Services: in.Cluster.Services, Nodes: in.Cluster.Nodes,
		Alive: n.ready(in.Members), Owners: in.Members.Owners, Links: maps.Clone(in.Members.Links),
		Interfaces: in.Interfaces, Local: in.Local, AliveFor: make(map[string]time.Duration, len(n.since)),
		Unable: n.ranks.unable(in, &n.conflicts), Yielded: n.ranks.yielded,
	}
	if v.Links == nil {
		v.Links = map[string][]model.Link{}
	}
	v.Links[n.config.Name] = links // as the others know it
	for name, since := range n.since {
		v.AliveFor[name] = in.Now.Sub(since)
	}
	return v
}

// sooner of two waits, where zero is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
