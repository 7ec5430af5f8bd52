package reconcile

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
)

// watchdog counts turns.
type watchdog struct{ turns, stops atomic.Int64 }

func (p *watchdog) Kick() { p.turns.Add(1) }
func (p *watchdog) Stop() { p.stops.Add(1) }

// The controller is to be restarted when its loop hangs, and not because the
// API server does.
func TestTheLoopTurnsWhileTheAPIServerHangs(t *testing.T) {
	c := newCluster(t)
	c.pool("lan", nil, "192.0.2.10-192.0.2.20")
	hang := make(chan struct{})
	waits := make(chan struct{}, 100)
	c.core.PrependReactor("patch", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
		waits <- struct{}{}
		<-hang
		return false, nil, nil
	})
	var p watchdog
	run := c.start(func(d *Dependencies, _ *Options) { d.Watchdog = &p })
	c.service("web", nil)
	<-waits
	before := p.turns.Load()
	c.eventually(func() string {
		if p.turns.Load() < before+5 {
			return "the loop does not turn"
		}
		return ""
	})
	close(hang)
	c.expectShown("web", "192.0.2.10")
	run.stop()
	if p.stops.Load() != 1 {
		t.Errorf("the end was told %d times", p.stops.Load())
	}
}

func TestC03_TheFirstChangeOfAStatusIsWrittenAtOnceAndTheNextWaits(t *testing.T) {
	s := statuses{known: make(map[types.UID]*writtenStatus)}
	now := time.Unix(1_000_000, 0)
	expect := func(after time.Duration, uid types.UID, observed, status string, written bool, due time.Duration) {
		t.Helper()
		now, s.due = now.Add(after), time.Time{}
		if got := s.needs(now, uid, observed, status); got != written {
			t.Errorf("%s: %q instead of %q is written: %t", uid, status, observed, got)
		}
		if due == 0 && !s.due.IsZero() || due != 0 && s.due.Sub(now) != due {
			t.Errorf("%s: due %s after %s", uid, s.due, now)
		}
	}
	expect(0, "a", "", "1", true, 0)
	expect(0, "b", "", "1", true, 0) // of each object
	expect(100*time.Millisecond, "a", "1", "2", false, 900*time.Millisecond)
	expect(100*time.Millisecond, "a", "1", "3", false, 800*time.Millisecond)
	expect(800*time.Millisecond, "a", "1", "3", true, 0)
	expect(time.Hour, "a", "3", "3", false, 0)
	expect(0, "a", "3", "4", true, 0)
}

func TestAStatusThatDoesNotArriveIsWrittenAgain(t *testing.T) {
	s := statuses{known: make(map[types.UID]*writtenStatus)}
	now := time.Unix(1_000_000, 0)
	if !s.needs(now, "a", "0", "1") {
		t.Fatal("a change is not written")
	}
	s.known["a"].unsure = true // it failed, or only its answer was lost
	if now = now.Add(statusEvery); !s.needs(now, "a", "0", "0") {
		t.Error("what is observed is believed, though a write is under way")
	}
	writes, last := 0, now
	for end := now.Add(time.Hour); now.Before(end); now = now.Add(time.Second) {
		if s.needs(now, "a", "1", "0") { // it did arrive, late
			writes++
			if writes == 1 && now.Sub(last) != statusSettles {
				t.Errorf("written again after %s", now.Sub(last))
			}
		}
	}
	if writes < 3 || writes > 20 {
		t.Errorf("%d writes in an hour in which it did not help", writes)
	}
}

// A write of the status that had timed out may arrive after those that came
// later.
func TestA16_ALateWriteDoesNotLeaveThePoolStale(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.pool("lan", nil, "192.0.2.10-192.0.2.20")
	var late atomic.Pointer[clienttesting.PatchActionImpl]
	c.custom.PrependReactor("patch", "ipaddresspools", func(action clienttesting.Action) (bool, runtime.Object, error) {
		patch := action.(clienttesting.PatchActionImpl)
		if strings.Contains(string(patch.Patch), `"assignedIPv4":1`) && late.CompareAndSwap(nil, &patch) {
			return true, nil, errors.New("timed out")
		}
		return false, nil, nil
	})
	k := newClock()
	c.start(k.of)
	assigned := func() string {
		object, err := c.custom.BalizaV1beta1().IPAddressPools().Get(t.Context(), "lan", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(object.Status.AssignedIPv4, " ", object.Status.AvailableIPv4)
	}
	c.eventually(func() string {
		if got := assigned(); got != "0 11" {
			return "at first it says " + got
		}
		return ""
	})
	c.service("web", nil)
	c.expectShown("web", "192.0.2.10")
	c.eventually(func() string {
		if late.Load() == nil {
			return "nothing was written"
		}
		return ""
	})
	c.remove("web")
	c.expectShown("web", "gone")
	time.Sleep(2 * tickEvery) // whatever is to be written after that has been
	if _, _, err := c.applyConfig(*late.Load()); err != nil {
		t.Fatal(err)
	}
	if got := assigned(); got != "1 10" {
		t.Fatalf("the late write did not arrive: %s", got)
	}
	c.eventually(func() string {
		if got := assigned(); got != "0 11" {
			return "in the end it says " + got
		}
		return ""
	})
}
