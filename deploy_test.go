package baliza_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// installed are the documents of deploy/install.yaml.
func installed(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("deploy/install.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n---\n")
}

// A speaker runs on every node, so that its token is the easiest to steal: it
// may read, and write nothing but Speakers and Members.
func TestASpeakerMayWriteOnlySpeakersAndMembers(t *testing.T) {
	rules, own := 0, []string{"members", "members/status", "speakers", "speakers/status"}
	for _, document := range installed(t) {
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal([]byte(document), &role); err != nil || role.Name != "baliza-speaker" {
			continue
		}
		for _, rule := range role.Rules {
			rules++
			for _, verb := range rule.Verbs {
				reads := slices.Contains([]string{"get", "list", "watch"}, verb)
				ours := slices.Equal(rule.APIGroups, []string{"baliza.io"}) &&
					!slices.ContainsFunc(rule.Resources, func(r string) bool { return !slices.Contains(own, r) })
				if !reads && !ours {
					t.Errorf("a speaker may %s %v of %v", verb, rule.Resources, rule.APIGroups)
				}
			}
		}
	}
	if rules == 0 {
		t.Error("deploy/install.yaml has no rules for the speaker")
	}
}

// A request for processor time is a share of a crowded node. A speaker with a
// small one hears of everything late, is heard late, and is taken for dead; one
// with a limit stands still when it has used it up.
func TestASpeakerHasItsShareOfACrowdedNode(t *testing.T) {
	const least = 100 // thousandths of a processor
	speakers := 0
	for _, document := range installed(t) {
		var set appsv1.DaemonSet
		if err := yaml.Unmarshal([]byte(document), &set); err != nil || set.Kind != "DaemonSet" {
			continue
		}
		for _, c := range set.Spec.Template.Spec.Containers {
			speakers++
			if got := c.Resources.Requests.Cpu().MilliValue(); got < least {
				t.Errorf("%s asks for %d thousandths of a processor, want %d", c.Name, got, least)
			}
			if !c.Resources.Limits.Cpu().IsZero() {
				t.Errorf("%s is limited to %s processors", c.Name, c.Resources.Limits.Cpu())
			}
		}
	}
	if speakers == 0 {
		t.Error("deploy/install.yaml has no speaker")
	}
}

// Defect 12: a name of an image that is not written in full is looked up wherever
// the container runtime is told to, and may be anybody's.
func TestDefect12ImagesAreNamedInFull(t *testing.T) {
	images := 0
	for _, document := range installed(t) {
		for line := range strings.Lines(document) {
			_, image, is := strings.Cut(strings.TrimSpace(line), "image: ")
			if !is {
				continue
			}
			images++
			if !strings.HasPrefix(strings.Trim(image, `"`), "ghcr.io/baliza-lb/") {
				t.Errorf("image %s", image)
			}
		}
	}
	if images != 2 {
		t.Errorf("%d images in deploy/install.yaml", images)
	}
}

// Defect 17: a speaker may read one Secret by its name, and list no others.
func TestDefect17ASpeakerReadsOneSecret(t *testing.T) {
	rules := 0
	for _, document := range installed(t) {
		var role rbacv1.Role
		if err := yaml.Unmarshal([]byte(document), &role); err != nil || role.Name != "baliza-speaker" {
			continue
		}
		for _, rule := range role.Rules {
			if !slices.Contains(rule.Resources, "secrets") && !slices.Contains(rule.Resources, "*") {
				continue
			}
			rules++
			if !slices.Equal(rule.ResourceNames, []string{"baliza-bgp-passwords"}) {
				t.Errorf("a speaker may %v %v named %v", rule.Verbs, rule.Resources, rule.ResourceNames)
			}
		}
	}
	if rules != 1 {
		t.Errorf("%d rules for Secrets", rules)
	}
}

// Defect 20: "kubectl get ippool" is Calico's and Kube-OVN's, whose kinds have that
// name in full.
func TestDefect20ShortNamesAreNoOtherProjects(t *testing.T) {
	for _, document := range installed(t) {
		var crd struct {
			Kind string
			Spec struct {
				Names struct {
					Singular   string
					ShortNames []string
				}
			}
		}
		if err := yaml.Unmarshal([]byte(document), &crd); err != nil || crd.Kind != "CustomResourceDefinition" {
			continue
		}
		for _, name := range crd.Spec.Names.ShortNames {
			if slices.Contains([]string{"ippool", "ippools", "pool", "peer", "bgppeer"}, name) {
				t.Errorf("%s has the short name %s", crd.Spec.Names.Singular, name)
			}
		}
	}
}
