// Package outside looks at a lab from the machine that it runs on.
package outside

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/e2e/lab"
)

// TestNothingIsLeft starts a lab from outside, ends it the gentle and the hard
// way, and compares the host before and after.
func TestNothingIsLeft(t *testing.T) {
	bin, err := filepath.Abs(lab.BinDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"lab", "kube"} {
		if _, err := os.Stat(filepath.Join(bin, program)); err != nil {
			t.Fatalf("needs the built programs (make build): %v", err)
		}
	}
	for name, end := range map[string]syscall.Signal{"after SIGTERM": syscall.SIGTERM, "after SIGKILL": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) { startAndEnd(t, bin, end) })
	}
}

func startAndEnd(t *testing.T, bin string, end syscall.Signal) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	before := lookAround(t, 0)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	// A name of its own tells this lab's processes from those of others.
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "lab"), "up", "--nodes=1", "--bin="+bin, "--kubeconfig="+kubeconfig)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "LAB_BIN=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	go func() { _, _ = io.Copy(io.Discard, out) }()
	err = lab.WaitFor(ctx, "the kubeconfig", func() (bool, error) {
		info, err := os.Stat(kubeconfig)
		return err == nil && info.Size() > 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	family := descendants(cmd.Process.Pid)
	if len(family) < 6 {
		t.Fatalf("the lab has only %d processes", len(family))
	}
	nodes, err := exec.CommandContext(ctx, filepath.Join(bin, "kube"), "kubectl", "--kubeconfig="+kubeconfig, "get", "nodes").CombinedOutput()
	if err != nil || !strings.Contains(string(nodes), "n1") {
		t.Errorf("kubectl on the host: %v\n%s", err, nodes)
	}
	cmd.Process.Signal(end)
	_ = cmd.Wait() // it ended by the signal
	err = lab.WaitFor(ctx, "its processes to be gone", func() (bool, error) {
		return !slices.ContainsFunc(family, func(pid string) bool {
			_, err := os.Stat("/proc/" + pid)
			return !errors.Is(err, os.ErrNotExist)
		}), nil
	})
	if err != nil {
		t.Error(err)
	}
	// After SIGKILL nobody waits for the process that removes the control groups.
	after := func() string { return lookAround(t, cmd.Process.Pid) }
	err = lab.WaitFor(ctx, "the host to be as before", func() (bool, error) { return after() == before, nil })
	if err != nil {
		t.Errorf("the host has changed:\nbefore %s\nafter  %s", before, after())
	}
	if _, err := os.Stat(kubeconfig); end != syscall.SIGKILL && err == nil {
		t.Error("the kubeconfig is still there")
	}
}

// groupsOfLabs are the control groups of all labs, with the number of the lab's
// first process.
var groupsOfLabs = regexp.MustCompile(`/baliza-lab-(\d+)`)

// lookAround lists what a lab could leave behind. Of labs other than the one with
// this number, which come and go beside it, it leaves out the control groups.
func lookAround(t *testing.T, number int) string {
	t.Helper()
	var found []string
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		found = append(found, "link "+l.Name)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		found = append(found, "mount "+strings.Fields(line)[1])
	}
	for _, pattern := range []string{"/run/netns/*", "/run/lab", "/run/containerd*", "/var/lib/kubelet", "/var/lib/cni", "/opt/containerd", "/image*", "/tmp/kube*"} {
		files, _ := filepath.Glob(pattern)
		found = append(found, files...)
	}
	groups := filepath.WalkDir("/sys/fs/cgroup", func(dir string, entry fs.DirEntry, err error) error {
		of := groupsOfLabs.FindStringSubmatch(dir)
		if err == nil && entry.IsDir() && (len(of) == 0 || of[1] == strconv.Itoa(number)) {
			found = append(found, "group "+dir)
		}
		return nil
	})
	if groups != nil {
		t.Fatal(groups)
	}
	for name := range lab.Sysctls() {
		value, _ := os.ReadFile("/proc/sys/" + name) // not every kernel has it
		found = append(found, "sysctl "+name+" "+string(value))
	}
	slices.Sort(found)
	return strings.Join(found, "\n")
}

// descendants of a process, by their numbers in /proc.
func descendants(root int) []string {
	children, _ := filepath.Glob("/proc/" + strconv.Itoa(root) + "/task/*/children")
	var all []string
	for _, file := range children {
		data, _ := os.ReadFile(file)
		for pid := range strings.FieldsSeq(string(data)) {
			if number, err := strconv.Atoi(pid); err == nil {
				all = append(append(all, pid), descendants(number)...)
			}
		}
	}
	return all
}
