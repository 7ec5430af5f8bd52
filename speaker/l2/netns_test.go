package l2_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/internal/netnstest"
)

func TestMain(m *testing.M) {
	if at := os.Getenv(listenEnv); at != "" {
		os.Exit(listenUntilClosed(at))
	}
	os.Exit(netnstest.Main(m))
}

// ceiling catches a hang; what is waited for takes some seconds at most, or more
// on a machine that does much else.
const ceiling = time.Minute

// ip runs one ip(8) command.
func ip(t *testing.T, args string) {
	t.Helper()
	netnstest.Run(t, "ip "+args)
}

// otherHost is a stock Linux host on the same segment.
type otherHost struct {
	*netnstest.Host
	t *testing.T
}

// segment makes lan0 here and eth0 at the other host, joined by a cable, and
// gives the other host its addresses.
func segment(t *testing.T) *otherHost {
	t.Helper()
	s := &otherHost{netnstest.NewHost(t), t}
	// What the kernel itself sends from lan0 does not wait for anything.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	s.Plug("lan0", "")
	s.Run("ip addr add 192.0.2.100/24 dev eth0")
	s.Run("ip addr add 2001:db8::100/64 dev eth0 nodad")
	return s
}

// mac is the other host's.
func (s *otherHost) mac() string {
	_, rest, _ := strings.Cut(s.Run("ip -o link show dev eth0"), "link/ether ")
	return strings.Fields(rest)[0]
}

// capture has tcpdump listen at the other host; the function ends it and returns
// what it saw.
func (s *otherHost) capture(t *testing.T) func() string {
	t.Helper()
	var out strings.Builder
	c := s.Command("tcpdump", "-i", "eth0", "-n", "-e", "-t", "-l", "-Z", "root", "--immediate-mode", "arp or icmp6")
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
