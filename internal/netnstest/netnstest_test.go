package netnstest_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/internal/netnstest"
)

func TestMain(m *testing.M) { os.Exit(netnstest.Main(m)) }

// link makes two hosts, which see each other.
func link(t *testing.T) (here, there *netnstest.Host) {
	t.Helper()
	here, there = netnstest.NewHost(t), netnstest.NewHost(t)
	netnstest.Run(t, "ip link add br0 type bridge")
	t.Cleanup(func() { netnstest.Run(t, "ip link del br0") })
	netnstest.Run(t, "ip link set br0 up")
	for i, host := range []*netnstest.Host{here, there} {
		host.Plug(fmt.Sprintf("port%d", i), fmt.Sprintf("address 02:00:00:00:00:%02x", i+1))
		netnstest.Run(t, fmt.Sprintf("ip link set port%d master br0", i))
		host.Run(fmt.Sprintf("ip addr add 198.18.0.%d/15 dev eth0", i+1))
		host.Run(fmt.Sprintf("ip addr add 2001:db8::%d/64 dev eth0 nodad", i+1))
	}
	return here, there
}

func TestTestsSeeNoInterfaceOfTheMachine(t *testing.T) {
	netnstest.Need(t)
	if out := netnstest.Run(t, "ip -o link show up"); strings.Count(out, "\n") != 1 || !strings.Contains(out, ": lo:") {
		t.Errorf("these are up:\n%s", out)
	}
}

func TestHostsAreGoneAfterTheTest(t *testing.T) {
	t.Run("a test with two hosts", func(t *testing.T) {
		here, _ := link(t)
		here.Run("ping -c 1 -W 5 198.18.0.2")
	})
	if out := netnstest.Run(t, "ip -o link show"); strings.Count(out, "\n") != 1 {
		t.Errorf("left behind:\n%s", out)
	}
}

// many are more neighbors than the kernel has room for, over all namespaces.
func many() (v4, v6 []string) {
	for i := range 1100 {
		v4 = append(v4, fmt.Sprintf("198.19.%d.%d", i/250, 1+i%250))
		v6 = append(v6, fmt.Sprintf("2001:db8::1:%x", i))
	}
	return v4, v6
}

// The tables of neighbors are one each for all namespaces: a test that fills
// one takes it from all others, whatever they are of.
func TestNeighborsThatATestMakesTakeNoRoomFromOthers(t *testing.T) {
	here, there := link(t)
	v4, v6 := many()
	here.Neighbors("eth0", "02:aa:aa:aa:aa:aa", append(v4, v6...)...)
	for _, address := range []string{"198.18.0.1", "2001:db8::1"} {
		there.Run("ping -c 1 -W 5 " + address)
	}
	for option, want := range map[string]int{"-4": len(v4), "-6": len(v6)} {
		if got := strings.Count(here.Run("ip "+option+" neigh show dev eth0"), "02:aa:aa:aa:aa:aa"); got != want {
			t.Errorf("ip %s: %d neighbors, want %d", option, got, want)
		}
	}
}

// What a kernel hears goes for these neighbors as for any.
func TestNeighborsThatATestMakesAreRepointed(t *testing.T) {
	here, there := link(t)
	here.Neighbors("eth0", "02:aa:aa:aa:aa:aa", "198.18.0.9", "2001:db8::9")
	time.Sleep(1100 * time.Millisecond) // Linux believes in no other MAC before (locktime)
	for address, host := range map[string]string{"198.18.0.9/15": "198.18.0.1", "2001:db8::9/64": "2001:db8::1"} {
		there.Run("ip addr add " + address + " dev eth0 nodad")
		address, _, _ = strings.Cut(address, "/")
		there.Run("ping -c 1 -W 5 -I " + address + " " + host) // which tells where it is from
		if out := here.Run("ip neigh show " + address); !strings.Contains(out, "02:00:00:00:00:02") {
			t.Errorf("still: %s", out)
		}
	}
}
