// Package selftest shows that the lab itself is a Kubernetes cluster, and one
// that can be hurt, before anything else is proved on it.
package selftest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/e2e/lab"
	"github.com/baliza-lb/baliza/e2e/probe"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

const webManifest = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
      containers:
      - name: web
        image: lab/web:v1
        ports: [{name: http, containerPort: 8080}]
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
        volumeMounts: [{name: key, mountPath: /etc/key, readOnly: true}]
        securityContext:
          runAsUser: 65532
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          seccompProfile: {type: RuntimeDefault}
          capabilities: {drop: [ALL]}
      volumes: [{name: key, secret: {secretName: key}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http, nodePort: 30080}]
`

// TestLab shows that the lab is a Kubernetes cluster that can be hurt.
func TestLab(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	// Nodes are given up after 16 s, not 50, to keep the test short.
	l, err := lab.Start(ctx, lab.Config{Nodes: 3, ControllerManagerArgs: []string{"--node-monitor-grace-period=16s"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if _, err := lab.Start(ctx, lab.Config{}); err == nil || !strings.Contains(err.Error(), "already running") {
		t.Errorf("a second lab at the same time: %v", err)
	}
	l.DumpOnFailure(t)

	must(t, l.Apply(ctx, webManifest))
	t.Run("a pod waits for the secret that it mounts", func(t *testing.T) { waitsForSecret(ctx, t, l) })
	t.Run("the three pods are spread and become ready", func(t *testing.T) { rollout(ctx, t, l) })
	t.Run("the Service answers at its cluster address and node port in both families", func(t *testing.T) { reach(ctx, t, l) })
	t.Run("a pod echoes TCP and UDP", func(t *testing.T) { echo(ctx, t, l) })
	t.Run("a container has the privileges that it asked for", func(t *testing.T) { leastPrivilege(t, l) })
	t.Run("a container that dies is started again", func(t *testing.T) { restart(ctx, t, l) })
	t.Run("a DaemonSet in the hosts' network talks to the API server with its token", func(t *testing.T) { daemons(ctx, t, l) })
	t.Run("the API server reaches the kubelets: exec and port-forward", func(t *testing.T) { kubelets(ctx, t, l) })
	t.Run("names of Services are resolved", func(t *testing.T) { names(ctx, t, l) })
	t.Run("a client outside reaches a node port through the router", func(t *testing.T) { fromOutside(ctx, t, l) })
	t.Run("traffic goes on while the API server is down", func(t *testing.T) { withoutAPI(ctx, t, l) })
	t.Run("a capture shows ARP", func(t *testing.T) { capture(ctx, t, l) })
	t.Run("every connection of a prober has a port of its own", func(t *testing.T) { newPorts(ctx, t, l) })
	t.Run("FRR and BIRD run as routers", func(t *testing.T) { routers(ctx, t, l) })
	t.Run("a frozen node's pod stops answering and comes back", func(t *testing.T) { freeze(ctx, t, l) })
	t.Run("a silently cut node is lost with its carrier up", func(t *testing.T) { silence(ctx, t, l) })
	t.Run("a cut node becomes NotReady and Ready again when healed", func(t *testing.T) { cut(ctx, t, l) })
	t.Run("a port is blocked, and a cable works one way", func(t *testing.T) { firewalls(ctx, t, l) })
	t.Run("a drained node has no pods but its DaemonSets'", func(t *testing.T) { drain(ctx, t, l) })
	t.Run("a node without power is gone, and comes back", func(t *testing.T) { power(ctx, t, l) })
	t.Run("deleting the Deployment ends its processes", func(t *testing.T) { remove(ctx, t, l) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func waitsForSecret(ctx context.Context, t *testing.T, l *lab.Lab) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	must(t, lab.WaitFor(ctx, "a pod to miss its secret", func() (bool, error) {
		out, err := l.Kubectl(ctx, "get", "events", "--field-selector", "reason=FailedMount", "-o", "jsonpath={.items[*].message}")
		return strings.Contains(out, `"key" not found`), err
	}))
	_, err := l.Kubectl(ctx, "create", "secret", "generic", "key", "--from-literal=key=value")
	must(t, err)
}

func rollout(ctx context.Context, t *testing.T, l *lab.Lab) {
	_, err := l.Kubectl(ctx, "rollout", "status", "deployment/web", "--timeout=60s")
	must(t, err)
	out, err := l.Kubectl(ctx, "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}")
	must(t, err)
	for _, node := range []string{"n1", "n2", "n3"} {
		if !strings.Contains(out, node) {
			t.Errorf("no pod on %s: %s", node, out)
		}
	}
}

func reach(ctx context.Context, t *testing.T, l *lab.Lab) {
	out, err := l.Kubectl(ctx, "get", "service", "web", "-o", "jsonpath={.spec.clusterIPs[*]}")
	must(t, err)
	clusterIPs := strings.Fields(out)
	if len(clusterIPs) != 2 {
		t.Fatalf("cluster addresses: %v", clusterIPs)
	}
	_, err = l.Exec(ctx, "c1", "ip", "route", "add", clusterIPs[0], "via", "192.0.2.12")
	must(t, err)
	_, err = l.Exec(ctx, "c1", "ip", "-6", "route", "add", clusterIPs[1], "via", "2001:db8:1::12")
	must(t, err)
	for _, url := range []string{
		"http://192.0.2.11:30080/", "http://[2001:db8:1::11]:30080/",
		"http://" + clusterIPs[0] + "/", "http://[" + clusterIPs[1] + "]/",
	} {
		must(t, lab.WaitFor(ctx, url, func() (bool, error) {
			out, err := l.Exec(ctx, "c1", "curl", "-gsS", "--max-time", "2", url)
			if err == nil {
				t.Logf("%s: %s", url, strings.TrimSpace(out))
			}
			return strings.HasPrefix(out, "web-"), nil
		}))
	}
}

func echo(ctx context.Context, t *testing.T, l *lab.Lab) {
	for network, port := range map[string]uint16{"tcp": 7000, "udp": 7001} {
		echoOver(ctx, t, l, network, netip.AddrPortFrom(podAddress(ctx, t, l, "n1").Addr(), port))
	}
}

func echoOver(ctx context.Context, t *testing.T, l *lab.Lab, network string, address netip.AddrPort) {
	conn, err := l.Dialer("c1")(ctx, network, address.String())
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(2*time.Second)))
	_, err = conn.Write([]byte("echo"))
	must(t, err)
	answer := make([]byte, 4)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "echo" {
		t.Errorf("%s %s answered %q, %v", network, address, answer, err)
	}
}

func leastPrivilege(t *testing.T, l *lab.Lab) {
	p := container(t, l, "n1")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	must(t, err)
	for _, want := range []string{"CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Uid:\t65532", "Seccomp:\t2"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", p.PID))
	must(t, err)
	for _, want := range []string{" / overlay ro", " /etc/key tmpfs ro", " /var/run/secrets/kubernetes.io/serviceaccount tmpfs ro"} {
		if !strings.Contains(string(mounts), want) {
			t.Errorf("no %q in\n%s", want, mounts)
		}
	}
}

func container(t *testing.T, l *lab.Lab, node string) *lab.Process {
	t.Helper()
	for _, p := range l.Processes(node) {
		if strings.HasPrefix(p.Name, node+"/default/web-") {
			return p
		}
	}
	t.Fatalf("no web container on %s", node)
	return nil
}

func restart(ctx context.Context, t *testing.T, l *lab.Lab) {
	p := container(t, l, "n1")
	must(t, l.Stop(ctx, p.Name, unix.SIGKILL))
	pod := strings.Split(p.Name, "/")[2]
	must(t, lab.WaitFor(ctx, "the restart", func() (bool, error) {
		out, err := l.Kubectl(ctx, "get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].restartCount}{.status.containerStatuses[0].ready}")
		return out == "1true", err
	}))
}

const daemonManifest = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: daemon}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: daemon}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: daemon, namespace: default}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: daemon}
spec:
  selector: {matchLabels: {app: daemon}}
  template:
    metadata: {labels: {app: daemon}}
    spec:
      hostNetwork: true
      serviceAccountName: daemon
      terminationGracePeriodSeconds: 1
      containers:
      - name: daemon
        image: lab/web:v1
        args: ["--http=:9090", "--linger=1m"]
        livenessProbe: {httpGet: {path: /healthz, port: 9090}}
        readinessProbe: {exec: {command: [/web, -help]}, periodSeconds: 1}
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {drop: [ALL], add: [NET_RAW]}
`

func daemons(ctx context.Context, t *testing.T, l *lab.Lab) {
	must(t, l.Apply(ctx, daemonManifest))
	_, err := l.Kubectl(ctx, "rollout", "status", "daemonset/daemon", "--timeout=60s")
	must(t, err)
	must(t, lab.WaitFor(ctx, "n3's name at n3's address", func() (bool, error) {
		out, _ := l.Exec(ctx, "c1", "curl", "-sS", "--max-time", "2", "http://192.0.2.13:9090/")
		return strings.HasPrefix(out, "n3 "), ctx.Err()
	}))
	for _, p := range l.Processes("n3") {
		if !strings.HasPrefix(p.Name, "n3/default/daemon-") {
			continue
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
		must(t, err)
		if !strings.Contains(string(status), "CapEff:\t0000000000002000") {
			t.Errorf("it has other capabilities than NET_RAW:\n%s", status)
		}
		out, err := l.Exec(ctx, "n3", "sh", "-c", fmt.Sprintf(`cd /proc/%d/root/var/run/secrets/kubernetes.io/serviceaccount &&
			curl -sS --max-time 5 --cacert ca.crt -H "Authorization: Bearer $(cat token)" \
			https://198.19.0.1/api/v1/namespaces/$(cat namespace)/services/web`, p.PID))
		must(t, err)
		if !strings.Contains(out, `"clusterIPs"`) {
			t.Errorf("the API server answered %s", out)
		}
		must(t, l.Signal(p.Name, unix.SIGTERM)) // it says good-bye in its log
		must(t, lab.WaitFor(ctx, "kubectl logs", func() (bool, error) {
			out, err := l.Kubectl(ctx, "logs", strings.Split(p.Name, "/")[2])
			return strings.Contains(out, "leaving"), err
		}))
	}
	_, err = l.Kubectl(ctx, "delete", "daemonset", "daemon", "--cascade=foreground", "--timeout=60s")
	must(t, err)
}

func kubelets(ctx context.Context, t *testing.T, l *lab.Lab) {
	pod := strings.Split(container(t, l, "n1").Name, "/")[2]
	out, err := l.Kubectl(ctx, "exec", pod, "--", "/web", "-help")
	must(t, err)
	t.Log(out)
	forward, err := l.Run("cp", "port-forward", filepath.Join(lab.BinDir(), "kube"), "kubectl", "port-forward", "pod/"+pod, "18080:8080")
	must(t, err)
	must(t, lab.WaitFor(ctx, "the forwarded port", func() (bool, error) {
		out, _ := l.Exec(ctx, "cp", "curl", "-sS", "--max-time", "2", "http://127.0.0.1:18080/")
		return strings.HasPrefix(out, pod), ctx.Err()
	}))
	must(t, l.Stop(ctx, forward.Name, unix.SIGKILL))
}

// names asks the cluster's DNS from a node.
func names(ctx context.Context, t *testing.T, l *lab.Lab) {
	service, err := l.Kubectl(ctx, "get", "service", "web", "-o", "jsonpath={.spec.clusterIPs[*]}")
	must(t, err)
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return l.Dialer("n1")(ctx, network, "198.19.0.10:53")
	}}
	must(t, lab.WaitFor(ctx, "cluster DNS", func() (bool, error) {
		found, err := resolver.LookupHost(ctx, "web.default.svc.cluster.local.")
		return err == nil && slices.Contains(found, strings.Fields(service)[0]) && len(found) == 2, ctx.Err()
	}))
}

func fromOutside(ctx context.Context, t *testing.T, l *lab.Lab) {
	for _, url := range []string{"http://192.0.2.11:30080/", "http://[2001:db8:1::11]:30080/"} {
		out, err := l.Exec(ctx, "o1", "curl", "-gsS", "--max-time", "2", url)
		must(t, err)
		t.Log(out)
	}
}

// firewalls sees what a node port answers behind a firewall, and what a node
// hears and says on a cable that works one way.
func firewalls(ctx context.Context, t *testing.T, l *lab.Lab) {
	answers := func() bool {
		_, err := l.Exec(ctx, "c1", "curl", "-sS", "--max-time", "1", "http://192.0.2.12:30080/")
		return err == nil
	}
	// The firewall sees the pod's port, to which kube-proxy has led the packet.
	must(t, l.Block(ctx, "n2", 10256))
	if _, err := l.Exec(ctx, "c1", "curl", "-sS", "--max-time", "1", "http://192.0.2.12:10256/healthz"); err == nil {
		t.Error("a blocked port answers")
	}
	must(t, l.Unblock(ctx, "n2"))
	_, err := l.Exec(ctx, "c1", "curl", "-sS", "--max-time", "1", "http://192.0.2.12:10256/healthz")
	must(t, err)
	for _, left := range []lab.Direction{lab.Send, lab.Receive} {
		capture, err := l.Capture(ctx, map[lab.Direction]string{lab.Send: "c1", lab.Receive: "n2"}[left], "host 192.0.2.12")
		must(t, err)
		must(t, l.OneWay(ctx, "n2", left))
		if answers() {
			t.Errorf("n2 answers though it can only %s", left)
		}
		// What is left works: n2's own kubelet talks to cp, c1's packets come in.
		heard := capture.Stop()
		if left == lab.Receive && len(heard) == 0 {
			t.Error("n2 hears nothing")
		}
		must(t, l.BothWays(ctx, "n2"))
		must(t, lab.WaitFor(ctx, "n2 to answer again", func() (bool, error) { return answers(), ctx.Err() }))
	}
}

func drain(ctx context.Context, t *testing.T, l *lab.Lab) {
	must(t, l.Drain(ctx, "n3"))
	for _, p := range l.Processes("n3") {
		if strings.HasPrefix(p.Name, "n3/default/web-") {
			t.Errorf("%s still runs", p.Name)
		}
	}
	_, err := l.Kubectl(ctx, "uncordon", "n3")
	must(t, err)
}

func power(ctx context.Context, t *testing.T, l *lab.Lab) {
	clock(ctx, t, l, "n3")
	must(t, l.PowerOff(ctx, "n3"))
	if left := l.Processes("n3"); len(left) > 0 {
		t.Errorf("%s still runs", left[0].Name)
	}
	must(t, waitNode(ctx, l, "n3", false))
	must(t, l.PowerOn(ctx, "n3"))
	must(t, waitNode(ctx, l, "n3", true))
}

func withoutAPI(ctx context.Context, t *testing.T, l *lab.Lab) {
	must(t, l.Stop(ctx, "kube-apiserver", unix.SIGKILL))
	out, err := l.Exec(ctx, "c1", "curl", "-sS", "--max-time", "2", "http://192.0.2.11:30080/")
	must(t, err)
	t.Log(out)
	must(t, l.StartAgain("kube-apiserver"))
	must(t, l.WaitReady(ctx))
}

func capture(ctx context.Context, t *testing.T, l *lab.Lab) {
	c, err := l.Capture(ctx, "n1", "arp")
	must(t, err)
	_, err = l.Exec(ctx, "c1", "arping", "-c", "1", "-w", "2", "192.0.2.11")
	must(t, err)
	packets := c.Stop()
	n1, err := l.Host("n1")
	must(t, err)
	for _, p := range packets {
		if strings.Contains(p.Text, "192.0.2.11 is-at "+n1.MAC.String()) && time.Since(p.Time) < time.Minute {
			return
		}
	}
	t.Errorf("no ARP reply of n1 in %v", packets)
}

// routers lets FRR on the router and BIRD on a client exchange a route.
func routers(ctx context.Context, t *testing.T, l *lab.Lab) {
	dir, err := l.Dir("routers")
	must(t, err)
	must(t, os.WriteFile(dir+"/frr.conf", []byte(`
router bgp 64512
 no bgp ebgp-requires-policy
 neighbor 192.0.2.100 remote-as 64513
`), 0o644))
	must(t, os.WriteFile(dir+"/bird.conf", []byte(`
router id 192.0.2.100;
protocol device {}
protocol static { ipv4; route 203.0.113.0/24 blackhole; }
protocol bgp r1 { local 192.0.2.100 as 64513; neighbor 192.0.2.254 as 64512; connect retry time 1; connect delay time 1; error wait time 1, 2; ipv4 { export all; import none; }; }
`), 0o644))
	user := []string{"-u", "root", "-g", "root"}
	for _, program := range []string{"zebra", "bgpd"} {
		argv := append([]string{
			"/usr/lib/frr/" + program, "-f", dir + "/frr.conf", "-i", dir + "/" + program + ".pid",
			"-z", dir + "/zserv.api", "--vty_socket", dir, "--log", "stdout",
		}, user...)
		_, err := l.Run("r1", "r1/"+program, argv...)
		must(t, err)
	}
	_, err = l.Run("c1", "c1/bird", "bird", "-f", "-c", dir+"/bird.conf", "-s", dir+"/bird.ctl", "-P", dir+"/bird.pid")
	must(t, err)
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	must(t, lab.WaitFor(ctx, "the route", func() (bool, error) {
		out, err := l.Exec(ctx, "r1", "ip", "route", "show", "203.0.113.0/24")
		return strings.Contains(out, "via 192.0.2.100"), err
	}))
	for _, name := range []string{"r1/zebra", "r1/bgpd", "c1/bird"} {
		must(t, l.Stop(ctx, name, unix.SIGTERM))
	}
}

// A node that remembers a connection treats the next one from the same port as it
// did that one.
func newPorts(ctx context.Context, t *testing.T, l *lab.Lab) {
	var listener net.Listener
	must(t, l.Go("r1", func() (err error) {
		listener, err = new(net.ListenConfig).Listen(ctx, "tcp4", ":7070")
		return err
	}))
	defer listener.Close()
	r1, err := l.Host("r1")
	must(t, err)
	target := netip.AddrPortFrom(r1.IPv4, 7070)
	var probers []*probe.Prober
	for range 2 {
		probers = append(probers, l.Probe(ctx, "c1", target, 5*time.Millisecond))
	}
	seen := map[uint16]bool{}
	for range 100 {
		conn, err := listener.Accept()
		must(t, err)
		from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
		must(t, errors.Join(err, conn.Close()))
		if seen[from.Port()] || from.Port() >= 32768 {
			t.Errorf("a connection came from port %d, which another may have had", from.Port())
		}
		seen[from.Port()] = true
	}
	for _, p := range probers {
		p.Stop()
	}
}

// clock runs a program on a node that writes to its log all the time, and says
// good-bye when it is told to end.
func clock(ctx context.Context, t *testing.T, l *lab.Lab, node string) *lab.Process {
	t.Helper()
	p, err := l.Run(node, node+"/clock", "sh", "-c", "trap 'echo good-bye; exit' TERM; while :; do echo tick; sleep 0.05; done")
	must(t, err)
	must(t, lab.WaitFor(ctx, "the clock", func() (bool, error) { return strings.Contains(l.Log(p.Name), "tick"), ctx.Err() }))
	return p
}

func freeze(ctx context.Context, t *testing.T, l *lab.Lab) {
	clock := clock(ctx, t, l, "n2")
	address := podAddress(ctx, t, l, "n2")
	p := l.Probe(ctx, "c1", address, 20*time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	must(t, l.Freeze("n2"))
	time.Sleep(300 * time.Millisecond)
	frozen := l.Log(clock.Name)
	time.Sleep(1200 * time.Millisecond)
	if l.Log(clock.Name) != frozen {
		t.Error("a program of the frozen node runs on")
	}
	must(t, l.Thaw("n2"))
	time.Sleep(500 * time.Millisecond)
	must(t, l.Stop(ctx, clock.Name, unix.SIGTERM))
	if log := l.Log(clock.Name); len(log) < len(frozen) || !strings.HasSuffix(log, "good-bye\n") {
		t.Errorf("the program did not act on SIGTERM after the thaw; its log ends with %q", log[max(0, len(log)-30):])
	}
	checkOutage(t, p.Stop(), 1300*time.Millisecond, 2*time.Second)
}

func silence(ctx context.Context, t *testing.T, l *lab.Lab) {
	address := podAddress(ctx, t, l, "n3")
	p := l.Probe(ctx, "c1", address, 20*time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	must(t, l.CutSilently("n3"))
	time.Sleep(500 * time.Millisecond)
	if link, err := l.Exec(ctx, "n3", "ip", "link", "show", "eth0"); err != nil || !strings.Contains(link, "LOWER_UP") {
		t.Errorf("carrier of n3: %s %v", link, err)
	}
	must(t, l.Heal("n3"))
	time.Sleep(time.Second)
	checkOutage(t, p.Stop(), 400*time.Millisecond, 1500*time.Millisecond)
}

func cut(ctx context.Context, t *testing.T, l *lab.Lab) {
	must(t, l.Cut("n2"))
	if link, err := l.Exec(ctx, "n2", "ip", "link", "show", "eth0"); err != nil || !strings.Contains(link, "NO-CARRIER") {
		t.Errorf("carrier of n2: %s %v", link, err)
	}
	began := time.Now()
	must(t, waitNode(ctx, l, "n2", false))
	t.Logf("NotReady after %s", time.Since(began).Round(time.Millisecond))
	began = time.Now()
	must(t, l.Heal("n2"))
	must(t, waitNode(ctx, l, "n2", true))
	t.Logf("Ready after %s", time.Since(began).Round(time.Millisecond))
	_, err := l.Kubectl(ctx, "wait", "pod", "-l", "app=web", "--for=condition=Ready", "--timeout=30s")
	must(t, err)
}

func waitNode(ctx context.Context, l *lab.Lab, node string, ready bool) error {
	return lab.WaitFor(ctx, fmt.Sprintf("node %s to be ready=%t", node, ready), func() (bool, error) {
		is, err := l.NodeReady(ctx, node)
		return is == ready, err
	})
}

func podAddress(ctx context.Context, t *testing.T, l *lab.Lab, node string) netip.AddrPort {
	t.Helper()
	out, err := l.Kubectl(ctx, "get", "pods", "-l", "app=web", "--field-selector", "spec.nodeName="+node, "-o", "jsonpath={.items[0].status.podIP}")
	must(t, err)
	address, err := netip.ParseAddr(out)
	must(t, err)
	return netip.AddrPortFrom(address, 8080)
}

func checkOutage(t *testing.T, r probe.Report, least, most time.Duration) {
	t.Helper()
	t.Log(r)
	if r.Outage < least || r.Outage > most {
		t.Errorf("an outage of %s, expected %s to %s", r.Outage, least, most)
	}
}

func remove(ctx context.Context, t *testing.T, l *lab.Lab) {
	_, err := l.Kubectl(ctx, "delete", "deployment", "web", "--cascade=foreground", "--timeout=40s")
	must(t, err)
	for _, p := range l.Processes("") {
		if strings.Contains(p.Name, "/default/") {
			t.Errorf("%s still runs", p.Name)
		}
	}
}

// TestLabAgain shows that one process can have one lab after the other.
func TestLabAgain(t *testing.T) {
	for range 2 {
		l, err := lab.Start(t.Context(), lab.Config{Nodes: 1})
		must(t, err)
		l.Close()
	}
}
