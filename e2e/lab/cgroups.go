package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hierarchy is one tree of control groups: a version 1 controller or several
// that are mounted together, a named one, or version 2 (cgroups(7)).
type hierarchy struct {
	// options are the mount options that name it; empty for version 2.
	options string
	// root is the folder below which the lab makes its groups: the caller's own
	// group, so that the lab stays within the caller's limits.
	root string
}

// cgroupRoot is where the hierarchies are mounted, on the host and on a node.
const cgroupRoot = "/sys/fs/cgroup"

// hierarchies are those that containers are put in: all of version 1, or, where
// there is none, version 2. A version 2 tree beside version 1 ("hybrid") holds
// no controllers and is left alone.
func hierarchies() ([]hierarchy, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("own control groups: %w", err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("mounts: %w", err)
	}
	all := parseHierarchies(string(own), string(mounts))
	if len(all) == 0 {
		return nil, errors.New("no control groups are mounted below " + cgroupRoot)
	}
	if group := os.Getenv(groupVariable); group != "" {
		for i := range all { // whoever asks may have joined already
			all[i].root = strings.TrimSuffix(all[i].root, "/"+group+"/"+hostsGroup)
		}
	}
	return all, nil
}

// parseHierarchies reads /proc/self/cgroup and /proc/self/mounts.
func parseHierarchies(own, mounts string) []hierarchy {
	folder := map[string]string{} // by mount options; "" is version 2
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[1], cgroupRoot) {
			continue
		}
		switch f[2] {
		case "cgroup":
			for option := range strings.SplitSeq(f[3], ",") {
				folder[option] = f[1]
			}
		case "cgroup2":
			folder[""] = f[1]
		}
	}
	var all []hierarchy
	for line := range strings.Lines(own) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, ok := strings.Cut(rest, ":")
		first, _, _ := strings.Cut(controllers, ",")
		if at := folder[first]; ok && controllers != "" && at != "" {
			all = append(all, hierarchy{options: controllers, root: filepath.Join(at, path)})
		}
	}
	if at := folder[""]; len(all) == 0 && at != "" {
		// Version 2 allows no group with both processes and controlled children,
		// except the root.
		all = append(all, hierarchy{root: at})
	}
	return all
}

// name of the folder that a node mounts the hierarchy on.
func (h hierarchy) name() string { return strings.TrimPrefix(h.options, "name=") }

// mountOptions as mount(2) wants them.
func (h hierarchy) mountOptions() string {
	if strings.HasPrefix(h.options, "name=") {
		return "none," + h.options
	}
	return h.options
}

// makeGroup makes a group, given by its path below the root, and all above it.
func (h hierarchy) makeGroup(path string) (string, error) {
	at := h.root
	for part := range strings.SplitSeq(path, "/") {
		if h.options == "" {
			// Not every kernel has every controller.
			for _, c := range []string{"cpuset", "cpu", "io", "memory", "pids"} {
				_ = os.WriteFile(filepath.Join(at, "cgroup.subtree_control"), []byte("+"+c), 0)
			}
		}
		parent := at
		at = filepath.Join(at, part)
		if err := os.Mkdir(at, 0o755); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return "", fmt.Errorf("control group: %w", err)
		}
		// A new cpuset of version 1 has no processors, and admits nobody.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(parent, file))
			if err != nil || h.options == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(at, file), value, 0); err != nil {
				return "", fmt.Errorf("control group: %w", err)
			}
		}
	}
	return at, nil
}

// hostsGroup is where everything runs that is on no node: the API server, routers,
// clients, and the test itself.
const hostsGroup = "hosts"

// makePreferred makes the lab's group, with twice the share of the processors
// that it would have: as much as two busy programs beside it. The whole lab is in this
// one group, and a compiler or another lab would count as much as all of it:
// heartbeats would be late and nodes be taken for dead. The calling process joins it,
// or what is on no node would wait for what is.
func makePreferred(all []hierarchy, path string) error {
	for _, h := range all {
		at, err := h.makeGroup(path)
		if err == nil {
			_, err = h.makeGroup(path + "/" + hostsGroup)
		}
		if err == nil {
			err = h.joinGroup(path + "/" + hostsGroup)
		}
		if err != nil {
			return err
		}
		file, value := filepath.Join(at, "cpu.weight"), "200" // of 100
		if h.options != "" {
			file, value = filepath.Join(at, "cpu.shares"), "2048" // of 1024
		}
		if _, err := os.Stat(file); err != nil {
			continue // the hierarchy is another controller's, or the kernel lacks this one
		}
		if err := os.WriteFile(file, []byte(value), 0); err != nil {
			return fmt.Errorf("control group: %w", err)
		}
	}
	return nil
}

// joinGroup moves the calling process into the group, which exists.
func (h hierarchy) joinGroup(path string) error {
	if err := os.WriteFile(filepath.Join(h.root, path, "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("control group: %w", err)
	}
	return nil
}

// freezeGroup stops all processes in a group and below, or lets them go on.
func freezeGroup(all []hierarchy, path string, frozen bool) error {
	for _, h := range all {
		file, values := "cgroup.freeze", map[bool]string{false: "0", true: "1"}
		switch h.options {
		case "":
		case "freezer":
			file, values = "freezer.state", map[bool]string{false: "THAWED", true: "FROZEN"}
		default:
			continue
		}
		return os.WriteFile(filepath.Join(h.root, path, file), []byte(values[frozen]), 0)
	}
	return errors.New("this kernel has no freezer")
}

// removeGroups removes a group and all below it, as soon as their last processes
// are gone, for which it waits some seconds.
func removeGroups(all []hierarchy, path string) error {
	var err error
	for range 500 {
		err = nil
		for _, h := range all {
			err = errors.Join(err, removeTree(filepath.Join(h.root, path)))
		}
		if err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("removing control groups: %w", err)
}

// removeTree removes the folders; a group's files go with it.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, removeTree(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}
