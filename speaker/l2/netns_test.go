package l2_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// inside marks the process that runs in its own network namespace.
const inside = "BALIZA_TEST_NETNS"

// TestMain runs the tests in a network namespace of their own, so that they
// see no interface of the machine and leave none behind.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
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

// stranger is a stock Linux host on the same segment, in a namespace of its own.
type stranger struct {
	t   *testing.T
	pid string
}

// segment makes lan0 here and eth0 in a new namespace, joined by a cable, and
// gives the stranger its addresses.
func segment(t *testing.T) *stranger {
	t.Helper()
	needNetns(t)
	host := exec.Command("sleep", "600")
	host.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	s := &stranger{t: t, pid: strconv.Itoa(host.Process.Pid)}
	ip(t, "link add lan0 type veth peer name eth0 netns "+s.pid)
	t.Cleanup(func() {
		_ = host.Process.Kill()
		_ = host.Wait()
		_ = exec.Command("ip", "link", "del", "lan0").Run()
	})
	for _, name := range []string{"all", "default", "lan0"} {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/accept_dad", []byte("0"), 0o600)
	}
	ip(t, "link set lan0 up")
	s.run("ip link set lo up")
	s.run("ip link set eth0 up")
	s.run("ip addr add 192.0.2.100/24 dev eth0")
	s.run("ip addr add 2001:db8::100/64 dev eth0 nodad")
	return s
}

// run runs a command on the stranger and returns its output.
func (s *stranger) run(command string) string {
	s.t.Helper()
	out, err := s.try(command)
	if err != nil {
		s.t.Fatalf("stranger: %s: %v: %s", command, err, out)
	}
	return out
}

func (s *stranger) try(command string) (string, error) {
	args := append([]string{"--target", s.pid, "--net"}, strings.Fields(command)...)
	out, err := exec.Command("nsenter", args...).CombinedOutput()
	return string(out), err
}

func ipOut(args string) (string, error) {
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	return string(out), err
}

// mac is the stranger's.
func (s *stranger) mac() string {
	_, rest, _ := strings.Cut(s.run("ip -o link show dev eth0"), "link/ether ")
	return strings.Fields(rest)[0]
}

// capture has tcpdump listen at the stranger; the function ends it and returns
// what it saw.
func (s *stranger) capture(t *testing.T) func() string {
	t.Helper()
	var out strings.Builder
	c := exec.Command("nsenter", "--target", s.pid, "--net", "tcpdump", "-i", "eth0", "-n", "-e", "-t", "-l", "-Z", "root", "--immediate-mode", "arp or icmp6")
	c.Stdout = &out
	stderr, err := c.StderrPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 4096)
	for seen := ""; !strings.Contains(seen, "listening on"); {
		n, err := stderr.Read(buffer)
		if seen += string(buffer[:n]); err != nil {
			t.Fatalf("tcpdump: %v: %s", err, seen)
		}
	}
	return func() string {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
		return out.String()
	}
}
