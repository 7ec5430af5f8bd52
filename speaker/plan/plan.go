package plan

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
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
		plan.Decisions = append(plan.Decisions, p.decide(&all[i]))
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
}

type planner struct {
	view       *View
	candidates []candidate
	byName     map[string]*candidate
	self       candidate
	keys       func([]holding) []string
	groups     groups
	// claims are those of all addresses.
	claims []claim
}

func newPlanner(view *View) *planner {
	p := &planner{
		view: view, keys: view.Services.keys(), byName: map[string]*candidate{}, claims: make([]claim, 0, view.Services.holdings()),
	}
	names := slices.Compact(slices.Sorted(slices.Values(view.Alive)))
	for i, name := range names {
		p.candidates = append(p.candidates, candidateOf(view, name, i))
	}
	for i := range p.candidates {
		p.byName[p.candidates[i].name] = &p.candidates[i]
	}
	p.self = candidateOf(view, view.Self, len(names))
	p.groups = groups{planner: p, bySet: map[string]*group{}, index: map[*config.L2Advertisement]int{}}
	for i, a := range view.Config.L2Advertisements {
		p.groups.index[a] = i
	}
	return p
}

func candidateOf(view *View, name string, index int) candidate {
	return candidate{Node: view.Nodes[name], name: name, index: index, owns: "node " + name + " owns the address", seed: seed(name)}
}

// claim is a Service on an address, with the advertisements that select both.
type claim struct {
	service   *Service
	endpoints *Endpoints
	*group
}

func (p *planner) decide(c *contest) Decision {
	d := Decision{Address: c.address, Services: p.keys(c.holdings)}
	claims := c.claims
	// Sharers may lack different Services: each says which itself does.
	announcer := c.owner
	if announcer != nil {
		d.Owner = announcer.name
	}
	for _, one := range c.sharers {
		d.Sharers = append(d.Sharers, one.name)
		if one.name == p.view.Self {
			announcer = one
		}
	}
	for i := range claims {
		if announcer != nil && claims[i].endpoints.Any && p.refuse(announcer, &claims[i]) != nil {
			d.Unserved = append(d.Unserved, claims[i].service.Key)
		}
	}
	if announcer != nil && announcer.name == p.view.Self {
		p.announce(&d, claims)
		return d
	}
	d.Reason, d.Message = p.explain(&d, c)
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

// wanted returns the interfaces that the claims of the owner name, and whether
// one of them is content with all suitable ones.
func (p *planner) wanted(claims []claim) (wanted map[string]bool, all bool) {
	wanted = map[string]bool{}
	for i := range claims {
		if p.refuse(&p.self, &claims[i]) != nil {
			continue
		}
		for _, a := range claims[i].advertisements {
			if !a.SelectsNode(p.self.Labels) {
				continue
			}
			all = all || len(a.Interfaces) == 0
			for _, name := range a.Interfaces {
				wanted[name] = true
			}
		}
	}
	return wanted, all
}

// announce fills in where the owner announces.
func (p *planner) announce(d *Decision, claims []claim) {
	wanted, all := p.wanted(claims)
	for _, i := range p.view.Interfaces {
		if i.Usable && (wanted[i.Name] || all && i.Suitable) {
			d.Interfaces = append(d.Interfaces, i.Name)
		}
		if i.Usable {
			delete(wanted, i.Name)
		}
	}
	slices.Sort(d.Interfaces)
	d.Missing = slices.Sorted(maps.Keys(wanted))
	d.Announce = len(d.Interfaces) > 0
	p.describe(d)
}

// describe puts into words what the owner announces and what it cannot.
func (p *planner) describe(d *Decision) {
	if !d.Announce {
		d.Reason, d.Message = v1beta1.ReasonInterfaceUnavailable, p.lacking(d.Missing)
		return
	}
	d.Reason, d.Message = v1beta1.ReasonAnnounced, "announced by this node"
	if len(d.Sharers) > 0 {
		d.Message = "announced per client, by " + strings.Join(d.Sharers, ", ")
	}
	if len(d.Missing) > 0 {
		d.Message += "; " + p.lacking(d.Missing)
	}
	if len(d.Unserved) > 0 {
		d.Message += "; no node serves all Services of the address, and this one not " + strings.Join(d.Unserved, ", ")
	}
}

// explain says why this node does not announce an address that it does not
// own: what is in this node's way comes before who owns it instead.
func (p *planner) explain(d *Decision, c *contest) (v1beta1.Reason, string) {
	var first *refusal
	for i := range c.claims {
		r := p.refuse(&p.self, &c.claims[i])
		if r == nil {
			first = nil
			break
		}
		// Of several Services, the one that came furthest explains the address.
		if first == nil || r.stage > first.stage {
			first = r
		}
	}
	instead := ""
	switch {
	case c.owner != nil:
		instead = c.owner.owns
	case len(d.Sharers) > 0:
		instead = "announced per client, by " + strings.Join(d.Sharers, ", ")
	}
	if first != nil {
		d.Obstacle = first.message
	}
	switch {
	case first != nil && instead != "":
		return first.reason, first.message + "; " + instead
	case first != nil:
		return first.reason, first.message
	case instead != "":
		return v1beta1.ReasonNotOwner, instead
	}
	return v1beta1.ReasonNoEligibleNode, "no node with a living speaker can announce the address"
}
