package netnstest

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// Host is a Linux host beside that of the tests: a network namespace, and so a
// kernel of its own as far as the wire can tell, with the stock programs.
type Host struct {
	t   *testing.T
	pid string
}

// NewHost makes one that has nothing but its loopback interface. It is gone
// after the test, with its interfaces.
func NewHost(t *testing.T) *Host {
	t.Helper()
	Need(t)
	// Nothing that it runs outlives the tests: it ends with its standard input.
	keeper := exec.Command("cat")
	isolate(keeper)
	stdin, err := keeper.StdinPipe()
	if err == nil {
		err = keeper.Start()
	}
	if err != nil {
		t.Fatalf("making a host: %v", err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = keeper.Wait()
	})
	h := &Host{t, strconv.Itoa(keeper.Process.Pid)}
	h.Run("ip link set lo up")
	return h
}

// In is the host of a process that was started by [Isolated].
func In(t *testing.T, pid int) *Host {
	t.Helper()
	return &Host{t, strconv.Itoa(pid)}
}

// Plug makes a cable from an interface of the tests' namespace to eth0 of the
// host, and sets both ends up. peer says more about eth0, as in
// "address 02:00:00:00:00:01". The cable is gone after the test.
func (h *Host) Plug(here, peer string) {
	h.t.Helper()
	Run(h.t, fmt.Sprintf("ip link add %s type veth peer name eth0 %s netns %s", here, peer, h.pid))
	h.t.Cleanup(func() { _, _ = Try("ip link del " + here) }) // it may be gone with the host
	Run(h.t, "ip link set "+here+" up")
	h.Run("ip link set eth0 up")
}

// Command is one that runs on the host.
func (h *Host) Command(words ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--target", h.pid, "--net"}, words...)...)
}

// Run runs a command on the host and returns its output, of both kinds. A
// command that fails ends the test.
func (h *Host) Run(command string) string {
	h.t.Helper()
	out, err := h.Try(command)
	if err != nil {
		h.t.Fatalf("on the host %s: %s: %v: %s", h.pid, command, err, out)
	}
	return out
}

// Try is Run for a command that may fail.
func (h *Host) Try(command string) (string, error) {
	out, err := h.Command(strings.Fields(command)...).CombinedOutput()
	return string(out), err
}

// Neighbors makes the host's kernel believe, as if it had just been told, that
// the addresses on its interface are at a MAC. What it hears later changes that
// as it changes any neighbor. The entries do not count in the table that all
// namespaces share, and can be made though it is full: they are marked as
// learned by somebody else than the kernel (NTF_EXT_LEARNED, Linux 5.0).
func (h *Host) Neighbors(on, mac string, addresses ...string) {
	h.t.Helper()
	believe(h.t, h.Command("ip", "-batch", "-"), on, mac, addresses)
}

// Neighbors is [Host.Neighbors] of the tests' own namespace.
func Neighbors(t *testing.T, on, mac string, addresses ...string) {
	t.Helper()
	believe(t, exec.Command("ip", "-batch", "-"), on, mac, addresses)
}

func believe(t *testing.T, batch *exec.Cmd, on, mac string, addresses []string) {
	t.Helper()
	var lines strings.Builder
	for _, address := range addresses {
		fmt.Fprintf(&lines, "neigh replace %s lladdr %s dev %s nud reachable extern_learn\n", address, mac, on)
	}
	batch.Stdin = strings.NewReader(lines.String())
	if out, err := batch.CombinedOutput(); err != nil {
		t.Fatalf("%d neighbors at %s: %v: %s", len(addresses), mac, err, out)
	}
}
