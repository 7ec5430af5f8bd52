package explain

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// notMeant says why the DaemonSet of the speakers does not put one on a node; it is empty
// if it does, or may. An affinity may keep it away, too: then it is not said that one is
// lacking.
func (i *installation) notMeant(node *corev1.Node) string {
	if why := i.keptOff(node); why != "" || i.speakers == nil || node == nil {
		return why
	}
	if affinity := i.speakers.Spec.Template.Spec.Affinity; affinity != nil && affinity.NodeAffinity != nil {
		return "the DaemonSet " + daemonSetName + " has a node affinity, which may not select the node"
	}
	return ""
}

// keptOff says why the DaemonSet of the speakers does not put one on a node for certain, by
// its nodeSelector and tolerations.
func (i *installation) keptOff(node *corev1.Node) string {
	if i.speakers == nil || node == nil {
		return ""
	}
	pod := &i.speakers.Spec.Template.Spec
	if !labels.SelectorFromSet(pod.NodeSelector).Matches(labels.Set(node.Labels)) {
		return "the DaemonSet " + daemonSetName + " does not select the node"
	}
	for j := range node.Spec.Taints {
		taint := &node.Spec.Taints[j]
		// Kubernetes has DaemonSets tolerate its own.
		harmless := taint.Effect == corev1.TaintEffectPreferNoSchedule || strings.HasPrefix(taint.Key, "node.kubernetes.io/")
		tolerated := func(t corev1.Toleration) bool { return tolerates(&t, taint) }
		if !harmless && !slices.ContainsFunc(pod.Tolerations, tolerated) {
			return "the DaemonSet " + daemonSetName + " does not tolerate the taint " + taint.Key + " of the node"
		}
	}
	return ""
}

// tolerates reports whether a toleration is one of a taint.
func tolerates(t *corev1.Toleration, taint *corev1.Taint) bool {
	switch {
	case t.Effect != "" && t.Effect != taint.Effect, t.Key != "" && t.Key != taint.Key:
		return false
	case t.Operator == corev1.TolerationOpExists:
		return true
	}
	return (t.Operator == "" || t.Operator == corev1.TolerationOpEqual) && t.Value == taint.Value
}
