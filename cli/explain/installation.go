package explain

import (
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// What the chart installs.
const (
	deploymentName = "baliza-controller"
	daemonSetName  = "baliza-speaker"
	leaseName      = "baliza-controller"
)

// installation is what runs, and by which flags.
type installation struct {
	namespace      string
	controller     *appsv1.Deployment
	speakers       *appsv1.DaemonSet
	lease          *coordinationv1.Lease
	serveClassless bool
	classes        []string
	ignoreExclude  bool
}

// installationOf finds what runs. What cannot be found has the defaults.
func installationOf(objects *Objects) installation {
	i := installation{namespace: "baliza-system", serveClassless: true, classes: []string{v1beta1.LoadBalancerClass}}
	if told := objects.Told; told != nil {
		i = installation{namespace: told.Namespace, serveClassless: told.ServeClassless, classes: told.Classes}
	}
	for _, d := range objects.Deployments {
		if d.Name == deploymentName && i.controller == nil {
			i.controller, i.namespace = d, d.Namespace
		}
	}
	for _, d := range objects.DaemonSets {
		if d.Name == daemonSetName && (i.controller == nil && objects.Told == nil || d.Namespace == i.namespace) {
			i.speakers, i.namespace = d, d.Namespace
		}
	}
	for _, l := range objects.Leases {
		if l.Name == leaseName && l.Namespace == i.namespace {
			i.lease = l
		}
	}
	i.readFlags()
	return i
}

// readFlags reads what the programs were told.
func (i *installation) readFlags() {
	if i.controller != nil {
		flags := flagsOf(&i.controller.Spec.Template.Spec)
		if value, err := strconv.ParseBool(flags["serve-classless"]); err == nil {
			i.serveClassless = value
		}
		if value := flags["load-balancer-class"]; value != "" {
			i.classes = strings.Split(value, ",")
		}
	}
	if i.speakers != nil {
		value, err := strconv.ParseBool(flagsOf(&i.speakers.Spec.Template.Spec)["ignore-exclude-label"])
		i.ignoreExclude = err == nil && value
	}
}

// Serves are the classes of Services that Baliza serves, and whether it serves those
// that name none; where it is not installed, what a new installation would.
func (c *Cluster) Serves() (classless bool, classes []string) {
	return c.installation.serveClassless, slices.Clone(c.installation.classes)
}

// flagsOf are the flags of a program of ours, as the pod's command line and
// environment have them, without the hyphens.
func flagsOf(pod *corev1.PodSpec) map[string]string {
	flags := map[string]string{}
	for i := range pod.Containers {
		container := &pod.Containers[i]
		for _, env := range container.Env {
			if name, ours := strings.CutPrefix(env.Name, "BALIZA_"); ours {
				flags[strings.ReplaceAll(strings.ToLower(name), "_", "-")] = env.Value
			}
		}
		for _, arg := range container.Args {
			name, value, hasValue := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
			if !strings.HasPrefix(arg, "--") {
				continue
			}
			if !hasValue {
				value = "true"
			}
			flags[name] = value
		}
	}
	return flags
}

// Controller is what is known of the controller.
type Controller struct {
	Namespace string `json:"namespace"`
	// Installed says that there is a Deployment.
	Installed bool   `json:"installed"`
	Ready     int32  `json:"ready"`
	Replicas  int32  `json:"replicas"`
	Version   string `json:"version,omitempty"`
	// Leader is the name of the leading pod, and Renewed when it last said so.
	Leader  string     `json:"leader,omitempty"`
	Renewed *time.Time `json:"renewed,omitempty"`
	// Trouble says what is wrong, in words; empty is nothing.
	Trouble string `json:"trouble,omitempty"`
}

// staleLease is how long ago a leader must have renewed its Lease to count as gone.
// It is more than the Lease lasts, for the clock of whoever asks is another one.
const staleLease = time.Minute

// controller says what is known of the controller.
func (c *Cluster) controller() Controller {
	i := &c.installation
	out := Controller{Namespace: i.namespace, Installed: i.controller != nil}
	if i.controller != nil {
		out.Ready, out.Replicas = i.controller.Status.ReadyReplicas, 1
		if i.controller.Spec.Replicas != nil {
			out.Replicas = *i.controller.Spec.Replicas
		}
		out.Version = imageVersion(&i.controller.Spec.Template.Spec)
	}
	if i.lease != nil {
		if holder := i.lease.Spec.HolderIdentity; holder != nil {
			out.Leader, _, _ = strings.Cut(*holder, "_")
		}
		if i.lease.Spec.RenewTime != nil {
			at := i.lease.Spec.RenewTime.Time
			out.Renewed = &at
		}
	}
	switch {
	case i.controller == nil && c.unread("deployments"):
	case i.controller == nil:
		out.Trouble = "there is no Deployment " + deploymentName + ": is Baliza installed?"
	case out.Ready == 0:
		out.Trouble = "no replica of the controller is ready: Services get no address, and what has one keeps it"
	case i.lease == nil && c.unread("leases"):
	case i.lease == nil, out.Leader == "":
		out.Trouble = "no replica of the controller leads"
	case out.Renewed != nil && c.now.Sub(*out.Renewed) > staleLease:
		out.Trouble = "the leader has not renewed its Lease for " + Age(c.now.Sub(*out.Renewed))
	}
	return out
}

// imageVersion is the tag of a program's image.
func imageVersion(pod *corev1.PodSpec) string {
	if len(pod.Containers) == 0 {
		return ""
	}
	image, _, _ := strings.Cut(pod.Containers[0].Image, "@")
	if colon := strings.LastIndex(image, ":"); colon > strings.LastIndex(image, "/") {
		return image[colon+1:]
	}
	return ""
}

// Age is a duration as people say it: "5s", "12m", "3h", "8d".
func Age(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 2*day:
		return strconv.Itoa(int(d.Hours())) + "h"
	}
	return strconv.Itoa(int(d/day)) + "d"
}

// Speaker is what is known of the speaker of a node.
type Speaker struct {
	Node string `json:"node"`
	// Exists says that there is a Speaker, Alive that it lives as the others see it.
	Exists   bool     `json:"exists"`
	Alive    bool     `json:"alive"`
	MissedBy []string `json:"missedBy,omitempty"`
	// Ready is its own word.
	Ready   bool           `json:"ready"`
	Reason  v1beta1.Reason `json:"reason,omitempty"`
	Message string         `json:"message,omitempty"`
	// NotMeant says why no speaker is to run on the node.
	NotMeant string `json:"notMeant,omitempty"`
	// Excluded says what takes the node out of load balancing.
	Excluded string `json:"excluded,omitempty"`
	Held     int32  `json:"held"`
	Routes   int32  `json:"routes"`
	Members  int32  `json:"members"`
	// Sessions is how many BGP sessions it has, and Established how many of them are.
	Sessions      int    `json:"sessions"`
	Established   int    `json:"established"`
	MemberAddress string `json:"memberAddress,omitempty"`
	Version       string `json:"version,omitempty"`
	// Trouble says what is wrong, in words; empty is nothing.
	Trouble string `json:"trouble,omitempty"`
}

// Speakers are those of all nodes, and those whose node is gone, by name.
func (c *Cluster) Speakers() []Speaker {
	var names []string
	for _, node := range c.objects.Nodes {
		names = append(names, node.Name)
	}
	for name := range c.speakers {
		names = append(names, name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	all := make([]Speaker, 0, len(names))
	for _, name := range names {
		all = append(all, c.speaker(name))
	}
	return all
}

func (c *Cluster) speaker(name string) Speaker {
	out := Speaker{Node: name, Excluded: c.nodes[name].Excluded}
	s := c.speakers[name]
	if s == nil {
		out.NotMeant = c.installation.notMeant(c.nodeObject(name))
		if out.NotMeant == "" && !c.unread("speakers") {
			out.Trouble = "no speaker runs on this node"
		}
		return out
	}
	out.Exists, out.Alive = true, c.alive[name]
	out.Held, out.Members = s.Status.HeldCount, s.Status.MembersAlive
	out.MemberAddress, out.Version = s.Status.MemberAddress, s.Status.Version
	if bgp := s.Status.BGP; bgp != nil {
		out.Routes, out.Sessions = bgp.AnnouncedCount, len(bgp.Peers)
		for i := range bgp.Peers {
			if bgp.Peers[i].State == Established {
				out.Established++
			}
		}
	}
	ready := meta.FindStatusCondition(s.Status.Conditions, v1beta1.ConditionReady)
	if ready != nil {
		out.Ready, out.Reason, out.Message = ready.Status == "True", v1beta1.Reason(ready.Reason), ready.Message
	}
	if !out.Alive {
		out.MissedBy = c.missedBy(name)
	}
	if out.Reason == v1beta1.ReasonStopped { // and is not to be started again, perhaps
		out.NotMeant = c.installation.keptOff(c.nodeObject(name))
	}
	out.Trouble = c.troubleOf(&out)
	return out
}

// Established is the state of a session that carries routes (RFC 4271 section 8.2.2).
const Established = "Established"

func (c *Cluster) troubleOf(s *Speaker) string {
	_, known := c.nodes[s.Node]
	switch {
	case !known && !c.unread("nodes"):
		return "its node does not exist any more"
	case s.NotMeant != "":
		return ""
	case s.Reason == v1beta1.ReasonStopped:
		return "the speaker has stopped, and was not started again"
	case !s.Alive && s.Reason == "":
		return "the speaker has not said anything yet"
	case !s.Alive:
		return "the speaker is dead: " + strings.Join(s.MissedBy, ", ") + " cannot reach it, and it does not answer"
	case !s.Ready:
		return string(s.Reason) + ": " + s.Message
	case s.Established < s.Sessions:
		return c.downAmong(s.Node, "BGP session", func(string) bool { return true })
	}
	return ""
}

// problemsOf are the objects of the operator whose Ready is not True.
func (c *Cluster) problemsOf() []Problem {
	var found []Problem
	note := func(kind, name string, conditions []metav1.Condition) {
		ready := meta.FindStatusCondition(conditions, v1beta1.ConditionReady)
		if ready != nil && ready.Status != "True" {
			found = append(found, problem(kind, name, v1beta1.Reason(ready.Reason), ready.Message))
		}
	}
	for _, o := range c.objects.Pools {
		note(config.KindPool, o.Name, o.Status.Conditions)
	}
	for _, o := range c.objects.L2Advertisements {
		note(config.KindL2Advertisement, o.Name, o.Status.Conditions)
	}
	for _, o := range c.objects.BGP.Peers {
		note(config.KindBGPPeer, o.Name, o.Status.Conditions)
	}
	for _, o := range c.objects.BGP.Advertisements {
		note(config.KindBGPAdvertisement, o.Name, o.Status.Conditions)
	}
	for _, o := range c.objects.BGP.BFDProfiles {
		note(config.KindBFDProfile, o.Name, o.Status.Conditions)
	}
	for _, o := range c.objects.BGP.Communities {
		note(config.KindCommunity, o.Name, o.Status.Conditions)
	}
	return found
}

// Problems are what is wrong with the configuration, worked out here and now: the
// controller need not have looked.
func (c *Cluster) Problems() []config.Problem { return slices.Clone(c.configProblems) }
