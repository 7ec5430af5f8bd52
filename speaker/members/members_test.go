package members_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/internal/netnstest"
	"github.com/baliza-lb/baliza/speaker/members"
	"github.com/baliza-lb/baliza/speaker/members/detection"
	"github.com/baliza-lb/baliza/speaker/model"
)

func key() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	return base64.StdEncoding.EncodeToString(raw)
}

func keyFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	writeKeys(t, path, lines...)
	return path
}

func writeKeys(t *testing.T, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// loopback is the nth address of the test's little LAN.
func loopback(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 7, byte(n)}), 0)
}

func start(t *testing.T, name, keys string, listen netip.AddrPort) *members.Members {
	t.Helper()
	return startAs(t, detection.ProfileDefault, name, keys, listen)
}

func startAs(t *testing.T, profile, name, keys string, listen netip.AddrPort) *members.Members {
	t.Helper()
	settings, err := detection.Profile(profile)
	if err != nil {
		t.Fatal(err)
	}
	m, err := members.Start(members.Config{
		Name: name, Listen: listen, KeyFile: keys, Settings: settings, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// await waits until the living are exactly those named.
func await(t *testing.T, m *members.Members, want ...string) time.Duration {
	t.Helper()
	begin, deadline := time.Now(), time.After(time.Minute)
	for !slices.Equal(m.Alive(), want) {
		select {
		case <-m.Changes():
		case <-deadline:
			t.Fatalf("alive: %v, want %v", m.Alive(), want)
		}
	}
	return time.Since(begin)
}

func TestSpeakersFindEachOtherLoseOneAndFindItAgain(t *testing.T) {
	keys := keyFile(t, key())
	var all []*members.Members
	peers := map[string]netip.AddrPort{}
	for i := 1; i <= 3; i++ {
		m := start(t, fmt.Sprintf("n%d", i), keys, loopback(i))
		all = append(all, m)
		peers[fmt.Sprintf("n%d", i)] = m.Address()
	}
	for _, m := range all {
		m.Seek(peers)
	}
	for _, m := range all {
		t.Logf("complete after %s", await(t, m, "n1", "n2", "n3"))
	}

	at := all[2].Address()
	_ = all[2].Close() // a death: nobody is told
	for _, m := range all[:2] {
		t.Logf("death noticed after %s", await(t, m, "n1", "n2"))
	}
	// Nobody names n3 any more, and it knows nobody: it is still sought.
	back := start(t, "n3", keys, at)
	took := await(t, back, "n1", "n2", "n3")
	await(t, all[0], "n1", "n2", "n3")
	t.Logf("found again after %s", took)

	begin := time.Now()
	if err := back.Leave(5 * time.Second); err != nil {
		t.Error(err)
	}
	await(t, all[0], "n1", "n2")
	t.Logf("departure known after %s", time.Since(begin))
	if slices.Contains(back.Alive(), "n3") {
		t.Error("who left counts itself among the living")
	}
	time.Sleep(500 * time.Millisecond)
	await(t, all[0], "n1", "n2") // and is not called back in
}

func TestARestartedSpeakerMayHaveAnotherAddress(t *testing.T) {
	keys := keyFile(t, key())
	// On a busy machine the default profile may lose one for a moment.
	tolerant := func(name string, n int) *members.Members {
		return startAs(t, detection.ProfileTolerant, name, keys, loopback(n))
	}
	a, b := tolerant("a", 11), tolerant("b", 12)
	a.Seek(map[string]netip.AddrPort{"b": b.Address()})
	await(t, a, "a", "b")
	_ = b.Close()
	moved := tolerant("b", 13)
	moved.Seek(map[string]netip.AddrPort{"a": a.Address()})
	await(t, moved, "a", "b")
	await(t, a, "a", "b")
	for begin := time.Now(); time.Since(begin) < time.Second; time.Sleep(5 * time.Millisecond) {
		if len(a.Alive()) != 2 || len(moved.Alive()) != 2 {
			t.Fatalf("lost again: %v, %v", a.Alive(), moved.Alive())
		}
	}
}

func TestOthersAreNotLetIn(t *testing.T) {
	a := start(t, "a", keyFile(t, key()), loopback(21))
	b := start(t, "b", keyFile(t, key()), loopback(22))
	a.Seek(map[string]netip.AddrPort{"b": b.Address()})
	b.Seek(map[string]netip.AddrPort{"a": a.Address()})
	time.Sleep(time.Second)
	if len(a.Alive()) != 1 || len(b.Alive()) != 1 {
		t.Errorf("speakers with different keys see each other: %v, %v", a.Alive(), b.Alive())
	}
}

func TestKeysRotateWithoutAGap(t *testing.T) {
	first, second := key(), key()
	files := []string{keyFile(t, first), keyFile(t, first)}
	// A gap in the keys would last seconds; a busy machine's gap in the beats
	// is none of this test's business.
	a := startAs(t, detection.ProfileTolerant, "a", files[0], loopback(31))
	b := startAs(t, detection.ProfileTolerant, "b", files[1], loopback(32))
	a.Seek(map[string]netip.AddrPort{"b": b.Address()})
	await(t, a, "a", "b")
	await(t, b, "a", "b")
	lost := make(chan string, 1)
	stop := make(chan struct{})
	go func() {
		defer close(lost)
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				if len(a.Alive()) != 2 || len(b.Alive()) != 2 {
					lost <- fmt.Sprintf("%v, %v", a.Alive(), b.Alive())
					return
				}
			}
		}
	}()
	for _, lines := range [][]string{{first, second}, {second, first}, {second}} {
		for _, file := range files {
			writeKeys(t, file, lines...)
			time.Sleep(2500 * time.Millisecond)
		}
	}
	close(stop)
	if seen, ok := <-lost; ok {
		t.Errorf("somebody was lost: %s", seen)
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.7.41:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	listen := netip.MustParseAddrPort(taken.Addr().String())
	_, err = members.Start(members.Config{
		Name: "a", Listen: listen, KeyFile: keyFile(t, key()), Settings: detection.Default(), Logger: slog.New(slog.DiscardHandler),
	})
	if err == nil || !strings.Contains(err.Error(), listen.String()+" is taken") {
		t.Errorf("got %v", err)
	}
}

func TestABadKeyFileIsRefusedWithoutShowingIt(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "not base64": "correct horse battery", "too short": "aHVudGVyMg=="} {
		t.Run(name, func(t *testing.T) {
			_, err := members.Start(members.Config{Name: "a", Listen: loopback(51), KeyFile: keyFile(t, text), Settings: detection.Default()})
			if err == nil || text != "" && strings.Contains(err.Error(), text) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := members.Start(members.Config{Name: "a", KeyFile: "/does/not/exist"}); err == nil {
		t.Error("a missing key file is accepted")
	}
}

// memberlist is a directory: that its own probes fail, all of them, means nothing
// while heartbeats come.
func TestWhoseProbesFailAloneIsAlive(t *testing.T) {
	netnstest.Need(t)
	keys := keyFile(t, key())
	a := startAs(t, detection.ProfileTolerant, "a", keys, loopback(61))
	b := startAs(t, detection.ProfileTolerant, "b", keys, loopback(62))
	a.Seek(map[string]netip.AddrPort{"b": b.Address()})
	await(t, a, "a", "b")
	await(t, b, "a", "b")
	// All but what begins with our magic byte is dropped, on all ports.
	netnstest.Run(t, "nft add table inet deaf")
	t.Cleanup(func() { netnstest.Run(t, "nft delete table inet deaf") })
	netnstest.Run(t, "nft add chain inet deaf in { type filter hook input priority 0 ; }")
	netnstest.Run(t, "nft add rule inet deaf in udp length > 8 @th,64,8 != 0xba counter drop")
	netnstest.Run(t, "nft add rule inet deaf in tcp dport 1-65535 drop")
	// memberlist suspects after two seconds, and gives up after some more.
	for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
		if len(a.Alive()) != 2 || len(b.Alive()) != 2 {
			t.Fatalf("after %s: %v, %v", time.Since(begin), a.Alive(), b.Alive())
		}
	}
	if out := netnstest.Run(t, "nft list table inet deaf"); strings.Contains(out, "packets 0 ") {
		t.Errorf("memberlist was not kept from being heard: %s", out)
	}
}

// R1: a speaker that is heard over a segment alone is alive; and what was changed on
// the way, or is of somebody without the key, is not taken in.
func TestR1_WhoIsHeardByFramesAloneIsAlive(t *testing.T) {
	keys := keyFile(t, key())
	a, b := startAs(t, detection.ProfileTolerant, "a", keys, loopback(71)), startAs(t, detection.ProfileTolerant, "b", keys, loopback(72))
	relay, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback(73)))
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	b.Seek(map[string]netip.AddrPort{"a": netip.MustParseAddrPort(relay.LocalAddr().String())})
	buffer := make([]byte, 2048)
	forged := 0
	for begin := time.Now(); !slices.Equal(a.Alive(), []string{"a", "b"}); {
		if time.Since(begin) > time.Minute {
			t.Fatal("never heard")
		}
		n, err := relay.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		if buffer[0] < 2 {
			continue // memberlist's
		}
		if forged < 10 {
			forged++
			buffer[n-1]++
			a.Frame("eth0", model.MAC{2, 0, 0, 0, 0, 9}, buffer[:n])
			if len(a.Alive()) > 1 {
				t.Fatal("a changed message is taken in")
			}
			continue
		}
		a.Frame("eth0", model.MAC{2, 0, 0, 0, 0, 9}, buffer[:n])
	}
	if forged < 10 {
		t.Error("nothing was forged")
	}
}
