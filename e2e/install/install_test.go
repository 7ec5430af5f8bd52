package install

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
)

// One command on an empty cluster, and a Service has an address that answers;
// helm test says so, too; one command takes it all away again, and no Service
// is stuck. Installed anew, a Service that stayed has the address it had.
func TestI01_One_install_brings_pools_and_one_uninstall_leaves_nothing_stuck(t *testing.T) {
	for _, helm := range helms() {
		t.Run(helm, func(t *testing.T) {
			ctx, s := begin(t, helm)
			notes := s.deploy(ctx, "install", s.chart(), lan)
			if !strings.Contains(notes, "pod-security.kubernetes.io/enforce=privileged") {
				t.Errorf("the notes do not say that the namespace lacks the label:\n%s", notes)
			}
			address := s.web(ctx, "stays")
			s.answers(ctx, address)
			s.web(ctx, "goes")

			out, err := s.Helm(ctx, "test", release, "--namespace", cluster.Namespace, "--timeout", "120s")
			s.must(err)
			for _, said := range []string{"is announced", "answers", "test passed"} {
				if !strings.Contains(out, said) {
					t.Errorf("helm test does not say %q:\n%s", said, out)
				}
			}
			if left, err := s.Kubectl(ctx, "-n", cluster.Namespace, "get", "services,jobs", "-o", "name"); err != nil || left != "" {
				t.Errorf("the test left %q, %v", left, err)
			}

			out = s.uninstall(ctx)
			for _, name := range []string{"web/stays", "web/goes"} {
				if !strings.Contains(out, name) {
					t.Errorf("the uninstallation does not say that it lets %s go:\n%s", name, out)
				}
			}
			svc := s.get(ctx, "stays")
			if slices.Contains(svc.Finalizers, v1beta1.Finalizer) {
				t.Errorf("the Service that stays has the finalizer still: %v", svc.Finalizers)
			}
			if c := cluster.Condition(svc.Status.Conditions, v1beta1.ConditionAnnounced); c == nil || c.Reason != string(v1beta1.ReasonUninstalled) {
				t.Errorf("it does not say that nobody announces it: %+v", c)
			}
			events, err := s.Kubectl(ctx, "-n", "web", "get", "events", "--field-selector", "reason=Uninstalled,involvedObject.name=stays", "-o", "name")
			if err != nil || events == "" {
				t.Errorf("no event says so: %v", err)
			}
			s.must(s.Client.CoreV1().Services("web").Delete(ctx, "goes", metav1.DeleteOptions{}))
			s.gone(ctx, "goes")
			crds, err := s.crds(ctx)
			if want := s.chartCRDs(); err != nil || len(crds) != want {
				t.Errorf("the chart's %d CRDs are to be kept: %v, %v", want, crds, err)
			}
			for _, kind := range []string{"clusterroles", "clusterrolebindings", "validatingadmissionpolicies"} {
				if left, err := s.Kubectl(ctx, "get", kind, "-l", "app.kubernetes.io/name=baliza", "-o", "name"); err != nil || left != "" {
					t.Errorf("left: %s, %v", left, err)
				}
			}

			s.deploy(ctx, "install", s.chart(), lan)
			if again := s.address(ctx, "stays"); again != address {
				t.Errorf("it had %s, and after another installation %s", address, again)
			}
			s.answers(ctx, address)
		})
	}
}

// What an umbrella chart has in its own templates goes in with the rest.
func TestI01_An_umbrella_chart_installs_in_one_pass(t *testing.T) {
	for _, helm := range helms() {
		t.Run(helm, func(t *testing.T) {
			ctx, s := begin(t, helm)
			dir := t.TempDir()
			for name, content := range map[string]string{
				"Chart.yaml": "apiVersion: v2\nname: umbrella\nversion: 1.0.0\ndependencies: [{name: baliza, version: 0.x.x}]\n",
				"templates/pool.yaml": "apiVersion: baliza.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: lan}\n" +
					"spec: {addresses: [" + pool4 + "]}\n---\n" +
					"apiVersion: baliza.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: lan}\nspec: {ipAddressPools: [lan]}\n",
			} {
				file := filepath.Join(dir, name)
				s.must(os.MkdirAll(filepath.Dir(file), 0o755))
				s.must(os.WriteFile(file, []byte(content), 0o600))
			}
			s.must(os.CopyFS(filepath.Join(dir, "charts", "baliza"), os.DirFS(s.chart())))
			s.deploy(ctx, "install", dir, "{baliza: {controller: {replicas: 1, affinity: null}}}")
			s.answers(ctx, s.web(ctx, "web"))
		})
	}
}

// The images of before are not to be had: the chart of before starts the programs
// of now, which lie elsewhere by default, and may read more and have one more kind.
// Its speakers' profile is one that somebody chose.
const (
	valuesBefore = `
controller: {replicas: 1, image: {repository: ghcr.io/baliza-lb/controller}}
speaker: {image: {repository: ghcr.io/baliza-lb/speaker}, profile: tolerant}
`
	rightsSince = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: rights-since, labels: {app.kubernetes.io/name: baliza}}
rules:
- {apiGroups: [""], resources: [nodes], verbs: [list, watch]}
- {apiGroups: [networking.k8s.io], resources: [servicecidrs], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], resourceNames: [kubernetes], verbs: [list, watch]}
- {apiGroups: [apps], resources: [daemonsets], resourceNames: [baliza-speaker], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: rights-since, labels: {app.kubernetes.io/name: baliza}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: rights-since}
subjects: [{kind: ServiceAccount, name: baliza-controller, namespace: baliza-system}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: rights-since-speaker, labels: {app.kubernetes.io/name: baliza}}
rules:
- {apiGroups: [baliza.io], resources: [members], verbs: [list, watch, create]}
- {apiGroups: [baliza.io], resources: [members/status], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: rights-since-speaker, labels: {app.kubernetes.io/name: baliza}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: rights-since-speaker}
subjects: [{kind: ServiceAccount, name: baliza-speaker, namespace: baliza-system}]
`
)

// The chart of before, with its CRDs as Helm put them there, is upgraded under
// a client's load, with the values that it had. No address moves, nothing is
// lost, and the CRDs are the new ones.
func TestI03_An_upgrade_from_the_chart_before_loses_nothing(t *testing.T) {
	for _, c := range []struct{ name, first, second, option string }{
		{"Helm 3 with values reset", "helm3", "helm3", "--reset-then-reuse-values"},
		{"Helm 4 with values reused", "helm", "helm", "--reuse-values"},
		{"Helm 3 and then Helm 4", "helm3", "helm", "--reuse-values"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, s := begin(t, c.first)
			s.must(s.Apply(ctx, rightsSince))
			_, err := s.Kubectl(ctx, "apply", "--server-side", "-f", s.chart()+"/crds/baliza.io_members.yaml")
			s.must(err)
			s.deploy(ctx, "install", s.chartBefore(), valuesBefore)
			s.must(s.Pool(ctx, "lan", []string{pool4}))
			s.must(s.Advertise(ctx, "lan", "lan"))
			address := s.web(ctx, "web")
			s.answers(ctx, address)
			key := s.membershipKey(t)

			s.helm = c.second
			began := time.Now()
			prober := s.Probe(ctx, "c1", netip.AddrPortFrom(address, 80), 10*time.Millisecond)
			s.deploy(ctx, "upgrade", s.chart(), "{}", c.option)
			time.Sleep(2 * time.Second)
			report := prober.Stop()
			t.Logf("under load: %s", report)
			for _, a := range report.Failures {
				if !a.Connected {
					t.Errorf("a connection was not established, %s after the beginning: %v", a.Start.Sub(began), a.Err)
				}
			}
			if now := s.address(ctx, "web"); now != address {
				t.Errorf("the address moved from %s to %s", address, now)
			}
			if s.membershipKey(t) != key {
				t.Error("the membership key is another one")
			}
			out, err := s.Kubectl(ctx, "get", "crd", "speakers.baliza.io", "-o",
				"jsonpath={.spec.versions[0].schema.openAPIV3Schema.properties.status.properties.membershipKeys.type}")
			if err != nil || out != "array" {
				t.Errorf("the CRD of Speakers is the old one: %q, %v", out, err)
			}
			out, err = s.Kubectl(ctx, "-n", cluster.Namespace, "get", "deployment/baliza-controller", "-o", "jsonpath={.spec.replicas}")
			if err != nil || out != "1" {
				t.Errorf("the value of before is lost: %q replicas, %v", out, err)
			}
			out, err = s.Kubectl(ctx, "-n", cluster.Namespace, "get", "daemonset/baliza-speaker", "-o", "jsonpath={.spec.template.spec.containers[0].args}")
			if err != nil || !strings.Contains(out, "--failure-detection-profile=tolerant") {
				t.Errorf("the profile of before is lost: %s, %v", out, err)
			}
		})
	}
}

func (s *site) membershipKey(t *testing.T) string {
	t.Helper()
	secret, err := s.Client.CoreV1().Secrets(cluster.Namespace).Get(t.Context(), "baliza-membership", metav1.GetOptions{})
	s.must(err)
	return string(secret.Data["key"])
}

// What people do by mistake is refused in words, and harms nothing.
func TestI01_Mistakes(t *testing.T) {
	for _, helm := range helms() {
		t.Run(helm, func(t *testing.T) {
			ctx, s := begin(t, helm)
			s.deploy(ctx, "install", s.chart(), lan)
			t.Run("a second installation, of another class, in another namespace", func(t *testing.T) {
				_, err := s.Helm(ctx, "install", "second", s.chart(), "--namespace", "second", "--create-namespace",
					"--set", "loadBalancerClasses={example.org/second},serveClassless=false,speaker.memberPort=17946,speaker.adminPort=17473")
				if err == nil || !strings.Contains(err.Error(), "is installed in this cluster already, in namespace "+cluster.Namespace) {
					t.Errorf("got %v", err)
				}
				_, _ = s.Kubectl(ctx, "delete", "namespace", "second", "--ignore-not-found", "--wait=false")
			})
			t.Run("a second release in the same namespace", func(t *testing.T) {
				_, err := s.Helm(ctx, "install", "second", s.chart(), "--namespace", cluster.Namespace)
				if err == nil || !strings.Contains(err.Error(), "baliza-") || !strings.Contains(err.Error(), "release-name") {
					t.Errorf("got %v", err)
				}
			})
			t.Run("a misspelt field of a pool", func(t *testing.T) {
				_, err := s.tryDeploy(ctx, "upgrade", s.chart(), "{pools: {lan: {spec: {adresses: ["+pool4+"]}}}}")
				if err == nil || !strings.Contains(err.Error(), "dresses") {
					t.Errorf("got %v", err)
				}
			})
			t.Run("and the first goes on", func(*testing.T) { s.answers(ctx, s.web(ctx, "web")) })
		})
	}
}

// Elsewhere than in baliza-system, and with the CRDs gone at the end.
func TestI01_Another_namespace_and_no_CRDs_left(t *testing.T) {
	ctx, s := begin(t, "helm")
	args := []string{"--namespace", "elsewhere", "--wait", "--timeout", "120s"}
	_, err := s.Helm(ctx, append([]string{"install", release, s.chart(), "--create-namespace", "--set", "crds.keep=false"}, args...)...)
	s.must(err)
	t.Cleanup(func() { _, _ = s.Kubectl(t.Context(), "delete", "namespace", "elsewhere", "--wait=false") })
	out, err := s.Helm(ctx, append([]string{"uninstall", release}, args...)...)
	s.must(err)
	if !strings.Contains(out, "ipaddresspools.baliza.io is deleted") {
		t.Errorf("the uninstallation does not say what it deletes:\n%s", out)
	}
	if crds, err := s.crds(ctx); err != nil || len(crds) != 0 {
		t.Errorf("left: %v, %v", crds, err)
	}
}
