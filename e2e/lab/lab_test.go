package lab

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func itoa(n int) string { return strconv.Itoa(n) }
func atoi(s string) int { n, _ := strconv.Atoi(s); return n }

func TestAddressesAreReservedForDocumentation(t *testing.T) {
	var reserved []netip.Prefix
	for _, p := range []string{"192.0.2.0/24", "198.18.0.0/15", "2001:db8::/32"} {
		reserved = append(reserved, netip.MustParsePrefix(p))
	}
	var ours []netip.Addr
	for _, p := range []string{LAN4, LAN6, Pods4, Pods6, Service4, Service6, VIPs4, VIPs6} {
		ours = append(ours, netip.MustParsePrefix(p).Addr())
	}
	for n := 1; n <= 89; n++ {
		h := newHost("x", 10+n)
		p4, p6 := podRanges(n)
		a4, a6 := podAddresses(n, 254)
		if !p4.Contains(a4) || !p6.Contains(a6) {
			t.Errorf("pod addresses %s %s outside %s %s", a4, a6, p4, p6)
		}
		ours = append(ours, h.IPv4, h.IPv6, p4.Addr(), p6.Addr())
	}
	for _, a := range ours {
		if !slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) }) {
			t.Errorf("%s is nobody's to use", a)
		}
	}
}

func TestHardwareAddressesAreLocalAndDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, kind := range []byte{macHost, macSwitch, macPod, macPodEnd} {
		for n := 1; n < 255; n++ {
			v4, _ := lanAddresses(n)
			m := mac(kind, v4)
			if m[0]&3 != 2 {
				t.Fatalf("%s is not a locally administered unicast address", m)
			}
			if seen[m.String()] {
				t.Fatalf("%s occurs twice", m)
			}
			seen[m.String()] = true
		}
	}
}

func TestControlPlaneArgumentsNameTheirFiles(t *testing.T) {
	all := strings.Join(slices.Concat(apiServerArgs("/x"), controllerManagerArgs("/x", "/x/k"), schedulerArgs("/x/k")), " ")
	for _, want := range []string{
		"--authorization-mode=Node,RBAC", "NodeRestriction", "--service-cluster-ip-range=198.19.0.0/17,2001:db8:3::/112",
		"--service-account-signing-key-file=/x/sa.key", "--root-ca-file=/x/ca.crt", "--kubeconfig=/x/k",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %s", want, all)
		}
	}
}

func TestFailuresAreToldFromBrokenConnections(t *testing.T) {
	no := errors.New("no")
	r := report([]Attempt{{}, {Connected: true}, {Err: no}, {Err: no, Connected: true}, {Err: no, Connected: true}})
	if r.Broken() != 2 || len(r.Failures) != 3 {
		t.Errorf("%d of %d were broken", r.Broken(), len(r.Failures))
	}
}

func TestReport(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }
	good := func(start, latency int) Attempt {
		return Attempt{Start: at(start), Latency: time.Duration(latency) * time.Millisecond, Pod: "p", Node: "n"}
	}
	bad := func(start, latency int) Attempt {
		a := good(start, latency)
		a.Err = errors.New("no")
		return a
	}
	for name, c := range map[string]struct {
		all              []Attempt
		outage, begin    int
		successes, fails int
	}{
		"nothing tried":                                {nil, 0, 0, 0, 0},
		"all well":                                     {[]Attempt{good(0, 1), good(10, 1), good(20, 1)}, 10, 1, 3, 0},
		"an outage in the middle":                      {[]Attempt{good(0, 1), bad(10, 100), bad(20, 100), good(200, 1)}, 200, 1, 2, 2},
		"an outage that outlasts the probing":          {[]Attempt{good(0, 1), bad(10, 500)}, 509, 1, 1, 1},
		"never an answer":                              {[]Attempt{bad(0, 100), bad(10, 100)}, 110, 0, 0, 2},
		"a late answer does not count as an early one": {[]Attempt{good(0, 1), good(10, 900), good(905, 1)}, 905, 1, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := report(c.all)
			if r.Outage != time.Duration(c.outage)*time.Millisecond || r.Successes != c.successes || len(r.Failures) != c.fails {
				t.Errorf("got %s, %d failures", r, len(r.Failures))
			}
			if len(c.all) > 0 && !r.OutageStart.Equal(at(c.begin)) {
				t.Errorf("the outage began at %s", r.OutageStart.Sub(at(0)))
			}
		})
	}
}

func TestReadAnswer(t *testing.T) {
	pod, node, err := readAnswer(strings.NewReader("HTTP/1.0 200 OK\r\n\r\nweb-1 n2 192.0.2.100:5\n"))
	if pod != "web-1" || node != "n2" || err != nil {
		t.Errorf("got %q %q %v", pod, node, err)
	}
	if _, _, err := readAnswer(strings.NewReader("HTTP/1.0 503 No\r\n\r\n")); err == nil {
		t.Error("a 503 is no answer")
	}
}

func TestParsePackets(t *testing.T) {
	got := parsePackets("tcpdump: listening on eth0, link-type EN10MB\n" +
		"1700000000.000000001 02:00 > 02:01, ARP, Reply 192.0.2.11 is-at 02:00, length 28\n" +
		"1 packet captured\n0 packets dropped by kernel\n")
	if len(got) != 1 || !got[0].Time.Equal(time.Unix(1700000000, 1)) || !strings.HasSuffix(got[0].Text, "length 28") {
		t.Errorf("got %v", got)
	}
}

func TestImages(t *testing.T) {
	images := map[string]Image{"lab/web": {Path: "web"}, "controller": {Path: "controller"}}
	for image, want := range map[string]string{
		"lab/web": "web", "lab/web:v1": "web", "registry.example:5000/lab/web:v1": "web",
		"ghcr.io/baliza-lb/controller@sha256:00": "controller",
	} {
		if got, err := findImage(images, image); err != nil || got.Path != want {
			t.Errorf("%s: %v %v", image, got, err)
		}
	}
	if _, err := findImage(images, "nginx"); err == nil {
		t.Error("found an image that is not there")
	}
}

func testPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", Labels: map[string]string{"app": "a"}},
		Spec:       corev1.PodSpec{NodeName: "n1", ServiceAccountName: "sa"},
	}
}

func testReferences() references {
	missing := func(name string) error { return apierrors.NewNotFound(schema.GroupResource{Resource: "x"}, name) }
	return references{
		configMap: func(_ context.Context, name string) (*corev1.ConfigMap, error) {
			if name != "map" {
				return nil, missing(name)
			}
			return &corev1.ConfigMap{Data: map[string]string{"k": "v"}}, nil
		},
		secret: func(_ context.Context, name string) (*corev1.Secret, error) { return nil, missing(name) },
	}
}

func TestEnvironment(t *testing.T) {
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	c := &corev1.Container{
		EnvFrom: []corev1.EnvFromSource{
			{Prefix: "M_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "map"}}},
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "gone"}, Optional: new(true)}},
		},
		Env: []corev1.EnvVar{
			{Name: "NODE", ValueFrom: field("spec.nodeName")},
			{Name: "NAME", ValueFrom: field("metadata.name")},
			{Name: "APP", ValueFrom: field("metadata.labels['app']")},
			{Name: "IP", ValueFrom: field("status.podIP")},
			{Name: "IPS", ValueFrom: field("status.podIPs")},
			{Name: "HOST", ValueFrom: field("status.hostIP")},
			{Name: "BOTH", Value: "$(NODE)/$(M_k) $$(NODE) $(NONE)"},
			{Name: "OPTIONAL", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
				Key: "none", Optional: new(true),
				LocalObjectReference: corev1.LocalObjectReference{Name: "map"},
			}}},
		},
		Args: []string{"--node=$(NODE)"},
	}
	v, err := environmentOf(t.Context(), testPod(), c, []string{"198.18.1.2", "2001:db8:2:1::2"}, []string{"192.0.2.11"}, testReferences())
	if err != nil {
		t.Fatal(err)
	}
	got := v.list()[5:] // after what every container gets
	want := []string{
		"M_k=v", "NODE=n1", "NAME=p", "APP=a", "IP=198.18.1.2", "IPS=198.18.1.2,2001:db8:2:1::2", "HOST=192.0.2.11",
		"BOTH=n1/v $(NODE) $(NONE)",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := commandLine(c, Image{Path: "/bin/web", Args: []string{"serve"}}, v); !slices.Equal(got, []string{"/web", "serve", "--node=n1"}) {
		t.Errorf("command line %q", got)
	}
	c.Command = []string{"/other"}
	if got := commandLine(c, Image{Path: "/bin/web", Args: []string{"serve"}}, v); !slices.Equal(got, []string{"/other", "--node=n1"}) {
		t.Errorf("command line %q", got)
	}
	c.Env = []corev1.EnvVar{{Name: "X", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		Key:                  "k",
		LocalObjectReference: corev1.LocalObjectReference{Name: "gone"},
	}}}}
	if _, err := environmentOf(t.Context(), testPod(), c, nil, nil, testReferences()); err == nil || !strings.Contains(err.Error(), "variable X") {
		t.Errorf("a missing secret: %v", err)
	}
}

func TestPrivileges(t *testing.T) {
	speaker := &corev1.SecurityContext{
		RunAsUser: new(int64(0)), AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_RAW"}},
	}
	for name, c := range map[string]struct {
		pod       *corev1.PodSecurityContext
		container *corev1.SecurityContext
		image     int
		want      privileges
	}{
		"nothing asked":         {nil, nil, 0, privileges{capabilities: usualCapabilities()}},
		"the image has a user":  {nil, nil, 65532, privileges{uid: 65532, gid: 65532, capabilities: usualCapabilities()}},
		"all dropped but one":   {nil, speaker, 65532, privileges{capabilities: []string{"NET_RAW"}, noNewPrivileges: true, readOnlyRoot: true}},
		"the container decides": {&corev1.PodSecurityContext{RunAsUser: new(int64(1))}, speaker, 0, privileges{capabilities: []string{"NET_RAW"}, noNewPrivileges: true, readOnlyRoot: true}},
		"the pod has groups": {
			&corev1.PodSecurityContext{RunAsUser: new(int64(1)), FSGroup: new(int64(2))}, nil, 0,
			privileges{uid: 1, groups: []int{2}, capabilities: usualCapabilities()},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := privilegesOf(c.pod, c.container, c.image); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestSyncFiles(t *testing.T) {
	dir := t.TempDir()
	sync := func(files map[string]volumeFile) string {
		t.Helper()
		if err := syncFiles(dir, files, 0); err != nil {
			t.Fatal(err)
		}
		var found []string
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				info, _ := d.Info()
				data, _ := os.ReadFile(path)
				found = append(found, d.Name()+"="+string(data)+" "+info.Mode().String())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(found, ", ")
	}
	if got := sync(map[string]volumeFile{"a": {[]byte("1"), 0o644}, "d/b": {[]byte("2"), 0o400}}); got != "a=1 -rw-r--r--, b=2 -r--------" {
		t.Error(got)
	}
	if got := sync(map[string]volumeFile{"a": {[]byte("3"), 0o644}}); got != "a=3 -rw-r--r--" {
		t.Error(got)
	}
}

func TestNodeStatusRepair(t *testing.T) {
	now := time.Unix(1000, 0)
	n := &corev1.Node{}
	if !needsStatus(n, now) {
		t.Error("a node without conditions needs a status")
	}
	n.Status = nodeStatus(Node{Host: newHost("n1", 11)}, n.Status, now)
	if needsStatus(n, now.Add(time.Minute)) {
		t.Error("a Ready node needs none")
	}
	for i := range n.Status.Conditions {
		n.Status.Conditions[i].Status = corev1.ConditionUnknown
	}
	if !needsStatus(n, now.Add(time.Minute)) {
		t.Error("a node that was given up needs a status")
	}
}

func TestGate(t *testing.T) {
	g := newGate()
	if !g.wait(t.Context()) {
		t.Error("an open gate stops nobody")
	}
	g.shut()
	ctx, cancel := context.WithCancel(t.Context())
	passed := make(chan bool)
	go func() { passed <- g.wait(ctx) }()
	cancel()
	if <-passed {
		t.Error("a shut gate lets nobody pass")
	}
	go func() { passed <- g.wait(t.Context()) }()
	g.open()
	if !<-passed {
		t.Error("an opened gate lets all pass")
	}
}
