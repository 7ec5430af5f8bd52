package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
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
		if took > time.Second {
			t.Errorf("took %s", took)
		}
		l.ip("link set v" + owner + " master br0")
		l.settle(address)
	}
}

// L12: after a partition there is one owner, the one on the side of the most,
// and the client is told. L14: who returns takes nothing back.
func TestL12_APartitionHealsToOneOwner(t *testing.T) {
	l := newLAN(t, 3, vip4)
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
			if time.Since(begin) > 2*time.Second {
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
// others hold by now, though its kernel knows none of its neighbours any more.
func TestL12_WhoseCableComesBackStaysSilent(t *testing.T) {
	l := newLAN(t, 3, vip4, vip6)
	for _, address := range []string{vip4, vip6} {
		owner := l.settle(address)
		l.ip("link set v" + owner + " down")
		next, _ := l.await(address, false, butNot(owner))
		time.Sleep(4 * time.Second)
		l.ip("link set v" + owner + " up")
		healed, last, questions := time.Now(), time.Duration(0), 0
		for ; time.Since(healed) < 2*time.Second; questions++ {
			if slices.Contains(l.answers(address), owner) {
				last = time.Since(healed)
			}
		}
		t.Logf("%s: %s answered last %s after the heal, %d questions were asked", address, owner, last.Round(time.Millisecond), questions)
		if last > time.Second {
			t.Errorf("%s: %s answered %s after the heal", address, owner, last)
		}
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
			if out := l.run("arping -c 1 -w 1 -I br0 " + vip4); !strings.Contains(out, "02:00:00") {
				t.Errorf("nobody answered: %s", out)
			}
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
		if out := l.run("arping -c 1 -w 1 -I br0 " + vip4); !strings.Contains(out, "02:00:00") {
			t.Fatalf("nobody answered: %s", out)
		}
	}
	l.settle(vip4)
}

// L08: two thousand addresses are taken over, and the client knows the last.
func TestManyAddressesMove(t *testing.T) {
	var addresses []string
	for i := range 2000 {
		addresses = append(addresses, fmt.Sprintf("198.18.%d.%d", 1+i/250, 1+i%250))
	}
	l := newLAN(t, 2, addresses...)
	l.settle(addresses[0])
	// The client knows all of them as the first node's.
	victim := l.owner(addresses[0])
	for _, address := range addresses {
		l.ask(address)
	}
	before := count(l, victim)
	l.ip("link set v" + victim + " nomaster")
	begin := time.Now()
	for count(l, victim) > 0 {
		if time.Since(begin) > 15*time.Second {
			t.Fatalf("%d of %d still point to %s", count(l, victim), before, victim)
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("%d addresses moved; the client knew the last after %s", before, time.Since(begin).Round(time.Millisecond))
}

func count(l *lan, name string) int {
	return strings.Count(l.run("ip -4 neigh show dev br0"), l.nodes[name].mac) - 1 // itself
}

// L13: what a stranger answers for is not taken, in either family.
func TestL13_AStrangersAddressIsNotTaken(t *testing.T) {
	const free = "198.18.0.11"
	l := newLAN(t, 2, vip4, vip6, free)
	// The stranger is the client: its kernel answers for these from here on,
	// while the speakers still look for each other.
	l.ip("addr add " + vip4 + "/32 dev br0")
	l.ip("addr add " + vip6 + "/128 dev br0 nodad")
	l.settle(free)
	// The stranger goes; whoever had taken the address would answer now.
	l.ip("addr del " + vip4 + "/32 dev br0")
	l.ip("addr del " + vip6 + "/128 dev br0")
	for _, witness := range []string{"arping -b -c 2 -w 1 -I br0 " + vip4, "ndisc6 -m -r 2 -w 300 " + vip6 + " br0"} {
		words := strings.Fields(witness)
		out, _ := exec.Command(words[0], words[1:]...).CombinedOutput() // fails when nobody answers
		if strings.Contains(strings.ToLower(string(out)), "02:00:00:00:00:0") {
			t.Errorf("a node answers for a stranger's address: %s", out)
		}
	}
}

// L13: a stranger that comes later meets an announcement first, and is given
// way to when it insists.
func TestL13_AHeldAddressIsDefendedOnce(t *testing.T) {
	l := newLAN(t, 2, vip4)
	owner := l.settle(vip4)
	claim := func() { // a gratuitous request; nobody answers it, which arping finds strange
		_ = exec.Command("arping", "-U", "-c", "1", "-w", "1", "-i", "br0", "-S", vip4, vip4).Run()
	}
	claim()
	time.Sleep(1500 * time.Millisecond)
	if answers := l.answers(vip4); len(answers) != 1 || answers[0] != owner {
		t.Errorf("after the first claim %v answer, want %s", answers, owner)
	}
	claim()
	time.Sleep(300 * time.Millisecond)
	out, _ := exec.Command("arping", "-b", "-c", "1", "-w", "1", "-I", "br0", vip4).CombinedOutput()
	if strings.Contains(string(out), l.nodes[owner].mac) {
		t.Errorf("after the second claim %s still answers: %s", owner, out)
	}
}
