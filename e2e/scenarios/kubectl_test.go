package scenarios

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// baliza runs kubectl baliza, which is to say something.
func (p *plot) baliza(ctx context.Context, wrong bool, args ...string) string {
	p.t.Helper()
	out, err := p.KubectlBaliza(ctx, args...)
	if (err != nil) != wrong {
		p.t.Fatalf("kubectl baliza %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// K02: who answers for an address is asked on the network by another node than its
// owner, and another host that answers, too, is found, though no speaker has heard it.
func TestK02_The_network_is_asked_who_answers(t *testing.T) {
	ctx, p := newPlot(t, 1)
	for name, family := range map[string]corev1.IPFamily{"v4": corev1.IPv4Protocol, "v6": corev1.IPv6Protocol} {
		p.service(ctx, name, func(svc *corev1.Service) { svc.Spec.IPFamilies = []corev1.IPFamily{family} })
		text := p.addresses(ctx, name, 1)
		p.announced(ctx, name)
		owner := p.owner(ctx, netip.MustParseAddr(text))
		host, err := p.Host(owner)
		p.must(err)

		out := p.baliza(ctx, false, "explain", "service", name, "-n", p.name, "--probe")
		answers := regexp.MustCompile(`(?m)^`+host.MAC.String()+` +`+owner+` +eth0 +[0-9.]+ms +port 80 accepts, after [0-9.]+ms$`).FindAllString(out, -1)
		if len(answers) != 1 || strings.Contains(out, "asked: ") || !strings.Contains(out, "On the wire  node ") {
			t.Errorf("%s is answered for by %s alone, at %s:\n%s", text, owner, host.MAC, out)
		}
		mac, leave := p.otherHost(ctx, text)
		out = p.baliza(ctx, true, "explain", "address", text, "--probe")
		if !strings.Contains(out, "AddressConflict: another host on the network answers for "+text+": "+mac) {
			t.Errorf("another host, %s, answers for %s, too:\n%s", mac, text, out)
		}
		leave()
		p.baliza(ctx, false, "explain", "address", text, "--probe")
	}
}

// K02: after a failure it can be asked when, from where to where and why an address
// moved, and for how long nobody answered.
func TestK02_The_history_of_an_address_is_told(t *testing.T) {
	ctx, p := newPlot(t, 3)
	p.service(ctx, "web", nil)
	text := p.addresses(ctx, "web", 1)
	address := netip.MustParseAddr(text)
	p.announced(ctx, "web")
	before := p.owner(ctx, address)
	p.must(p.Cut(before))
	healed := false
	heal := func() {
		if !healed {
			healed = true
			p.must(p.Heal(before))
		}
	}
	t.Cleanup(heal)
	var after string
	p.must(lab.WaitFor(ctx, "another owner of "+text, func() (bool, error) {
		nodes, err := p.Answerers(ctx, "c1", address)
		if err != nil || len(nodes) != 1 {
			return false, err
		}
		after = nodes[0]
		return after != before, nil
	}))
	heal()
	p.waitAllReady(ctx)
	want := regexp.MustCompile(`(?m)^20\S+Z +\S+ +` + regexp.QuoteMeta(text) + ` +` + before + ` +` + after + ` +NodeFailed +[0-9.]+m?s$`)
	var out string
	err := lab.WaitFor(ctx, "the history of "+text, func() (bool, error) {
		out = p.baliza(ctx, false, "history", text)
		return want.MatchString(out) && !strings.Contains(out, "Brief"), nil
	})
	if err != nil {
		t.Errorf("it went from %s to %s as the first failed: %v\n%s", before, after, err, out)
	}
	t.Log("\n" + out)
	// It stands in the Speaker, too, for those who may not ask it.
	p.must(lab.WaitFor(ctx, "the move in the Speaker of "+after, func() (bool, error) {
		speaker, err := p.Baliza.BalizaV1beta1().Speakers().Get(ctx, after, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return slices.ContainsFunc(speaker.Status.Moves, func(m v1beta1.AddressMove) bool {
			return m.Address == text && m.From == before && m.To == after && m.Cause == v1beta1.MoveNodeFailed
		}), nil
	}))
}

// K02: the archive for a bug report has what each pod says, and no password.
func TestK02_A_dump_has_no_password(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.service(ctx, "web", annotated("example.org/note", "hunter2"))
	text := p.addresses(ctx, "web", 1)
	p.announced(ctx, "web")
	p.must(p.Apply(ctx, `
apiVersion: baliza.io/v1beta1
kind: BGPPeer
metadata: {name: `+p.name+`, annotations: {example.org/note: hunter2}}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.254, password: hunter2, nodeSelectors: [{matchLabels: {no: such}}]}
`))
	name := filepath.Join(t.TempDir(), "dump.tar.gz")
	t.Log(p.baliza(ctx, false, "dump", "-f", name))
	file, err := os.Open(name)
	p.must(err)
	t.Cleanup(func() { _ = file.Close() })
	compressed, err := gzip.NewReader(file)
	p.must(err)
	logs, metrics := 0, 0
	for r := tar.NewReader(compressed); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		p.must(err)
		data, err := io.ReadAll(r)
		p.must(err)
		content := string(data)
		if strings.Contains(content, "hunter2") {
			t.Errorf("%s has the password", header.Name)
		}
		switch _, name, _ := strings.Cut(header.Name, "/"); {
		case strings.HasPrefix(name, "logs/") && strings.Contains(content, `"level":`):
			logs++
		case strings.HasPrefix(name, "metrics/") && strings.Contains(content, "baliza_build_info"):
			metrics++
		case name == "objects/bgppeers.yaml" && !strings.Contains(content, "password: (removed)"),
			name == "objects/services.yaml" && !strings.Contains(content, text),
			name == "README.txt" && strings.Contains(content, "Not there"):
			t.Errorf("%s:\n%s", name, content)
		}
	}
	// Three speakers and a controller, at least.
	if logs < 4 || metrics < 4 {
		t.Errorf("%d logs and %d metrics of pods", logs, metrics)
	}
}

// K01: on a cluster in which all is well no check fails, and the network bears it out. The
// clocks, the kinds and the permissions are the real ones. Kinds and permissions are known
// of the command's own version alone, which need not be that of the images here.
func TestK01_Check_on_a_healthy_cluster(t *testing.T) {
	ctx, p := newPlot(t, 1)
	p.service(ctx, "web", nil)
	text := p.addresses(ctx, "web", 1)
	p.announced(ctx, "web")
	out := ""
	err := lab.WaitFor(ctx, "a check that finds nothing wrong", func() (bool, error) {
		var err error // conditions of what was made a moment ago may lag behind
		out, err = p.KubectlBaliza(ctx, "check", "--probe")
		return err == nil, nil
	})
	t.Log("\n" + out)
	p.must(err)
	for _, id := range []string{
		"KubernetesVersion", "OtherProviders", "EligibleNodes", "Clocks", "OneInstallation", "ControllerReady", "SpeakersReady", "MembershipKey",
		"MembersHeard", "BGPSessions", "Configuration", "PoolOverlap", "Quarantine", "Services", "OneOwner", "OneAnswer",
	} {
		if !regexp.MustCompile(`(?m)^ok +` + id + ` `).MatchString(out) {
			t.Errorf("%s is not ok", id)
		}
	}
	for _, id := range []string{"CustomResourceDefinitions", "Permissions"} {
		if !regexp.MustCompile(`(?m)^(ok +` + id + ` |not checked +` + id + ` .*the cluster runs \S+ and this is )`).MatchString(out) {
			t.Errorf("%s is not ok, and the versions are not why", id)
		}
	}
	mac, leave := p.otherHost(ctx, text)
	out = p.baliza(ctx, true, "check", "--probe")
	if !regexp.MustCompile(`(?m)^FAILED +OneAnswer `).MatchString(out) || !strings.Contains(out, mac) {
		t.Errorf("another host, %s, answers for %s, too:\n%s", mac, text, out)
	}
	leave()
	// Before the installation the same cluster is fit, but for being installed already.
	out = p.baliza(ctx, false, "check", "--pre")
	if !regexp.MustCompile(`(?m)^warning +OneInstallation `).MatchString(out) || strings.Contains(out, "FAILED") {
		t.Errorf("check --pre:\n%s", out)
	}
}
