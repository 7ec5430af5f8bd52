package lab

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Node is one node of the cluster: a host with namespaces of its own for
// network, mounts, processes, host name and control groups, in which containerd,
// the kubelet and kube-proxy run. Their first process is the node: with it all
// the rest ends, as when the power goes.
type Node struct {
	Host
	// Index counts from 1.
	Index        int
	Pods4, Pods6 netip.Prefix
}

func (l *Lab) newNode(index int) Node {
	n := Node{Host: l.net.hosts[fmt.Sprintf("n%d", index)], Index: index}
	n.Pods4, n.Pods6 = podRanges(index)
	return n
}

// nodePath is below the node's disk, which is in memory. The node itself sees
// it under the same name.
func (l *Lab) nodePath(node string, parts ...string) string {
	return l.path(append([]string{"nodes", node}, parts...)...)
}

// nodeGroup is the node's control group, below the root of each hierarchy.
func (l *Lab) nodeGroup(node string) string { return os.Getenv(groupVariable) + "/" + node }

// daemonsGroup is where a node's programs run, beside its pods: in version 2 a
// group has either processes or controlled children.
const daemonsGroup = "daemons"

// boot starts the node's first process and containerd, and gives it the images.
func (l *Lab) boot(ctx context.Context, n Node) error {
	for _, h := range l.groups {
		if _, err := h.makeGroup(l.nodeGroup(n.Name) + "/" + daemonsGroup); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	dir := l.nodePath(n.Name)
	for _, old := range []string{readyFile, "containerd.sock", "state", "run"} { // what a reboot clears
		if err := os.RemoveAll(filepath.Join(dir, old)); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	for _, folder := range slices.AppendSeq([]string{"cni", "sysctl"}, maps.Values(nodeFolders())) {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	if err := l.writeConfigs(n, "containerd.toml", "cni/lab.conflist"); err != nil {
		return err
	}
	again := again(stageNode, os.Getenv(groupVariable))
	first, err := l.procs.start(start{
		name: n.Name + "/init", host: n.Name, argv: append([]string{again.Path}, again.Args[1:]...), cloneflags: nodeFlags,
		env: append(again.Env, nodeVariable+"="+n.Name),
	})
	if err != nil {
		return err
	}
	err = WaitFor(ctx, "the first process of "+n.Name, func() (bool, error) {
		_, err := os.Stat(filepath.Join(dir, readyFile))
		if err != nil && !first.Running() {
			return false, fmt.Errorf("it ended: %s", tail(first.Log, 20))
		}
		return err == nil, nil
	})
	if err != nil {
		return err
	}
	return l.startContainerd(ctx, n)
}

// startContainerd returns when containerd has all images.
func (l *Lab) startContainerd(ctx context.Context, n Node) error {
	if err := l.startOnNode(n, "containerd", "containerd", "--config="+l.nodePath(n.Name, "containerd.toml")); err != nil {
		return err
	}
	socket := l.nodePath(n.Name, "containerd.sock")
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := WaitFor(ctx, "containerd of "+n.Name, func() (bool, error) {
		if _, err := l.procs.find(n.Name + "/containerd"); err != nil {
			return false, fmt.Errorf("%w; its log ends with:\n%s", err, tail(l.procs.logFile(n.Name+"/containerd"), 20))
		}
		_, err := os.Stat(socket)
		return err == nil, nil
	})
	if err != nil {
		return err
	}
	for _, archive := range l.config.Images {
		argv := append(l.enterNode(n.Name), "ctr", "--address="+socket, "--namespace=k8s.io", "images", "import", archive)
		if _, err := l.exec(ctx, n.Name, "", argv...); err != nil {
			return fmt.Errorf("node %s: image %s: %w", n.Name, archive, err)
		}
	}
	return nil
}

// enterNode is the beginning of a command line that runs a program as part of a
// node: in its control group first, since the path to it is not seen from inside,
// then in its namespaces. The parent that nsenter leaves outside is deaf to signals:
// it would end, and the program be killed with it before it could act on one.
func (l *Lab) enterNode(node string) []string {
	var join []string
	for _, h := range l.groups {
		join = append(join, fmt.Sprintf("echo 0 > '%s/cgroup.procs'", filepath.Join(h.root, l.nodeGroup(node), daemonsGroup)))
	}
	pid := 0
	if first, err := l.procs.find(node + "/init"); err == nil {
		pid = first.PID
	}
	enter := "exec nsenter --target " + strconv.Itoa(pid) + ` --mount --pid --cgroup --uts --ipc -- env --default-signal -- "$@"`
	return []string{"sh", "-ec", strings.Join(append(join, "trap '' HUP INT QUIT TERM USR1 USR2", enter), "\n"), "enter"}
}

// startOnNode starts a program as part of the node.
func (l *Lab) startOnNode(n Node, program string, argv ...string) error {
	_, err := l.procs.start(start{
		name: n.Name + "/" + program, host: n.Name, enter: l.enterNode(n.Name), argv: argv, env: l.environment(),
	})
	return err
}

// join registers the node, which waits for its kubelet, and starts kubelet and
// kube-proxy.
func (l *Lab) join(ctx context.Context, n Node) error {
	if err := l.register(ctx, n); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	kubelet, _, err := l.writeKubeconfig(n.Name+"-kubelet", "system:node:"+n.Name, "system:nodes")
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	_, _, err = l.writeKubeconfig(n.Name+"-proxy", "system:kube-proxy")
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	serving, err := l.ca.server("system:node:"+n.Name, []string{n.Name}, n.IPv4.AsSlice(), n.IPv6.AsSlice())
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	dir := l.nodePath(n.Name)
	err = writeFiles(dir, map[string][]byte{
		"kubelet.crt": serving.Cert, "kubelet.key": serving.Key,
	})
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	if err := l.writeConfigs(n, "kubelet.yaml", "kube-proxy.yaml"); err != nil {
		return err
	}
	return errors.Join(
		l.startOnNode(n, "kubelet", l.kube(), "kubelet", "--config="+filepath.Join(dir, "kubelet.yaml"), "--kubeconfig="+kubelet,
			"--hostname-override="+n.Name, "--node-ip="+n.IPv4.String()+","+n.IPv6.String(), "--v=2"),
		l.startOnNode(n, "kube-proxy", l.kube(), "kube-proxy", "--config="+filepath.Join(dir, "kube-proxy.yaml")))
}

// register makes the Node with its pods' ranges, which the controller manager
// would choose in the order in which the nodes come.
func (l *Lab) register(ctx context.Context, n Node) error {
	_, err := l.Client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name},
		Spec:       corev1.NodeSpec{PodCIDR: n.Pods4.String(), PodCIDRs: []string{n.Pods4.String(), n.Pods6.String()}},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

const (
	pauseImage = "docker.io/lab/pause:v1"
	cniPlugins = "/usr/lib/cni"
)

// The CNI configuration wires pods point to point, so that every packet between
// two pods of a node passes kube-proxy's rules. The tuning plugin turns duplicate
// address detection off in the pod, which would cost each a second or two; it
// wants to be second in a chain, hence the plugin before it.
//
//go:embed config
var configs embed.FS

// configFile is one of the files in config/, with a node's and the lab's own
// paths and addresses in it.
func (l *Lab) configFile(name string, n Node) ([]byte, error) {
	t, err := template.ParseFS(configs, "config/"+name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{
		"Node": n, "Dir": l.nodePath(n.Name), "CA": l.path("pki", "ca.crt"), "DNS": dnsIP4, "Pause": pauseImage, "Plugins": cniPlugins,
		"Proxy": l.path("pki", n.Name+"-proxy.kubeconfig"), "Pods": Pods4 + "," + Pods6,
	})
	return out.Bytes(), err
}

// writeConfigs writes the named files of config/ to the node's disk.
func (l *Lab) writeConfigs(n Node, names ...string) error {
	for _, name := range names {
		data, err := l.configFile(name, n)
		if err == nil {
			err = os.WriteFile(l.nodePath(n.Name, name), data, 0o600)
		}
		if err != nil {
			return fmt.Errorf("node %s: %s: %w", n.Name, name, err)
		}
	}
	return nil
}

// startDNS gives the cluster its DNS, as every cluster has it. Nobody waits for
// it here, since whatever comes next mostly takes longer.
func (l *Lab) startDNS(ctx context.Context) error {
	manifest, err := l.configFile("coredns.yaml", Node{})
	if err != nil {
		return err
	}
	return l.Apply(ctx, string(manifest))
}
