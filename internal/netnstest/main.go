package netnstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// inside marks the process that runs in its own network namespace: "yes", or
// why it has none.
const inside = "BALIZA_TEST_NETNS"

// Main runs the tests of a package, for TestMain to exit with what it returns.
// They run in a process with a network namespace of its own, of which nothing
// but the loopback interface is up, so that they see no interface and no port
// of the machine and leave none behind.
func Main(m *testing.M) int {
	if why := os.Getenv(inside); why != "" {
		if why == "yes" {
			if out, err := Try("ip link set lo up"); err != nil {
				fmt.Fprintln(os.Stderr, "the loopback interface of the tests:", err, out)
				return 1
			}
		}
		return m.Run()
	}
	cmd := Isolated(os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		_ = os.Setenv(inside, "no: "+err.Error())
		return m.Run()
	}
	if err := cmd.Wait(); err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
			return exit.ExitCode()
		}
		fmt.Fprintln(os.Stderr, "the tests in their own network namespace:", err)
		return 1
	}
	return 0
}

// Isolated is this program with other arguments, in a network namespace of its
// own; it is killed when this process ends. Without root it takes a kernel that
// lets users make namespaces.
func Isolated(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	isolate(cmd)
	return cmd
}

func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
}

// Need ends a test that cannot do without a network namespace of its own where
// there is none. It fails: what was not looked at is not shown to work.
func Need(t *testing.T) {
	t.Helper()
	if why := os.Getenv(inside); why != "yes" {
		t.Fatalf("no network namespace of our own, which takes root or a kernel that lets users make them: %s", why)
	}
}

// Run runs a command, in the namespace of the tests, and returns its output,
// of both kinds. A command that fails ends the test.
func Run(t *testing.T, command string) string {
	t.Helper()
	out, err := Try(command)
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return out
}

// Try is Run for a command that may fail.
func Try(command string) (string, error) {
	words := strings.Fields(command)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	return string(out), err
}
