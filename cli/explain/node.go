package explain

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/cures"
)

// Node is what is known of a node and its speaker.
type Node struct {
	Node string `json:"node"`
	// Cordoned and NotReady are no reasons not to announce; they are said because
	// they are looked for.
	Cordoned bool    `json:"cordoned"`
	NotReady bool    `json:"notReady"`
	Speaker  Speaker `json:"speaker"`
	// Held are the addresses that it answers for, Routes those that it tells routers,
	// with ranges of them.
	Held   []v1beta1.HeldAddress `json:"held,omitempty"`
	Routes []string              `json:"routes,omitempty"`
	// Withheld are those that it does not answer for, by why.
	Withheld       []Withheld    `json:"withheld,omitempty"`
	Conflicts      []Conflict    `json:"conflicts,omitempty"`
	LocalAddresses []string      `json:"localAddresses,omitempty"`
	Sessions       []Session     `json:"sessions,omitempty"`
	Unreachable    []Unreachable `json:"unreachable,omitempty"`
	Verdict        Verdict       `json:"verdict"`
}

// Withheld are addresses that a speaker does not announce, for one reason.
type Withheld struct {
	Reason    v1beta1.Reason `json:"reason"`
	Message   string         `json:"message,omitempty"`
	Count     int32          `json:"count"`
	Addresses []string       `json:"addresses,omitempty"`
	Cure      string         `json:"cure,omitempty"`
}

// Unreachable is a speaker that another does not hear.
type Unreachable struct {
	Speaker string    `json:"speaker"`
	Since   time.Time `json:"since"`
	// Alive says that it answers all the same, through the API server.
	Alive bool `json:"alive"`
}

// Node explains a node; false if neither it nor a Speaker of its name exists.
func (c *Cluster) Node(name string) (Node, bool) {
	object, s := c.nodeObject(name), c.speakers[name]
	if object == nil && s == nil {
		return Node{}, false
	}
	out := Node{Node: name, Speaker: c.speaker(name)}
	if object != nil {
		out.Cordoned, out.NotReady = object.Spec.Unschedulable, notReady(object)
	}
	if s != nil {
		c.report(&out, s)
	}
	out.Verdict = verdictOfNode(&out).referring()
	return out, true
}

func (c *Cluster) nodeObject(name string) *corev1.Node {
	for _, n := range c.objects.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

func notReady(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(one corev1.NodeCondition) bool {
		return one.Type == corev1.NodeReady && one.Status != corev1.ConditionTrue
	})
}

// report takes in what the speaker says; a dead one's word is left out, but for what
// it last said of itself.
func (c *Cluster) report(out *Node, s *v1beta1.Speaker) {
	if !out.Speaker.Alive {
		return
	}
	out.Held, out.LocalAddresses, out.Sessions = heldBy(s), s.Status.LocalAddresses, c.sessionsOf(s.Name)
	if s.Status.BGP != nil {
		out.Routes = s.Status.BGP.Announced
	}
	for i := range s.Status.Withheld {
		w := &s.Status.Withheld[i]
		out.Withheld = append(out.Withheld, Withheld{w.Reason, w.Message, w.Count, w.Addresses, cureFor(w.Reason)})
	}
	for _, one := range c.conflicts {
		if one.Node == s.Name {
			out.Conflicts = append(out.Conflicts, one)
		}
	}
	for _, u := range s.Status.Unreachable {
		out.Unreachable = append(out.Unreachable, Unreachable{u.Name, u.Since.Time, c.alive[u.Name]})
	}
}

func verdictOfNode(n *Node) Verdict {
	s := &n.Speaker
	switch {
	case !s.Exists, s.NotMeant != "":
		return withoutSpeaker(s)
	case s.Trouble != "" && !s.Alive:
		v := Verdict{Message: s.Trouble, Cure: "Look at the pod of the speaker on this node, and whether the node itself is up."}
		if s.Reason == v1beta1.ReasonStopped {
			v.Reason, v.Cure = s.Reason, cureFor(s.Reason)
		}
		v.Next = "kubectl get pods --all-namespaces -o wide -l app.kubernetes.io/component=speaker"
		return v
	case !s.Ready:
		return Verdict{Reason: s.Reason, Message: s.Message, Cure: cureFor(s.Reason), Next: "kubectl describe speaker " + n.Node}
	case s.Established < s.Sessions:
		return Verdict{
			Reason: v1beta1.ReasonNoSession, Message: s.Trouble, Cure: cureFor(v1beta1.ReasonNoSession), Next: "kubectl baliza peers",
		}
	case s.Excluded != "":
		return Verdict{
			Well: true, Reason: v1beta1.ReasonNodeExcluded, Message: "the node owns no address: " + s.Excluded,
			Cure: "If it should own some: " + lowerFirst(cureFor(v1beta1.ReasonNodeExcluded)),
		}
	case len(n.Conflicts) > 0:
		return wrong(v1beta1.ReasonAddressConflict, plural(len(n.Conflicts), "address")+" in use by another host on the network")
	}
	for i := range n.Withheld {
		if cure, known := cures.For(n.Withheld[i].Reason); known && !cure.Well {
			w := &n.Withheld[i]
			return Verdict{
				Well:   w.Reason == v1beta1.ReasonNodeNotSelected || w.Reason == v1beta1.ReasonNoLocalEndpoint,
				Reason: w.Reason, Message: plural(int(w.Count), "address") + " not announced: " + w.Message, Cure: w.Cure,
			}
		}
	}
	return Verdict{Well: true, Reason: s.Reason, Message: s.Message}
}

// withoutSpeaker is the verdict on a node without one.
func withoutSpeaker(s *Speaker) Verdict {
	switch {
	case s.Excluded != "":
		return Verdict{Well: true, Message: "no speaker runs on this node, and it is out of load balancing: " + s.Excluded}
	case s.NotMeant != "":
		return Verdict{
			Well: true, Message: "no speaker runs on this node: " + s.NotMeant,
			Cure: "If one should run here, change the values of the chart: speaker.nodeSelector, speaker.tolerations, speaker.affinity.",
		}
	}
	return Verdict{
		Message: s.Trouble, Next: "kubectl get pods --all-namespaces -o wide -l app.kubernetes.io/component=speaker",
		Cure: "Let the DaemonSet baliza-speaker run here: look at its nodeSelector, its tolerations and its pods on this node.",
	}
}

func lowerFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToLower(text[:1]) + text[1:]
}
