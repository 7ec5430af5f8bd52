package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestTheChartPassesLintAndRendersWithEachSetOfValues(t *testing.T) {
	sets, err := filepath.Glob(chart + "/ci/*-values.yaml")
	if err != nil || len(sets) < 3 {
		t.Fatalf("sets of values: %v, %v", sets, err)
	}
	each(t, func(t *testing.T, helm string) {
		for _, file := range sets {
			if _, err := run(helm, "lint", "--quiet", "--strict", chart, "--values", file); err != nil {
				t.Error(err)
			}
			values, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all := template(t, helm, string(values), "--include-crds")
			for _, kind := range []string{"CustomResourceDefinition", "ClusterRole", "Deployment", "DaemonSet", "ValidatingAdmissionPolicy"} {
				if !slices.ContainsFunc(all.names(), func(n string) bool { return strings.HasPrefix(n, kind+"/") }) {
					t.Errorf("%s: no %s", file, kind)
				}
			}
			for _, object := range all {
				if ns := object.GetNamespace(); ns != "" && ns != "elsewhere" && object.GetName() != "extra" {
					t.Errorf("%s: %s %s is in namespace %s, not in the release's", file, object.GetKind(), object.GetName(), ns)
				}
			}
		}
	})
}

func TestValuesThatMeanNothingAreRefusedByName(t *testing.T) {
	each(t, func(t *testing.T, helm string) {
		for set, named := range map[string]string{
			"controller.replicas=0":                   "replicas",
			"speaker.memberPort=80":                   "memberPort",
			"logLevel=loud":                           "logLevel",
			"controler.replicas=2":                    "controler",
			"image.registry=":                         "registry",
			"images.registry=example.org":             "images",
			"controller.image.digest=1234":            "digest",
			"speaker.terminationGracePeriodSeconds=9": "terminationGracePeriodSeconds",
			"metrics.podMonitor.interval=often":       "interval",
			"speaker.extraArgs={log-level}":           "extraArgs",
			"pools.lan.addresses={192.0.2.0/28}":      "addresses",
			"pools.Lan.spec.autoAssign=true":          "Lan",
			"membership.rotation=two words":           "rotation",
			"crds.kept=true":                          "kept",
			"metrics.podMonitor.enabled=true,metrics.serviceMonitor.enabled=true": "serviceMonitor",
		} {
			_, err := run(helm, "template", "baliza", chart, "--set", set)
			if err == nil || !strings.Contains(err.Error(), named) {
				t.Errorf("--set %s: want a refusal that names %s, got %v", set, named, err)
			}
		}
	})
}

func TestI04_AnOlderKubernetesIsRefused(t *testing.T) {
	each(t, func(t *testing.T, helm string) {
		if _, err := run(helm, "template", "baliza", chart, "--kube-version", "1.31.9"); err == nil || !strings.Contains(err.Error(), "1.31.9") {
			t.Errorf("got %v", err)
		}
	})
}

func TestImages(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	each(t, func(t *testing.T, helm string) {
		for name, c := range map[string]struct{ values, controller, speaker string }{
			"the defaults": {"", "ghcr.io/baliza-lb/controller:v0.1.0", "ghcr.io/baliza-lb/speaker:v0.1.0"},
			"a registry":   {"image: {registry: registry.example.org/a/}", "registry.example.org/a/controller:v0.1.0", "registry.example.org/a/speaker:v0.1.0"},
			"a registry and a tag": {
				"image: {registry: registry.example.org, tag: main}", "registry.example.org/controller:main", "registry.example.org/speaker:main",
			},
			"a repository of its own": {
				"image: {registry: registry.example.org}\nspeaker: {image: {repository: example.org/s, tag: v9}}",
				"registry.example.org/controller:v0.1.0", "example.org/s:v9",
			},
			"a digest": {"controller: {image: {digest: '" + digest + "'}}", "ghcr.io/baliza-lb/controller:v0.1.0@" + digest, "ghcr.io/baliza-lb/speaker:v0.1.0"},
			"the default of the first chart, kept by --reuse-values": {
				"image: {registry: registry.example.org}\ncontroller: {image: {repository: baliza/controller, tag: ''}}",
				"registry.example.org/controller:v0.1.0", "registry.example.org/speaker:v0.1.0",
			},
		} {
			all := template(t, helm, c.values)
			if got := container(t, all.one(t, "Deployment", "baliza-controller"), "image"); got != c.controller {
				t.Errorf("%s: controller %v, want %s", name, got, c.controller)
			}
			if got := container(t, all.one(t, "DaemonSet", "baliza-speaker"), "image"); got != c.speaker {
				t.Errorf("%s: speaker %v, want %s", name, got, c.speaker)
			}
			for _, task := range []string{"baliza-crds", "baliza-release-services", "baliza-test"} {
				if got := container(t, all.one(t, "Job", task), "image"); got != c.controller {
					t.Errorf("%s: %s %v, want the controller's image", name, task, got)
				}
			}
		}
	})
}

// I03: a release of an older chart, which had speaker.profile, keeps what it chose.
func TestI03_TheFailureDetectionProfileOfAnOlderChartIsKept(t *testing.T) {
	each(t, func(t *testing.T, helm string) {
		for values, want := range map[string]string{
			"": "default",
			"speaker: {failureDetectionProfile: fast}":                    "fast",
			"speaker: {profile: tolerant}":                                "tolerant",
			"speaker: {profile: default, failureDetectionProfile: fast}":  "fast",
			"speaker: {profile: tolerant, failureDetectionProfile: fast}": "fast",
		} {
			args := fmt.Sprint(container(t, template(t, helm, values).one(t, "DaemonSet", "baliza-speaker"), "args"))
			if !strings.Contains(args, " --failure-detection-profile="+want+" ") {
				t.Errorf("%s: want profile %s in %s", values, want, args)
			}
		}
	})
}

func TestPullSecretsAndPoliciesReachEveryPod(t *testing.T) {
	each(t, func(t *testing.T, helm string) {
		all := template(t, helm, "imagePullSecrets: [a]\nimage: {pullPolicy: Always}\nspeaker: {image: {pullPolicy: Never}}\ncrds: {keep: false}")
		pods := 0
		for _, object := range all {
			if pod(t, object, "spec") == nil {
				continue
			}
			pods++
			want := "Always"
			if object.GetKind() == "DaemonSet" {
				want = "Never"
			}
			if got := container(t, object, "imagePullPolicy"); got != want {
				t.Errorf("%s %s: pull policy %v", object.GetKind(), object.GetName(), got)
			}
			if got := pod(t, object, "spec", "imagePullSecrets", 0, "name"); got != "a" {
				t.Errorf("%s %s: pull secret %v", object.GetKind(), object.GetName(), got)
			}
		}
		if pods != 6 {
			t.Errorf("%d pods, want controller, speaker and four tasks", pods)
		}
	})
}

// Everything of the chart but the CRDs, which Helm takes as they are.
func TestEveryObjectHasTheCommonLabelsAndAnnotations(t *testing.T) {
	each(t, func(t *testing.T, helm string) {
		values, err := os.ReadFile(chart + "/ci/everything-values.yaml")
		if err != nil {
			t.Fatal(err)
		}
		all := template(t, helm, string(values)+"\ncommonLabels: {example.org/l: x}\ncommonAnnotations: {example.org/m: z}\n")
		for _, object := range all {
			if object.GetName() == "extra" {
				continue
			}
			if object.GetLabels()["example.org/l"] != "x" || object.GetAnnotations()["example.org/m"] != "z" {
				t.Errorf("%s %s lacks one of them", object.GetKind(), object.GetName())
			}
			if labels := pod(t, object, "metadata", "labels"); labels != nil && at(t, labels, "example.org/l") != "x" {
				t.Errorf("the pods of %s %s lack the label", object.GetKind(), object.GetName())
			}
		}
		if len(all) < 30 {
			t.Errorf("only %d objects: %v", len(all), all.names())
		}
	})
}

func TestSettingsOfTheWorkloads(t *testing.T) {
	each(t, func(t *testing.T, helm string) {
		all := template(t, helm, `
controller:
  annotations: {a: "1"}
  labels: {b: "2"}
  podAnnotations: {c: "3"}
  podLabels: {d: "4"}
  serviceAccountAnnotations: {e: "5"}
  priorityClassName: ""
  updateStrategy: {type: Recreate}
  topologySpreadConstraints: [{maxSkew: 1}]
speaker:
  annotations: {a: "1"}
  labels: {b: "2"}
  podAnnotations: {c: "3"}
  podLabels: {d: "4"}
  serviceAccountAnnotations: {e: "5"}
  priorityClassName: mine
  updateStrategy: {type: OnDelete, rollingUpdate: null}
  affinity: {nodeAffinity: {}}
  topologySpreadConstraints: [{maxSkew: 2}]
`)
		for _, who := range [][2]string{{"Deployment", "baliza-controller"}, {"DaemonSet", "baliza-speaker"}} {
			object := all.one(t, who[0], who[1])
			got := []any{
				object.GetAnnotations()["a"], object.GetLabels()["b"], pod(t, object, "metadata", "annotations", "c"),
				pod(t, object, "metadata", "labels", "d"), all.one(t, "ServiceAccount", who[1]).GetAnnotations()["e"],
			}
			if !reflect.DeepEqual(got, []any{"1", "2", "3", "4", "5"}) {
				t.Errorf("%s: %v", who[1], got)
			}
		}
		controller, speaker := all.one(t, "Deployment", "baliza-controller"), all.one(t, "DaemonSet", "baliza-speaker")
		for what, pair := range map[string][2]any{
			"no priority class":       {pod(t, controller, "spec", "priorityClassName"), nil},
			"a priority class":        {pod(t, speaker, "spec", "priorityClassName"), "mine"},
			"the strategy":            {at(t, controller, "spec", "strategy", "type"), "Recreate"},
			"the spread constraints":  {pod(t, controller, "spec", "topologySpreadConstraints", 0, "maxSkew"), float64(1)},
			"those of the speaker":    {pod(t, speaker, "spec", "topologySpreadConstraints", 0, "maxSkew"), float64(2)},
			"the update strategy":     {at(t, speaker, "spec", "updateStrategy", "type"), "OnDelete"},
			"no rest of the default":  {at(t, speaker, "spec", "updateStrategy", "rollingUpdate"), nil},
			"the speaker's affinity":  {pod(t, speaker, "spec", "affinity", "nodeAffinity"), map[string]any{}},
			"a pod disruption budget": {all.one(t, "PodDisruptionBudget", "baliza-controller").GetName(), "baliza-controller"},
		} {
			if number, ok := pair[0].(int64); ok {
				pair[0] = float64(number)
			}
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Errorf("%s: got %v, want %v", what, pair[0], pair[1])
			}
		}
		if template(t, helm, "controller: {replicas: 1}").find("PodDisruptionBudget", "baliza-controller") != nil {
			t.Error("a budget for a single replica keeps its node from being drained")
		}
	})
}

func TestI06_SecurityContexts(t *testing.T) {
	each(t, func(t *testing.T, helm string) {
		all := template(t, helm, "crds: {keep: false}")
		for _, object := range all {
			if pod(t, object, "spec") == nil {
				continue
			}
			for field, want := range map[string]any{"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true} {
				if got := container(t, object, "securityContext", field); got != want {
					t.Errorf("%s: %s is %v", object.GetName(), field, got)
				}
			}
			if got := container(t, object, "securityContext", "seccompProfile", "type"); got != "RuntimeDefault" {
				t.Errorf("%s: seccomp %v", object.GetName(), got)
			}
			if got := container(t, object, "securityContext", "capabilities", "drop", 0); got != "ALL" {
				t.Errorf("%s keeps capabilities", object.GetName())
			}
			//nolint:revive // an any, which may not be there
			if object.GetKind() != "DaemonSet" && pod(t, object, "spec", "securityContext", "runAsNonRoot") != true {
				t.Errorf("%s may run as root", object.GetName())
			}
		}
		all = template(t, helm, `
controller: {podSecurityContext: null, securityContext: {seccompProfile: null}}
speaker: {securityContext: null}
`)
		controller, speaker := all.one(t, "Deployment", "baliza-controller"), all.one(t, "DaemonSet", "baliza-speaker")
		if got := pod(t, controller, "spec", "securityContext"); got != nil {
			t.Errorf("the controller's pod context was emptied: %v", got)
		}
		if got := container(t, controller, "securityContext", "seccompProfile"); got != nil {
			t.Errorf("one field of the controller's was taken away: %v", got)
		}
		if got := container(t, speaker, "securityContext"); got != nil {
			t.Errorf("the speaker's was emptied: %v", got)
		}
	})
}

// L23: ping takes NET_ADMIN, which the speaker has only where it was asked for, beside
// whatever else it is given.
func TestI06_OnlyToAnswerPingTheSpeakerHasNetAdmin(t *testing.T) {
	each(t, func(t *testing.T, helm string) {
		for values, want := range map[string]string{
			"":                            "add:[NET_RAW] drop:[ALL]",
			"speaker: {answerPing: true}": "add:[NET_RAW NET_ADMIN] drop:[ALL]",
			"speaker: {answerPing: true, securityContext: {capabilities: {add: [NET_ADMIN, NET_RAW]}}}":     "add:[NET_ADMIN NET_RAW] drop:[ALL]",
			"speaker: {answerPing: true, securityContext: null}":                                            "add:[NET_ADMIN]",
			"speaker: {answerPing: false, securityContext: {capabilities: {add: [NET_RAW, SYS_RESOURCE]}}}": "add:[NET_RAW SYS_RESOURCE] drop:[ALL]",
		} {
			all := template(t, helm, "openshift: {enabled: true}\n"+values)
			if got := text(container(t, all.one(t, "DaemonSet", "baliza-speaker"), "securityContext", "capabilities")); got != "map["+want+"]" {
				t.Errorf("%q: the speaker has %s, want %s", values, got, want)
			}
			allowed := text(at(t, all.one(t, "SecurityContextConstraints", "baliza-speaker"), "allowedCapabilities"))
			if strings.Contains(allowed, "NET_ADMIN") != strings.Contains(want, "NET_ADMIN") {
				t.Errorf("%q: OpenShift allows it %s", values, allowed)
			}
			if got := text(container(t, all.one(t, "Deployment", "baliza-controller"), "securityContext", "capabilities")); got != "map[drop:[ALL]]" {
				t.Errorf("%q: the controller has %s", values, got)
			}
		}
	})
}

func TestI06_OnOpenShiftThePlatformChoosesTheUid(t *testing.T) {
	each(t, func(t *testing.T, helm string) {
		all := template(t, helm, "openshift: {enabled: true}\ncrds: {keep: false}")
		for _, object := range all {
			context := pod(t, object, "spec", "securityContext")
			if object.GetKind() != "DaemonSet" && (at(t, context, "runAsUser") != nil || at(t, context, "runAsGroup") != nil) {
				t.Errorf("%s %s asks for a uid: %v", object.GetKind(), object.GetName(), context)
			}
		}
		scc := all.one(t, "SecurityContextConstraints", "baliza-speaker")
		for field, want := range map[string]any{
			"allowHostNetwork": true, "allowHostPorts": true, "allowPrivilegedContainer": false, "allowHostPID": false,
			"allowedCapabilities": []any{"NET_RAW"}, "users": []any{"system:serviceaccount:elsewhere:baliza-speaker"},
		} {
			if got := at(t, scc, field); !reflect.DeepEqual(got, want) {
				t.Errorf("%s is %v, want %v", field, got, want)
			}
		}
		if template(t, helm, "").find("SecurityContextConstraints", "baliza-speaker") != nil {
			t.Error("constraints without OpenShift")
		}
	})
}

func TestNetworkPolicies(t *testing.T) {
	each(t, func(t *testing.T, helm string) {
		if names := template(t, helm, "").names(); slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "NetworkPolicy/") }) {
			t.Error("a policy that nobody asked for")
		}
		all := template(t, helm, "networkPolicy: {enabled: true, metricsFrom: [{namespaceSelector: {}}], apiServerPorts: [16443]}")
		policy := all.one(t, "NetworkPolicy", "baliza-controller")
		for what, pair := range map[string][2]any{
			"ingress":   {at(t, policy, "spec", "ingress", 0, "ports", 0, "port"), "7472"},
			"from":      {at(t, policy, "spec", "ingress", 0, "from", 0, "namespaceSelector"), "map[]"},
			"the test":  {at(t, policy, "spec", "ingress", 0, "from", 1, "podSelector", "matchLabels", "app.kubernetes.io/component"), "baliza-test"},
			"egress":    {at(t, policy, "spec", "egress", 0, "ports", 0, "port"), "16443"},
			"component": {at(t, policy, "spec", "podSelector", "matchLabels", "app.kubernetes.io/component"), "controller"},
		} {
			if got := text(pair[0]); got != pair[1] {
				t.Errorf("%s: %s, want %s", what, got, pair[1])
			}
		}
		for _, task := range []string{"baliza-crds", "baliza-release-services", "baliza-test"} {
			selected := at(t, all.one(t, "NetworkPolicy", task), "spec", "podSelector", "matchLabels")
			labels := pod(t, all.one(t, "Job", task), "metadata", "labels")
			for key, value := range selected.(map[string]any) {
				if at(t, labels, key) != value {
					t.Errorf("the policy of %s does not select its pods", task)
				}
			}
		}
	})
}

func TestMonitors(t *testing.T) {
	each(t, func(t *testing.T, helm string) {
		pods := template(t, helm, "metrics: {podMonitor: {enabled: true, interval: 10s, labels: {release: prometheus}}}")
		services := template(t, helm, "metrics: {serviceMonitor: {enabled: true, relabelings: [{action: keep}]}}")
		for _, who := range []string{"controller", "speaker"} {
			monitor := pods.one(t, "PodMonitor", "baliza-"+who)
			if monitor.GetLabels()["release"] != "prometheus" || at(t, monitor, "spec", "podMetricsEndpoints", 0, "interval") != "10s" {
				t.Errorf("PodMonitor of the %s: %v", who, monitor.Object)
			}
			monitor = services.one(t, "ServiceMonitor", "baliza-"+who)
			port := at(t, monitor, "spec", "endpoints", 0, "port")
			service := services.one(t, "Service", "baliza-"+who+"-metrics")
			if at(t, service, "spec", "ports", 0, "name") != port {
				t.Errorf("the %s's ServiceMonitor wants port %v, which its Service lacks", who, port)
			}
			for key, value := range at(t, monitor, "spec", "selector", "matchLabels").(map[string]any) {
				if service.GetLabels()[key] != value {
					t.Errorf("the %s's ServiceMonitor does not select its Service", who)
				}
			}
			if at(t, monitor, "spec", "endpoints", 0, "relabelings", 0, "action") != "keep" {
				t.Errorf("the %s's ServiceMonitor lacks the relabeling", who)
			}
		}
	})
}

func TestObjectsOfBalizaInTheValues(t *testing.T) {
	each(t, func(t *testing.T, helm string) {
		all := template(t, helm, `
pools: {lan: {labels: {zone: a}, annotations: {b: c}, spec: {addresses: [192.0.2.10-192.0.2.20]}}, gone: null}
l2Advertisements: {lan: {spec: {ipAddressPools: [lan]}}}
bgpPeers: {rack: {spec: {myASN: 64500, peerASN: 64501, peerAddress: 192.0.2.1}}}
bgpAdvertisements: {all: {spec: {}}}
bfdProfiles: {fast: {spec: {}}}
communities: {named: {spec: {communities: []}}}
extraObjects:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: extra, namespace: other}, data: {release: '{{ .Release.Name }}'}}
  - |
    apiVersion: v1
    kind: Secret
    metadata: {name: extra, namespace: {{ .Release.Namespace }}}
`)
		pool := all.one(t, "IPAddressPool", "lan")
		if pool.GetLabels()["zone"] != "a" || pool.GetAnnotations()["b"] != "c" || at(t, pool, "spec", "addresses", 0) != "192.0.2.10-192.0.2.20" {
			t.Errorf("the pool is %v", pool.Object)
		}
		for _, object := range []string{"L2Advertisement/lan", "BGPPeer/rack", "BGPAdvertisement/all", "BFDProfile/fast", "Community/named", "Secret/extra"} {
			if !slices.Contains(all.names(), object) {
				t.Errorf("no %s", object)
			}
		}
		if all.find("IPAddressPool", "gone") != nil {
			t.Error("null does not take a pool away")
		}
		if got := at(t, all.one(t, "ConfigMap", "extra"), "data", "release"); got != "baliza" {
			t.Errorf("a template in an extra object gave %v", got)
		}
	})
}

func TestTasksThatAreSwitchedOff(t *testing.T) {
	each(t, func(t *testing.T, helm string) {
		jobs := func(values string) (all []string) {
			for _, name := range template(t, helm, values).names() {
				if job, is := strings.CutPrefix(name, "Job/"); is {
					all = append(all, job)
				}
			}
			slices.Sort(all)
			return all
		}
		for values, want := range map[string][]string{
			"": {"baliza-crds", "baliza-release-services", "baliza-test"},
			"{crds: {enabled: false}, test: {enabled: false}}": {"baliza-release-services"},
			"{uninstall: {releaseServices: false}}":            {"baliza-crds", "baliza-test"},
			"{crds: {keep: false}}":                            {"baliza-crds", "baliza-delete-crds", "baliza-release-services", "baliza-test"},
		} {
			if got := jobs(values); !slices.Equal(got, want) {
				t.Errorf("%q: tasks %v, want %v", values, got, want)
			}
		}
		none := template(t, helm, "", "--no-hooks")
		for _, object := range none {
			if object.GetKind() == "Job" {
				t.Errorf("--no-hooks leaves %s", object.GetName())
			}
		}
	})
}

// What GitOps tools render has no cluster to look at: the key must not be made
// by the templates, or each rendering would have another.
func TestTheMembershipKeyIsNoneOfTheTemplates(t *testing.T) {
	each(t, func(t *testing.T, helm string) {
		first, second := template(t, helm, ""), template(t, helm, "")
		if !reflect.DeepEqual(first, second) {
			t.Error("two renderings differ")
		}
		if first.find("Secret", "baliza-membership") != nil {
			t.Error("the chart has the key")
		}
		own := template(t, helm, "membership: {existingSecret: mine, rotation: '2'}")
		if got := pod(t, own.one(t, "DaemonSet", "baliza-speaker"), "spec", "volumes", 0, "secret", "secretName"); got != "mine" {
			t.Errorf("the speakers mount %v", got)
		}
		args := text(container(t, own.one(t, "Deployment", "baliza-controller"), "args"))
		if !strings.Contains(args, "--membership-secret= ") {
			t.Errorf("the controller would make a key of its own: %s", args)
		}
		args = text(container(t, template(t, helm, "membership: {rotation: '2026-11'}").one(t, "Deployment", "baliza-controller"), "args"))
		if !strings.Contains(args, "--membership-rotation=2026-11") {
			t.Errorf("the rotation does not reach the controller: %s", args)
		}
	})
}
