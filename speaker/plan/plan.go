package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
)

// Decision is what becomes of one address on the node that the plan is for.
type Decision struct {
	Address netip.Addr
	// Services that have the address, by key.
	Services []string
	// Owner is the node that answers for the address, or empty. An address
	// whose clients are divided has none.
	Owner string
	// Sharers are the nodes, sorted, of which one answers each client of the
	// address, where its clients are divided.
	Sharers []string
	// Announce says that this node does, on Interfaces.
	Announce   bool
	Interfaces []string
	// AnswerPing says that who answers for the address answers ping, too.
	AnswerPing bool
	// Missing are interfaces that an advertisement names and that this node
	// lacks, or cannot use. They are given for the owner and sharers only.
	Missing []string
	// Reason why the node announces the address or does not, and a message
	// for the operator that says the same for every address of that kind.
	Reason  v1beta1.Reason
	Message string
	// Obstacle is the part of Message that is about this node, where it neither
	// owns nor shares the address.
	Obstacle string
	// Unserved are those of Services that the owner cannot serve, though it
	// can serve the most of them.
	Unserved []string
}

// Plan is one Decision for each address, in address order.
type Plan struct {
	Decisions []Decision
	// Moves are the addresses that this node owns and that their Services want on
	// another, which can own them, in address order. No decision follows from that
	// by itself: the owner says to all whom it hands the address to, so that nobody
	// who has not heard of the wish yet takes it.
	Moves []model.Succession
}

// Make makes the plan that follows from a view.
func Make(view View) Plan {
	if len(view.Config.L2Advertisements) == 0 {
		return unadvertised(view.Services)
	}
	p := newPlanner(&view)
	all := make([]contest, 0, view.Services.holdings())
	for holdings := range view.Services.byAddress() {
		all = append(all, p.contest(holdings))
	}
	p.settle(all)
	plan := Plan{Decisions: make([]Decision, 0, len(all))}
	for i := range all {
		c := &all[i]
		plan.Decisions = append(plan.Decisions, p.decide(c))
		if c.owner == nil || c.owner.name != view.Self {
			continue
		}
		if to := p.named(c); to != nil && to != c.owner {
			plan.Moves = append(plan.Moves, model.Succession{Address: c.address, Node: to.name})
		}
	}
	return plan
}

// unadvertised is the plan where nothing is announced on layer 2.
func unadvertised(services *Services) Plan {
	reason, message, _ := hasAdvertisement(nil, nil, &claim{group: &group{}})
	decisions, keys := make([]Decision, 0, services.holdings()), services.keys()
	for holdings := range services.byAddress() {
		decisions = append(decisions, Decision{Address: holdings[0].address, Services: keys(holdings), Reason: reason, Message: message})
	}
	return Plan{Decisions: decisions}
}

// candidate is a node whose speaker is alive, or the one that the plan is for.
type candidate struct {
	Node
	name string
	// index is its place in what a group says of each candidate.
	index int
	owns  string // that it owns the address, for people
	seed  uint64
	// aliveFor is how long it has been alive.
	aliveFor time.Duration
	// links are its interfaces. told says that anything is known of them, and
	// toldAll that there are no others.
	links         []model.Link
	told, toldAll bool
}

type planner struct {
	view       *View
	candidates []candidate
	byName     map[string]*candidate
	self       candidate
	keys       func([]holding) []string
	groups     groups
	subnets    *subnets
	// claims are those of all addresses; lists and fields have room for what
	// single addresses need.
	claims []claim
	lists  []*candidate
	fields []field
	// everyone and nobody are all candidates, and none.
	everyone []*candidate
	nobody   field
	// key and nearby are scratch.
	key    []byte
	nearby []*candidate
}

func newPlanner(view *View) *planner {
	names := slices.Compact(slices.Sorted(slices.Values(view.Alive)))
	p := &planner{
		view: view, keys: view.Services.keys(), byName: make(map[string]*candidate, len(names)),
		candidates: make([]candidate, 0, len(names)), claims: make([]claim, 0, view.Services.holdings()),
	}
	for i, name := range names {
		p.candidates = append(p.candidates, candidateOf(view, name, i))
		one := &p.candidates[i]
		p.byName[name], p.everyone = one, append(p.everyone, one)
	}
	p.self = candidateOf(view, view.Self, len(names))
	p.subnets = p.subnetsOfAll()
	p.groups = groups{planner: p, bySet: map[string]*group{}, index: map[*config.L2Advertisement]int{}}
	for i, a := range view.Config.L2Advertisements {
		p.groups.index[a] = i
	}
	return p
}

func candidateOf(view *View, name string, index int) candidate {
	c := candidate{
		Node: view.Nodes[name], name: name, index: index, owns: "node " + name + " owns the address", seed: seed(name),
		aliveFor: view.AliveFor[name],
	}
	if c.links, c.told = view.Links[name]; !c.told && name == view.Self {
		c.told, c.toldAll = true, true
		for i := range view.Interfaces {
			if on := &view.Interfaces[i]; on.Usable {
				c.links = append(c.links, model.Link{Name: on.Name, Usable: true, Suitable: on.Suitable, Addrs: on.Addrs})
			}
		}
	}
	return c
}

// claim is a Service on an address, with the advertisements that select both.
type claim struct {
	service   *Service
	endpoints *Endpoints
	*group
}

func (p *planner) decide(c *contest) Decision {
	d := Decision{Address: c.address, Services: p.keys(c.holdings), AnswerPing: c.all.answerPing}
	// Sharers may lack different Services: each says which itself does.
	announcer, together := c.owner, ""
	if announcer != nil {
		d.Owner = announcer.name
	}
	if c.shared {
		d.Sharers, together = c.able.sharers()
		if one := p.byName[p.view.Self]; one != nil && c.able.has(one) {
			announcer = one
		}
	}
	for i := range c.claims {
		if on := &c.claims[i]; announcer != nil && !c.yielded && on.endpoints.Any && !on.allows(announcer) {
			d.Unserved = append(d.Unserved, on.service.Key)
		}
	}
	if announcer != nil && announcer.name == p.view.Self {
		p.announce(&d, c, together)
		return d
	}
	if announcer != nil {
		together = announcer.owns
	}
	p.explain(&d, c, together)
	return d
}

// advertisement is one of either protocol.
type advertisement interface {
	SelectsPool(name string, poolLabels labels.Set) bool
	SelectsService(set labels.Set) bool
}

// selecting appends to found the advertisements that select a Service and its
// pool. The pool is the one that covers the address; what the Service says, whose
// annotations are its tenant's to write, counts only where none does. An address
// that no pool accounts for is not announced: nobody meant it to be.
func selecting[A advertisement](in *config.Snapshot, all []A, address netip.Addr, s *Service, found []A) []A {
	name, pool := s.Pool, in.PoolOf(address)
	switch {
	case pool != nil:
		name = pool.Name
	case name == "":
		return found
	default:
		pool = in.Pool(name)
	}
	var poolLabels labels.Set // nil for a pool that is gone
	if pool != nil {
		poolLabels = pool.Labels
	}
	for _, a := range all {
		if a.SelectsPool(name, poolLabels) && a.SelectsService(s.Labels) {
			found = append(found, a)
		}
	}
	return found
}

// place is where this node announces: the interfaces, and which are missing, by
// name.
type place struct{ interfaces, missing []string }

// placeOf returns this node's for the advertisements of a group.
func (p *planner) placeOf(g *group) *place {
	if g.place != nil {
		return g.place
	}
	g.place = &place{}
	for _, a := range g.advertisements {
		if !a.SelectsNode(p.self.Labels) {
			continue
		}
		missing := slices.Clone(a.Interfaces)
		for i := range p.view.Interfaces {
			on := &p.view.Interfaces[i]
			if !on.Usable || !meant(a, on.Name, on.Suitable) {
				continue
			}
			missing = slices.DeleteFunc(missing, func(name string) bool { return name == on.Name })
			if fitnessOf(on.Addrs, g.sample) >= g.best {
				g.place.interfaces = append(g.place.interfaces, on.Name)
			}
		}
		g.place.missing = append(g.place.missing, missing...)
	}
	g.place.sort()
	return g.place
}

func (p *place) sort() {
	slices.Sort(p.interfaces)
	slices.Sort(p.missing)
	p.interfaces, p.missing = slices.Compact(p.interfaces), slices.Compact(p.missing)
}

// announce fills in where this node announces.
func (p *planner) announce(d *Decision, c *contest, together string) {
	var at *place
	for i := range c.claims {
		if !c.claims[i].allows(&p.self) {
			continue
		}
		switch here := p.placeOf(c.claims[i].group); {
		case at == nil:
			at = here
		case at != here:
			at = &place{slices.Concat(at.interfaces, here.interfaces), slices.Concat(at.missing, here.missing)}
			at.sort()
		}
	}
	if at != nil {
		d.Interfaces, d.Missing = at.interfaces, at.missing
	}
	d.Announce = len(d.Interfaces) > 0
	p.describe(d, together)
}

// describe puts into words what this node announces and what it cannot.
func (p *planner) describe(d *Decision, together string) {
	if !d.Announce {
		d.Reason, d.Message = v1beta1.ReasonInterfaceUnavailable, p.lacking(d.Missing)
		return
	}
	d.Reason, d.Message = v1beta1.ReasonAnnounced, cmp.Or(together, "announced by this node")
	if len(d.Missing) > 0 {
		d.Message += "; " + p.lacking(d.Missing)
	}
	if len(d.Unserved) > 0 {
		d.Message += "; no node serves all Services of the address, and this one not " + strings.Join(d.Unserved, ", ")
	}
}

// explain says why this node does not announce an address that it does not
// own: what is in this node's way comes before who does instead.
func (p *planner) explain(d *Decision, c *contest, instead string) {
	var first refusal
	for i := range c.claims {
		r, refused := p.refuse(&p.self, &c.claims[i])
		if !refused {
			first = refusal{}
			break
		}
		// Of several Services, the one that came furthest explains the address.
		if first.reason == "" || r.stage > first.stage {
			first = r
		}
	}
	d.Obstacle = first.message
	switch {
	case first.reason != "" && instead != "":
		d.Reason, d.Message = first.reason, first.message+"; "+instead
	case first.reason != "":
		d.Reason, d.Message = first.reason, first.message
	case instead != "":
		d.Reason, d.Message = v1beta1.ReasonNotOwner, instead
	default:
		d.Reason, d.Message = v1beta1.ReasonNoEligibleNode, "no node with a living speaker can announce the address"
	}
}
