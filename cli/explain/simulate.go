package explain

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Change is what is to be changed about a cluster.
type Change struct {
	// Objects and Services replace those of the same name, or are new.
	Objects  config.Objects
	Services []*corev1.Service
	// Prune says that Objects are all of their kinds: the others are deleted.
	Prune bool
	// Drained are nodes that are taken out of load balancing, and Without those that
	// die.
	Drained, Without []string
}

// Simulation is what would be otherwise.
type Simulation struct {
	// Problems are objects that would not be used as they stand, and are today or do
	// not exist.
	Problems []Problem       `json:"problems"`
	Services []ServiceChange `json:"services"`
	Routes   []RouteChange   `json:"routes"`
}

// Changes is how many things would be otherwise.
func (s *Simulation) Changes() int { return len(s.Problems) + len(s.Services) + len(s.Routes) }

// ServiceChange is a Service that would have other addresses.
type ServiceChange struct {
	Service string `json:"service"`
	// Before and After are its addresses.
	Before []string `json:"before"`
	After  []string `json:"after"`
	// Reason and Message say why it would not have all that it asks for.
	Reason  v1beta1.Reason `json:"reason,omitempty"`
	Message string         `json:"message,omitempty"`
}

// RouteChange is an address, or a prefix, that would be announced otherwise.
type RouteChange struct {
	Prefix   string   `json:"prefix"`
	Protocol Protocol `json:"protocol"`
	// Before and After are nodes or, by BGP, node/peer.
	Before []string `json:"before"`
	After  []string `json:"after"`
	// Attributes says that of what stays the path's attributes would be others.
	Attributes bool           `json:"attributes,omitempty"`
	Reason     v1beta1.Reason `json:"reason,omitempty"`
	Message    string         `json:"message,omitempty"`
}

// Simulate works out what a change would do, by the rules by which the controller
// gives addresses and the speakers announce them. The EndpointSlices of all Services
// must be among the objects. The error names a node that there is not.
//
// What the objects do not say is not known: which addresses cool down, and of nodes
// that own nothing which interfaces they have.
func (c *Cluster) Simulate(change *Change) (Simulation, error) {
	for _, name := range slices.Concat(change.Drained, change.Without) {
		if _, known := c.nodes[name]; !known {
			return Simulation{}, fmt.Errorf("there is no node %s", name)
		}
	}
	after := New(c.changed(change), c.now)
	after.endpoints = c.endpoints
	for _, name := range change.Drained {
		node := after.nodes[name]
		node.Excluded = "it is drained"
		after.nodes[name] = node
	}
	for _, name := range change.Without {
		delete(after.alive, name)
	}
	s := Simulation{Problems: after.newProblems(c), Services: []ServiceChange{}, Routes: []RouteChange{}}
	had, has := c.given(nil), after.given(&s.Services)
	s.Routes = append(routeChanges(L2, c.owned(had), after.owned(has)), routeChanges(BGP, c.toldOf(had), after.toldOf(has))...)
	return s, nil
}

// changed are the objects as they would be.
func (c *Cluster) changed(change *Change) Objects {
	o := c.objects
	o.Pools = replaced(o.Pools, change.Objects.Pools, change.Prune)
	o.L2Advertisements = replaced(o.L2Advertisements, change.Objects.L2Advertisements, change.Prune)
	o.BGP.Advertisements = replaced(o.BGP.Advertisements, change.Objects.BGP.Advertisements, change.Prune)
	o.BGP.Peers = replaced(o.BGP.Peers, change.Objects.BGP.Peers, change.Prune)
	o.BGP.BFDProfiles = replaced(o.BGP.BFDProfiles, change.Objects.BGP.BFDProfiles, change.Prune)
	o.BGP.Communities = replaced(o.BGP.Communities, change.Objects.BGP.Communities, change.Prune)
	o.Services = slices.Clone(o.Services)
	for _, svc := range change.Services {
		now := svc.DeepCopy()
		if before := c.services[config.ServiceKey(svc)]; before != nil {
			// What the controller wrote stays, as with kubectl apply.
			now.Status, now.UID, now.CreationTimestamp = before.Status, before.UID, before.CreationTimestamp
			for _, name := range []string{v1beta1.AnnotationAllocatedPool, v1beta1.AnnotationAllocatedAddresses} {
				if value, has := before.Annotations[name]; has {
					metav1.SetMetaDataAnnotation(&now.ObjectMeta, name, value)
				}
			}
			o.Services = slices.DeleteFunc(o.Services, func(one *corev1.Service) bool { return one == before })
		}
		o.Services = append(o.Services, now)
	}
	return o
}

// replaced are objects in which others have taken the place of those of their name.
func replaced[T metav1.Object](before, by []T, prune bool) []T {
	all := slices.Clone(before)
	all = slices.DeleteFunc(all, func(one T) bool {
		return prune || slices.ContainsFunc(by, func(other T) bool { return other.GetName() == one.GetName() })
	})
	return append(all, by...)
}

// newProblems are those of the configuration that another did not have.
func (c *Cluster) newProblems(than *Cluster) []Problem {
	all := []Problem{}
	for _, p := range c.configProblems {
		if !slices.Contains(than.configProblems, p) {
			all = append(all, problem(p.Kind, p.Name, p.Reason, p.Field+": "+p.Message))
		}
	}
	return all
}

// given are the Services as speakers would see them, once the controller has given
// each what it asks for. What changes by that is noted.
func (c *Cluster) given(note *[]ServiceChange) *plan.Services {
	allocator := c.allocator("")
	all := make([]plan.Service, 0, len(c.objects.Services))
	for _, svc := range c.objects.Services {
		one := plan.ServiceOf(svc, c.slicesOf(svc))
		if !c.served(svc) {
			one.Addresses = nil
		} else if note != nil {
			request, _ := config.ParseService(svc)
			assigned, refusal := allocator.Assign(request, c.namespaceLabels(request.Namespace), c.now)
			change := ServiceChange{Service: one.Key, Before: list(one.Addresses), After: list(assigned.Addresses)}
			if refusal != nil {
				change.Reason, change.Message = refusal.Reason, refusal.Message
			}
			if !slices.Equal(change.Before, change.After) || len(change.After) == 0 && len(svc.Status.Conditions) == 0 {
				*note = append(*note, change)
			}
			one.Addresses, one.Pool = assigned.Addresses, assigned.Pool
		}
		all = append(all, one)
	}
	return plan.ServicesOf(all...)
}

func list(addresses []netip.Addr) []string {
	all := make([]string, 0, len(addresses))
	for _, a := range addresses {
		all = append(all, a.String())
	}
	slices.Sort(all)
	return all
}

// announcement is who announces a prefix, and why nobody does.
type announcement struct {
	by []string
	// attributes of the paths, by node and peer.
	attributes map[string]string
	reason     v1beta1.Reason
	message    string
}

// owned is who would answer for each address on layer 2.
func (c *Cluster) owned(services *plan.Services) map[string]announcement {
	alive := slices.Sorted(maps.Keys(c.alive))
	if len(alive) == 0 {
		return nil
	}
	view := plan.View{
		Self: alive[0], Config: c.snapshot, Services: services, Nodes: c.nodes, Alive: alive,
		Owners: map[netip.Addr]string{}, Links: map[string][]model.Link{},
	}
	for _, name := range alive {
		// Nothing is known of interfaces: any may be the right one.
		view.Links[name] = []model.Link{{Usable: true, Suitable: true}}
	}
	for a := range c.announcers {
		if owners := c.owners(a); len(owners) == 1 {
			view.Owners[a] = owners[0]
		}
	}
	all, giving := map[string]announcement{}, map[string]bool{}
	for _, d := range plan.Make(view).Decisions {
		one := announcement{by: d.Sharers, reason: d.Reason, message: d.Message}
		if d.Owner != "" {
			one.by = []string{d.Owner}
		}
		all[d.Address.String()] = one
		for _, key := range d.Services {
			if wanted := services.Get(key).PreferredNode; wanted != "" && wanted != d.Owner {
				giving[d.Owner] = true
			}
		}
	}
	// What an owner hands over is in its own plan alone.
	for _, owner := range slices.Sorted(maps.Keys(giving)) {
		view.Self = owner
		for _, move := range plan.Make(view).Moves {
			all[move.Address.String()] = announcement{by: []string{move.Node}}
		}
	}
	return all
}

// toldOf is which peers would be told of each prefix, by which node.
func (c *Cluster) toldOf(services *plan.Services) map[string]announcement {
	if len(c.snapshot.BGPAdvertisements) == 0 {
		return nil
	}
	all := map[string]announcement{}
	for _, name := range slices.Sorted(maps.Keys(c.alive)) {
		view := plan.BGPView{View: plan.View{Self: name, Config: c.snapshot, Services: services, Nodes: c.nodes, Local: c.localOf(name)}}
		if c.nodes[name].Excluded != "" {
			view.Drain = plan.Withdrawn
		}
		made := plan.MakeBGP(&view)
		for i := range made.Peers {
			to := &made.Peers[i]
			for j := range to.Routes {
				r := &to.Routes[j]
				key := r.Prefix.String()
				if r.Prefix.IsSingleIP() {
					key = r.Prefix.Addr().String()
				}
				one := all[key]
				if one.attributes == nil {
					one.attributes = map[string]string{}
				}
				by := name + "/" + to.Peer.Name
				one.by, one.attributes[by] = append(one.by, by), attributesOf(r)
				all[key] = one
			}
		}
	}
	return all
}

// attributesOf writes what belongs to a path.
func attributesOf(r *plan.Route) string {
	number := func(n *uint32) string {
		if n == nil {
			return "-"
		}
		return strconv.FormatUint(uint64(*n), 10)
	}
	return fmt.Sprint(number(r.LocalPref), number(r.MED), r.Prepend, r.Communities, r.Weight, r.Transitive)
}

// routeChanges compares who announces what.
func routeChanges(by Protocol, before, after map[string]announcement) []RouteChange {
	keys := slices.Collect(maps.Keys(before))
	for key := range after {
		if _, both := before[key]; !both {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, comparePrefixes)
	changes := []RouteChange{}
	for _, key := range keys {
		was, is := before[key], after[key]
		one := RouteChange{Prefix: key, Protocol: by, Before: orNone(was.by), After: orNone(is.by)}
		for name, attributes := range is.attributes {
			had, stays := was.attributes[name]
			one.Attributes = one.Attributes || stays && had != attributes
		}
		if slices.Equal(was.by, is.by) && !one.Attributes {
			continue
		}
		if len(is.by) == 0 {
			one.Reason, one.Message = is.reason, is.message
		}
		changes = append(changes, one)
	}
	return changes
}

// orNone makes of nothing what is no null in JSON.
func orNone(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

// comparePrefixes orders addresses and prefixes by what they mean.
func comparePrefixes(a, b string) int {
	address := func(text string) netip.Addr {
		text, _, _ = strings.Cut(text, "/")
		parsed, _ := netip.ParseAddr(text)
		return parsed
	}
	if by := address(a).Compare(address(b)); by != 0 {
		return by
	}
	return strings.Compare(a, b)
}
