package command_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"
)

// rulesOf are what a ClusterRole of the chart allows: "list services.".
func rulesOf(t *testing.T, name string) (role rbacv1.ClusterRole, rules []string) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/install.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var one rbacv1.ClusterRole
		if yaml.Unmarshal([]byte(document), &one) != nil || one.Name != name || one.Kind != "ClusterRole" {
			continue
		}
		role = one
		for _, rule := range one.Rules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					rules = append(rules, verb+" "+resource+"."+rule.APIGroups[0])
				}
			}
		}
	}
	slices.Sort(rules)
	return role, rules
}

// The role baliza-reader is what commands that read need, and nothing more.
func TestAReaderMayWhatTheCommandsNeed(t *testing.T) {
	var needed []string
	for _, line := range []string{"status", explainWeb, "explain address 192.0.2.10", "explain node n1", "pools", "simulate --drain n1", "version"} {
		w := newWorld()
		w.ask(t, line)
		for _, action := range slices.Concat(w.kubernetes.Actions(), w.custom.Actions()) {
			needed = append(needed, asRule(action))
		}
	}
	slices.Sort(needed)
	if _, allowed := rulesOf(t, "baliza-reader"); !slices.Equal(slices.Compact(needed), allowed) {
		t.Errorf("baliza-reader may\n%s\nand the commands need\n%s", strings.Join(allowed, "\n"), strings.Join(slices.Compact(needed), "\n"))
	}
}

func asRule(action clienttesting.Action) string {
	return action.GetVerb() + " " + action.GetResource().Resource + "." + action.GetResource().Group
}

// Who may view a cluster may see no Secret, and so no password of a BGPPeer either.
func TestWhoMayViewSeesNoPassword(t *testing.T) {
	role, rules := rulesOf(t, "baliza-view")
	if role.Labels["rbac.authorization.k8s.io/aggregate-to-view"] != "true" || !slices.Contains(rules, "list speakers.baliza.io") {
		t.Errorf("baliza-view: labels %v, rules %v", role.Labels, rules)
	}
	for _, rule := range rules {
		if strings.Contains(rule, "bgppeers") || strings.Contains(rule, "secrets") {
			t.Errorf("baliza-view may %s", rule)
		}
	}
}
