package ping_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/internal/netnstest"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/ping"
)

// asChild has TestL23_TheTableLivesAsLongAsItsProcess be that process.
const asChild = "BALIZA_TEST_CHILD"

func TestMain(m *testing.M) { os.Exit(netnstest.Main(m)) }

// kernel is what the kernel's maps have, as nft reads them; nil without a table.
func kernel(t *testing.T) map[netip.Addr]netip.Addr {
	t.Helper()
	if !strings.Contains(netnstest.Run(t, "nft list tables"), "table inet baliza") {
		return nil
	}
	found := map[netip.Addr]netip.Addr{}
	for _, name := range []string{"ipv4", "ipv6"} {
		var list struct {
			Nftables []struct {
				Map struct{ Elem [][2]netip.Addr }
			}
		}
		if err := json.Unmarshal([]byte(netnstest.Run(t, "nft -j list map inet baliza "+name)), &list); err != nil {
			t.Fatal(err)
		}
		for _, object := range list.Nftables {
			for _, pair := range object.Map.Elem {
				found[pair[0]] = pair[1]
			}
		}
	}
	return found
}

func pings(of map[netip.Addr]netip.Addr) (all []model.Ping) {
	for a, local := range of {
		all = append(all, model.Ping{Address: a, Local: local})
	}
	return all
}

func address(kind string, n int) netip.Addr {
	if kind == "ipv4" {
		return netip.AddrFrom4([4]byte{198, 19, byte(n >> 8), byte(n)})
	}
	a := netip.MustParseAddr("2001:db8:4::").As16()
	a[14], a[15] = byte(n>>8), byte(n)
	return netip.AddrFrom16(a)
}

// L23: whatever was wanted before, the kernel has what is wanted now.
func TestL23_TheKernelHasWhatIsWanted(t *testing.T) {
	netnstest.Need(t)
	var table ping.Table
	t.Cleanup(table.Close)
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		want := map[netip.Addr]netip.Addr{}
		for range random.IntN(12) {
			kind := []string{"ipv4", "ipv6"}[random.IntN(2)]
			want[address(kind, random.IntN(8))] = address(kind, 1000+random.IntN(2))
		}
		if err := table.Apply(pings(want)); err != nil {
			t.Fatal(err)
		}
		got := kernel(t)
		if len(want) == 0 && got != nil {
			t.Fatalf("a table that nobody wants: %v", got)
		}
		if !maps.Equal(got, want) {
			t.Fatalf("the kernel has %v, want %v", got, want)
		}
	}
}

func TestL23_ThousandsOfAddresses(t *testing.T) {
	netnstest.Need(t)
	var table ping.Table
	t.Cleanup(table.Close)
	const each = 5000
	for _, local := range []int{20_000, 20_001} { // then all have another local address
		want := map[netip.Addr]netip.Addr{}
		for i := range each {
			want[address("ipv4", i)], want[address("ipv6", i)] = address("ipv4", local), address("ipv6", local)
		}
		began := time.Now()
		if err := table.Apply(pings(want)); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d addresses in %s", len(want), time.Since(began))
		if got := kernel(t); !maps.Equal(got, want) {
			t.Fatalf("the kernel has %d others than the %d that are wanted", len(got), len(want))
		}
	}
}

// L23: a speaker that is killed leaves nothing behind, and until then nobody else
// takes its rules away.
func TestL23_TheTableLivesAsLongAsItsProcess(t *testing.T) {
	netnstest.Need(t)
	want := map[netip.Addr]netip.Addr{address("ipv4", 1): address("ipv4", 1000)}
	if os.Getenv(asChild) != "" {
		var table ping.Table
		fmt.Println("applied:", table.Apply(pings(want)))
		time.Sleep(time.Hour)
	}
	other := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	other.Env = append(os.Environ(), asChild+"=yes")
	out, err := other.StdoutPipe()
	if err == nil {
		err = other.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	})
	if said, err := bufio.NewReader(out).ReadString('\n'); said != "applied: <nil>\n" {
		t.Fatalf("the other process said %q: %v", said, err)
	}
	netnstest.Run(t, "nft flush ruleset")
	if out, err := netnstest.Try("nft delete table inet baliza"); err == nil {
		t.Errorf("another process deleted the table: %s", out)
	}
	if got := kernel(t); !maps.Equal(got, want) {
		t.Errorf("after a flush of everything the kernel has %v, want %v", got, want)
	}
	var second ping.Table
	t.Cleanup(second.Close)
	if err := second.Apply(pings(want)); err == nil || !strings.Contains(err.Error(), "another has the table inet baliza") {
		t.Errorf("a second process beside it: %v", err)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait()
	if got := kernel(t); got != nil {
		t.Errorf("the dead process left %v", got)
	}
	if err := second.Apply(pings(want)); err != nil || !maps.Equal(kernel(t), want) {
		t.Errorf("the next process: %v, %v", err, kernel(t))
	}
}

func TestL23_ATableOfSomebodyElseIsLeftAlone(t *testing.T) {
	netnstest.Need(t)
	netnstest.Run(t, "nft add table inet baliza")
	t.Cleanup(func() { netnstest.Run(t, "nft delete table inet baliza") })
	var table ping.Table
	t.Cleanup(table.Close)
	err := table.Apply([]model.Ping{{Address: address("ipv4", 1), Local: address("ipv4", 1000)}})
	if err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("got %v", err)
	}
}

// unprivileged runs a function on a thread without the capability NET_ADMIN.
func unprivileged(t *testing.T, do func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&header, &data[0])
		if err == nil {
			data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
			err = unix.Capset(&header, &data[0])
		}
		if err == nil {
			do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// L23: without the capability it says what is missing, however often it is tried, and
// gives back what that took.
func TestL23_WithoutThePrivilegeItSaysSo(t *testing.T) {
	netnstest.Need(t)
	var table ping.Table
	var errs []error
	var files []int
	unprivileged(t, func() {
		for range 10 {
			errs = append(errs, table.Apply([]model.Ping{{Address: address("ipv4", 1), Local: address("ipv4", 1000)}}))
			open, _ := os.ReadDir("/proc/self/fd")
			files = append(files, len(open))
		}
	})
	for _, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "NET_ADMIN") || !strings.Contains(err.Error(), "speaker.answerPing") {
			t.Errorf("got %v", err)
		}
	}
	if slices.Min(files[1:]) != slices.Max(files[1:]) {
		t.Errorf("open files, try by try: %v", files)
	}
}
