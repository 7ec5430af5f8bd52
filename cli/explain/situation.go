package explain

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/cures"
)

// State is how far a Service is.
type State string

// States of a Service.
const (
	// Announced: it has what it asked for, and the network knows where.
	Announced State = "Announced"
	// Recent: neither the controller nor the speakers have had the time to say anything.
	Recent State = "Recent"
	// Pending: it has not what it asked for.
	Pending State = "Pending"
	// Unannounced: it has an address, and the network does not know where.
	Unannounced State = "Unannounced"
	// NotServed: it is another provider's.
	NotServed State = "NotServed"
)

// settling is how long the controller may take to say something.
const settling = 30 * time.Second

// Situation is how far a Service is, and why not further.
type Situation struct {
	State   State          `json:"state"`
	Reason  v1beta1.Reason `json:"reason,omitempty"`
	Message string         `json:"message,omitempty"`
}

// situation follows from the conditions of a Service, if they are not outdated.
func (c *Cluster) situation(svc *corev1.Service) Situation {
	allocated := meta.FindStatusCondition(svc.Status.Conditions, v1beta1.ConditionAllocated)
	switch {
	case !c.served(svc):
		return Situation{State: NotServed, Message: c.notServed(svc)}
	case allocated == nil && c.now.Sub(svc.CreationTimestamp.Time) < settling:
		return Situation{State: Recent, Message: "the controller has not looked at it yet"}
	case allocated == nil, allocated.ObservedGeneration < svc.Generation && c.now.Sub(lastChange(svc)) >= settling:
		return Situation{State: Pending, Message: "the controller has not looked at the Service as it is now"}
	case allocated.Status != metav1.ConditionTrue:
		return Situation{Pending, v1beta1.Reason(allocated.Reason), allocated.Message}
	}
	return c.announcedSituation(svc, allocated)
}

// lastChange is when somebody last wrote the spec or metadata of a Service.
func lastChange(svc *corev1.Service) time.Time {
	last := svc.CreationTimestamp.Time
	for i := range svc.ManagedFields {
		entry := &svc.ManagedFields[i]
		if entry.Time != nil && entry.Subresource == "" && entry.Time.After(last) {
			last = entry.Time.Time
		}
	}
	return last
}

// announcedSituation is that of a Service that has its addresses.
func (c *Cluster) announcedSituation(svc *corev1.Service, allocated *metav1.Condition) Situation {
	announced := meta.FindStatusCondition(svc.Status.Conditions, v1beta1.ConditionAnnounced)
	silent := c.unsaid(svc)
	switch {
	case announced != nil && announced.Status != metav1.ConditionTrue:
		return Situation{Unannounced, v1beta1.Reason(announced.Reason), announced.Message}
	case announced == nil && silent == "" && !c.unread("speakers"):
		return Situation{State: Announced, Reason: v1beta1.ReasonAnnounced, Message: "the speakers announce it"}
	case announced == nil && c.now.Sub(allocated.LastTransitionTime.Time) < settling:
		return Situation{State: Recent, Message: "no speaker has said anything of it yet"}
	case announced == nil:
		return Situation{State: Unannounced, Message: "no speaker announces it, and the controller does not say why"}
	case silent != "" && !c.truncated && !c.unread("speakers") && c.now.Sub(announced.LastTransitionTime.Time) >= settling:
		return Situation{
			State:   Unannounced,
			Message: "the condition is out of date: it says that the Service is announced, and no living speaker says that it announces " + silent,
		}
	}
	return Situation{Announced, v1beta1.Reason(announced.Reason), announced.Message}
}

// unsaid are the addresses of a Service that no living speaker says it announces.
func (c *Cluster) unsaid(svc *corev1.Service) string {
	var texts []string
	for _, a := range shown(svc) {
		if len(c.announcers[a]) == 0 {
			texts = append(texts, a.String())
		}
	}
	return strings.Join(texts, ", ")
}

// notServed says why Baliza does not serve a Service.
func (c *Cluster) notServed(svc *corev1.Service) string {
	class := svc.Spec.LoadBalancerClass
	switch {
	case svc.Spec.Type != corev1.ServiceTypeLoadBalancer:
		return "it is of type " + string(svc.Spec.Type) + ", not LoadBalancer"
	case class == nil:
		return "it names no loadBalancerClass, and Baliza serves only those that name " + strings.Join(c.installation.classes, " or ")
	}
	return "its loadBalancerClass is " + *class + ", and Baliza serves " + strings.Join(c.installation.classes, ", ")
}

// Problem is an object that is not used as it stands.
type Problem struct {
	Kind    string         `json:"kind"`
	Name    string         `json:"name"`
	Reason  v1beta1.Reason `json:"reason"`
	Message string         `json:"message"`
	Cure    string         `json:"cure,omitempty"`
}

func problem(kind, name string, reason v1beta1.Reason, message string) Problem {
	return Problem{kind, name, reason, message, cureFor(reason)}
}

func cureFor(reason v1beta1.Reason) string {
	cure, _ := cures.For(reason)
	return cure.Text
}

// Conflict is an address of ours that another host on the network has.
type Conflict struct {
	Address   string    `json:"address"`
	MAC       string    `json:"mac,omitempty"`
	Interface string    `json:"interface,omitempty"`
	Node      string    `json:"node"`
	Since     time.Time `json:"since"`
}

// Conflicts are what living speakers report, each address once.
func (c *Cluster) Conflicts() []Conflict {
	all := slices.Clone(c.conflicts)
	slices.SortStableFunc(all, func(a, b Conflict) int { return strings.Compare(a.Address, b.Address) })
	return slices.CompactFunc(all, func(a, b Conflict) bool { return a.Address == b.Address && a.MAC == b.MAC })
}
