package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// nodeFlags are the namespaces that a node's first process is started in, beside
// its network. That of its control groups it makes itself, when it is in them.
const nodeFlags = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// nodeVariable names the node to its first process.
const nodeVariable = "BALIZA_LAB_NODE"

// readyFile appears on the node's disk when its first process has mounted all.
const readyFile = "ready"

// nodeFolders are the folders that containerd, the kubelet and the CNI plugins
// want at fixed places, and where they are on the node's own disk.
func nodeFolders() map[string]string {
	return map[string]string{"/run/containerd": "run/containerd", "/var/lib": "var/lib", "/var/log": "var/log"}
}

// Sysctls are settings of the whole machine that a kubelet or a container runtime
// writes. On a node each is a file of its own.
func Sysctls() map[string]string {
	return map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	}
}

// runNode is PID 1 of a node: it joins the node's control groups, makes them
// the root of what it and its children see, mounts what a node has of its own,
// and reaps until it is killed.
func runNode() error {
	// The namespace of the control groups is the thread's, and whoever enters the
	// node enters that of the first thread, which Go need not have put this on.
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		return unix.Exec("/proc/self/exe", os.Args, os.Environ())
	}
	node := os.Getenv(nodeVariable)
	dir := filepath.Join(runDir, "nodes", node)
	group := os.Getenv(groupVariable) + "/" + node
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		if err := h.joinGroup(group); err != nil {
			return fmt.Errorf("joining the node's control groups: %w", err)
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("namespace of control groups: %w", err)
	}
	for _, h := range all {
		if err := h.joinGroup(group + "/" + daemonsGroup); err != nil {
			return fmt.Errorf("joining the node's control groups: %w", err)
		}
	}
	if err := unix.Sethostname([]byte(node)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if err := mountNode(dir, all); err != nil {
		return fmt.Errorf("mounting the node's own: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, readyFile), nil, 0o600); err != nil {
		return err
	}
	for {
		// A child that ends interrupts the wait where there is none to wait for.
		if _, err := unix.Wait4(-1, nil, 0, nil); errors.Is(err, unix.ECHILD) {
			_ = unix.Pause()
		}
	}
}

func mountNode(dir string, all []hierarchy) error {
	const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("proc", "/proc", "proc", quiet, ""); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", quiet, ""); err != nil {
		return fmt.Errorf("/sys: %w", err)
	}
	if err := mountGroups(all); err != nil {
		return err
	}
	for at, from := range nodeFolders() {
		// Only the one below the lab's private /run may have to be made.
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(filepath.Join(dir, from), at, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	for name, value := range Sysctls() {
		at := "/proc/sys/" + name
		if _, err := os.Stat(at); err != nil {
			continue // not every kernel has it
		}
		file := filepath.Join(dir, "sysctl", strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(file, at, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	// What the kubelet mounts must reach the containers; it ends with the node,
	// since the lab's own mounts are private.
	return unix.Mount("none", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

// mountGroups mounts the hierarchies anew: what is mounted in a namespace of
// control groups shows its root, not the machine's.
func mountGroups(all []hierarchy) error {
	if all[0].options == "" {
		return unix.Mount("cgroup2", cgroupRoot, "cgroup2", 0, "")
	}
	if err := unix.Mount("tmpfs", cgroupRoot, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755"); err != nil {
		return fmt.Errorf("%s: %w", cgroupRoot, err)
	}
	for _, h := range all {
		at := filepath.Join(cgroupRoot, h.name())
		if err := os.Mkdir(at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("cgroup", at, "cgroup", 0, h.mountOptions()); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		for name := range strings.SplitSeq(h.name(), ",") {
			if name == h.name() {
				continue
			}
			if err := os.Symlink(h.name(), filepath.Join(cgroupRoot, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
