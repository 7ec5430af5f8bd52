package install

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

const (
	// ceiling catches a hang; installing takes seconds.
	ceiling = 5 * time.Minute
	release = "baliza"
	// pool4 are the addresses that values give.
	pool4 = "198.19.200.0/28"
)

// helms are both majors, by their programs.
func helms() []string { return []string{"helm", "helm3"} }

// start builds an empty cluster, which ends with the process.
var start = sync.OnceValues(func() (*cluster.Cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), ceiling)
	defer cancel()
	return cluster.StartEmpty(ctx, lab.Config{Nodes: 2})
})

// site is the cluster in the hands of a test.
type site struct {
	*cluster.Cluster
	t *testing.T
	// helm is the program in use.
	helm string
}

// begin returns the cluster without Baliza in it, and without its CRDs.
func begin(t *testing.T, helm string) (context.Context, *site) {
	t.Helper()
	c, err := start()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), ceiling)
	t.Cleanup(cancel)
	t.Cleanup(func() { c.DumpOnFailure(t) })
	s := &site{Cluster: c, t: t, helm: helm}
	t.Cleanup(s.clear)
	return ctx, s
}

// clear removes whatever a test left.
func (s *site) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	_, _ = s.Helm(ctx, "uninstall", release, "--namespace", cluster.Namespace, "--ignore-not-found", "--wait")
	for _, args := range [][]string{
		{"delete", "services", "-n", "web", "--all", "--wait=false"},
		{"delete", "namespace", cluster.Namespace, "--ignore-not-found"},
		{"delete", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/name=baliza"},
	} {
		if _, err := s.Kubectl(ctx, args...); err != nil {
			s.t.Error(err)
		}
	}
	crds, err := s.crds(ctx)
	if err != nil {
		s.t.Error(err)
	}
	if len(crds) == 0 {
		return
	}
	if _, err := s.Kubectl(ctx, append([]string{"delete", "crd"}, crds...)...); err != nil {
		s.t.Error(err)
	}
}

// crds are the names of ours that the API server has.
func (s *site) crds(ctx context.Context) ([]string, error) {
	out, err := s.Kubectl(ctx, "get", "crd", "-o", `jsonpath={range .items[?(@.spec.group=="baliza.io")]}{.metadata.name}{"\n"}{end}`)
	return strings.Fields(out), err
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// Helm runs the program of this test. What the chart's tasks say it shows among
// its complaints; they are returned with the rest.
func (s *site) Helm(ctx context.Context, args ...string) (string, error) {
	return s.Cluster.Helm(ctx, s.helm, args...)
}

// deploy installs or upgrades the release from a chart, and waits.
func (s *site) deploy(ctx context.Context, verb, chart, values string, options ...string) string {
	s.t.Helper()
	out, err := s.tryDeploy(ctx, verb, chart, values, options...)
	s.must(err)
	return out
}

func (s *site) tryDeploy(ctx context.Context, verb, chart, values string, options ...string) (string, error) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "values.yaml")
	s.must(os.WriteFile(file, []byte(values), 0o600))
	args := []string{verb, release, chart, "--namespace", cluster.Namespace, "--wait", "--timeout", "120s", "--values", file}
	if verb == "install" {
		args = append(args, "--create-namespace")
	}
	return s.Helm(ctx, append(args, options...)...)
}

// uninstall removes the release, and says what Helm said.
func (s *site) uninstall(ctx context.Context) string {
	s.t.Helper()
	out, err := s.Helm(ctx, "uninstall", release, "--namespace", cluster.Namespace, "--wait", "--timeout", "120s")
	s.must(err)
	return out
}

// chart is that of the tree under test.
func (s *site) chart() string {
	s.t.Helper()
	dir, err := cluster.Chart()
	s.must(err)
	return dir
}

// chartCRDs is how many CRDs the chart has.
func (s *site) chartCRDs() int {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.chart(), "crds", "*.yaml"))
	s.must(err)
	if len(files) == 0 {
		s.t.Fatalf("no CRD in %s", s.chart())
	}
	return len(files)
}

// chartBefore is the chart of commit d4361b1, which had its CRDs in crds/ and
// never upgraded them ("git archive d4361b1 deploy/helm/baliza"). The programs of
// now, which it starts, have another name for one of its flags.
func (s *site) chartBefore() string {
	s.t.Helper()
	dir := s.t.TempDir()
	if out, err := exec.Command("tar", "-xzf", "testdata/chart-before.tar.gz", "-C", dir).CombinedOutput(); err != nil {
		s.t.Fatalf("the chart before: %v: %s", err, out)
	}
	chart := filepath.Join(dir, "deploy", "helm", "baliza")
	speaker := filepath.Join(chart, "templates", "speaker.yaml")
	text, err := os.ReadFile(speaker)
	s.must(err)
	now := strings.Replace(string(text), "- --profile=", "- --failure-detection-profile=", 1)
	if now == string(text) {
		s.t.Fatal("the chart before has no flag --profile")
	}
	s.must(os.WriteFile(speaker, []byte(now), 0o600))
	return chart
}

// lan are values with one pool that is announced on the LAN.
const lan = "{pools: {lan: {spec: {addresses: [" + pool4 + "]}}}, l2Advertisements: {lan: {spec: {ipAddressPools: [lan]}}}}"

// web makes web pods and a Service of that name in front of them, and returns
// the address that it is given.
func (s *site) web(ctx context.Context, name string) netip.Addr {
	s.t.Helper()
	s.must(s.Web(ctx, "web", 2))
	_, err := s.Service(ctx, "web", name, nil)
	s.must(err)
	return s.address(ctx, name)
}

func (s *site) address(ctx context.Context, name string) netip.Addr {
	s.t.Helper()
	all, err := s.WaitAddresses(ctx, "web", name, 1)
	s.must(err)
	return all[0]
}

// answers waits until the client gets an answer from the address.
func (s *site) answers(ctx context.Context, a netip.Addr) {
	s.t.Helper()
	s.must(lab.WaitFor(ctx, a.String()+" to answer", func() (bool, error) {
		_, _, err := s.Fetch(ctx, "c1", a)
		return err == nil, nil
	}))
}

func (s *site) get(ctx context.Context, name string) *corev1.Service {
	s.t.Helper()
	svc, err := s.Client.CoreV1().Services("web").Get(ctx, name, metav1.GetOptions{})
	s.must(err)
	return svc
}

// gone waits until the Service is no more.
func (s *site) gone(ctx context.Context, name string) {
	s.t.Helper()
	s.must(lab.WaitFor(ctx, "Service "+name+" to go", func() (bool, error) {
		_, err := s.Client.CoreV1().Services("web").Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	}))
}
