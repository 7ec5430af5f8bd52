package explain

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// ServiceRow is a Service on one line.
type ServiceRow struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Pool and Addresses are what it was given.
	Pool      string   `json:"pool,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	// Owners are the nodes that announce one of them, by name.
	Owners []string `json:"owners,omitempty"`
	// Since is since when it is as it is, where that is known.
	Since *time.Time `json:"since,omitempty"`
	Situation
}

// ServiceRows are all Services of type LoadBalancer, by namespace and name.
func (c *Cluster) ServiceRows() []ServiceRow {
	rows := make([]ServiceRow, 0, len(c.objects.Services))
	for _, svc := range c.objects.Services {
		row := ServiceRow{Namespace: svc.Namespace, Name: svc.Name, Situation: c.situation(svc)}
		if row.State != NotServed {
			row.Pool, _ = config.Annotation(svc, v1beta1.AnnotationAllocatedPool)
			for _, a := range shown(svc) {
				row.Addresses, row.Owners = append(row.Addresses, a.String()), append(row.Owners, c.announcing(a)...)
			}
			slices.Sort(row.Owners)
			row.Owners, row.Since = slices.Compact(row.Owners), sinceWhen(svc)
		}
		rows = append(rows, row)
	}
	return rows
}

// sinceWhen is when the condition changed from which the situation follows.
func sinceWhen(svc *corev1.Service) *time.Time {
	said := meta.FindStatusCondition(svc.Status.Conditions, v1beta1.ConditionAllocated)
	if said != nil && said.Status == "True" {
		if announced := meta.FindStatusCondition(svc.Status.Conditions, v1beta1.ConditionAnnounced); announced != nil {
			said = announced
		}
	}
	if said == nil {
		return nil
	}
	since := said.LastTransitionTime.Time
	return &since
}

// Unheard is a speaker that another does not hear.
type Unheard struct {
	// By is the node that does not hear Node.
	By   string `json:"by"`
	Node string `json:"node"`
	// Since when.
	Since time.Time `json:"since"`
	// Alive says that Node answers all the same, through the API server.
	Alive bool `json:"alive"`
}

// Unheard are the speakers that living ones do not hear, by name.
func (c *Cluster) Unheard() []Unheard {
	var all []Unheard
	for _, s := range c.objects.Speakers {
		if !c.alive[s.Name] {
			continue
		}
		for _, u := range s.Status.Unreachable {
			all = append(all, Unheard{By: s.Name, Node: u.Name, Since: u.Since.Time, Alive: c.alive[u.Name]})
		}
	}
	slices.SortStableFunc(all, func(a, b Unheard) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.By, b.By)) })
	return all
}
