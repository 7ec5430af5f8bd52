// Package netnstest runs the tests of a package in a network namespace of their
// own, so that they find its ports free, see no interface of the machine and
// leave none behind. Only tests import it.
package netnstest

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// inside marks the process that runs in its own network namespace.
const inside = "BALIZA_TEST_NETNS"

// Run is what a TestMain exits with: it runs the tests in a child process with
// its own network namespace, or right here where none can be had.
func Run(m *testing.M) (code int) {
	if where := os.Getenv(inside); where != "" {
		if where == "yes" {
			_ = exec.Command("ip", "link", "set", "lo", "up").Run() //nolint:noctx // there is no context before the tests
		}
		return m.Run()
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:noctx // the same
	cmd.Env = append(os.Environ(), inside+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		_ = os.Setenv(inside, "no: "+err.Error())
		return m.Run()
	}
	if err := cmd.Wait(); err != nil {
		return 1
	}
	return 0
}

// Need skips a test that needs its own network namespace where there is none;
// the lab covers the same ground.
func Need(t *testing.T) {
	t.Helper()
	if where := os.Getenv(inside); where != "yes" {
		t.Skipf("no network namespace of our own: %s", where)
	}
}

// IP runs one ip(8) command.
func IP(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}
