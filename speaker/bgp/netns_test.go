package bgp

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// inside marks the process that runs in its own network namespace.
const inside = "BALIZA_TEST_NETNS"

// TestMain runs the tests in a network namespace of their own, so that they
// find its ports free, see no interface of the machine and leave none behind.
func TestMain(m *testing.M) {
	if why := os.Getenv(inside); why != "" {
		if why == "yes" {
			_ = exec.Command("ip", "link", "set", "lo", "up").Run()
		}
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
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
		os.Exit(m.Run())
	}
	if err := cmd.Wait(); err != nil {
		os.Exit(1)
	}
}

// needNetns skips a test that needs its own network namespace where there is
// none; the lab covers the same ground.
func needNetns(t *testing.T) {
	t.Helper()
	if why := os.Getenv(inside); why != "yes" {
		t.Skipf("no network namespace of our own: %s", why)
	}
}

// ip runs one ip(8) command.
func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}
