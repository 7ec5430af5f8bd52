package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/e2e/probe"
)

// Hosts are all machines of the lab, sorted by name.
func (l *Lab) Hosts() []Host {
	return slices.SortedFunc(maps.Values(l.net.hosts), func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
}

// Host is the machine with this name.
func (l *Lab) Host(name string) (Host, error) {
	h, ok := l.net.hosts[name]
	if !ok {
		return Host{}, fmt.Errorf("there is no host %s in the lab", name)
	}
	return h, nil
}

// Go runs f on a thread inside the host's network namespace and returns its
// error. Sockets that f opens stay there; goroutines that f starts do not.
func (l *Lab) Go(host string, f func() error) error {
	if _, err := l.Host(host); err != nil {
		return err
	}
	return inNetns(host, f)
}

// Dialer opens connections out of a host. Addresses must be IP literals.
func (l *Lab) Dialer(host string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return dialIn(host, 0)
}

// Exec runs a program on a host and returns what it wrote to its standard
// output. The error names the program and carries what it wrote to its standard
// error.
func (l *Lab) Exec(ctx context.Context, host string, argv ...string) (string, error) {
	return l.exec(ctx, host, "", argv...)
}

func (l *Lab) exec(ctx context.Context, host, input string, argv ...string) (string, error) {
	if _, err := l.Host(host); err != nil {
		return "", err
	}
	return l.execIn(ctx, host, input, argv...)
}

// execIn is exec on a host or on the switch.
func (l *Lab) execIn(ctx context.Context, host, input string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, complaint bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = l.environment(), strings.NewReader(input), &out, &complaint
	cmd.WaitDelay = time.Second
	if err := inNetns(host, cmd.Start); err != nil {
		return "", fmt.Errorf("%s on %s: %w", argv[0], host, err)
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("%s on %s: %w: %s", strings.Join(argv, " "), host, err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}

// Kubectl runs the real kubectl on the control plane as administrator.
func (l *Lab) Kubectl(ctx context.Context, args ...string) (string, error) {
	return l.exec(ctx, controlPlaneName, "", append([]string{l.kube(), "kubectl"}, args...)...)
}

// Apply applies manifests server-side, as "kubectl apply -f -" would.
func (l *Lab) Apply(ctx context.Context, yaml string) error {
	_, err := l.exec(ctx, controlPlaneName, yaml, l.kube(), "kubectl", "apply", "--server-side", "-f", "-")
	return err
}

// Probe starts connecting to an address from a host, as [probe.Start] does.
func (l *Lab) Probe(ctx context.Context, host string, target netip.AddrPort, interval time.Duration) *probe.Prober {
	return probe.Start(ctx, func() (int, probe.Dialer) {
		port := l.newPort()
		return port, dialIn(host, port)
	}, target, interval)
}

// The ports that connections of probers come from: below those that the kernel gives
// (net.ipv4.ip_local_port_range), and enough for none to come again in two minutes.
const firstProbePort, probePorts = 10_000, 22_000

// newPort is where the next connection of a prober comes from. A node remembers a
// connection for up to two minutes, and what it did with it: nothing, if its
// kube-proxy did not know the address yet. One that comes from the same port later is
// treated as that one was.
func (l *Lab) newPort() int { return firstProbePort + int(l.probed.Add(1)%probePorts) }

// WaitFor calls f every 50 ms until it reports true or an error, or ctx ends;
// the error says what was waited for.
func WaitFor(ctx context.Context, what string, f func() (bool, error)) error {
	for {
		ok, err := f()
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		if ok {
			return nil
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
}

// NodeReady reports whether the cluster holds a node for ready. A node that is
// not registered is not ready.
func (l *Lab) NodeReady(ctx context.Context, node string) (bool, error) {
	n, err := l.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("node %s: %w", node, err)
	}
	return isReady(n), nil
}

// waitNodes returns when all nodes are Ready and free of the taint that they
// are born with.
func (l *Lab) waitNodes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	last := errors.New("nobody has looked yet")
	err := WaitFor(ctx, "nodes to be Ready", func() (bool, error) {
		// What the end of ctx does to a question explains nothing.
		if missing := l.nodesReady(ctx); ctx.Err() == nil {
			last = missing
		}
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", err, last)
	}
	return nil
}

// nodesReady says what the nodes still lack, or nil.
func (l *Lab) nodesReady(ctx context.Context) error {
	nodes, err := l.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	ready := 0
	for _, n := range nodes.Items {
		tainted := slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeNotReady })
		if isReady(&n) && !tainted {
			ready++
		}
	}
	if ready != l.config.Nodes {
		return fmt.Errorf("%d of %d are", ready, l.config.Nodes)
	}
	return nil
}

func isReady(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// Processes are the running programs, containers included, sorted by name; an
// empty host means all.
func (l *Lab) Processes(host string) []*Process {
	all := l.procs.list(host)
	for _, n := range l.nodes() {
		if host == "" || host == n.Name {
			all = append(all, l.containers(n.Name)...)
		}
	}
	slices.SortFunc(all, func(a, b *Process) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// process finds a running one by its name.
func (l *Lab) process(name string) (*Process, error) {
	host, _, _ := strings.Cut(name, "/")
	for _, p := range l.containers(host) {
		if p.Name == name {
			return p, nil
		}
	}
	return l.procs.find(name)
}

// Dir is a private folder for the files of a program that a test runs, in memory
// and gone with the lab.
func (l *Lab) Dir(name string) (string, error) {
	dir := l.path("programs", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("folder %s: %w", name, err)
	}
	return dir, nil
}

// Run starts a program on a host and leaves it running, under a name by which
// [Lab.Stop] and [Lab.Log] find it, until it ends or the lab does. On a node it is
// part of the node: frozen with it, and gone with its power.
func (l *Lab) Run(host, name string, argv ...string) (*Process, error) {
	if _, err := l.Host(host); err != nil {
		return nil, err
	}
	s := start{name: name, host: host, argv: argv, env: l.environment()}
	if slices.ContainsFunc(l.nodes(), func(n Node) bool { return n.Name == host }) {
		s.enter = l.enterNode(host)
	}
	return l.procs.start(s)
}

// Signal sends a signal to a process, found by [Process.Name], and its children.
func (l *Lab) Signal(process string, s syscall.Signal) error {
	p, err := l.process(process)
	if err != nil {
		return err
	}
	return p.signal(s)
}

// Stop sends a signal that ends the process and waits until it has ended. A
// container is started again by its node; the rest stays down until
// [Lab.StartAgain].
func (l *Lab) Stop(ctx context.Context, process string, s syscall.Signal) error {
	p, err := l.process(process)
	if err != nil {
		return err
	}
	if err := p.signal(s); err != nil {
		return err
	}
	return p.ended(ctx)
}

// StartAgain starts a stopped control plane program or kube-proxy as before.
func (l *Lab) StartAgain(process string) error {
	_, err := l.procs.startAgain(process)
	return err
}

// Log is what a process wrote so far, this run and earlier ones of its name.
func (l *Lab) Log(process string) string {
	data, err := os.ReadFile(l.procs.logFile(process))
	if err != nil {
		return l.containerLog(process)
	}
	return string(data)
}

// Failure is the part of testing.TB that [Lab.DumpOnFailure] needs.
type Failure interface {
	Cleanup(func())
	Failed() bool
	Name() string
	Logf(format string, args ...any)
}

// DumpOnFailure makes a failing test print the last lines of every log and,
// when LAB_ARTIFACTS names a folder, keep the logs in it under the test's name.
func (l *Lab) DumpOnFailure(t Failure) {
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, file := range l.logFiles() {
			t.Logf("--- %s\n%s", filepath.Base(file), tail(file, 15))
		}
		if dir := os.Getenv("LAB_ARTIFACTS"); dir != "" {
			if err := l.DumpLogs(filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "_"))); err != nil {
				t.Logf("keeping the logs: %v", err)
			}
		}
	})
}

func (l *Lab) logFiles() []string {
	files, _ := filepath.Glob(l.path("logs", "*.log"))
	return files
}

// DumpLogs copies all logs into a folder, which it makes. An empty name does
// nothing.
func (l *Lab) DumpLogs(dir string) error {
	if dir == "" {
		return nil
	}
	err := os.MkdirAll(dir, 0o755)
	for _, file := range l.logFiles() {
		data, errRead := os.ReadFile(file)
		err = errors.Join(err, errRead, os.WriteFile(filepath.Join(dir, filepath.Base(file)), data, 0o644))
	}
	return err
}

// tail is the end of a file: at most this many lines, at most 64 KiB.
func tail(file string, lines int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	data = bytes.TrimRight(data[max(0, len(data)-64<<10):], "\n")
	all := strings.Split(string(data), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
