package sim

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/node"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Cluster is what the API server knows. Each node sees it when its watch brings
// it, or never.
type Cluster struct {
	world     *World
	services  map[string]*plan.Service
	addresses []netip.Addr // of all Services, sorted
	nodes     map[string]plan.Node
	peers     map[string]netip.AddrPort
	spec      v1beta1.L2AdvertisementSpec
	// shared, unless it is nil, are the Services that all views have: a large
	// world in which none lags needs no copy for each.
	shared *plan.Services
	config *config.Snapshot
	// acquainted says that all speakers know beforehand where the others are.
	acquainted bool
}

func newCluster(w *World) *Cluster {
	c := &Cluster{world: w, services: map[string]*plan.Service{}, nodes: map[string]plan.Node{}, peers: map[string]netip.AddrPort{}}
	c.build()
	return c
}

// Advertise changes the only L2Advertisement. It is to be done before anything
// starts.
func (c *Cluster) Advertise(change func(*v1beta1.L2AdvertisementSpec)) {
	change(&c.spec)
	c.build()
}

func (c *Cluster) build() {
	c.config, _ = config.Build(config.Objects{
		Pools: []*v1beta1.IPAddressPool{{
			ObjectMeta: metav1.ObjectMeta{Name: "lan"},
			Spec:       v1beta1.IPAddressPoolSpec{Addresses: []v1beta1.AddressRange{"198.18.0.0/15", "2001:db8::/64"}},
		}},
		L2Advertisements: []*v1beta1.L2Advertisement{{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: c.spec}},
	})
}

// AddServices makes Services of the addresses.
func (c *Cluster) AddServices(change func(*plan.Service), addresses ...netip.Addr) {
	for _, a := range addresses {
		s := service(a)
		if change != nil {
			change(s)
		}
		c.services[s.Key] = s
	}
	c.changed(func(v *view) { c.give(v, addresses) })
}

// Prefer names the node that is to own an address; nobody is the empty one.
func (c *Cluster) Prefer(a netip.Addr, node string) {
	if s := c.services["default/"+a.String()]; s != nil {
		changed := *s
		changed.PreferredNode = node
		c.services[s.Key] = &changed
		c.changed(func(v *view) { c.give(v, s.Addresses) })
	}
}

// preferred is that node.
func (c *Cluster) preferred(a netip.Addr) string {
	if s := c.services["default/"+a.String()]; s != nil {
		return s.PreferredNode
	}
	return ""
}

func service(a netip.Addr) *plan.Service {
	return &plan.Service{
		Key: "default/" + a.String(), Addresses: []netip.Addr{a}, IPv4: plan.Endpoints{Any: true}, IPv6: plan.Endpoints{Any: true},
	}
}

// RemoveServices deletes those of the addresses.
func (c *Cluster) RemoveServices(addresses ...netip.Addr) {
	for _, a := range addresses {
		delete(c.services, "default/"+a.String())
	}
	c.changed(func(v *view) { c.give(v, addresses) })
}

// give brings Services into a view as they are now.
func (c *Cluster) give(v *view, addresses []netip.Addr) {
	if c.shared != nil {
		v.current.Services = c.shared
		return
	}
	c.update(v.host, v.current.Services, addresses)
}

// Share lets all views have the Services that there are now, and no others from
// then on.
func (c *Cluster) Share() {
	c.shared = plan.ServicesOf()
	c.changed(func(v *view) { c.give(v, nil) })
	c.update(nil, c.shared, c.addresses)
}

func (c *Cluster) update(h *Host, in *plan.Services, addresses []netip.Addr) {
	update := make(map[string]*plan.Service, len(addresses))
	for _, a := range addresses {
		key := "default/" + a.String()
		update[key] = nil
		if s := c.services[key]; s != nil {
			copied := *s
			if before := in.Get(key); s.Local && h != nil && s.IPv4.Nodes[h.name] {
				copied.HealthPort, copied.LocalSince = 30000, c.world.now
				if before != nil && !before.LocalSince.IsZero() {
					copied.LocalSince = before.LocalSince
				}
			}
			update[key] = &copied
		}
	}
	in.Update(update)
}

// SetNode changes what the API server knows of a node.
func (c *Cluster) SetNode(name string, to plan.Node) {
	c.nodes[name] = to
	c.changed(func(v *view) { v.current.Nodes = maps.Clone(c.nodes) })
}

// changed lets every view that sees the API server have a change after its time.
func (c *Cluster) changed(update func(*view)) {
	c.addresses = c.addresses[:0]
	for _, s := range c.services {
		c.addresses = append(c.addresses, s.Addresses...)
	}
	slices.SortFunc(c.addresses, netip.Addr.Compare)
	for _, h := range c.world.nodes {
		h.view.deliver(update)
	}
}

// view is what one node sees.
type view struct {
	host    *Host
	current node.Cluster
	// lag is how late changes come, at most; cut says that none does.
	lag time.Duration
	cut bool
	// missed are the changes that a cut view gets at its end.
	missed []func(*view)
}

func (v *view) deliver(update func(*view)) {
	if v.cut {
		v.missed = append(v.missed, update)
		return
	}
	if v.host.process == nil {
		return // it reads everything when it starts
	}
	v.host.mine(v.host.world.upTo(v.lag), func() {
		update(v)
		v.current.Version++
		v.host.soon(minCoalesce)
	})
}

// reconnect ends a cut.
func (v *view) reconnect() {
	v.cut = false
	if v.host.process != nil && !v.current.Synced {
		v.deliver(func(v *view) { v.host.view = v.host.world.Cluster.read(v.host) })
	}
	for _, update := range v.missed {
		v.deliver(update)
	}
	v.missed = nil
}

// read makes the view that a speaker starts with. One that is cut off knows
// nothing until it is not.
func (c *Cluster) read(h *Host) view {
	v := view{host: h, lag: h.view.lag, cut: h.view.cut}
	v.current = node.Cluster{
		Synced: !v.cut, Services: plan.ServicesOf(), Nodes: maps.Clone(c.nodes), Config: c.config, Peers: map[string]netip.AddrPort{},
	}
	if v.cut {
		return v
	}
	c.give(&v, c.addresses)
	for name, at := range c.peers {
		if name != h.name {
			v.current.Peers[name] = at
		}
	}
	return v
}

// introduce brings a speaker's address to the others.
func (c *Cluster) introduce(name string, at netip.AddrPort) {
	if c.acquainted {
		return
	}
	c.peers[name] = at
	c.changed(func(v *view) {
		if name == v.host.name {
			return
		}
		v.current.Peers = maps.Clone(v.current.Peers)
		v.current.Peers[name] = at
		v.host.seek()
	})
}

func (c *Cluster) String() string { return fmt.Sprintf("%d Services", len(c.services)) }
