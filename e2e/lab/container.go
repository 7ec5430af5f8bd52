package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

const (
	firstBackoff = 200 * time.Millisecond
	lastBackoff  = 10 * time.Second
	// A run at least this long forgives earlier failures.
	goodRun = 10 * time.Second
)

// container is one container of a pod over all its runs. Its state is guarded
// by the pod's mutex.
type container struct {
	pod  *podWorker
	spec *corev1.Container

	process  *Process
	started  bool // passed its startup probe
	ready    bool
	restarts int32
	state    corev1.ContainerState
	last     corev1.ContainerState
	final    bool // will not run again
	env      []string
}

func newContainer(w *podWorker, spec *corev1.Container) *container {
	return &container{pod: w, spec: spec, state: waitingState("ContainerCreating", "")}
}

func waitingState(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// change alters the state and tells the reporter.
func (c *container) change(f func()) {
	c.pod.mu.Lock()
	f()
	c.pod.mu.Unlock()
	c.pod.touch()
}

// run starts the container again and again, as the pod's restart policy says,
// and reports whether its last run ended well.
func (c *container) run(ctx context.Context) bool {
	backoff := firstBackoff
	for c.pod.agent.gate.wait(ctx) {
		began := time.Now()
		p, err := c.start(ctx)
		if err != nil {
			c.change(func() { c.state = waitingState("CreateContainerError", err.Error()) })
		} else {
			exit := c.attend(p)
			if ctx.Err() != nil {
				return false
			}
			if c.isFinal(exit) {
				c.change(func() { c.final = true })
				return exit == 0
			}
			if time.Since(began) > goodRun {
				backoff = firstBackoff
			}
			c.change(func() {
				c.last, c.state = c.state, waitingState("CrashLoopBackOff", fmt.Sprintf("exit code %d, starting again in %s", exit, backoff))
				c.restarts++
			})
		}
		if !sleep(ctx, backoff) {
			return false
		}
		backoff = min(2*backoff, lastBackoff)
	}
	return false
}

func (c *container) isFinal(exit int) bool {
	policy := c.pod.seen().Spec.RestartPolicy
	return policy == corev1.RestartPolicyNever || exit == 0 && (policy == corev1.RestartPolicyOnFailure || c.isInit())
}

func (c *container) isInit() bool {
	return slices.Contains(c.pod.inits, c)
}

// attend probes the process until it ends and returns its exit code.
func (c *container) attend(p *Process) int {
	probing, stop := context.WithCancel(context.Background())
	var probes sync.WaitGroup
	probes.Go(func() { c.probeAll(probing, p) })
	<-p.Done()
	stop()
	probes.Wait()
	c.change(func() {
		c.process, c.ready, c.started = nil, false, false
		c.state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: int32(p.exit), Reason: exitReason(p.exit),
			StartedAt: metav1.NewTime(p.Started), FinishedAt: metav1.Now(), ContainerID: containerID(p),
		}}
	})
	return p.exit
}

func exitReason(exit int) string {
	if exit == 0 {
		return "Completed"
	}
	return "Error"
}

func containerID(p *Process) string { return fmt.Sprintf("lab://%d", p.PID) }

func (c *container) start(ctx context.Context) (*Process, error) {
	spec, err := c.shimSpec(ctx)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	file := c.pod.file(c.spec.Name + ".json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return nil, err
	}
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err // after this, terminate has seen whether there is a process
	}
	w := c.pod
	name := fmt.Sprintf("%s/%s/%s/%s", w.agent.node.Name, w.pod.Namespace, w.pod.Name, c.spec.Name)
	p, err := w.agent.lab.procs.start(start{
		name: name, host: w.agent.node.Name, netns: w.sandbox.netns,
		argv:       append([]string{"/proc/self/exe"}, os.Args[1:]...),
		env:        []string{stageVariable + "=" + stageShim, specVariable + "=" + file},
		cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	})
	if err != nil {
		return nil, err
	}
	c.process, c.env = p, spec.Env
	c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(p.Started)}}
	w.touch()
	return p, nil
}

func (c *container) shimSpec(ctx context.Context) (shimSpec, error) {
	w, pod := c.pod, c.pod.seen()
	image, err := findImage(w.agent.lab.config.Images, c.spec.Image)
	if err != nil {
		return shimSpec{}, err
	}
	if !filepath.IsAbs(image.Path) {
		image.Path = filepath.Join(w.agent.lab.config.Bin, image.Path)
	}
	env, err := environmentOf(ctx, pod, c.spec, w.ips(), w.hostIPs(), w.refs)
	if err != nil {
		return shimSpec{}, err
	}
	mounts, err := shimMounts(c.spec, w.volumes, func(s string) string { return expansion.Expand(s, expansion.MappingFuncFor(env.values)) })
	if err != nil {
		return shimSpec{}, err
	}
	root := w.file(c.spec.Name + ".root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return shimSpec{}, err
	}
	s := shimSpec{Root: root, Image: image.Path, Argv: commandLine(c.spec, image, env), Env: env.list(), Dir: c.spec.WorkingDir, Mounts: mounts}
	if !pod.Spec.HostNetwork {
		s.Hostname = pod.Name
	} else {
		s.Hostname = w.agent.node.Name
	}
	p := privilegesOf(pod.Spec.SecurityContext, c.spec.SecurityContext, image.User)
	s.Capabilities, s.NoNewPrivileges, s.ReadOnlyRoot = p.capabilities, p.noNewPrivileges, p.readOnlyRoot
	switch {
	case canChangeUser():
		s.UID, s.GID, s.Groups = p.uid, p.gid, p.groups
	case p.uid != 0:
		w.agent.log.Info("only root exists in this user namespace: the container runs as root",
			"pod", w.name(), "container", c.spec.Name, "wanted", p.uid)
	}
	return s, nil
}

// terminate asks the container to end and insists when ctx ends.
func (c *container) terminate(ctx context.Context) {
	c.pod.mu.Lock()
	p := c.process
	c.pod.mu.Unlock()
	if p == nil {
		return
	}
	if c.spec.Lifecycle != nil && c.spec.Lifecycle.PreStop != nil {
		c.hook(ctx, p, c.spec.Lifecycle.PreStop)
	}
	p.signal(unix.SIGTERM)
	select {
	case <-p.Done():
		return
	case <-ctx.Done():
	}
	p.signal(unix.SIGKILL)
	<-p.Done()
}
