package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/internal/netnstest"
	"github.com/baliza-lb/baliza/speaker/members/detection"
)

const (
	vip4 = "198.18.0.10"
	vip6 = "2001:db8::10"
)

// L10: the client is told of the new owner without asking.
func TestLinkOfTheOwnerIsCut(t *testing.T) {
	l := newLAN(t, 3, vip4, vip6)
	for _, address := range []string{vip4, vip6} {
		owner := l.settle(address)
		l.ip("link set v" + owner + " nomaster") // the frames go nowhere; nobody sees a lost carrier
		next, took := l.await(address, false, butNot(owner))
		t.Logf("%s: from %s to %s in %s", address, owner, next, took.Round(time.Millisecond))
		l.ip("link set v" + owner + " master br0")
		l.settle(address)
	}
}

// L12: after a partition there is one owner, the one on the side of the most,
// and the client is told. L14: who returns takes nothing back.
func TestL12_APartitionHealsToOneOwner(t *testing.T) {
	l := newLANOf(t, 3, paper{Addresses: []string{vip4}, Profile: detection.ProfileTolerant})
	owner := l.settle(vip4)
	for range 2 {
		l.ip("link set v" + owner + " nomaster")
		next, took := l.await(vip4, false, butNot(owner))
		t.Logf("cut: from %s to %s in %s", owner, next, took.Round(time.Millisecond))
		time.Sleep(2 * time.Second) // the one that is alone still believes it owns the address
		l.ip("link set v" + owner + " master br0")
		begin := time.Now()
		for {
			answers := l.answers(vip4)
			if len(answers) == 1 && answers[0] == next {
				break
			}
			if time.Since(begin) > ceiling {
				t.Fatalf("%v answer, want %s alone", answers, next)
			}
		}
		t.Logf("healed: %s alone answered after %s", next, time.Since(begin).Round(time.Millisecond))
		if settled := l.settle(vip4); settled != next {
			t.Errorf("%s took back what %s had", settled, next)
		}
		owner = next
	}
}

// L12: a node whose cable comes back after some time does not answer for what
// others hold by now, though its kernel knows none of its neighbors any more.
func TestL12_WhoseCableComesBackStaysSilent(t *testing.T) {
	l := newLANOf(t, 3, paper{Addresses: []string{vip4, vip6}, Profile: detection.ProfileTolerant})
	for _, address := range []string{vip4, vip6} {
		owner := l.settle(address)
		l.ip("link set v" + owner + " down")
		next, _ := l.await(address, false, butNot(owner))
		time.Sleep(4 * time.Second)
		l.ip("link set v" + owner + " up")
		healed, last, questions := time.Now(), time.Duration(0), 0
		for silent := 0; silent < 5; questions++ {
			silent++
			if slices.Contains(l.answers(address), owner) {
				last, silent = time.Since(healed), 0
			}
			if time.Since(healed) > ceiling {
				t.Fatalf("%s: %s answers still, %d questions after the heal", address, owner, questions)
			}
		}
		t.Logf("%s: %s answered last %s after the heal, %d questions were asked", address, owner, last.Round(time.Millisecond), questions)
		if settled := l.settle(address); settled != next {
			t.Errorf("%s: %s has what %s had", address, settled, next)
		}
	}
}

func TestSpeakerIsKilled(t *testing.T) {
	l := newLAN(t, 3, vip4)
	owner := l.settle(vip4)
	l.kill(owner)
	next, took := l.await(vip4, true, butNot(owner))
	t.Logf("from %s to %s in %s", owner, next, took.Round(time.Millisecond))
}

// L11: at a planned departure somebody answers at every moment.
func TestSpeakerDeparts(t *testing.T) {
	l := newLAN(t, 3, vip4)
	owner := l.settle(vip4)
	leaving := l.nodes[owner].cmd
	if err := leaving.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- leaving.Wait() }()
	next, took := l.await(vip4, false, butNot(owner))
	t.Logf("from %s to %s in %s", owner, next, took.Round(time.Millisecond))
	for left := false; !left; {
		select {
		case err := <-gone:
			if err != nil {
				t.Errorf("departure: %v", err)
			}
			left = true
		default:
			l.somebodyAnswers(vip4)
		}
	}
	l.settle(vip4)
}

// A node that starts takes nothing before it is ready, and nobody gives up
// what it cannot take.
func TestANodeJoinsWithoutAGap(t *testing.T) {
	l := newLAN(t, 2, vip4)
	l.settle(vip4)
	l.start(3)
	for begin := time.Now(); time.Since(begin) < 2*time.Second; {
		l.somebodyAnswers(vip4)
	}
	l.settle(vip4)
}

// somebodyAnswers asks once, and no answer comes too late.
func (l *lan) somebodyAnswers(address string) {
	l.t.Helper()
	if out, err := netnstest.Try("arping -c 1 -C 1 -W 20 -I br0 " + address); err != nil || !strings.Contains(out, "02:00:00") {
		l.t.Fatalf("nobody answered: %s", out)
	}
}

// L08: two thousand addresses are taken over, and the client knows the last.
func TestManyAddressesMove(t *testing.T) {
	var addresses []string
	for i := range 2000 {
		addresses = append(addresses, fmt.Sprintf("198.18.%d.%d", 1+i/250, 1+i%250))
	}
	l := newLAN(t, 2, addresses...)
	l.settle(addresses[0])
	l.awaitNone(elsewhere) // the client has been told of all of them
	victim := l.owner(addresses[0])
	before := l.knownAt(l.nodes[victim].mac)
	l.ip("link set v" + victim + " nomaster")
	took := l.awaitNone(l.nodes[victim].mac)
	t.Logf("%d addresses moved; the client knew the last after %s", before, took.Round(time.Millisecond))
	if before < len(addresses)/4 {
		t.Errorf("%d addresses of %d are few for one of two nodes", before, len(addresses))
	}
}

// knownAt counts the addresses that the client knows at a MAC.
func (l *lan) knownAt(mac string) (count int) {
	for line := range strings.Lines(l.run("ip -4 neigh show dev br0")) {
		if strings.Contains(line, mac) && !strings.HasPrefix(line, "198.18.255.") { // which are the nodes' own
			count++
		}
	}
	return count
}

// awaitNone waits until the client knows nothing at a MAC any more.
func (l *lan) awaitNone(mac string) time.Duration {
	l.t.Helper()
	begin := time.Now()
	for ; l.knownAt(mac) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > ceiling {
			l.t.Fatalf("the client still knows %d addresses at %s", l.knownAt(mac), mac)
		}
	}
	return time.Since(begin)
}

// L13: what another host answers for is not taken, in either family.
func TestL13_AnotherHostsAddressIsNotTaken(t *testing.T) {
	const free = "198.18.0.11"
	l := layLAN(t, 2, paper{Addresses: []string{vip4, vip6, free}})
	// The other host is the client: its kernel answers for these from here on.
	l.ip("addr add " + vip4 + "/32 dev br0")
	l.ip("addr add " + vip6 + "/128 dev br0 nodad")
	l.startAll()
	l.settle(free)
	// The other host goes; whoever had taken the address would answer now.
	l.ip("addr del " + vip4 + "/32 dev br0")
	l.ip("addr del " + vip6 + "/128 dev br0")
	for _, witness := range []string{"arping -c 2 -w 1 -I br0 " + vip4, "ndisc6 -m -r 2 -w 300 " + vip6 + " br0"} {
		out, _ := netnstest.Try(witness) // fails when nobody answers
		if strings.Contains(strings.ToLower(out), "02:00:00:00:00:0") {
			t.Errorf("a node answers for another host's address: %s", out)
		}
	}
}

// L13: another host that comes later meets an announcement, as often as it insists.
func TestL13_AHeldAddressIsDefended(t *testing.T) {
	l := newLANOf(t, 2, paper{Addresses: []string{vip4}, Profile: detection.ProfileTolerant})
	owner := l.settle(vip4)
	for range 4 {
		// A gratuitous request; nobody answers it, which arping finds strange.
		_, _ = netnstest.Try("arping -U -c 1 -w 1 -i br0 -S " + vip4 + " " + vip4)
		time.Sleep(500 * time.Millisecond)
	}
	if only := l.only(vip4); only != owner {
		t.Errorf("after four claims %s answers, want %s", only, owner)
	}
}

// R10: an answer that comes from a node's kernel, and not from a speaker, is seen
// by who asks here: with a sender's address that any kernel answers.
func TestR10_TheWitnessSeesAKernelsAnswer(t *testing.T) {
	l := newLAN(t, 2, vip4)
	owner := l.settle(vip4)
	for name, n := range l.nodes {
		if name != owner {
			netnstest.In(t, n.cmd.Process.Pid).Run("ip addr add " + vip4 + "/32 dev lo")
		}
	}
	for begin := time.Now(); len(l.answers(vip4)) != 2; {
		if time.Since(begin) > ceiling {
			t.Fatalf("only %v are seen to answer", l.answers(vip4))
		}
	}
}

// Finding 2: a speaker whose node has lost its address, as by DHCP, ends, so that it is
// started again with the new one.
func TestF2_ANodesAddressChangesUnderItsSpeaker(t *testing.T) {
	l := newLANOf(t, 2, paper{Addresses: []string{vip4}, Profile: detection.ProfileTolerant})
	owner := l.settle(vip4)
	n := l.nodes[owner]
	host := netnstest.In(t, n.cmd.Process.Pid)
	addresses := host.Run("ip -o -4 addr show dev eth0")
	mine := strings.Fields(addresses)[3] // 198.18.255.1/15
	host.Run("ip addr del " + mine + " dev eth0")
	host.Run("ip addr add 198.18.255.101/15 dev eth0")
	begin, ended := time.Now(), make(chan error, 1)
	go func() { ended <- n.cmd.Wait() }()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it ends as if it had been asked to")
		}
		t.Logf("it ended after %s: %v", time.Since(begin).Round(time.Millisecond), err)
	case <-time.After(ceiling):
		t.Fatal("it goes on at an address that is not its node's")
	}
	l.await(vip4, true, butNot(owner))
}
