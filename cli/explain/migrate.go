package explain

import (
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/migrate/metallb"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Migration is what would come of MetalLB's objects and Services if Baliza took over.
type Migration struct {
	// Findings are about MetalLB's objects and annotations: what differs, and what
	// is lost; Carried are the fields that mean the same.
	Findings []metallb.Finding `json:"findings"`
	Carried  []metallb.Finding `json:"carried"`
	// Problems are objects that would not be used as they stand.
	Problems []Problem         `json:"problems"`
	Services []MigratedService `json:"services"`
	// Class is the loadBalancerClass that MetalLB serves; empty is none.
	Class string `json:"class,omitempty"`
}

// MigratedService is what would come of one Service.
type MigratedService struct {
	Service string `json:"service"`
	// Served says that Baliza would serve it; Message says why not.
	Served bool     `json:"served"`
	Before []string `json:"before"`
	After  []string `json:"after"`
	// Changes says that it has an address that it would not keep.
	Changes bool   `json:"changes,omitempty"`
	Pool    string `json:"pool,omitempty"`
	// Layer2 are the L2Advertisements that announce it, and Peers the BGPPeers that
	// are told.
	Layer2 []string `json:"layer2,omitempty"`
	Peers  []string `json:"peers,omitempty"`
	// Reason and Message say why it would not have all that it asks for, or why
	// nobody would announce it.
	Reason  v1beta1.Reason `json:"reason,omitempty"`
	Message string         `json:"message,omitempty"`
}

// Changed are the Services that would not keep an address.
func (m *Migration) Changed() (keys []string) {
	for i := range m.Services {
		if m.Services[i].Changes {
			keys = append(keys, m.Services[i].Service)
		}
	}
	return keys
}

// Count is how many findings have an outcome.
func (m *Migration) Count(outcome metallb.Outcome) (n int) {
	for _, f := range slices.Concat(m.Findings, m.Carried) {
		if f.Outcome == outcome {
			n++
		}
	}
	return n
}

// Verdict is well if no address changes and nothing is lost.
func (m *Migration) Verdict() Verdict {
	return Verdict{Well: len(m.Changed()) == 0 && m.Count(metallb.Lost) == 0}
}

// Migrate works out what would come of MetalLB's objects, by the rules by which the
// controller gives addresses and the speakers announce them. Where an object of ours
// has the name of one of MetalLB's, ours is used. Without Speakers every node is taken
// to have one, and without nodes the advertisements alone are looked at.
func (c *Cluster) Migrate(theirs *metallb.Objects) Migration {
	t := metallb.Translate(theirs)
	m := Migration{
		Findings: []metallb.Finding{}, Carried: theirs.Carried(&t), Services: []MigratedService{},
		Class: theirs.ServedClass(c.objects.Services),
	}
	o := c.objects
	o.Pools = joined(config.KindPool, o.Pools, t.Objects.Pools, &m)
	o.L2Advertisements = joined(config.KindL2Advertisement, o.L2Advertisements, t.Objects.L2Advertisements, &m)
	o.BGP.Peers = joined(config.KindBGPPeer, o.BGP.Peers, t.Objects.BGP.Peers, &m)
	o.BGP.Advertisements = joined(config.KindBGPAdvertisement, o.BGP.Advertisements, t.Objects.BGP.Advertisements, &m)
	o.BGP.BFDProfiles = joined(config.KindBFDProfile, o.BGP.BFDProfiles, t.Objects.BGP.BFDProfiles, &m)
	o.BGP.Communities = joined(config.KindCommunity, o.BGP.Communities, t.Objects.BGP.Communities, &m)
	o.Services = takenBack(o.Services)
	m.Findings = append(m.Findings, t.Findings...)
	m.Findings = append(m.Findings, theirs.Defaults()...)

	installed := c.installation
	if m.Class != "" && !slices.Contains(installed.classes, m.Class) {
		installed.classes, installed.serveClassless = append(slices.Clone(installed.classes), m.Class), false
		m.Findings = append(m.Findings, metallb.Finding{
			Outcome: metallb.Differs, Kind: config.KindService, Name: "*", Field: "spec.loadBalancerClass",
			Message: "MetalLB serves the class " + m.Class + " alone: install Baliza with loadBalancerClasses: [" + m.Class +
				"] and serveClassless: false",
		})
	}
	after := assemble(o, c.now, installed)
	after.endpoints = c.endpoints
	if len(after.alive) == 0 {
		for name := range after.nodes {
			after.alive[name] = true
		}
	}
	m.Problems = after.newProblems(c)
	after.migrated(&m)
	metallb.SortFindings(m.Findings)
	return m
}

// joined are objects of ours and those that others become, but for those whose name
// one of ours has.
func joined[T metav1.Object](kind string, ours, others []T, m *Migration) []T {
	all := slices.Clone(ours)
	for _, one := range others {
		if slices.ContainsFunc(ours, func(o T) bool { return o.GetName() == one.GetName() }) {
			m.Carried = append(m.Carried, metallb.Finding{
				Outcome: metallb.Exact, Kind: kind, Name: one.GetName(), Field: "metadata.name",
				Message: "Baliza has an object of this name: that is used",
			})
			continue
		}
		all = append(all, one)
	}
	return all
}

// takenBack are Services as they are once the other provider writes them no more: a
// controller of ours that runs beside it has left them alone.
func takenBack(services []*corev1.Service) []*corev1.Service {
	all := slices.Clone(services)
	for i, svc := range all {
		said := meta.FindStatusCondition(svc.Status.Conditions, v1beta1.ConditionAllocated)
		if said != nil && said.Reason == string(v1beta1.ReasonWriteConflict) {
			all[i] = svc.DeepCopy()
			meta.RemoveStatusCondition(&all[i].Status.Conditions, v1beta1.ConditionAllocated)
		}
	}
	return all
}

// migrated says what comes of each Service.
func (c *Cluster) migrated(m *Migration) {
	var changes []ServiceChange
	services := c.given(&changes)
	owned, told := c.owned(services), c.toldOf(services)
	for _, svc := range c.objects.Services {
		one := MigratedService{Service: config.ServiceKey(svc), Served: c.served(svc), Before: list(shown(svc)), After: []string{}}
		if !one.Served {
			one.Message = c.notServed(svc)
			m.Services = append(m.Services, one)
			continue
		}
		m.Findings = append(m.Findings, metallb.ServiceFindings(svc)...)
		planned := services.Get(one.Service)
		one.After, one.Pool = list(planned.Addresses), planned.Pool
		one.Changes = slices.ContainsFunc(one.Before, func(a string) bool { return !slices.Contains(one.After, a) })
		for i := range changes {
			if changes[i].Service == one.Service {
				one.Reason, one.Message = changes[i].Reason, changes[i].Message
			}
		}
		c.wouldAnnounce(&one, planned, owned, told)
		m.Services = append(m.Services, one)
	}
}

// wouldAnnounce says who would announce the addresses of a Service.
func (c *Cluster) wouldAnnounce(one *MigratedService, planned *plan.Service, owned, told map[string]announcement) {
	layer2, peers := map[string]bool{}, map[string]bool{}
	for _, a := range planned.Addresses {
		c.advertised(planned, a, layer2, peers)
		if c.snapshot.PoolOf(a) == nil && one.Reason == "" {
			one.Reason = v1beta1.ReasonInUseOutsideSpec
			one.Message = a.String() + " is of no pool: it stays with the Service, and is given to nobody after it"
		}
		here := owned[a.String()]
		if len(here.by)+len(told[a.String()].by) == 0 && c.endpoints != nil && one.Reason == "" && len(c.snapshot.BGPAdvertisements) == 0 {
			one.Reason, one.Message = here.reason, here.message
		}
	}
	one.Layer2, one.Peers = slices.Sorted(maps.Keys(layer2)), slices.Sorted(maps.Keys(peers))
	if len(one.After) > 0 && len(layer2)+len(peers) == 0 && one.Reason == "" {
		one.Reason, one.Message = v1beta1.ReasonNoAdvertisement, "no advertisement selects the pool and the Service"
	}
}

// advertised notes which advertisements of layer 2 select an address, and which peers
// are told of it.
func (c *Cluster) advertised(planned *plan.Service, a netip.Addr, layer2, peers map[string]bool) {
	name := planned.Pool
	pool := c.snapshot.PoolOf(a)
	if pool == nil {
		pool = c.snapshot.Pool(name)
	}
	if pool == nil {
		pool = &config.Pool{Name: name} // it is gone: a nil set of labels says so
	}
	for _, ad := range c.snapshot.L2Advertisements {
		if ad.SelectsPool(pool.Name, pool.Labels) && ad.SelectsService(planned.Labels) {
			layer2[ad.Name] = true
		}
	}
	for _, ad := range c.snapshot.BGPAdvertisements {
		if !ad.SelectsPool(pool.Name, pool.Labels) || !ad.SelectsService(planned.Labels) || ad.Incomplete {
			continue
		}
		for _, peer := range c.snapshot.BGPPeers {
			if ad.SelectsPeer(peer.Name) && peer.Carries(a) {
				peers[peer.Name] = true
			}
		}
	}
}
