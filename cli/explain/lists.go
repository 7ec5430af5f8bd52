package explain

import (
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// Held is an address that Services have, and who announces it.
type Held struct {
	Address  string   `json:"address"`
	Pool     string   `json:"pool"`
	Services []string `json:"services"`
	// L2 are the nodes that answer for it, BGP those that tell routers of it.
	L2  []string `json:"l2,omitempty"`
	BGP []string `json:"bgp,omitempty"`
	// Since is since when its first Service is as it is.
	Since  *time.Time     `json:"since,omitempty"`
	State  State          `json:"state"`
	Reason v1beta1.Reason `json:"reason,omitempty"`
}

// Addresses are those that Services have, in order.
func (c *Cluster) Addresses() []Held {
	addresses := make([]netip.Addr, 0, len(c.holders))
	for a := range c.holders {
		addresses = append(addresses, a)
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	all := make([]Held, 0, len(addresses))
	for _, a := range addresses {
		svc := c.holders[a][0]
		pool, _ := config.Annotation(svc, v1beta1.AnnotationAllocatedPool)
		at := c.situation(svc)
		one := Held{Address: a.String(), Pool: pool, Services: c.Holders(a), State: at.State, Reason: at.Reason}
		for _, by := range c.announcers[a] {
			if by.bgp {
				one.BGP = append(one.BGP, by.node)
			} else {
				one.L2 = append(one.L2, by.node)
			}
		}
		if said := meta.FindStatusCondition(svc.Status.Conditions, v1beta1.ConditionAnnounced); said != nil {
			since := said.LastTransitionTime.Time
			one.Since = &since
		}
		all = append(all, one)
	}
	return all
}

// Versions are those of the programs that run.
type Versions struct {
	Client     string `json:"client"`
	Controller string `json:"controller,omitempty"`
	// Speakers are how many speakers are of each version.
	Speakers map[string]int `json:"speakers,omitempty"`
	// Skew says in words what does not fit together; empty is nothing.
	Skew string `json:"skew,omitempty"`
}

// Versions compares what runs with the version of who asks.
func (c *Cluster) Versions(client string) Versions {
	v := Versions{Client: client, Controller: c.controller().Version, Speakers: map[string]int{}}
	var inCluster []string
	if v.Controller != "" {
		inCluster = append(inCluster, v.Controller)
	}
	for _, s := range c.objects.Speakers {
		if s.Status.Version != "" && c.alive[s.Name] {
			v.Speakers[s.Status.Version]++
			inCluster = append(inCluster, s.Status.Version)
		}
	}
	slices.Sort(inCluster)
	switch inCluster = slices.Compact(inCluster); {
	case len(inCluster) > 1:
		v.Skew = "controller and speakers are of different versions: an update is under way, or has stopped"
	case len(inCluster) == 1 && inCluster[0] != client:
		v.Skew = "kubectl baliza is of another version than what runs in the cluster: it may not understand all of it"
	}
	return v
}
