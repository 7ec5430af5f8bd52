package checks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/explain"
)

const deploymentName = "baliza-controller"

// installedIn are the namespaces that have a controller.
func (in *Input) installedIn() []string {
	var namespaces []string
	for _, d := range in.Objects.Deployments {
		if d.Name == deploymentName {
			namespaces = append(namespaces, d.Namespace)
		}
	}
	slices.Sort(namespaces)
	return namespaces
}

func (in *Input) noInstallation() Result {
	if r, unread := in.unread("deployments"); unread {
		return r
	}
	if at := in.installedIn(); len(at) > 0 {
		return warning("it is installed already, in %s: ask kubectl baliza check", strings.Join(at, ", "))
	}
	return passed("it is not installed yet")
}

func (in *Input) oneInstallation() Result {
	if r, unread := in.unread("deployments"); unread {
		return r
	}
	switch at := in.installedIn(); len(at) {
	case 0:
		return failed("there is no Deployment %s in any namespace: it is not installed", deploymentName)
	case 1:
		return passed("in namespace %s", at[0])
	default:
		return failed("it is installed in %s", strings.Join(at, " and "))
	}
}

func (in *Input) installPermissions() Result {
	if r, unread := in.unread("selfsubjectaccessreviews"); unread {
		return r
	}
	if len(in.MayNot) > 0 {
		return failed("you may not create %s", strings.Join(in.MayNot, ", "))
	}
	return passed("you may create what an installation consists of")
}

// podSecurityLabel sets the level of a namespace (Pod Security Admission).
const podSecurityLabel = "pod-security.kubernetes.io/enforce"

const levelByDefault = "the level of the API server's configuration, which is not seen from here"

func (in *Input) podSecurity() Result {
	if r, unread := in.unread("namespaces"); unread {
		return r
	}
	i := slices.IndexFunc(in.Objects.Namespaces, func(n *corev1.Namespace) bool { return n.Name == in.Namespace })
	if i < 0 {
		return notChecked("there is no namespace %s yet: a new one has %s", in.Namespace, levelByDefault)
	}
	switch level := in.Objects.Namespaces[i].Labels[podSecurityLabel]; level {
	case "privileged":
		return passed("namespace %s is privileged", in.Namespace)
	case "":
		return notChecked("namespace %s has no label %s: it has %s", in.Namespace, podSecurityLabel, levelByDefault)
	default:
		return failed("namespace %s is %s, which admits no pod that uses the network of its node", in.Namespace, level)
	}
}

// sameVersion says why what the cluster has cannot be compared with what this version
// wants, if it cannot.
func (in *Input) sameVersion() (Result, bool) {
	if running := in.running(); running != in.Client {
		return notChecked("the cluster runs %s and this is %s: it knows what its own version needs alone", running, in.Client), false
	}
	return Result{}, true
}

// running is the version that the speakers say they are of. Without them it is that of
// the controller's image, whose tag may be anything.
func (in *Input) running() string {
	v := in.Cluster.Versions(in.Client)
	said := slices.Sorted(maps.Keys(v.Speakers))
	switch {
	case len(said) > 0:
		return strings.Join(said, " and ")
	case v.Controller != "":
		return v.Controller
	}
	return "an unknown version"
}

// definitions looks whether each kind is served, and as this version has it.
func (in *Input) definitions() Result {
	if r, unread := in.unread("customresourcedefinitions"); unread {
		return r
	}
	have := map[string]*unstructured.Unstructured{}
	for _, crd := range in.CRDs {
		have[crd.GetName()] = crd
	}
	var lacking, other []Finding
	for _, want := range in.WantedCRDs {
		name := want.GetName()
		object := "CustomResourceDefinition/" + name
		switch got := have[name]; {
		case got == nil:
			lacking = append(lacking, Finding{Object: object, Message: "it is not there"})
		case !established(got):
			lacking = append(lacking, Finding{Object: object, Message: "the API server does not serve it"})
		case !sameKinds(want, got):
			other = append(other, Finding{Object: object, Message: "it is not that of " + in.Client})
		}
	}
	if len(lacking) > 0 {
		return Result{State: Failed, Message: fmt.Sprintf("of %s %d not served", count(len(in.WantedCRDs), "kind"), len(lacking)), Findings: lacking}
	}
	if r, same := in.sameVersion(); !same {
		r.Message = "all kinds are served; whether they are current is not known: " + r.Message
		return r
	}
	return found(other, Failed, fmt.Sprintf("of %s %d of another version", count(len(in.WantedCRDs), "kind"), len(other)),
		fmt.Sprintf("%s, as %s has them", count(len(in.WantedCRDs), "kind"), in.Client))
}

func established(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(one any) bool {
		condition, _ := one.(map[string]any)
		return condition["type"] == "Established" && condition["status"] == "True"
	})
}

// sameKinds compares versions and schemas; the API server adds to the rest. As text
// numbers are alike that are of other types.
func sameKinds(a, b *unstructured.Unstructured) bool {
	wanted, errWanted := schemas(a)
	got, errGot := schemas(b)
	return errWanted == nil && errGot == nil && bytes.Equal(wanted, got)
}

func schemas(crd *unstructured.Unstructured) ([]byte, error) {
	all := map[string]any{}
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, one := range versions {
		version, _ := one.(map[string]any)
		name, _ := version["name"].(string)
		all[name] = []any{version["served"], version["storage"], version["schema"]}
	}
	return json.Marshal(all)
}

func (in *Input) controllerReady() Result {
	if r, unread := in.unread("deployments", "leases"); unread {
		return r
	}
	c := in.Cluster.Status().Controller
	if c.Trouble != "" {
		return failed("%s", c.Trouble)
	}
	return passed("%d of %d ready, leader %s", c.Ready, c.Replicas, c.Leader)
}

func (in *Input) speakersReady() Result {
	if r, unread := in.unread("speakers", "nodes"); unread {
		return r
	}
	all := in.Cluster.Speakers()
	var wrong []Finding
	alive, meant := 0, 0
	for i := range all {
		s := &all[i]
		if s.NotMeant != "" {
			continue
		}
		meant++
		if s.Alive {
			alive++
		}
		if s.Trouble == "" || s.Alive && s.Ready || s.Excluded != "" && !s.Exists {
			continue // of sessions there is another check
		}
		f := Finding{Object: "Node/" + s.Node, Message: s.Trouble}
		if s.Reason != "" && !s.Ready {
			f.Reason, f.Message = s.Reason, strings.TrimPrefix(s.Trouble, string(s.Reason)+": ")
		}
		wrong = append(wrong, f)
	}
	if meant == 0 {
		return failed("no speaker runs anywhere")
	}
	return found(wrong, Failed, fmt.Sprintf("%d of %d in trouble", len(wrong), meant), fmt.Sprintf("%d of %d alive and ready", alive, meant))
}

func (in *Input) versions() Result {
	if r, unread := in.unread("deployments", "speakers"); unread {
		return r
	}
	v := in.Cluster.Versions(in.Client)
	if v.Skew != "" {
		return warning("%s", v.Skew)
	}
	return passed("%s everywhere", v.Client)
}

// membershipKey looks whether each speaker can read what the others send: the keys
// themselves are nobody's to see, their digests suffice.
func (in *Input) membershipKey() Result {
	if r, unread := in.unread("speakers"); unread {
		return r
	}
	var with, without []*v1beta1.Speaker
	for _, s := range in.living() {
		if len(s.Status.MembershipKeys) > 0 {
			with = append(with, s)
		} else {
			without = append(without, s)
		}
	}
	var wrong []Finding
	for _, s := range with {
		for _, other := range with {
			if !slices.Contains(other.Status.MembershipKeys, s.Status.MembershipKeys[0]) {
				wrong = append(wrong, Finding{
					Object:  "Speaker/" + s.Name,
					Message: fmt.Sprintf("it encrypts by key %s, which %s does not accept", s.Status.MembershipKeys[0], other.Name),
				})
				break
			}
		}
	}
	switch {
	case len(with) == 0 && len(without) == 0:
		return notChecked("no speaker is alive")
	case len(with) == 0:
		return warning("speakers use none: what they say to each other is not encrypted")
	}
	for _, s := range without {
		wrong = append(wrong, Finding{Object: "Speaker/" + s.Name, Message: "it uses no key, and others do"})
	}
	return found(wrong, Failed, "speakers do not understand each other", fmt.Sprintf("the same for %s", count(len(with), "speaker")))
}

// living are the Speakers whose word counts.
func (in *Input) living() []*v1beta1.Speaker {
	alive := map[string]bool{}
	for _, s := range in.Cluster.Speakers() {
		alive[s.Node] = s.Alive
	}
	return slices.DeleteFunc(slices.Clone(in.Objects.Speakers), func(s *v1beta1.Speaker) bool { return !alive[s.Name] })
}

// membersHeard looks whether each living speaker hears each other one.
func (in *Input) membersHeard() Result {
	if r, unread := in.unread("speakers"); unread {
		return r
	}
	living := in.living()
	if len(living) == 0 {
		return notChecked("no speaker is alive")
	}
	var wrong []Finding
	for _, s := range living {
		node, _ := in.Cluster.Node(s.Name)
		var deaf []string
		for _, u := range node.Unreachable {
			if u.Alive {
				deaf = append(deaf, u.Speaker)
			}
		}
		switch {
		case len(deaf) > 0:
			wrong = append(wrong, Finding{
				Object: "Speaker/" + s.Name, Reason: v1beta1.ReasonPartitioned,
				Message: fmt.Sprintf("it does not hear %s, which %s alive", strings.Join(deaf, ", "), isAre(len(deaf))),
			})
		case int(s.Status.MembersAlive) < len(living):
			wrong = append(wrong, Finding{
				Object: "Speaker/" + s.Name, Reason: v1beta1.ReasonPartitioned,
				Message: fmt.Sprintf("it hears %d of %s that are alive, itself included", s.Status.MembersAlive, count(len(living), "speaker")),
			})
		}
	}
	return found(wrong, Failed, fmt.Sprintf("%d of %s do not hear all others", len(wrong), count(len(living), "speaker")),
		fmt.Sprintf("each of %s hears all of them", count(len(living), "speaker")))
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func (in *Input) bgpSessions() Result {
	if r, unread := in.unread("speakers"); unread {
		return r
	}
	all := in.Cluster.Peers()
	var wrong []Finding
	for i := range all {
		s := &all[i]
		if s.State == explain.Established {
			continue
		}
		wrong = append(wrong, Finding{
			Object: "BGPPeer/" + s.Peer, Reason: v1beta1.ReasonNoSession,
			Message: strings.TrimSuffix(fmt.Sprintf("node %s is %s with %s: %s", s.Node, s.State, s.Address, s.Error), ": "),
		})
	}
	if len(all) == 0 {
		return passed("none is wanted")
	}
	return found(wrong, Failed, fmt.Sprintf("%d of %s down", len(wrong), count(len(all), "session")),
		fmt.Sprintf("%s established", count(len(all), "session")))
}
