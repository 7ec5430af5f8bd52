package reconcile

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// eventCounter notes how many writes had been made when each event came.
type eventCounter struct {
	cluster *cluster
	first   atomic.Int64
	count   atomic.Int64
}

func (e *eventCounter) ServiceEvent(*corev1.Service, bool, v1beta1.Reason, string, string) {
	e.cluster.mu.Lock()
	defer e.cluster.mu.Unlock()
	e.first.CompareAndSwap(0, int64(e.cluster.total))
	e.count.Add(1)
}

func TestEventsWaitUntilNoAddressDoes(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.0/26")
		const count = 30
		for i := range count {
			c.service(fmt.Sprintf("s%d", i), nil)
		}
		told := &eventCounter{cluster: c}
		c.start(func(d *Dependencies, o *Options) { d.Recorder, o.Parallel = told, 1 })
		c.eventually(func() string {
			if n := told.count.Load(); n != count {
				return fmt.Sprintf("%d events", n)
			}
			return ""
		})
		if first := told.first.Load(); first < count-1 {
			t.Errorf("the first event came after %d of %d writes", first, count)
		}
	})
}

// TestA19 for the loop: nothing in the cluster changes, only time passes.
func TestA19TheEndOfARestWakesWhoWaits(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", func(s *v1beta1.IPAddressPoolSpec) {
			s.ReuseDelay = &metav1.Duration{Duration: 700 * time.Millisecond}
		}, "192.0.2.0/28")
		c.service("web", nil)
		c.start()
		c.expectShown("web", "192.0.2.0")
		c.remove("web")
		c.expectShown("web", "gone")
		c.service("other", func(svc *corev1.Service) {
			svc.Namespace = "other"
			annotate(v1beta1.AnnotationAddresses, "192.0.2.0")(svc)
		})
		seen := map[string]bool{}
		c.eventually(func() string {
			c.mu.Lock()
			defer c.mu.Unlock()
			svc, err := c.get("other", "other")
			if err != nil {
				return err.Error()
			}
			if condition := conditionOf(svc, v1beta1.ConditionAllocated); condition != nil {
				seen[condition.Reason] = true
			}
			if got := ingress(svc); len(got) != 1 {
				return fmt.Sprintf("it shows %v", got)
			}
			return ""
		})
		if !seen[string(v1beta1.ReasonAddressInCooldown)] {
			t.Errorf("it never said why it waited: %v", seen)
		}
	})
}
