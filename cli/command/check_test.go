package command_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"sigs.k8s.io/yaml"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/checks"
	"github.com/baliza-lb/baliza/cli/command"
	"github.com/baliza-lb/baliza/cli/cures"
	"github.com/baliza-lb/baliza/deploy"
)

// environment is what the cluster has besides, as kubeadm and install.yaml make it.
type environment struct {
	version string
	more    []runtime.Object
	crds    []*unstructured.Unstructured
	pools   int // of Cilium
}

// around adds an environment in which all is well.
func around(w *world) {
	w.environment.version, w.mayCreate = "v1.33.2", true
	mode := &corev1.ConfigMap{ObjectMeta: named("kube-system", "kube-proxy"), Data: map[string]string{"config.conf": "mode: ipvs\nipvs: {strictARP: true}\n"}}
	space := &corev1.Namespace{ObjectMeta: named("", "baliza-system")}
	space.Labels = map[string]string{"pod-security.kubernetes.io/enforce": "privileged"}
	w.environment.more = []runtime.Object{mode, space}
	for _, node := range w.nodes {
		w.environment.more = append(w.environment.more, nodeLease(node.Name, 300*time.Millisecond))
	}
	for document := range strings.SplitSeq(deploy.Install(), "\n---\n") {
		object := &unstructured.Unstructured{}
		data, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			panic(err)
		}
		if string(data) == "null" {
			continue // a comment
		}
		if err := object.UnmarshalJSON(data); err != nil { // numbers are as the API server's client has them
			panic(err)
		}
		into := map[string]runtime.Object{
			"ClusterRole": &rbacv1.ClusterRole{}, "ClusterRoleBinding": &rbacv1.ClusterRoleBinding{}, "Role": &rbacv1.Role{}, "RoleBinding": &rbacv1.RoleBinding{},
		}[object.GetKind()]
		if into != nil {
			if err := yaml.Unmarshal([]byte(document), into); err != nil {
				panic(err)
			}
			w.environment.more = append(w.environment.more, into)
		}
		if object.GetKind() == "CustomResourceDefinition" {
			object.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Established", "status": "True"}}}
			w.environment.crds = append(w.environment.crds, object)
		}
	}
	for _, s := range w.speakers {
		s.Status.MembershipKeys = []string{"0123456789abcdef"}
	}
}

// fresh is a cluster without Baliza.
func fresh(w *world) {
	around(w)
	w.controller, w.lease, w.speakers, w.pools, w.l2, w.services, w.environment.crds = nil, nil, nil, nil, nil, nil, nil
}

func nodeLease(node string, ahead time.Duration) *coordinationv1.Lease {
	lease := &coordinationv1.Lease{ObjectMeta: named("kube-node-lease", node)}
	written, renewed := ago(7*time.Second), metav1.NewMicroTime(now().Add(ahead-7*time.Second))
	lease.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubelet", Operation: metav1.ManagedFieldsOperationUpdate, Time: &written}}
	lease.Spec.RenewTime = &renewed
	return lease
}

// client has the definitions; and says the version.
func (w *world) dynamicClient(t *testing.T) dynamic.Interface {
	t.Helper()
	if discovery, is := w.kubernetes.Discovery().(*fakediscovery.FakeDiscovery); is && w.environment.version != "" {
		discovery.FakedServerVersion = &version.Info{GitVersion: w.environment.version}
	}
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	pools := schema.GroupVersionResource{Group: "cilium.io", Version: "v2", Resource: "ciliumloadbalancerippools"}
	var objects []runtime.Object
	for _, crd := range w.environment.crds {
		objects = append(objects, crd)
	}
	for range w.environment.pools {
		pool := &unstructured.Unstructured{}
		pool.SetAPIVersion("cilium.io/v2")
		pool.SetKind("CiliumLoadBalancerIPPool")
		pool.SetName("pool")
		objects = append(objects, pool)
	}
	kinds := metallbKinds()
	kinds[crds], kinds[pools] = "CustomResourceDefinitionList", "CiliumLoadBalancerIPPoolList"
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, append(objects, w.metallb...)...)
	client.PrependReactor("list", "*", w.refusal())
	return client
}

// remove takes the objects away of which a function says so.
func (w *world) remove(is func(runtime.Object) bool) {
	w.environment.more = slices.DeleteFunc(w.environment.more, is)
}

func daemonSet(namespace, name string, c corev1.Container) *appsv1.DaemonSet {
	set := &appsv1.DaemonSet{ObjectMeta: named(namespace, name)}
	set.Spec.Template.Spec.Containers = []corev1.Container{c}
	return set
}

func runs(c corev1.Container) func(*world) {
	return func(w *world) {
		around(w)
		w.environment.more = append(w.environment.more, daemonSet("other", "agent", c))
	}
}

func proxy(configuration string) func(*world) {
	return func(w *world) {
		around(w)
		for _, o := range w.environment.more {
			if m, is := o.(*corev1.ConfigMap); is {
				m.Data["config.conf"] = configuration
			}
		}
	}
}

// with makes a set-up of two.
func with(sets ...func(*world)) func(*world) {
	return func(w *world) {
		for _, set := range sets {
			set(w)
		}
	}
}

// checkCase is a set-up, and what one check says of it.
type checkCase struct {
	set    func(*world)
	ask    string // "check" unless set
	id     checks.ID
	state  checks.State
	says   string // in the message or a finding
	reason v1beta1.Reason
	status int
}

// K01: each check says what it finds, and what nobody can see is not passed.
func TestK01_Checks(t *testing.T) {
	all := clusterChecks()
	maps.Copy(all, installationChecks())
	maps.Copy(all, addressChecks())
	covered := map[checks.ID]map[checks.State]bool{}
	for name, one := range all {
		if covered[one.id] == nil {
			covered[one.id] = map[checks.State]bool{}
		}
		covered[one.id][one.state] = true
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			one.set(w)
			line := one.ask
			if line == "" {
				line = "check"
			}
			out, status := w.ask(t, line+" -o json")
			var report checks.Report
			if err := json.Unmarshal([]byte(out), &report); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if status != one.status {
				t.Errorf("exit status %d, want %d", status, one.status)
			}
			i := slices.IndexFunc(report.Results, func(r checks.Result) bool { return r.ID == one.id })
			if i < 0 {
				t.Fatalf("no check %s\n%s", one.id, out)
			}
			r := report.Results[i]
			text, _ := json.Marshal(r)
			reason := slices.ContainsFunc(r.Findings, func(f checks.Finding) bool { return f.Reason == one.reason })
			if r.State != one.state || !strings.Contains(string(text), one.says) || one.reason != "" && !reason {
				t.Errorf("want %s, %q, reason %q:\n%s", one.state, one.says, one.reason, text)
			}
			if one.state != checks.OK && r.See != cures.See(string(one.id)) {
				t.Errorf("more is said at %q", r.See)
			}
			if (one.state == checks.Failed || one.state == checks.Warning) && r.Cure == "" {
				t.Error("no cure")
			}
		})
	}
	for _, id := range checks.IDs() {
		seen := covered[id]
		inherent := id == checks.DHCP || id == checks.MemberPort || id == checks.Interfaces // which nobody can see from here
		if !inherent && (!seen[checks.OK] || !seen[checks.Failed] && !seen[checks.Warning]) {
			t.Errorf("%s: no test of both outcomes", id)
		}
	}
}

func clusterChecks() map[string]checkCase {
	metallb := corev1.Container{Image: "quay.io/metallb/speaker:v0.15.2"}
	classed := corev1.Container{Image: "quay.io/metallb/speaker:v0.15.2", Args: []string{"--lb-class=metallb"}}
	return map[string]checkCase{
		"version is new enough": {set: around, id: checks.KubernetesVersion, state: checks.OK, says: "v1.33.2"},
		"version is too old": {
			set: with(fresh, func(w *world) { w.environment.version = "v1.31.9+k3s1" }), ask: "check --pre", id: checks.KubernetesVersion, state: checks.Failed, says: "v1.31.9", status: command.StatusWrong,
		},
		"strictARP":                    {set: around, id: checks.KubeProxy, state: checks.OK, says: "ipvs with strictARP"},
		"IPVS without strictARP":       {set: proxy("mode: ipvs\n"), id: checks.KubeProxy, state: checks.Failed, says: "without strictARP", status: command.StatusWrong},
		"the default mode of the file": {set: proxy("mode: \"\"\n"), id: checks.KubeProxy, state: checks.OK, says: "iptables"},
		"IPVS by the command line": {
			set: with(around, func(w *world) {
				w.environment.more = append(w.environment.more, daemonSet("kube-system", "kube-proxy", corev1.Container{Command: []string{"kube-proxy", "--proxy-mode=ipvs", "--ipvs-strict-arp=false"}}))
			}), id: checks.KubeProxy, state: checks.Failed, says: "without strictARP", status: command.StatusWrong,
		},
		"no ConfigMap of kube-proxy": {
			set: with(around, func(w *world) { w.remove(func(o runtime.Object) bool { _, is := o.(*corev1.ConfigMap); return is }) }),
			id:  checks.KubeProxy, state: checks.NotChecked, says: "k3s",
		},
		"no right to read it": {
			set: with(around, func(w *world) { w.forbidden["configmaps"] = true }), id: checks.KubeProxy, state: checks.NotChecked, says: "you may not list configmaps", status: command.StatusUnknown,
		},
		"no other provider":       {set: around, id: checks.OtherProviders, state: checks.OK, says: "none of MetalLB"},
		"MetalLB without a class": {set: runs(metallb), id: checks.OtherProviders, state: checks.Failed, says: "MetalLB", status: command.StatusWrong},
		"MetalLB with a class":    {set: runs(classed), id: checks.OtherProviders, state: checks.OK, says: "MetalLB (class metallb)"},
		"MetalLB with our class": {
			set: with(runs(classed), func(w *world) {
				w.controller.Spec.Template.Spec.Containers[0].Args = []string{"--load-balancer-class=metallb", "--serve-classless=false"}
			}), id: checks.OtherProviders, state: checks.Failed, says: "the class metallb", status: command.StatusWrong,
		},
		"kube-vip for the control plane": {
			set: runs(corev1.Container{Image: "ghcr.io/kube-vip/kube-vip:v1.0.0", Env: []corev1.EnvVar{{Name: "cp_enable", Value: "true"}}}),
			id:  checks.OtherProviders, state: checks.OK, says: "none of",
		},
		"kube-vip for Services, as a static pod": {
			set: with(around, func(w *world) {
				pod := &corev1.Pod{ObjectMeta: named("kube-system", "kube-vip-n1")}
				pod.Spec.Containers = []corev1.Container{{Image: "ghcr.io/kube-vip/kube-vip:v1.0.0", Env: []corev1.EnvVar{{Name: "svc_enable", Value: "true"}}}}
				w.environment.more = append(w.environment.more, pod)
			}), id: checks.OtherProviders, state: checks.Failed, says: "kube-vip", status: command.StatusWrong,
		},
		"Cilium without pools": {set: runs(corev1.Container{Image: "quay.io/cilium/cilium:v1.18.0"}), id: checks.OtherProviders, state: checks.OK, says: "Cilium"},
		"Cilium with a pool": {
			set: with(runs(corev1.Container{Image: "quay.io/cilium/cilium:v1.18.0"}), ciliumPool), id: checks.OtherProviders, state: checks.Warning, says: "1 CiliumLoadBalancerIPPool",
		},
		"PureLB":  {set: runs(corev1.Container{Image: "ghcr.io/purelb/purelb/lbnodeagent:v0.13.0"}), id: checks.OtherProviders, state: checks.Warning, says: "PureLB"},
		"OpenELB": {set: runs(corev1.Container{Image: "kubesphere/openelb-speaker:v0.6.0"}), id: checks.OtherProviders, state: checks.Warning, says: "OpenELB"},
		"ServiceLB of k3s": {
			set: with(around, func(w *world) { w.nodes[0].Status.NodeInfo.KubeletVersion = "v1.33.2+k3s1" }), id: checks.OtherProviders, state: checks.Warning, says: "--disable=servicelb",
		},
		"k3s without ServiceLB": {
			set: with(around, func(w *world) {
				w.nodes[0].Status.NodeInfo.KubeletVersion = "v1.33.2+k3s1"
				w.nodes[0].Annotations = map[string]string{"k3s.io/node-args": `["server","--disable","servicelb"]`}
			}), id: checks.OtherProviders, state: checks.OK,
		},
		"nodes may own addresses": {set: around, id: checks.EligibleNodes, state: checks.OK, says: "3 of 3 nodes"},
		"all nodes are excluded":  {set: with(allExcluded, fresh), ask: "check --pre", id: checks.EligibleNodes, state: checks.Failed, reason: v1beta1.ReasonNodeExcluded, status: command.StatusWrong},
		"clocks agree":            {set: around, id: checks.Clocks, state: checks.OK, says: "3 clocks"},
		"a clock is ahead":        {set: clock(time.Minute), id: checks.Clocks, state: checks.Warning, says: "1m0s ahead of"},
		"a clock is behind":       {set: clock(-time.Hour), id: checks.Clocks, state: checks.Warning, says: "1h0m0s behind"},
		"ports are not seen":      {set: fresh, ask: "check --pre", id: checks.MemberPort, state: checks.NotChecked, says: "7946"},
		"interfaces are not seen": {set: fresh, ask: "check --pre", id: checks.Interfaces, state: checks.NotChecked},
		"DHCP is not seen":        {set: fresh, ask: "check --pre", id: checks.DHCP, state: checks.NotChecked},
	}
}

func ciliumPool(w *world) {
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "ciliumloadbalancerippools.cilium.io"},
		"spec": map[string]any{
			"group": "cilium.io", "names": map[string]any{"plural": "ciliumloadbalancerippools"}, "versions": []any{map[string]any{"name": "v2", "storage": true}},
		},
	}}
	w.environment.crds, w.environment.pools = append(w.environment.crds, crd), 1
}

func clock(ahead time.Duration) func(*world) {
	return func(w *world) {
		around(w)
		w.remove(func(o runtime.Object) bool { l, is := o.(*coordinationv1.Lease); return is && l.Name == "n2" })
		w.environment.more = append(w.environment.more, nodeLease("n2", ahead))
	}
}

func installationChecks() map[string]checkCase {
	return map[string]checkCase{
		"not installed yet": {set: fresh, ask: "check --pre", id: checks.OneInstallation, state: checks.OK},
		"installed already": {set: around, ask: "check --pre", id: checks.OneInstallation, state: checks.Warning, says: "baliza-system"},
		"installed":         {set: around, id: checks.OneInstallation, state: checks.OK, says: "in namespace baliza-system"},
		"not installed":     {set: fresh, id: checks.OneInstallation, state: checks.Failed, status: command.StatusWrong},
		"installed twice": {
			set: with(around, func(w *world) {
				other := w.controller.DeepCopy()
				other.Namespace = "lb"
				w.environment.more = append(w.environment.more, other)
			}), id: checks.OneInstallation, state: checks.Failed, says: "baliza-system and lb", status: command.StatusWrong,
		},
		"may install":     {set: fresh, ask: "check --pre", id: checks.InstallPermissions, state: checks.OK},
		"may not install": {set: with(fresh, func(w *world) { w.mayCreate = false }), ask: "check --pre", id: checks.InstallPermissions, state: checks.Failed, says: "customresourcedefinitions", status: command.StatusWrong},
		"privileged":      {set: around, id: checks.PodSecurity, state: checks.OK},
		"restricted":      {set: with(fresh, func(w *world) { w.level("restricted") }), ask: "check --pre", id: checks.PodSecurity, state: checks.Failed, says: "restricted", status: command.StatusWrong},
		"no label":        {set: with(around, func(w *world) { w.level("") }), id: checks.PodSecurity, state: checks.NotChecked},
		"no namespace yet": {
			set: fresh, ask: "check --pre -n lb", id: checks.PodSecurity, state: checks.NotChecked, says: "namespace lb",
		},
		"definitions are current": {set: around, id: checks.CustomResourceDefinitions, state: checks.OK, says: "8 kinds"},
		"a definition is missing": {
			set: with(around, func(w *world) { w.environment.crds = w.environment.crds[1:] }), id: checks.CustomResourceDefinitions, state: checks.Failed, says: "it is not there", status: command.StatusWrong,
		},
		"a definition is not served": {
			set: with(around, func(w *world) { delete(w.environment.crds[2].Object, "status") }), id: checks.CustomResourceDefinitions, state: checks.Failed, says: "does not serve it", status: command.StatusWrong,
		},
		"a definition is old": {
			set: with(around, func(w *world) {
				versions, _, _ := unstructured.NestedSlice(w.environment.crds[0].Object, "spec", "versions")
				one, _ := versions[0].(map[string]any)
				one["schema"] = map[string]any{}
				_ = unstructured.SetNestedSlice(w.environment.crds[0].Object, versions, "spec", "versions")
			}), id: checks.CustomResourceDefinitions, state: checks.Failed, says: "it is not that of", status: command.StatusWrong,
		},
		"definitions of another version": {
			set: with(around, newer), id: checks.CustomResourceDefinitions, state: checks.NotChecked, says: "the cluster runs v0.9.0",
		},
		"permissions":                    {set: around, id: checks.Permissions, state: checks.OK, says: "2 service accounts"},
		"permissions of another version": {set: with(around, newer), id: checks.Permissions, state: checks.NotChecked},
		"a role is gone": {
			set: with(around, func(w *world) {
				w.remove(func(o runtime.Object) bool { r, is := o.(*rbacv1.Role); return is && r.Name == "baliza-speaker" })
			}), id: checks.Permissions, state: checks.Failed, says: "list, watch secrets baliza-bgp-passwords", status: command.StatusWrong,
		},
		"a verb is gone": {
			set: with(around, func(w *world) {
				for _, o := range w.environment.more {
					if r, is := o.(*rbacv1.ClusterRole); is && r.Name == "baliza-controller" {
						r.Rules[0].Verbs = []string{"list"}
					}
				}
			}), id: checks.Permissions, state: checks.Failed, says: "get, watch services", status: command.StatusWrong,
		},
		"no right to read roles": {
			set: with(around, func(w *world) { w.forbidden["clusterroles"] = true }), id: checks.Permissions, state: checks.NotChecked, says: "you may not list clusterroles", status: command.StatusUnknown,
		},
		"controller is ready": {set: around, id: checks.ControllerReady, state: checks.OK, says: "1 of 1"},
		"controller is stale": {set: with(around, controllerStale), id: checks.ControllerReady, state: checks.Failed, says: "10m", status: command.StatusWrong},
		"speakers are ready":  {set: around, id: checks.SpeakersReady, state: checks.OK, says: "3 of 3"},
		"a speaker is dead":   {set: with(around, speakerDead), id: checks.SpeakersReady, state: checks.Failed, says: "Node/n3", status: command.StatusWrong},
		"a speaker is missing": {
			set: with(around, func(w *world) { w.speakers = w.speakers[:2] }), id: checks.SpeakersReady, state: checks.Failed, says: "no speaker runs on this node", status: command.StatusWrong,
		},
		"a speaker is not meant": {set: with(around, speakerNotMeant), id: checks.SpeakersReady, state: checks.OK, says: "2 of 2"},
		"one version":            {set: around, id: checks.Versions, state: checks.OK},
		"several versions":       {set: with(around, func(w *world) { w.speakers[1].Status.Version = "v0.3.0" }), id: checks.Versions, state: checks.Warning, says: "different versions"},
		"one key":                {set: around, id: checks.MembershipKey, state: checks.OK, says: "3 speakers"},
		"a key is rotated":       {set: with(around, keys("new", "old")), id: checks.MembershipKey, state: checks.OK},
		"a key is unknown":       {set: with(around, keys("new")), id: checks.MembershipKey, state: checks.Failed, says: "does not accept", status: command.StatusWrong},
		"a speaker has no key":   {set: with(around, keys()), id: checks.MembershipKey, state: checks.Failed, says: "uses no key", status: command.StatusWrong},
		"members are heard":      {set: around, id: checks.MembersHeard, state: checks.OK},
		"one direction": {
			set: with(around, partitioned), id: checks.MembersHeard, state: checks.Failed, says: "does not hear n2, which is alive", reason: v1beta1.ReasonPartitioned, status: command.StatusWrong,
		},
		"a member is not counted": {
			set: with(around, func(w *world) { w.speakers[2].Status.MembersAlive = 1 }), id: checks.MembersHeard, state: checks.Failed, says: "it hears 1 of 3", status: command.StatusWrong,
		},
		"no session is wanted": {set: around, id: checks.BGPSessions, state: checks.OK, says: "none is wanted"},
		"sessions are up":      {set: with(around, routed), id: checks.BGPSessions, state: checks.OK, says: "established"},
		"a session is down": {
			set: with(around, down("connection timed out")), id: checks.BGPSessions, state: checks.Failed, says: "connection timed out", reason: v1beta1.ReasonNoSession, status: command.StatusWrong,
		},
	}
}

func newer(w *world) {
	w.controller.Spec.Template.Spec.Containers[0].Image = "registry.example.org/baliza/controller:v0.9.0"
	for _, s := range w.speakers {
		s.Status.Version = "v0.9.0"
	}
}

// keys gives n2 these keys, and the others the old one alone, or that and the new one.
func keys(digests ...string) func(*world) {
	return func(w *world) {
		for _, s := range w.speakers {
			s.Status.MembershipKeys = []string{"old"}
			if len(digests) > 1 {
				s.Status.MembershipKeys = []string{"old", "new"}
			}
		}
		w.speakers[1].Status.MembershipKeys = digests
	}
}

func (w *world) level(level string) {
	for _, o := range w.environment.more {
		if n, is := o.(*corev1.Namespace); is {
			n.Labels = map[string]string{"pod-security.kubernetes.io/enforce": level}
		}
	}
}

func addressChecks() map[string]checkCase {
	return map[string]checkCase{
		"objects are used": {set: around, id: checks.Configuration, state: checks.OK},
		"an object is not": {
			set: with(around, selectsNothing), id: checks.Configuration, state: checks.Failed, says: "L2Advertisement/dmz", reason: v1beta1.ReasonNoMatch, status: command.StatusWrong,
		},
		"no pool yet": {
			set: with(around, func(w *world) { w.pools, w.services = nil, nil }), id: checks.Configuration, state: checks.Warning, reason: v1beta1.ReasonNoPool,
		},
		"pools are free": {set: around, id: checks.PoolOverlap, state: checks.OK},
		"a pool has a node": {
			set: with(around, func(w *world) { w.pools[0].Spec.Addresses = []v1beta1.AddressRange{"192.0.2.0/28"} }), id: checks.PoolOverlap, state: checks.Warning, says: "node n1", reason: v1beta1.ReasonUsedByCluster,
		},
		"a pool has pods": {
			set: with(around, func(w *world) { w.nodes[1].Spec.PodCIDRs = []string{"192.0.2.0/25"} }), ask: "check --pre", id: checks.PoolOverlap, state: checks.Warning, says: "the pods of node n2",
		},
		"no pool before the installation": {set: fresh, ask: "check --pre", id: checks.PoolOverlap, state: checks.NotChecked},
		"none set aside":                  {set: around, id: checks.Quarantine, state: checks.OK},
		"one set aside": {
			set: with(around, func(w *world) {
				w.pools[0].Status.Quarantined = []v1beta1.QuarantinedAddress{{Address: "192.0.2.11"}}
			}), id: checks.Quarantine, state: checks.Warning, says: "192.0.2.11", reason: v1beta1.ReasonAddressConflict,
		},
		"Services are announced": {set: around, id: checks.Services, state: checks.OK, says: "1 announced"},
		"a Service waits": {
			set: with(around, exhausted), id: checks.Services, state: checks.Failed, says: "shop/new", reason: v1beta1.ReasonPoolExhausted, status: command.StatusWrong,
		},
		"one owner": {set: around, id: checks.OneOwner, state: checks.OK, says: "1 address"},
		"several owners": {
			set: with(around, severalOwners), id: checks.OneOwner, state: checks.Failed, says: "n1, n2", reason: v1beta1.ReasonMultipleOwners, status: command.StatusWrong,
		},
		"another host": {
			set: with(around, conflict), id: checks.OneOwner, state: checks.Failed, says: macOfOther, reason: v1beta1.ReasonAddressConflict, status: command.StatusWrong,
		},
		"nobody is asked": {set: around, id: checks.OneAnswer, state: checks.NotChecked, says: "--probe"},
		"one MAC answers": {
			set: with(around, func(w *world) { w.hears("n2", from("n1", macOfN1)) }), ask: "check --probe", id: checks.OneAnswer, state: checks.OK, says: "1 of 1",
		},
		"two MACs answer": {
			set: with(around, func(w *world) { w.hears("n2", from("n1", macOfN1), from("", macOfOther)) }), ask: "check --probe",
			id: checks.OneAnswer, state: checks.Failed, says: macOfOther, reason: v1beta1.ReasonAddressConflict, status: command.StatusWrong,
		},
		"nobody can be asked": {
			set: with(around, func(w *world) { w.forbidden["pods/portforward"] = true }), ask: "check --probe", id: checks.OneAnswer, state: checks.NotChecked, says: "you may not create pods/portforward",
		},
	}
}

// What people read is in testdata.
func TestK01_ChecksArePrinted(t *testing.T) {
	for name, one := range map[string]struct {
		set    func(*world)
		ask    string
		status int
	}{
		"check-all-is-well": {with(around, func(w *world) { w.hears("n2", from("n1", macOfN1)) }), "check --probe", command.StatusWell},
		"check-failed":      {with(around, partitioned, severalOwners), "check", command.StatusWrong},
		"check-pre":         {with(allExcluded, fresh, proxyIPVS), "check --pre", command.StatusWrong},
		"check-not-allowed": {with(around, outsider), "check", command.StatusUnknown},
		"check-both":        {around, "check --pre --probe", command.StatusUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			one.set(w)
			w.expect(t, name, one.ask, one.status)
		})
	}
}

func proxyIPVS(w *world) {
	for _, o := range w.environment.more {
		if m, is := o.(*corev1.ConfigMap); is {
			m.Data["config.conf"] = "mode: ipvs\n"
		}
	}
}
