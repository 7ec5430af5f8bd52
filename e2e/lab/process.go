package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a program that the lab started.
type Process struct {
	// Name is unique among the running ones: kube-apiserver, n1/kubelet,
	// n1/<namespace>/<pod>/<container>.
	Name string
	// Host is the host it counts to; pods count to their node.
	Host string
	PID  int
	// Log is the file with its standard output and error.
	// Empty for a container, whose log is the kubelet's: see [Lab.Log].
	Log     string
	Started time.Time

	done  chan struct{} // of what the lab started
	ticks int64         // of a container: see startTicks
}

// Running reports whether the process has not ended yet.
func (p *Process) Running() bool {
	if p.done == nil {
		return p.ticks != 0 && startTicks(p.PID) == p.ticks
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ended returns when the process has, or when ctx ends.
func (p *Process) ended(ctx context.Context) error {
	for p.Running() {
		if !sleep(ctx, time.Millisecond) {
			return fmt.Errorf("waiting for %s to end: %w", p.Name, ctx.Err())
		}
	}
	return nil
}

// signal goes to the process and its children.
func (p *Process) signal(s syscall.Signal) error {
	if !p.Running() {
		return fmt.Errorf("process %s is not running", p.Name)
	}
	if err := unix.Kill(-p.PID, s); err != nil {
		return fmt.Errorf("process %s: %s: %w", p.Name, s, err)
	}
	return nil
}

// start describes a process to start.
type start struct {
	name, host string
	netns      string   // when not the host's
	enter      []string // put before argv
	argv       []string
	env        []string
	cloneflags uintptr
}

// processes knows everything that runs, so that a host can be frozen and a
// process be found by name.
type processes struct {
	logs string

	mu      sync.Mutex
	running map[string]*Process
	last    map[string]start
	closed  bool
}

func newProcesses(logs string) (*processes, error) {
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, fmt.Errorf("log directory: %w", err)
	}
	return &processes{logs: logs, running: map[string]*Process{}, last: map[string]start{}}, nil
}

func (ps *processes) logFile(name string) string {
	return filepath.Join(ps.logs, strings.ReplaceAll(name, "/", "_")+".log")
}

func (ps *processes) start(s start) (*Process, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.closed {
		return nil, fmt.Errorf("process %s: the lab is closed", s.name)
	}
	if _, ok := ps.running[s.name]; ok {
		return nil, fmt.Errorf("process %s is already running", s.name)
	}
	log, err := os.OpenFile(ps.logFile(s.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("process %s: %w", s.name, err)
	}
	defer log.Close()
	argv := slices.Concat(s.enter, s.argv)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: s.cloneflags}
	netns := s.netns
	if netns == "" {
		netns = s.host
	}
	if err := inNetns(netns, cmd.Start); err != nil {
		return nil, fmt.Errorf("process %s: %w", s.name, err)
	}
	p := &Process{Name: s.name, Host: s.host, PID: cmd.Process.Pid, Log: log.Name(), Started: time.Now(), done: make(chan struct{})}
	ps.running[s.name], ps.last[s.name] = p, s
	go ps.wait(p, cmd)
	return p, nil
}

func (ps *processes) wait(p *Process, cmd *exec.Cmd) {
	_ = cmd.Wait()                  // how it ended is in its log
	unix.Kill(-p.PID, unix.SIGKILL) // children that outlived it
	ps.mu.Lock()
	delete(ps.running, p.Name)
	ps.mu.Unlock()
	close(p.done)
}

func (ps *processes) startAgain(name string) (*Process, error) {
	ps.mu.Lock()
	s, ok := ps.last[name]
	ps.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("process %s was never started", name)
	}
	return ps.start(s)
}

func (ps *processes) find(name string) (*Process, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p, ok := ps.running[name]; ok {
		return p, nil
	}
	return nil, fmt.Errorf("process %s is not running", name)
}

// list is sorted by name; an empty host means all.
func (ps *processes) list(host string) []*Process {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var all []*Process
	for _, p := range ps.running {
		if host == "" || p.Host == host {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b *Process) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// sleep returns false when ctx ended before the time was over.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// killAll refuses new processes and returns when the present ones are gone.
func (ps *processes) killAll() {
	ps.mu.Lock()
	ps.closed = true
	ps.mu.Unlock()
	for _, p := range ps.list("") {
		p.signal(unix.SIGKILL)
		<-p.done
	}
}
