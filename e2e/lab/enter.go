package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The process runs itself with these variables set to say which part it plays,
// and the name of the lab's control group.
const (
	stageVariable = "BALIZA_LAB_STAGE"
	groupVariable = "BALIZA_LAB_GROUP"
)

const (
	stageInit   = "init"   // PID 1 of the namespaces: mounts, then reaps
	stageInside = "inside" // the caller's own code, in the namespaces
	stageNode   = "node"   // PID 1 of a node
	stageSweep  = "sweep"  // outlives the lab and removes its control groups
)

// File descriptors that the inside inherits from the outside.
const (
	listenerFD   = 3
	kubeconfigFD = 4
)

const runDir = "/run/lab"

// Outside says what the outer process does for the inner one.
type Outside struct {
	// Kubeconfig is the file that the outer process writes once the API server
	// answers and removes when the lab ends. Empty means no file.
	Kubeconfig string
}

// Enter puts the process into namespaces of its own. It must be the first thing
// that main or TestMain does. In the outer process it runs the program again
// inside, waits for it and reports (exit code, false); inside it reports
// (0, true) and the caller carries on.
func Enter(o Outside) (code int, inside bool) {
	var err error
	switch os.Getenv(stageVariable) {
	case stageInside:
		unix.CloseOnExec(listenerFD)
		unix.CloseOnExec(kubeconfigFD)
		return 0, true
	case stageNode:
		err = runNode()
	case stageSweep:
		err = runSweep()
	case stageInit:
		code, err = runInit()
	default:
		code, err = runOutside(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1, false
	}
	return code, false
}

// Main runs the tests of m inside the lab's namespaces and returns the exit
// code: func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }.
func Main(m interface{ Run() int }) int {
	code, inside := Enter(Outside{})
	if !inside {
		return code
	}
	return m.Run()
}

func runOutside(o Outside) (int, error) {
	// The parent death signal is tied to the thread that forks.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	if os.Geteuid() != 0 {
		return 1, errors.New("the lab needs root: it makes namespaces, mounts and control groups, and leaves none behind")
	}
	group := fmt.Sprintf("baliza-lab-%d", os.Getpid())
	sweep, err := startSweep(group)
	if err != nil {
		return 1, err
	}
	defer sweep()
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 1, fmt.Errorf("listening for kubectl on 127.0.0.1: %w", err)
	}
	defer listener.Close()
	listenerFile, err := listener.File()
	if err != nil {
		return 1, fmt.Errorf("passing on the kubectl listener: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return 1, fmt.Errorf("making the kubeconfig pipe: %w", err)
	}
	cmd, err := startInit(group, listenerFile, write)
	write.Close()
	listenerFile.Close()
	if err != nil {
		return 1, err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP)
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	go keepKubeconfig(read, o.Kubeconfig, cmd.Process.Pid)
	err = cmd.Wait()
	if o.Kubeconfig != "" {
		os.Remove(o.Kubeconfig)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if exit.ExitCode() < 0 {
			return 1, fmt.Errorf("the inner process ended: %w", exit)
		}
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, fmt.Errorf("waiting for the inner process: %w", err)
	}
	return 0, nil
}

// startInit forks the program into new namespaces, which takes root.
func startInit(group string, extra ...*os.File) (*exec.Cmd, error) {
	cmd := again(stageInit, group)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = extra
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  unix.SIGKILL,
		Setpgid:    true, // Ctrl-C reaches the outer process only, which forwards it once
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot create namespaces (%w): inside a container, run it privileged", err)
	}
	return cmd, nil
}

// again is the command that runs this program as another stage.
func again(stage, group string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(withoutStage(os.Environ()), stageVariable+"="+stage, groupVariable+"="+group)
	return cmd
}

// startSweep starts the process that removes the lab's control groups, which
// the kernel does not remove with the last process in them. It waits for the
// end of its standard input, which comes however the outer process ends. The
// function that is returned brings it about and waits until all is swept.
func startSweep(group string) (func(), error) {
	cmd := again(stageSweep, group)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("starting the process that cleans up: %w", err)
	}
	return func() {
		in.Close()
		_ = cmd.Wait() // it has said what failed
	}, nil
}

func runSweep() error {
	// Only the end of the input counts, and a signal to all of a terminal's
	// processes is none of its business.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	_, _ = io.Copy(io.Discard, os.Stdin)
	all, err := hierarchies()
	if err != nil {
		return err
	}
	return removeGroups(all, os.Getenv(groupVariable))
}

// processMark is the line of a kubeconfig that says which process on the host
// is the lab's first.
const processMark = "# lab process "

// keepKubeconfig writes the kubeconfig that arrives from the inside, with the
// number of the lab's first process for [Attach].
func keepKubeconfig(from io.ReadCloser, file string, pid int) {
	defer from.Close()
	data, err := io.ReadAll(from)
	if err != nil || len(data) == 0 || file == "" {
		return
	}
	data = fmt.Appendf(nil, "%s%d\n%s", processMark, pid, data)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, "lab: writing the kubeconfig:", err)
	}
}

// runInit is PID 1 of the lab: it mounts what is private, starts the inside and
// reaps whatever is orphaned, until the inside ends.
func runInit() (int, error) {
	if err := mountPrivate(); err != nil {
		return 1, err
	}
	child, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Env:   append(withoutStage(os.Environ()), stageVariable+"="+stageInside),
		Files: []uintptr{0, 1, 2, listenerFD, kubeconfigFD},
	})
	if err != nil {
		return 1, fmt.Errorf("starting the inside: %w", err)
	}
	unix.Close(listenerFD)
	unix.Close(kubeconfigFD)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP)
	go func() {
		for s := range signals {
			if s, ok := s.(syscall.Signal); ok {
				syscall.Kill(child, s)
			}
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1, fmt.Errorf("waiting for the inside: %w", err)
		case pid == child && status.Signaled():
			return 128 + int(status.Signal()), nil
		case pid == child && status.Exited():
			return status.ExitStatus(), nil
		}
	}
}

func withoutStage(env []string) []string {
	var kept []string
	for _, e := range env {
		if len(e) <= len(stageVariable) || e[:len(stageVariable)+1] != stageVariable+"=" {
			kept = append(kept, e)
		}
	}
	return kept
}

func mountPrivate() error {
	type mount struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}
	for _, m := range []mount{
		{"none", "/", "", unix.MS_REC | unix.MS_PRIVATE, ""},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("cannot mount %s (%w): inside a container, run it privileged", m.target, err)
		}
	}
	// Without a fresh sysfs programs would see the host's interfaces there. What
	// is mounted in the host's is kept: the control groups.
	const keep = "/run/cgroup"
	if err := os.Mkdir(keep, 0o755); err != nil {
		return err
	}
	err := errors.Join(
		unix.Mount(cgroupRoot, keep, "", unix.MS_BIND|unix.MS_REC, ""),
		unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""),
		unix.Mount(keep, cgroupRoot, "", unix.MS_BIND|unix.MS_REC, ""),
		unix.Unmount(keep, unix.MNT_DETACH),
	)
	if err != nil {
		return fmt.Errorf("mounting /sys: %w", err)
	}
	if err := unix.Sethostname([]byte("lab")); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	if err := admitRootToFRR(); err != nil {
		return fmt.Errorf("private /etc/group: %w", err)
	}
	return os.MkdirAll(runDir, 0o755)
}

// admitRootToFRR makes frrvty, the group that FRR's programs insist on, another
// name of root's group.
func admitRootToFRR() error {
	groups, err := os.ReadFile("/etc/group")
	if err != nil {
		return err
	}
	lines := strings.Split(string(groups), "\n")
	i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "frrvty:") })
	if i < 0 {
		return nil
	}
	lines[i] = "frrvty:x:0:root"
	const private = "/run/group"
	if err := os.WriteFile(private, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		return err
	}
	return unix.Mount(private, "/etc/group", "", unix.MS_BIND, "")
}

// hostListener is the listener on the host's 127.0.0.1 that the outer process
// opened before it entered the namespaces.
func hostListener() (net.Listener, error) {
	f := os.NewFile(listenerFD, "listener")
	if f == nil {
		return nil, errors.New("the listener of the outer process is missing")
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("taking over the outer listener: %w", err)
	}
	return l, nil
}

// offerKubeconfig hands a kubeconfig to the outer process.
func offerKubeconfig(data []byte) error {
	f := os.NewFile(kubeconfigFD, "kubeconfig")
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("handing out the kubeconfig: %w", err)
	}
	return nil
}
