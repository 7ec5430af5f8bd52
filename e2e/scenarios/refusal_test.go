package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/baliza-lb/baliza/api/client/clientset/versioned"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

func TestRefused_at_the_start_in_one_clear_sentence(t *testing.T) {
	ctx, p := newPlot(t, 1)
	dir, err := p.Dir("refusal")
	p.must(err)
	bin, err := filepath.Abs(lab.BinDir())
	p.must(err)
	n1, err := p.Host("n1")
	p.must(err)
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		p.must(os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	kubeconfig, key := file("kubeconfig", kubeconfigOf(p.t, p.Admin)), file("key", strings.Repeat("A", 43)+"=\n")

	// As the chart starts them, but for the ports: the speaker of the node has
	// taken those. A flag that is given again wins.
	controller := []string{filepath.Join(bin, "controller"), "--kubeconfig=" + kubeconfig, "--admin-address=:17472", "--namespace=" + cluster.Namespace}
	speaker := []string{
		filepath.Join(bin, "speaker"), "--kubeconfig=" + kubeconfig, "--admin-address=:17473", "--member-port=17946",
		"--node-name=n1", "--member-address=" + n1.IPv4.String(), "--membership-key-file=" + key,
	}
	with := func(program []string, more ...string) []string { return slices.Concat(program, more) }
	unprivileged := []string{"setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"}
	for name, c := range map[string]struct {
		argv   []string
		status int
		words  []string
	}{
		"speaker, admin port taken":           {with(speaker, "--admin-address=:7473"), 1, []string{":7473", "--admin-address", "in use"}},
		"speaker, member port taken":          {with(speaker, "--member-port=7946"), 1, []string{n1.IPv4.String() + ":7946", "--member-port", "taken"}},
		"speaker, address of another":         {with(speaker, "--member-address=203.0.113.9"), 1, []string{"203.0.113.9", "--member-address"}},
		"speaker, address is garbage":         {with(speaker, "--member-address=n1"), 1, []string{`"n1"`, "--member-address"}},
		"speaker, no key file":                {with(speaker, "--membership-key-file=/nowhere/key"), 1, []string{"membership key file", "/nowhere/key"}},
		"speaker, key is garbage":             {with(speaker, "--membership-key-file="+file("bad", "secret\n")), 1, []string{"membership key file", "line 1"}},
		"speaker, key is short":               {with(speaker, "--membership-key-file="+file("short", "AAAA\n")), 1, []string{"membership key file", "32"}},
		"speaker, no privilege":               {with(unprivileged, speaker...), 1, []string{"NET_RAW", "eth0"}},
		"speaker, not in a pod":               {with(speaker, "--kubeconfig="), 1, []string{"--kubeconfig", "pod"}},
		"speaker, kubeconfig missing":         {with(speaker, "--kubeconfig=/nowhere/kubeconfig"), 1, []string{"/nowhere/kubeconfig"}},
		"speaker, no node name":               {with(speaker, "--node-name="), 1, []string{"--node-name"}},
		"speaker, unknown flag":               {with(speaker, "--nonsense"), 2, []string{"--nonsense"}},
		"speaker, number is garbage":          {with(speaker, "--member-port=many"), 2, []string{"--member-port", "many"}},
		"controller, admin port taken":        {with(controller, "--admin-address=:7473"), 1, []string{":7473", "--admin-address", "in use"}},
		"controller, not in a pod":            {with(controller, "--kubeconfig="), 1, []string{"--kubeconfig", "pod"}},
		"controller, kubeconfig missing":      {with(controller, "--kubeconfig=/nowhere/kubeconfig"), 1, []string{"/nowhere/kubeconfig"}},
		"controller, kubeconfig is garbage":   {with(controller, "--kubeconfig="+file("garbage", "{")), 1, []string{filepath.Join(dir, "garbage")}},
		"controller, no namespace":            {with(controller, "--namespace="), 1, []string{"--namespace"}},
		"controller, too many writes at once": {with(controller, "--concurrent-service-writes=9999"), 1, []string{"--concurrent-service-writes", "9999"}},
		"controller, unknown log level":       {with(controller, "--log-level=loud"), 2, []string{"--log-level", "loud"}},
	} {
		t.Run(name, func(t *testing.T) {
			status, sentence := p.start(ctx, t, c.argv)
			t.Log(sentence)
			if status != c.status {
				t.Errorf("exit status %d, want %d", status, c.status)
			}
			for _, word := range c.words {
				if !strings.Contains(sentence, word) {
					t.Errorf("no %q in: %s", word, sentence)
				}
			}
			if strings.Contains(sentence, "\n") || strings.Contains(sentence, "secret") || len(sentence) > 300 {
				t.Errorf("not one short sentence: %s", sentence)
			}
		})
	}
}

// start runs a program of ours on n1 by hand, and returns its exit status and
// the one complaint that it ended with: of an error line in its log, or all that
// it wrote if it did not get as far as to have a log.
func (p *plot) start(ctx context.Context, t *testing.T, argv []string) (status int, sentence string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := p.Exec(ctx, "n1", append([]string{"sh", "-c", `exec "$@" 2>&1`, "sh"}, argv...)...)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() < 0 {
		t.Fatalf("it did not end by itself: %v\n%s", err, out)
	}
	var complaints []string
	for line := range strings.Lines(out) {
		var entry struct{ Level, Msg, Error string }
		switch err := json.Unmarshal([]byte(line), &entry); {
		case err != nil:
			complaints = append(complaints, strings.TrimSpace(line))
		case entry.Level == "ERROR" || entry.Level == "WARN":
			complaints = append(complaints, entry.Error)
		}
	}
	if len(complaints) != 1 {
		t.Errorf("want one complaint:\n%s", out)
	}
	return exit.ExitCode(), strings.Join(complaints, "\n")
}

// kubeconfigOf writes down what a client needs.
func kubeconfigOf(t *testing.T, from *rest.Config) string {
	t.Helper()
	k := clientcmdapi.NewConfig()
	k.Clusters["lab"] = &clientcmdapi.Cluster{Server: from.Host, CertificateAuthorityData: from.CAData}
	k.AuthInfos["lab"] = &clientcmdapi.AuthInfo{ClientCertificateData: from.CertData, ClientKeyData: from.KeyData}
	k.Contexts["lab"] = &clientcmdapi.Context{Cluster: "lab", AuthInfo: "lab"}
	k.CurrentContext = "lab"
	data, err := clientcmd.Write(*k)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRefused_is_a_speaker_that_writes_what_is_not_its_own(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.service(ctx, "web", nil)
	p.addresses(ctx, "web", 1)
	p.ready(ctx, "bspk/n1", "True", "Announcing")
	p.ready(ctx, "bspk/n2", "True", "Announcing")
	try := metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}
	lie := []byte(`{"status":{"version":"a lie"}}`)
	type attempt func(core kubernetes.Interface, baliza versioned.Interface) error
	speaker := func(name string) attempt {
		return func(_ kubernetes.Interface, baliza versioned.Interface) error {
			_, err := baliza.BalizaV1beta1().Speakers().Patch(ctx, name, types.MergePatchType, lie, try, "status")
			return err
		}
	}
	member := func(name string) attempt {
		return func(_ kubernetes.Interface, baliza versioned.Interface) error {
			_, err := baliza.BalizaV1beta1().Members().Patch(ctx, name, types.MergePatchType, []byte(`{"status":{"memberAddress":"a lie"}}`), try, "status")
			return err
		}
	}
	create := func(name string) attempt {
		return func(_ kubernetes.Interface, baliza versioned.Interface) error {
			_, err := baliza.BalizaV1beta1().Speakers().Create(ctx, &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: name}},
				metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		}
	}
	service := func(patch string, subresources ...string) attempt {
		return func(core kubernetes.Interface, _ versioned.Interface) error {
			_, err := core.CoreV1().Services(p.name).Patch(ctx, "web", types.MergePatchType, []byte(patch), try, subresources...)
			return err
		}
	}
	for name, c := range map[string]struct {
		node string
		do   attempt
		// says is what the refusal must say; empty means that there must be none.
		says string
	}{
		"its own status":               {"n1", speaker("n1"), ""},
		"its own object, made anew":    {"n9", create("n9"), ""},
		"another's status":             {"n1", speaker("n2"), "the speaker of node n1 may not write Speaker n2"},
		"its own Member":               {"n1", member("n1"), ""},
		"another's Member":             {"n1", member("n2"), "the speaker of node n1 may not write Member n2"},
		"another's object, made anew":  {"n1", create("n9"), "the speaker of node n1 may not write Speaker n9"},
		"a status, from no known node": {"", speaker("n1"), "the speaker of node (unknown) may not write Speaker n1"},
		"a Service":                    {"n1", service(`{"metadata":{"labels":{"a":"lie"}}}`), `cannot patch resource "services"`},
		"a Service's status": {
			"n1", service(`{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.66"}]}}}`, "status"),
			`cannot patch resource "services/status"`,
		},
		"a pool": {"n1", func(_ kubernetes.Interface, baliza versioned.Interface) error {
			_, err := baliza.BalizaV1beta1().IPAddressPools().Patch(ctx, p.name, types.MergePatchType, []byte(`{"spec":{"autoAssign":false}}`), try)
			return err
		}, `cannot patch resource "ipaddresspools"`},
		"another's object, deleted": {"n1", func(_ kubernetes.Interface, baliza versioned.Interface) error {
			return baliza.BalizaV1beta1().Speakers().Delete(ctx, "n2", metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
		}, `cannot delete resource "speakers"`},
		"the membership key, read from the API": {"n1", func(core kubernetes.Interface, _ versioned.Interface) error {
			_, err := core.CoreV1().Secrets(cluster.Namespace).Get(ctx, "baliza-membership", metav1.GetOptions{})
			return err
		}, `cannot get resource "secrets"`},
		"the Secrets of Baliza's namespace, listed": {"n1", func(core kubernetes.Interface, _ versioned.Interface) error {
			_, err := core.CoreV1().Secrets(cluster.Namespace).List(ctx, metav1.ListOptions{})
			return err
		}, `cannot list resource "secrets"`},
		"the passwords of BGP peers": {"n1", func(core kubernetes.Interface, _ versioned.Interface) error {
			_, err := core.CoreV1().Secrets(cluster.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=baliza-bgp-passwords"})
			return err
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			core, baliza := p.asSpeaker(c.node)
			err := c.do(core, baliza)
			switch {
			case c.says == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.says != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), c.says)):
				t.Errorf("want it forbidden with %q, got %v", c.says, err)
			}
		})
	}
}

// asSpeaker are clients with the identity that the token of a speaker's pod has
// on a node; without a name, that of a token that no pod is bound to.
func (p *plot) asSpeaker(node string) (kubernetes.Interface, versioned.Interface) {
	p.t.Helper()
	config := rest.CopyConfig(p.Admin)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: fmt.Sprintf("system:serviceaccount:%s:baliza-speaker", cluster.Namespace),
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + cluster.Namespace, "system:authenticated"},
	}
	if node != "" {
		config.Impersonate.Extra = map[string][]string{"authentication.kubernetes.io/node-name": {node}}
	}
	core, err := kubernetes.NewForConfig(config)
	p.must(err)
	baliza, err := versioned.NewForConfig(config)
	p.must(err)
	return core, baliza
}
