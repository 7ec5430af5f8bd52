package command_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/baliza-lb/baliza/cli/command"
	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/cli/manifests"
	"github.com/baliza-lb/baliza/migrate/metallb"
)

// metallbKinds are those that are listed, by resource.
func metallbKinds() map[schema.GroupVersionResource]string {
	kinds := map[schema.GroupVersionResource]string{}
	for resource, kind := range map[string]string{
		"ipaddresspools": "IPAddressPool", "l2advertisements": "L2Advertisement", "bgpadvertisements": "BGPAdvertisement",
		"bfdprofiles": "BFDProfile", "communities": "Community", "addresspools": "AddressPool", "metallbs": "MetalLB",
	} {
		kinds[schema.GroupVersionResource{Group: metallb.Group, Version: "v1beta1", Resource: resource}] = kind + "List"
	}
	kinds[schema.GroupVersionResource{Group: metallb.Group, Version: "v1beta2", Resource: "bgppeers"}] = "BGPPeerList"
	kinds[schema.GroupVersionResource{Group: "frrk8s.metallb.io", Version: "v1beta1", Resource: "frrconfigurations"}] = "FRRConfigurationList"
	return kinds
}

// published are configurations of the shapes that people publish.
func published(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/migrate/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("there are %d configurations, want 20 at least", len(files))
	}
	return files
}

// writeTo has a configuration written, and returns what was.
func writeTo(t *testing.T, file, folder string) string {
	t.Helper()
	if got, status := newWorld().ask(t, "migrate write -f "+file+" -o "+folder); status == command.StatusUnknown {
		t.Fatal(got)
	}
	files, err := filepath.Glob(folder + "/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString("== " + filepath.Base(name) + "\n" + string(data))
	}
	return all.String()
}

// What becomes of each is in testdata, what check says and what write writes.
func TestMigratePublishedConfigurations(t *testing.T) {
	for _, file := range published(t) {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			got, status := newWorld().ask(t, "migrate check -f "+file)
			if status == command.StatusUnknown {
				t.Fatal(got)
			}
			line := "$ kubectl baliza migrate check -f " + file + "\n"
			compare(t, "migrate-"+name, line+got+"exit status "+string(rune('0'+status))+"\n")
			compare(t, "migrate-"+name+"-write", writeTo(t, file, t.TempDir()))
		})
	}
}

func checked(t *testing.T, line string) (m explain.Migration) {
	t.Helper()
	got, status := newWorld().ask(t, line+" -o json")
	if status == command.StatusUnknown {
		t.Fatal(got)
	}
	if err := json.Unmarshal([]byte(got), &m); err != nil {
		t.Fatalf("%v:\n%s", err, got)
	}
	return m
}

// What is written changes nothing once it is applied, is written alike again, and
// validate finds nothing in it that check did not name.
func TestMigrateWrittenManifestsChangeNothing(t *testing.T) {
	for _, file := range published(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			folder := t.TempDir()
			written := writeTo(t, file, folder)
			if again := writeTo(t, file, folder); again != written {
				t.Errorf("written again it is\n%s\nand was\n%s", again, written)
			}
			before := checked(t, "migrate check -f "+file)
			after := checked(t, "migrate check -f "+file+" -f "+folder)
			if !reflect.DeepEqual(before.Services, after.Services) {
				t.Errorf("Services are\n%+v\nand were\n%+v", after.Services, before.Services)
			}
			if !reflect.DeepEqual(before.Findings, after.Findings) {
				t.Errorf("findings are\n%+v\nand were\n%+v", after.Findings, before.Findings)
			}
			if written == "" {
				return // there is nothing to validate
			}
			got, _ := newWorld().ask(t, "validate -f "+folder+" -o json")
			var found []manifests.Finding
			if err := json.Unmarshal([]byte(got), &found); err != nil {
				t.Fatalf("%v:\n%s", err, got)
			}
			for _, f := range found {
				named := func(p explain.Problem) bool { return p.Kind == f.Kind && p.Name == f.Name && p.Reason == f.Reason }
				if !slices.ContainsFunc(before.Problems, named) {
					t.Errorf("validate finds %+v, which check does not name", f)
				}
			}
		})
	}
}

func theirs(kind, version, name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": metallb.Group + "/" + version, "kind": kind,
		"metadata": map[string]any{"name": name, "namespace": "metallb-system"}, "spec": spec,
	}}
}

// served has MetalLB serve shop/web, without Baliza.
func served(w *world) {
	fresh := world{
		forbidden: w.forbidden, nodes: w.nodes, services: w.services, endpoints: w.endpoints, namespaces: w.namespaces,
	}
	*w = fresh
	svc := w.services[0]
	svc.Status.Conditions = nil
	svc.Annotations = map[string]string{"metallb.io/ip-allocated-from-pool": "lan"}
	w.metallb = []runtime.Object{
		theirs("IPAddressPool", "v1beta1", "lan", map[string]any{"addresses": []any{"192.0.2.8/29"}}),
		theirs("L2Advertisement", "v1beta1", "lan", map[string]any{}),
	}
}

func TestMigrateCluster(t *testing.T) {
	for name, one := range map[string]struct {
		set    func(*world)
		ask    string
		status int
	}{
		"cluster": {served, "migrate check", command.StatusWell},
		// Another Service holds what web has: only one of them keeps it.
		"cluster-changes": {func(w *world) {
			served(w)
			other := service("api")
			other.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.10"}}
			w.services = append(w.services, other)
		}, "migrate check", command.StatusWrong},
		"cluster-peer": {func(w *world) {
			served(w)
			w.metallb = append(w.metallb, theirs("BGPPeer", "v1beta2", "router", map[string]any{
				"myASN": int64(64512), "peerASN": int64(64500), "peerAddress": "192.0.2.1", "holdTime": "30s",
			}), theirs("BGPAdvertisement", "v1beta1", "lan", map[string]any{"peers": []any{"router"}}))
		}, "migrate check -o wide", command.StatusWell},
		"cluster-beside": {func(w *world) {
			w.metallb = []runtime.Object{theirs("IPAddressPool", "v1beta1", "lan", map[string]any{"addresses": []any{"192.0.2.10-192.0.2.11"}})}
		}, "migrate check", command.StatusWell},
		"cluster-has-none":   {nil, "migrate check", command.StatusUnknown},
		"of-whom":            {nil, "migrate check --from other", command.StatusUnknown},
		"what":               {nil, "migrate", command.StatusUnknown},
		"write-where":        {nil, "migrate write", command.StatusUnknown},
		"files-without":      {nil, "migrate check -f testdata/manifests", command.StatusUnknown},
		"reader-of-services": {func(w *world) { served(w); w.forbidden["nodes"] = true }, "migrate check", command.StatusUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			if one.set != nil {
				one.set(w)
			}
			w.expect(t, "migrate-"+name, one.ask, one.status)
		})
	}
}
