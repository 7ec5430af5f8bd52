package status

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/ipam"
)

// View is what the statuses are made of.
type View struct {
	Objects  *config.Objects
	Problems []config.Problem
	// Counters and Quarantined are asked about each pool.
	Counters    func(pool string) ipam.Counters
	Quarantined func(pool string) []v1beta1.QuarantinedAddress
}

const (
	// mostOutside is how many addresses status.outsideSpec names, and lineLimit how
	// long the schema lets one entry be.
	mostOutside = 100
	lineLimit   = 400
	// messageLimit is the API's limit for a condition's message, here in bytes.
	messageLimit = 32768
)

// Pool is the status of a pool whose conditions were as given.
func (v *View) Pool(object *v1beta1.IPAddressPool, before []metav1.Condition, now time.Time) v1beta1.IPAddressPoolStatus {
	c := v.Counters(object.Name)
	fine := v1beta1.ReasonValid
	if len(c.OutsideSpec) > 0 {
		fine = v1beta1.ReasonInUseOutsideSpec
	}
	return v1beta1.IPAddressPoolStatus{
		ObservedGeneration: object.Generation,
		AssignedIPv4:       c.AssignedIPv4, AssignedIPv6: c.AssignedIPv6,
		AvailableIPv4: c.AvailableIPv4.String(), AvailableIPv6: c.AvailableIPv6.String(),
		OutsideSpec: clip(c.OutsideSpec), Quarantined: v.Quarantined(object.Name),
		Conditions: v.conditions(config.KindPool, object, before, fine, now),
	}
}

func clip(lines []string) []string {
	lines = lines[:min(len(lines), mostOutside)]
	for i, line := range lines {
		if len(line) > lineLimit {
			lines[i] = line[:lineLimit-3] + "..."
		}
	}
	return lines
}

// conditions are those of an object that had those given: Ready, True with the reason
// fine unless there are problems, and Stalled where waiting does not end these.
func (v *View) conditions(kind string, object metav1.Object, before []metav1.Condition, fine v1beta1.Reason, now time.Time) []metav1.Condition {
	c := metav1.Condition{
		Type: v1beta1.ConditionReady, Status: metav1.ConditionTrue, Reason: string(fine), Message: "the spec is used as it stands",
		ObservedGeneration: object.GetGeneration(), LastTransitionTime: metav1.NewTime(now).Rfc3339Copy(),
	}
	if fine == v1beta1.ReasonInUseOutsideSpec {
		c.Message = "Services hold addresses that the spec no longer covers: see status.outsideSpec"
	}
	var messages []string
	stalled := metav1.Condition{
		Type: v1beta1.ConditionStalled, Status: metav1.ConditionTrue,
		ObservedGeneration: c.ObservedGeneration, LastTransitionTime: c.LastTransitionTime,
	}
	for _, p := range v.Problems {
		if p.Kind != kind || p.Name != object.GetName() {
			continue
		}
		if len(messages) == 0 {
			c.Status, c.Reason = metav1.ConditionFalse, string(p.Reason)
		}
		messages = append(messages, p.Field+": "+p.Message)
		if stalled.Reason == "" && !awaited(p.Reason) {
			stalled.Reason = string(p.Reason)
		}
	}
	if len(messages) > 0 {
		c.Message = Message(strings.Join(messages, "; "))
	}
	all := []metav1.Condition{c}
	if stalled.Reason != "" {
		stalled.Message = c.Message
		all = append(all, stalled)
	}
	for i := range all {
		if old := meta.FindStatusCondition(before, all[i].Type); old != nil && old.Status == all[i].Status {
			all[i].LastTransitionTime = old.LastTransitionTime
		}
	}
	return all
}

// Message shortens the message of a condition to the API's limit without cutting a
// character in two: what the API server would mend in it would be written again
// indefinitely.
func Message(text string) string {
	if len(text) <= messageLimit {
		return text
	}
	return strings.ToValidUTF8(text[:messageLimit-len("...")], "") + "..."
}
