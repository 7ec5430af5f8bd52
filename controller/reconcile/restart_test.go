package reconcile

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// story is a cluster with every kind of change half done: Services to serve,
// one to move, one to take back, one to delete.
func story(c *cluster) {
	c.pool("lan", nil, "192.0.2.10-192.0.2.15")
	c.pool("dmz", nil, "198.51.100.10-198.51.100.12")
	for i := range 4 {
		c.service(fmt.Sprintf("s%d", i), nil)
	}
	run := c.start()
	for i := range 4 {
		c.expectShown(fmt.Sprintf("s%d", i), fmt.Sprintf("192.0.2.%d", 10+i))
	}
	run.stop()
	c.edit("s0", "kubectl", annotate(v1beta1.AnnotationPool, "dmz"))
	c.edit("s1", "kubectl", retype(corev1.ServiceTypeClusterIP))
	c.remove("s2")
	for i := 4; i < 8; i++ {
		c.service(fmt.Sprintf("s%d", i), annotate(v1beta1.AnnotationPool, "lan"))
	}
}

// outcome is what every Service of the story shows in the end.
func outcome(c *cluster) string {
	var b strings.Builder
	for i := range 8 {
		fmt.Fprintf(&b, "s%d=%s ", i, c.shows(fmt.Sprintf("s%d", i)))
	}
	return b.String()
}

func finished(c *cluster) {
	c.t.Helper()
	c.expectShown("s0", "198.51.100.10")
	c.expectShown("s2", "gone")
	for i := 4; i < 8; i++ {
		c.expectReason(fmt.Sprintf("s%d", i), v1beta1.ReasonAllocated)
	}
	c.eventually(func() string {
		if len(c.live("s1").Finalizers) > 0 {
			return "s1 still has its finalizer"
		}
		return ""
	})
}

// TestA14 stops the controller at every write in turn, with the write lost or
// with its answer lost, and starts another: nothing is given twice (the
// cluster checks that at every write) and nothing that was given moves.
func TestA14CrashAtEveryWrite(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for stopAt, more := 1, true; more; stopAt++ {
			more = crashAt(t, stopAt, lost)
		}
	}
}

// crashAt reports whether the story has as many writes as that.
func crashAt(t *testing.T, stopAt int, lost bool) (reached bool) {
	t.Helper()
	inCluster(t, func(t *testing.T, c *cluster) {
		story(c)
		c.mu.Lock()
		c.failFrom, c.lost = c.total+stopAt, lost
		c.mu.Unlock()
		run := c.start(func(_ *Dependencies, o *Options) { o.Parallel = 1 })
		c.eventually(func() string {
			c.mu.Lock()
			defer c.mu.Unlock()
			reached = c.total >= c.failFrom
			if reached || done(c) {
				return ""
			}
			return "neither failed nor finished"
		})
		run.stop()
		c.mu.Lock()
		c.failFrom = 0
		c.mu.Unlock()
		given := map[string]string{}
		for i := range 8 {
			name := fmt.Sprintf("s%d", i)
			given[name] = c.shows(name)
		}
		c.start()
		finished(c)
		for name, address := range given {
			if now := c.shows(name); address != "" && address != now && name != "s0" && now != "gone" {
				t.Errorf("stopped at write %d (answer lost: %v): %s moved from %s to %s", stopAt, lost, name, address, now)
			}
		}
	})
	return reached
}

// done is finished without waiting; the cluster is locked.
func done(c *cluster) bool {
	for i := 4; i < 8; i++ {
		svc, err := c.get("default", fmt.Sprintf("s%d", i))
		if err != nil || len(ingress(svc)) == 0 {
			return false
		}
	}
	s0, err := c.get("default", "s0")
	_, gone := c.get("default", "s2")
	s1, err1 := c.get("default", "s1")
	return err == nil && err1 == nil && gone != nil && len(s1.Finalizers) == 0 && strings.HasPrefix(ingress(s0)[0], "198.51.100.")
}

func TestA14RestartWritesNothing(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		story(c)
		run := c.start()
		finished(c)
		c.settle()
		run.stop()
		before, total := outcome(c), c.total
		c.start()
		c.settle()
		if after := outcome(c); after != before || c.total != total {
			t.Errorf("%d writes; before %s; after %s", c.total-total, before, after)
		}
	})
}

func TestA14TwoControllersAtOnce(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		story(c)
		c.start()
		c.start()
		finished(c)
		c.settle()
		for name, past := range c.history {
			if len(past) > 3 {
				t.Errorf("%s moved to and fro: %v", name, past)
			}
		}
	})
}

// TestA14 paused: a leader that wakes up after its Lease has gone to another
// writes nothing of what it had decided.
func TestA14APausedLeaderThatWakesWritesNothing(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.15")
		var leads atomic.Bool
		c.start(func(d *Dependencies, _ *Options) { d.Leading = leads.Load })
		c.service("web", annotate(v1beta1.AnnotationAddresses, "192.0.2.12"))
		time.Sleep(100 * time.Millisecond)
		c.start()
		c.expectShown("web", "192.0.2.12")
		c.settle()
		if n := c.writesOf("web"); n != 1 {
			t.Errorf("%d writes", n)
		}
	})
}

// Services may be handed over to another provider while no controller runs:
// what that one wrote is not taken back with what was ours.
func TestA03WhatAnotherProviderGaveMeanwhileStays(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.15")
		c.service("theirs", nil)
		c.service("ours", nil)
		run := c.start()
		c.expectShown("theirs", "192.0.2.10")
		c.expectShown("ours", "192.0.2.11")
		run.stop()
		c.edit("theirs", "other-lb", shownAs("203.0.113.9"))
		c.start(func(_ *Dependencies, o *Options) { o.ServeClassless = false })
		c.expectShown("ours", "")
		c.eventually(func() string {
			if svc := c.live("theirs"); len(svc.Finalizers) > 0 || len(svc.Annotations) > 0 || len(svc.Status.Conditions) > 0 {
				return fmt.Sprintf("left behind: %v %v %v", svc.Finalizers, svc.Annotations, svc.Status.Conditions)
			}
			return ""
		})
		if got := c.shows("theirs"); got != "203.0.113.9" {
			t.Errorf("the other provider's address became %q", got)
		}
	})
}
