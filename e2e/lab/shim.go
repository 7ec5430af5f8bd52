package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The process that becomes a container finds its [shimSpec] in the file that
// this variable names.
const specVariable = "BALIZA_LAB_SPEC"

// shimSpec is everything that a container is made of.
type shimSpec struct {
	// Root is an empty directory that becomes the container's root.
	Root string
	// Image is the program; it lies in the container's root under its own name.
	Image    string
	Argv     []string
	Env      []string
	Dir      string
	Hostname string // empty: keep
	Mounts   []shimMount
	UID, GID int
	Groups   []int
	// Capabilities that stay in the bounding set, without CAP_.
	Capabilities []string
	// NoNewPrivileges and ReadOnlyRoot follow the container's security context.
	NoNewPrivileges, ReadOnlyRoot bool
}

// shimMount shows a file or directory of the lab inside the container.
type shimMount struct {
	Source, Target string
	ReadOnly       bool
}

// runShim turns the process, which has a mount namespace of its own, into the
// container. It returns only on failure.
func runShim(file string) error {
	runtime.LockOSThread() // capabilities belong to the thread, and exec keeps those of its caller
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("container: %w", err)
	}
	var s shimSpec
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("container %s: %w", file, err)
	}
	if s.Hostname != "" {
		if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
			return fmt.Errorf("container host name: %w", err)
		}
	}
	if err := s.enterRoot(); err != nil {
		return fmt.Errorf("container root: %w", err)
	}
	if err := s.dropPrivileges(); err != nil {
		return fmt.Errorf("container privileges: %w", err)
	}
	program, err := lookPath(s.Argv[0], s.Env)
	if err != nil {
		return fmt.Errorf("container program: %w", err)
	}
	return fmt.Errorf("container program %s: %w", program, syscall.Exec(program, s.Argv, s.Env))
}

// enterRoot builds a root of the machine's own programs and libraries, read
// only, and of nothing else of the machine, and moves into it.
func (s shimSpec) enterRoot() error {
	if err := unix.Mount("tmpfs", s.Root, "tmpfs", unix.MS_NODEV, "mode=755,size=256m"); err != nil {
		return err
	}
	for _, d := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr"} {
		if err := s.borrow("/" + d); err != nil {
			return err
		}
	}
	for dir, mode := range map[string]os.FileMode{"etc": 0o755, "run": 0o755, "var": 0o755, "tmp": 0o777 | os.ModeSticky, oldRoot: 0o700} {
		path := filepath.Join(s.Root, dir)
		if err := errors.Join(os.Mkdir(path, 0o755), os.Chmod(path, mode)); err != nil {
			return err
		}
	}
	if err := s.writeEtc(); err != nil {
		return err
	}
	if err := s.mountAll(); err != nil {
		return err
	}
	if err := s.pivot(); err != nil {
		return err
	}
	if s.Dir != "" {
		return unix.Chdir(s.Dir)
	}
	return nil
}

// oldRoot is where the machine's root is while the container's takes its place.
const oldRoot = "old"

// mountAll mounts what every container sees, and its own volumes.
func (s shimSpec) mountAll() error {
	mounts := []shimMount{
		{"/dev", "/dev", false},
		{"/proc", "/proc", false},
		{"/sys", "/sys", false},
		{s.Image, "/" + filepath.Base(s.Image), true},
	}
	for _, m := range []string{"/etc/ssl", "/etc/alternatives", "/etc/ld.so.cache"} {
		if _, err := os.Stat(m); err == nil {
			mounts = append(mounts, shimMount{m, m, true})
		}
	}
	for _, m := range append(mounts, s.Mounts...) {
		if err := m.bind(s.Root); err != nil {
			return fmt.Errorf("%s: %w", m.Target, err)
		}
	}
	return nil
}

// pivot makes the new root the only one.
func (s shimSpec) pivot() error {
	if err := unix.PivotRoot(s.Root, filepath.Join(s.Root, oldRoot)); err != nil {
		return fmt.Errorf("pivot: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount("/"+oldRoot, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the old root: %w", err)
	}
	if err := os.Remove("/" + oldRoot); err != nil {
		return err
	}
	if s.ReadOnlyRoot {
		return remountReadOnly("/")
	}
	return nil
}

// borrow shows a directory of the machine, or repeats a symbolic link.
func (s shimSpec) borrow(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSymlink != 0 {
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(to, filepath.Join(s.Root, path))
	}
	return shimMount{path, path, true}.bind(s.Root)
}

func (s shimSpec) writeEtc() error {
	var err error
	for name, text := range map[string]string{
		"passwd":        fmt.Sprintf("root:x:0:0::/:/bin/sh\nuser:x:%d:%d::/:/bin/sh\n", max(s.UID, 1), max(s.GID, 1)),
		"group":         fmt.Sprintf("root:x:0:\nuser:x:%d:\n", max(s.GID, 1)),
		"hosts":         "127.0.0.1 localhost\n::1 localhost\n",
		"resolv.conf":   "",
		"nsswitch.conf": "hosts: files dns\n",
	} {
		err = errors.Join(err, os.WriteFile(filepath.Join(s.Root, "etc", name), []byte(text), 0o644))
	}
	return errors.Join(err, os.Symlink("/run", filepath.Join(s.Root, "var", "run")))
}

func (m shimMount) bind(root string) error {
	info, err := os.Stat(m.Source)
	if err != nil {
		return err
	}
	target := resolveIn(root, m.Target)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else {
		var f *os.File
		if f, err = os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o644); err == nil {
			f.Close()
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(m.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if m.ReadOnly {
		return remountReadOnly(target)
	}
	return nil
}

// resolveIn maps a path of the container to one under root, with /var/run read
// as /run, the only link that mount points commonly go through.
func resolveIn(root, path string) string {
	path = filepath.Clean("/" + path)
	if rest, ok := strings.CutPrefix(path+"/", "/var/run/"); ok {
		path = "/run/" + rest
	}
	return filepath.Join(root, path)
}

// remountReadOnly keeps the flags that a user namespace may not clear.
func remountReadOnly(path string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return err
	}
	keep := uintptr(fs.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME)
	return unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|keep, "")
}

// dropPrivileges leaves the container the capabilities it may have. As in
// container runtimes, a user other than root keeps none of them across exec.
func (s shimSpec) dropPrivileges() error {
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		if int(c) < len(capabilityNames) && slices.Contains(s.Capabilities, capabilityNames[c]) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	if s.UID != 0 || s.GID != 0 || len(s.Groups) > 0 {
		if err := syscall.Setgroups(s.Groups); err != nil {
			return fmt.Errorf("setting groups: %w", err)
		}
		if err := syscall.Setgid(s.GID); err != nil {
			return fmt.Errorf("setting group %d: %w", s.GID, err)
		}
		if err := syscall.Setuid(s.UID); err != nil {
			return fmt.Errorf("setting user %d: %w", s.UID, err)
		}
	}
	if s.NoNewPrivileges {
		return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	return nil
}
