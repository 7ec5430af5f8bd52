package command_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/command"
)

// planted stands in each secret of the tests.
const planted = "hunter2"

// plant puts secrets wherever somebody may have put one.
func plant(w *world) {
	routed(w)
	w.peers[0].Spec.Password = planted + "-of-tor"
	annotate := func(o *metav1.ObjectMeta) {
		if o.Annotations == nil {
			o.Annotations = map[string]string{}
		}
		o.Annotations["kubectl.kubernetes.io/last-applied-configuration"] = `{"spec":{"password":"` + planted + `"}}`
		o.Annotations["example.org/note"] = planted
		o.Annotations["baliza.io/note"] = "password=" + planted
		o.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: planted}}
	}
	annotate(&w.peers[0].ObjectMeta)
	annotate(&w.services[0].ObjectMeta)
	annotate(&w.nodes[0].ObjectMeta)
	annotate(&w.pools[0].ObjectMeta)
	annotate(&w.speakers[0].ObjectMeta)
	annotate(&w.namespaces[0].ObjectMeta)
	annotate(&w.endpoints[0].ObjectMeta)
	annotate(&w.controller.ObjectMeta)
	annotate(&w.controller.Spec.Template.ObjectMeta)
	annotate(&w.lease.ObjectMeta)
	w.daemonSet = &appsv1.DaemonSet{ObjectMeta: named("baliza-system", "baliza-speaker")}
	w.daemonSet.Labels = map[string]string{"app.kubernetes.io/name": "baliza"}
	of := &w.daemonSet.Spec.Template
	annotate(&of.ObjectMeta)
	of.Spec.Containers = []corev1.Container{
		{Name: "speaker", Args: []string{"--log-level=info", "--some-token=" + planted, "--password", planted}, Env: []corev1.EnvVar{
			{Name: "BALIZA_LOG_LEVEL", Value: "debug"}, {Name: "HTTPS_PROXY", Value: planted}, {Name: "BALIZA_API_TOKEN", Value: planted},
		}},
		{Name: "sidecar", Image: "example.org/sidecar", Args: []string{planted}, Command: []string{planted}, Env: []corev1.EnvVar{{Name: "X", Value: planted}}},
	}
	of.Spec.InitContainers = []corev1.Container{{Name: "first", Command: []string{"sh", "-c", planted}}}
	w.speakers[1].Status.BGP.Peers[0].LastError = "the router says: its password is " + planted + "-of-tor"
	says(w.services[0], v1beta1.ConditionAnnounced, metav1.ConditionFalse, v1beta1.ReasonNoSession, "password="+planted)
	w.answers("n1", func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			_, _ = io.WriteString(rw, "baliza_build_info 1\n# password: "+planted+"\n")
			return
		}
		http.Error(rw, "token="+planted, http.StatusInternalServerError)
	})
}

// dumped runs the command, and returns the files of the archive.
func dumped(t *testing.T, w *world) (files map[string]string, out string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "dump.tar.gz")
	out, status := w.ask(t, "dump -f "+name)
	if status != command.StatusWell {
		t.Fatalf("exit status %d: %s", status, out)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	compressed, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for r := tar.NewReader(compressed); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, out
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		_, inside, _ := strings.Cut(header.Name, "/")
		files[inside] = string(data)
	}
}

// logs has the API server give logs of pods.
func (w *world) logs(lines string) {
	w.log = func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.GetSubresource() != "log" {
			return false, nil, nil
		}
		return true, &runtime.Unknown{Raw: []byte(lines)}, nil
	}
}

// K02: an archive for a bug report has everything and no secret, wherever one was.
func TestK02_ADumpHasEverythingAndNoSecret(t *testing.T) {
	w := newWorld()
	plant(w)
	w.restarted = true
	w.logs(`{"msg":"session","password":"` + planted + `"}` + "\nAuthorization: Bearer " + planted + planted + "\nits password is " + planted + "-of-tor\nthe end\n")
	files, out := dumped(t, w)
	for name, text := range files {
		if at := strings.Index(text, planted); at >= 0 {
			t.Errorf("%s: %q", name, text[max(0, at-200):min(len(text), at+50)])
		}
	}
	if strings.Contains(out, planted) {
		t.Errorf("the command prints %s", out)
	}
	for name, has := range map[string]string{
		"README.txt": "objects/services.yaml", "status.txt": "Overall", "status.yaml": "overall", "versions.yaml": "client:", "moves.yaml": "moves:",
		"objects/bgppeers.yaml": "password: (removed)", "objects/services.yaml": "192.0.2.10", "objects/speakers.yaml": "memberAddress: 192.0.2.1:7946",
		"objects/daemonsets.yaml": "--log-level=info", "objects/nodes.yaml": "name: n1", "objects/endpointslices.yaml": "nodeName: n2",
		"objects/ipaddresspools.yaml": "192.0.2.10-192.0.2.11", "objects/leases.yaml": "holderIdentity", "objects/pods.yaml": "baliza-speaker-n1",
		"logs/baliza-speaker-n1.log": "the end", "logs/baliza-speaker-n1.previous.log": "the end", "metrics/baliza-speaker-n1.txt": "baliza_build_info 1",
		"objects/bgpadvertisements.yaml": "fabric", "objects/namespaces.yaml": "shop", "objects/deployments.yaml": "baliza-controller",
	} {
		if !strings.Contains(files[name], has) {
			t.Errorf("%s has no %q:\n%.400s", name, has, files[name])
		}
	}
	if !strings.Contains(files["objects/daemonsets.yaml"], "value: debug") || !strings.Contains(files["objects/daemonsets.yaml"], "example.org/sidecar") {
		t.Errorf("what is no secret is not there: %s", files["objects/daemonsets.yaml"])
	}
	for _, action := range slices.Concat(w.kubernetes.Actions(), w.custom.Actions()) {
		if resource := action.GetResource().Resource; resource == "secrets" || resource == "configmaps" {
			t.Errorf("a request to %s %s", action.GetVerb(), resource)
		}
	}
	t.Log(slices.Sorted(maps.Keys(files)))
}

// What may not be read is said, and the rest is there; a file that exists stays.
func TestADumpSaysWhatIsMissing(t *testing.T) {
	w := newWorld()
	w.hears("n2")
	w.forbidden["pods"], w.forbidden["leases"] = true, true
	files, out := dumped(t, w)
	for _, text := range []string{files["README.txt"], out} {
		if !strings.Contains(text, "you may not list leases") || !strings.Contains(text, "pods, their logs and their metrics: ") {
			t.Errorf("it does not say what is missing: %s", text)
		}
	}
	if files["objects/services.yaml"] == "" || files["moves.yaml"] == "" {
		t.Error("the rest is not there")
	}
	name := filepath.Join(t.TempDir(), "there.tar.gz")
	if err := os.WriteFile(name, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, status := w.ask(t, "dump -f "+name); status != command.StatusUnknown {
		t.Errorf("exit status %d: %s", status, out)
	}
	if data, err := os.ReadFile(name); err != nil || string(data) != "mine" {
		t.Errorf("the file is %q now (%v)", data, err)
	}
}
