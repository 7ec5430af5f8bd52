package explain

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/reports"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Objects are what there is in the cluster, in any order.
type Objects struct {
	// Services are those of type LoadBalancer, of Namespace alone where that is set.
	Services    []*corev1.Service
	Namespace   string
	Nodes       []*corev1.Node
	Namespaces  []*corev1.Namespace
	Deployments []*appsv1.Deployment
	DaemonSets  []*appsv1.DaemonSet
	Leases      []*coordinationv1.Lease

	Pools            []*v1beta1.IPAddressPool
	L2Advertisements []*v1beta1.L2Advertisement
	BGP              config.BGPObjects
	Speakers         []*v1beta1.Speaker
	InUse            []config.InUse

	// Unread are the kinds that could not be read: nothing follows from their absence.
	Unread []Unread

	// Told is what the controller was told, where it is the controller that asks: else it
	// follows from the Deployment.
	Told *Told
	// Resting are addresses that nobody has and that rest (reuseDelay): the leading
	// replica of the controller alone knows them.
	Resting []netip.Addr
}

// PagePort is where the controller's status page is, unless it is told otherwise.
const PagePort = 7475

// Told are flags of the controller.
type Told struct {
	Namespace      string
	ServeClassless bool
	Classes        []string
}

// Unread is a kind of which nothing was read, in the plural, and why.
type Unread struct {
	Kind string `json:"kind"`
	Why  string `json:"why"`
}

// Cluster is what the objects mean. Make it with New.
type Cluster struct {
	objects  Objects
	now      time.Time
	snapshot *config.Snapshot
	// configProblems are what is wrong with the configuration.
	configProblems []config.Problem
	installation   installation
	services       map[string]*corev1.Service
	endpoints      map[string][]*discoveryv1.EndpointSlice
	// holders are the Services that show an address and are served, by key.
	holders  map[netip.Addr][]*corev1.Service
	speakers map[string]*v1beta1.Speaker
	alive    map[string]bool
	nodes    map[string]plan.Node
	// announcers and withheld are what living Speakers say of an address, by node.
	announcers map[netip.Addr][]announcer
	withheld   map[netip.Addr][]withholding
	conflicts  []Conflict
	// wire is what the network itself says, of the addresses that it was asked for.
	wire map[netip.Addr]*Wire
	// truncated says that a Speaker announces more than its report has room for.
	truncated bool
}

// announcer is a node that says that it announces an address.
type announcer struct {
	node       string
	bgp        bool // else layer 2
	interfaces []string
	perClient  bool
}

// withholding is why a node says that it does not.
type withholding struct {
	node    string
	reason  v1beta1.Reason
	message string
}

// New finds out what the objects mean at a time.
func New(objects Objects, now time.Time) *Cluster {
	return assemble(objects, now, installationOf(&objects))
}

// assemble is New, given what runs.
func assemble(objects Objects, now time.Time, installed installation) *Cluster {
	c := &Cluster{
		objects: objects, now: now, installation: installed,
		services: make(map[string]*corev1.Service, len(objects.Services)), holders: make(map[netip.Addr][]*corev1.Service),
		speakers: map[string]*v1beta1.Speaker{}, alive: map[string]bool{}, nodes: map[string]plan.Node{},
		announcers: map[netip.Addr][]announcer{}, withheld: map[netip.Addr][]withholding{},
	}
	byName(c.objects.Nodes)
	byName(c.objects.Pools)
	byName(c.objects.Speakers)
	byName(c.objects.L2Advertisements)
	byName(c.objects.BGP.Peers)
	byName(c.objects.BGP.Advertisements)
	slices.SortFunc(c.objects.Services, func(a, b *corev1.Service) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	for _, svc := range c.objects.Services {
		c.services[config.ServiceKey(svc)] = svc
		if !c.served(svc) {
			continue
		}
		for _, a := range shown(svc) {
			c.holders[a] = append(c.holders[a], svc)
		}
	}
	for _, node := range c.objects.Nodes {
		c.nodes[node.Name] = plan.NodeOf(node, c.installation.ignoreExclude)
	}
	for _, s := range c.objects.Speakers {
		c.readSpeaker(s)
	}
	c.snapshot, c.configProblems = config.Build(config.Objects{
		Pools: c.objects.Pools, L2Advertisements: c.objects.L2Advertisements, BGP: c.objects.BGP,
		InUse: c.inUse(), Namespace: c.installation.namespace,
	})
	return c
}

// SetEndpointSlices adds those of the Services that are asked about. Nothing else
// follows from them that New finds out.
func (c *Cluster) SetEndpointSlices(all []*discoveryv1.EndpointSlice) {
	c.endpoints = map[string][]*discoveryv1.EndpointSlice{}
	for _, one := range all {
		key := one.Namespace + "/" + one.Labels[discoveryv1.LabelServiceName]
		c.endpoints[key] = append(c.endpoints[key], one)
	}
}

func byName[T metav1.Object](objects []T) {
	slices.SortFunc(objects, func(a, b T) int { return strings.Compare(a.GetName(), b.GetName()) })
}

// inUse are the addresses that the cluster itself has, as the controller sees them.
func (c *Cluster) inUse() []config.InUse {
	found := slices.Clone(c.objects.InUse)
	for _, s := range c.objects.Speakers {
		for _, text := range s.Status.LocalAddresses {
			if a, err := config.ParseAddress(text); err == nil && len(c.holders[a]) == 0 {
				found = append(found, config.InUse{Range: config.Range{First: a, Last: a}, By: "node " + s.Name})
			}
		}
	}
	return config.SortInUse(found)
}

// readSpeaker takes in one report; that of a dead speaker says nothing of addresses.
func (c *Cluster) readSpeaker(s *v1beta1.Speaker) {
	c.speakers[s.Name] = s
	ready := meta.FindStatusCondition(s.Status.Conditions, v1beta1.ConditionReady)
	stopped := ready != nil && ready.Reason == string(v1beta1.ReasonStopped)
	if ready == nil || stopped || reports.Missed(s, c.objects.Speakers) {
		return
	}
	c.alive[s.Name] = true
	c.readAnnounced(s)
	for i := range s.Status.Withheld {
		group := &s.Status.Withheld[i]
		for _, text := range group.Addresses {
			if a, err := config.ParseAddress(text); err == nil {
				c.withheld[a] = append(c.withheld[a], withholding{s.Name, group.Reason, group.Message})
			}
		}
	}
	for i := range s.Status.Conflicts {
		one := &s.Status.Conflicts[i]
		c.conflicts = append(c.conflicts, Conflict{
			Address: one.Address, MAC: one.MAC, Interface: one.Interface, Node: s.Name, Since: one.Since.Time,
		})
	}
}

// readAnnounced notes which addresses a node announces.
func (c *Cluster) readAnnounced(s *v1beta1.Speaker) {
	c.truncated = c.truncated || int(s.Status.HeldCount) > len(s.Status.Held)
	for _, held := range heldBy(s) {
		if a, err := config.ParseAddress(held.Address); err == nil {
			c.announcers[a] = append(c.announcers[a], announcer{
				node: s.Name, interfaces: held.Interfaces, perClient: held.Balancing == v1beta1.BalancePerClient,
			})
		}
	}
	if bgp := s.Status.BGP; bgp != nil {
		announced := config.ParseAddresses(bgp.Announced, config.MaxAnnounced)
		c.truncated = c.truncated || int(bgp.AnnouncedCount) > len(announced)
		for _, a := range announced {
			c.announcers[a] = append(c.announcers[a], announcer{node: s.Name, bgp: true})
		}
	}
}

// heldBy are the addresses that a speaker says that it holds, each with its interfaces.
func heldBy(s *v1beta1.Speaker) []v1beta1.HeldAddress {
	held := slices.Clone(s.Status.Held)
	for i := range held {
		if len(held[i].Interfaces) == 0 {
			held[i].Interfaces = s.Status.Interfaces
		}
	}
	return held
}

// served reports whether Baliza serves a Service.
func (c *Cluster) served(svc *corev1.Service) bool {
	return config.Wanted(svc, c.installation.serveClassless, c.installation.classes...)
}

// shown are the addresses that a Service shows, without what is none.
func shown(svc *corev1.Service) []netip.Addr {
	var found []netip.Addr
	for _, entry := range svc.Status.LoadBalancer.Ingress {
		if a, err := config.ParseAddress(entry.IP); err == nil {
			found = append(found, a)
		}
	}
	return found
}

// CannotRead says why one of the kinds could not be read; it is empty if all could.
func (c *Cluster) CannotRead(kinds ...string) string {
	for _, u := range c.objects.Unread {
		if slices.Contains(kinds, u.Kind) {
			return u.Why
		}
	}
	return ""
}

// unread reports whether a kind could not be read.
func (c *Cluster) unread(kind string) bool {
	return slices.ContainsFunc(c.objects.Unread, func(u Unread) bool { return u.Kind == kind })
}

// missedBy are the speakers that miss a speaker which does not deny it.
func (c *Cluster) missedBy(name string) []string {
	var by []string
	for _, other := range c.objects.Speakers {
		if slices.ContainsFunc(other.Status.Unreachable, func(u v1beta1.UnreachableSpeaker) bool { return u.Name == name }) && other.Name != name {
			by = append(by, other.Name)
		}
	}
	return by
}

// Holders are the Services, as namespace/name, that have an address.
func (c *Cluster) Holders(a netip.Addr) []string { return keysOf(c.holders[a]) }

func keysOf(services []*corev1.Service) []string {
	keys := make([]string, 0, len(services))
	for _, svc := range services {
		keys = append(keys, config.ServiceKey(svc))
	}
	return keys
}
