package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Config says what to build. The zero value of a field stands for its default.
type Config struct {
	// Nodes is the number of nodes, 1 to 89; default 3.
	Nodes int
	// Clients is the number of clients, 1 to 99; default 1.
	Clients int
	// Routers is the number of routers, 1 to 4; default 1.
	Routers int
	// Bin is the folder with the programs (kube, lab, controller, speaker);
	// default as [BinDir] finds it.
	Bin string
	// Images are archives of container images that every node gets, beside the
	// lab's own; relative to Bin's folder images unless absolute.
	Images []string
	// MulticastSnooping lets the switch forward multicast only where it was
	// joined.
	MulticastSnooping bool
	// APIServerArgs and ControllerManagerArgs are appended to the lab's own.
	APIServerArgs, ControllerManagerArgs []string
	// Log receives what the lab does; default: standard error, from Info up.
	Log *slog.Logger
}

// Lab is a running cluster.
type Lab struct {
	// Admin talks to the API server as a cluster administrator.
	Admin *rest.Config
	// Client is a client set on Admin.
	Client kubernetes.Interface

	config   Config
	log      *slog.Logger
	net      *network
	procs    *processes
	ca       *authority
	admin    credential
	groups   []hierarchy
	captures atomic.Int64
	probed   atomic.Int64 // connections of probers
}

// Start builds the network, starts the control plane and the nodes, and returns
// when every node is Ready. It must run inside (see [Enter]), once at a time.
func Start(ctx context.Context, c Config) (*Lab, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Lab{config: c, log: c.Log}
	began := time.Now()
	if err := l.start(ctx); err != nil {
		err = errors.Join(err, l.DumpLogs(os.Getenv("LAB_ARTIFACTS")))
		l.Close()
		return nil, err
	}
	l.log.Info("the lab is up", "nodes", c.Nodes, "took", time.Since(began).Round(time.Millisecond))
	return l, nil
}

func (c Config) withDefaults() (Config, error) {
	if os.Getenv(stageVariable) != stageInside {
		return c, errors.New("the lab must be started inside its namespaces: call lab.Main or lab.Enter first")
	}
	if _, err := os.Stat(filepath.Join(runDir, "pki")); err == nil {
		return c, errors.New("a lab is already running in this process: close it first")
	}
	c.Nodes, c.Clients, c.Routers = cmp.Or(c.Nodes, 3), cmp.Or(c.Clients, 1), cmp.Or(c.Routers, 1)
	if c.Nodes > 89 || c.Clients > 99 || c.Routers > 4 {
		return c, fmt.Errorf("the LAN has room for 89 nodes, 99 clients and 4 routers, not %d, %d and %d", c.Nodes, c.Clients, c.Routers)
	}
	if c.Bin == "" {
		c.Bin = BinDir()
	}
	bin, err := filepath.Abs(c.Bin)
	if err != nil {
		return c, fmt.Errorf("program folder %s: %w", c.Bin, err)
	}
	c.Bin = bin
	for _, program := range []string{"kube", "lab"} {
		if _, err := os.Stat(filepath.Join(c.Bin, program)); err != nil {
			return c, fmt.Errorf("the program %s is missing (%w): build it, or set LAB_BIN to the folder it is in", program, err)
		}
	}
	c.Images = append([]string{"pause.tar", "web.tar", "coredns.tar"}, c.Images...)
	for i, archive := range c.Images {
		if !filepath.IsAbs(archive) {
			c.Images[i] = filepath.Join(c.Bin, "images", archive)
		}
		if _, err := os.Stat(c.Images[i]); err != nil {
			return c, fmt.Errorf("the image %s is missing (%w): build it with make", archive, err)
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return c, nil
}

// BinDir is the folder of the programs: $LAB_BIN, or bin in the nearest folder
// above the current one that has one with kube in it.
func BinDir() string {
	if dir := os.Getenv("LAB_BIN"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		return "bin"
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "bin", "kube")); err == nil {
			return filepath.Join(dir, "bin")
		}
	}
	return "bin"
}

func (l *Lab) start(ctx context.Context) error {
	if err := l.prepare(); err != nil {
		return err
	}
	began := time.Now()
	var err error
	if l.net, err = buildNetwork(l.config); err != nil {
		return err
	}
	l.log.Info("the network is up", "took", time.Since(began).Round(time.Millisecond))
	if err := l.startAll(ctx); err != nil {
		return err
	}
	l.log.Info("API server and containerds are ready", "took", time.Since(began).Round(time.Millisecond))
	for _, n := range l.nodes() {
		if err := l.join(ctx, n); err != nil {
			return err
		}
	}
	return errors.Join(l.startDNS(ctx), l.waitNodes(ctx))
}

// startAll starts the control plane and, beside it, the nodes without their
// kubelets, which have images to read meanwhile.
func (l *Lab) startAll(ctx context.Context) error {
	failed := make(chan error, l.config.Nodes)
	for _, n := range l.nodes() {
		go func() { failed <- l.boot(ctx, n) }()
	}
	err := l.startControlPlane(ctx)
	for range l.config.Nodes {
		err = errors.Join(err, <-failed)
	}
	return err
}

func (l *Lab) nodes() []Node {
	var all []Node
	for i := range l.config.Nodes {
		all = append(all, l.newNode(i+1))
	}
	return all
}

// prepare fills the private directory.
func (l *Lab) prepare() error {
	for _, dir := range []string{"home", "tmp", "pki"} {
		if err := os.MkdirAll(l.path(dir), 0o755); err != nil {
			return fmt.Errorf("private directory: %w", err)
		}
	}
	if err := os.Chmod(l.path("tmp"), 0o1777); err != nil {
		return fmt.Errorf("private directory: %w", err)
	}
	if err := linkUp("lo"); err != nil {
		return err
	}
	var err error
	if l.procs, err = newProcesses(l.path("logs")); err != nil {
		return err
	}
	if l.groups, err = hierarchies(); err != nil {
		return err
	}
	l.ca, err = newAuthority(time.Now())
	return errors.Join(err, makePreferred(l.groups, os.Getenv(groupVariable)))
}

func (l *Lab) path(parts ...string) string {
	return filepath.Join(append([]string{runDir}, parts...)...)
}

func (l *Lab) kube() string { return filepath.Join(l.config.Bin, "kube") }

// environment is what the lab's own programs see.
func (l *Lab) environment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + l.path("home"), "TMPDIR=" + l.path("tmp"), "KUBECONFIG=" + l.path("pki", "admin.kubeconfig"),
	}
}

// Close ends everything. The namespaces themselves end with the process.
func (l *Lab) Close() {
	if l.procs != nil {
		for _, n := range l.nodes() {
			_ = freezeGroup(l.groups, l.nodeGroup(n.Name), false) // as it is, but for tests that end in between
		}
		for _, p := range l.procs.list("") {
			p.signal(unix.SIGCONT)
		}
		l.procs.killAll()
	}
	var err error
	for _, h := range l.groups {
		err = errors.Join(err, h.joinGroup("."))
	}
	if err != nil { // see startSweep
		l.log.Debug("removing the control groups is left to the end of the process", "error", err)
	} else if err := removeGroups(l.groups, os.Getenv(groupVariable)); err != nil {
		l.log.Warn("closing the lab", "error", err)
	}
	if l.net != nil {
		for name := range l.net.hosts {
			_ = deleteNetns(name) // one that is left ends with the process
		}
		_ = deleteNetns(switchName)
	}
	os.RemoveAll(runDir)
}

// OfferHost lets programs on the host use the API server through the outer
// process: it forwards the outer listener and hands out a kubeconfig. It returns
// the address on the host.
func (l *Lab) OfferHost() (string, error) {
	listener, err := hostListener()
	if err != nil {
		return "", err
	}
	v4, _ := lanAddresses(1)
	target := netip.AddrPortFrom(v4, apiPort).String()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go forward(conn, target)
		}
	}()
	data, err := l.kubeconfig("https://"+listener.Addr().String(), l.admin)
	if err != nil {
		return "", fmt.Errorf("kubeconfig for the host: %w", err)
	}
	return listener.Addr().String(), offerKubeconfig(data)
}

func forward(from net.Conn, target string) {
	defer from.Close()
	to, err := dialIn(controlPlaneName, 0)(context.Background(), "tcp", target)
	if err != nil {
		return
	}
	defer to.Close()
	// Whoever hangs up, and however, is the business of the two ends.
	go func() {
		_, _ = io.Copy(to, from)
		if half, ok := to.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
	}()
	_, _ = io.Copy(from, to)
}
