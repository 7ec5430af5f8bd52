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
	clienttesting "k8s.io/client-go/testing"
)

// pulse counts turns.
type pulse struct{ turns, rests atomic.Int64 }

func (p *pulse) Kick() { p.turns.Add(1) }
func (p *pulse) Stop() { p.rests.Add(1) }

// The controller is to be restarted when its loop hangs, and not because the
// API server does.
func TestTheLoopTurnsWhileTheAPIServerHangs(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		hang := make(chan struct{})
		waits := make(chan struct{}, 100)
		c.core.PrependReactor("patch", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
			waits <- struct{}{}
			<-hang
			return false, nil, nil
		})
		var p pulse
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
		if p.rests.Load() != 1 {
			t.Errorf("the end was told %d times", p.rests.Load())
		}
	})
}

// A write of the status that had timed out may arrive after those that came
// later.
func TestA16_ALateWriteDoesNotLeaveThePoolStale(t *testing.T) {
	t.Parallel()
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		var late atomic.Pointer[clienttesting.PatchActionImpl]
		c.custom.PrependReactor("patch", "ipaddresspools", func(action clienttesting.Action) (bool, runtime.Object, error) {
			patch := action.(clienttesting.PatchActionImpl)
			if strings.Contains(string(patch.Patch), `"assignedIPv4":1`) && late.CompareAndSwap(nil, &patch) {
				return true, nil, errors.New("timed out")
			}
			return false, nil, nil
		})
		c.start()
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
		time.Sleep(4 * time.Second) // whatever is to be written after that has been
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
	})
}
