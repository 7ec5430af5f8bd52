package cluster

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/node"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// Objects are what is needed of kube.SpeakerView.
type Objects interface {
	Synced() bool
	Changes() <-chan struct{}
	Take() kube.SpeakerChanges
	objects
	bgpObjects
}

// objects are the cached ones.
type objects interface {
	Service(key string) (*corev1.Service, []*discoveryv1.EndpointSlice)
	Nodes() []*corev1.Node
	Pools() []*v1beta1.IPAddressPool
	L2Advertisements() []*v1beta1.L2Advertisement
	Members() (members []*v1beta1.Member, own *v1beta1.Speaker)
}

// bgpObjects are those about BGP.
type bgpObjects interface {
	BGP() kube.BGPObjects
	Password(secret string) (string, bool)
	WatchOtherServices() error
}

var _ Objects = (*kube.SpeakerView)(nil)

// Config of a View. It does not change.
type Config struct {
	Log *slog.Logger
	// Node is the name of this node, and Namespace that of Baliza itself, where
	// the Secrets of peers are.
	Node, Namespace string
	// ServeClassless says whether Services without a class are served.
	ServeClassless bool
	// Classes are those that are always served, and IgnoreExclude says that the
	// label that excludes nodes is not looked at.
	Classes       []string
	IgnoreExclude bool
	// Now is the clock, normally time.Now.
	Now func() time.Time
	// Lost is called when this node's own Speaker or Member is not there.
	Lost func()
}

// View is what the objects mean for a node. What did not change is not looked at
// again.
type View struct {
	Config
	from Objects
	// Current is what the machine looks at.
	Current node.Cluster
	// NodeUID is that of this node, and NodeNames are all nodes' names, sorted.
	NodeUID   types.UID
	NodeNames []string
}

// NewView makes a View of nothing.
func NewView(of Config, from Objects) *View {
	v := &View{Config: of, from: from, Current: node.Cluster{Services: plan.ServicesOf(), Nodes: map[string]plan.Node{}}}
	v.Current.Config, _ = config.Build(config.Objects{})
	return v
}

// Read takes over what changed. It returns where the other speakers are, if that
// may have changed, and nil otherwise.
func (v *View) Read() (peers map[string]netip.AddrPort) {
	changes := v.from.Take()
	if len(changes.Services) > 0 || changes.Nodes || changes.Config {
		v.Current.Version++
	}
	v.Current.Synced = v.from.Synced()
	v.services(changes.Services)
	if changes.Nodes {
		v.nodes()
	}
	if changes.Config {
		v.config()
	}
	v.passwords() // a Secret may come at any time
	if changes.Members {
		v.members()
		return v.Current.Peers
	}
	return nil
}

func (v *View) services(keys map[string]struct{}) {
	changed := make(map[string]*plan.Service, len(keys))
	for key := range keys {
		changed[key] = nil
		service, slices := v.from.Service(key)
		if service == nil {
			continue
		}
		now := plan.ServiceOf(service, slices)
		if !config.Wanted(service, v.ServeClassless, v.Classes...) {
			now.Addresses = nil // another provider's
		}
		now.LocalSince = v.localSince(&now)
		if len(now.Addresses)+len(now.ClusterIPs)+len(now.ExternalIPs) > 0 {
			changed[key] = &now
		}
	}
	if len(changed) > 0 {
		v.Current.Services.Update(changed)
	}
}

// localSince is when a usable endpoint of a Service under Local appeared on this
// node, zero if there is none.
func (v *View) localSince(s *plan.Service) time.Time {
	switch before := v.Current.Services.Get(s.Key); {
	case !s.Local || !s.IPv4.Nodes[v.Node] && !s.IPv6.Nodes[v.Node]:
		return time.Time{}
	case before != nil && !before.LocalSince.IsZero():
		return before.LocalSince
	case v.Now == nil:
		return time.Now()
	}
	return v.Now()
}

func (v *View) nodes() {
	v.Current.Nodes = map[string]plan.Node{}
	for _, object := range v.from.Nodes() {
		v.Current.Nodes[object.Name] = plan.NodeOf(object, v.IgnoreExclude)
		if object.Name == v.Node {
			v.NodeUID = object.UID
		}
	}
	v.NodeNames = slices.Sorted(maps.Keys(v.Current.Nodes))
}

func (v *View) config() {
	v.Current.Config, _ = config.Build(config.Objects{
		Pools: v.from.Pools(), L2Advertisements: v.from.L2Advertisements(), BGP: config.BGPObjects(v.from.BGP()), Namespace: v.Namespace,
	})
	if !v.Current.Config.AnnouncesOtherServices() {
		return
	}
	if err := v.from.WatchOtherServices(); err != nil {
		v.Log.Error("cluster IPs and external IPs of Services that are no load balancers are not announced", "error", err)
	}
}

func (v *View) passwords() {
	v.Current.Passwords = map[string]model.Secret{}
	for _, p := range v.Current.Config.BGPPeers {
		if p.PasswordSecret == "" {
			continue
		}
		if password, ok := v.from.Password(p.PasswordSecret); ok {
			v.Current.Passwords[p.PasswordSecret] = model.Secret(password)
		}
	}
}

func (v *View) members() {
	members, own := v.from.Members()
	v.Current.Peers, v.Current.Missed, v.Current.Local = map[string]netip.AddrPort{}, nil, map[string][]netip.Addr{}
	v.Current.Confirmed = map[string]metav1.Time{}
	for _, object := range members {
		for _, missed := range object.Status.Unreachable {
			v.Current.Missed = append(v.Current.Missed, node.Missed{By: object.Name, UnreachableSpeaker: missed})
		}
		if object.Name == v.Node {
			continue
		}
		for _, answered := range object.Status.ConfirmedAlive {
			if answered.Name == v.Node {
				v.Current.Confirmed[object.Name] = answered.Since
			}
		}
		if at, err := netip.ParseAddrPort(object.Status.MemberAddress); err == nil {
			v.Current.Peers[object.Name] = at
		}
		for _, text := range object.Status.LocalAddresses {
			if a, err := config.ParseAddress(text); err == nil {
				v.Current.Local[object.Name] = append(v.Current.Local[object.Name], a)
			}
		}
	}
	switch {
	case own != nil:
		v.Current.Moves = own.Status.Moves
	case v.Current.Synced:
		v.Lost()
	}
}
