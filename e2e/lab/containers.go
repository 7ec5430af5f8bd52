package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// containers are the running containers of a node, named
// <node>/<namespace>/<pod>/<container>. They are found by the control groups
// that they run in and by what containerd wrote about them, not by asking the
// kubelet or the API server, which a test may have stopped.
func (l *Lab) containers(node string) []*Process {
	var found []*Process
	root := filepath.Join(l.groups[0].root, l.nodeGroup(node))
	_ = filepath.WalkDir(root, func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil //nolint:nilerr // a group that goes away meanwhile has no container
		}
		if p := l.container(node, filepath.Base(dir), dir); p != nil {
			found = append(found, p)
		}
		return nil
	})
	return found
}

// container is the container with this identifier in this control group, or nil.
func (l *Lab) container(node, id, group string) *Process {
	raw, err := os.ReadFile(l.nodePath(node, "state", "io.containerd.runtime.v2.task", "k8s.io", id, "config.json"))
	if err != nil {
		return nil
	}
	var bundle struct {
		Annotations map[string]string `json:"annotations"`
	}
	if json.Unmarshal(raw, &bundle) != nil {
		return nil
	}
	field := func(name string) string { return bundle.Annotations["io.kubernetes.cri."+name] }
	if field("container-type") != "container" {
		return nil // the one that holds the pod's namespaces
	}
	procs, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(procs)) {
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil || !firstOfNamespace(pid) {
			continue
		}
		ticks := startTicks(pid)
		return &Process{
			Name: strings.Join([]string{node, field("sandbox-namespace"), field("sandbox-name"), field("container-name")}, "/"),
			Host: node, PID: pid, Started: timeOf(ticks), ticks: ticks,
		}
	}
	return nil
}

// firstOfNamespace reports whether the process is number 1 in its PID namespace.
func firstOfNamespace(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			all := strings.Fields(numbers)
			return all[len(all)-1] == "1"
		}
	}
	return false
}

// startTicks tells a process from a later one of the same number: when it
// started, in clock ticks after boot (proc(5): starttime). Zero when it is gone
// or a zombie.
func startTicks(pid int) int64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The second field is the program's name, in parentheses, of any characters.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return 0
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return 0
	}
	return ticks
}

// timeOf is the time at that many clock ticks after boot, to one of them.
func timeOf(ticks int64) time.Time {
	var uptime unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &uptime) != nil {
		return time.Time{}
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 for all programs
	return time.Now().Add(time.Duration(ticks)*tick - time.Duration(uptime.Nano()))
}

// containerLog is what the kubelet kept of a container's output, all runs of it,
// without the time and stream that the CRI puts before each line.
func (l *Lab) containerLog(name string) string {
	parts := strings.Split(name, "/")
	if len(parts) != 4 {
		return ""
	}
	files, _ := filepath.Glob(l.nodePath(parts[0], "var", "log", "pods", parts[1]+"_"+parts[2]+"_*", parts[3], "*.log"))
	slices.SortFunc(files, func(a, b string) int { return modified(a).Compare(modified(b)) })
	var text strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if f := strings.SplitN(line, " ", 4); len(f) == 4 {
				text.WriteString(f[3])
			}
		}
	}
	return text.String()
}

func modified(file string) time.Time {
	info, err := os.Stat(file)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
