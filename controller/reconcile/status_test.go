package reconcile

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/controller/status"
)

// readyOf returns "status reason generation: message" of a pool or an
// advertisement.
func (c *cluster) readyOf(name string) string {
	var conditions []metav1.Condition
	if pool, err := c.custom.BalizaV1beta1().IPAddressPools().Get(c.t.Context(), name, metav1.GetOptions{}); err == nil {
		conditions = pool.Status.Conditions
	}
	if l2, err := c.custom.BalizaV1beta1().L2Advertisements().Get(c.t.Context(), name, metav1.GetOptions{}); err == nil {
		conditions = l2.Status.Conditions
	}
	for _, one := range conditions {
		if one.Type == v1beta1.ConditionReady {
			return fmt.Sprintf("%s %s %d: %s", one.Status, one.Reason, one.ObservedGeneration, one.Message)
		}
	}
	return ""
}

func (c *cluster) expectReady(name, expected string) {
	c.t.Helper()
	c.eventually(func() string {
		if got := c.readyOf(name); !strings.HasPrefix(got, expected) {
			return fmt.Sprintf("%s is %q, want %q", name, got, expected)
		}
		return ""
	})
}

func TestC01C03BadObjectsSaySoTheOthersWorkAndMendingClears(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("good", nil, "192.0.2.10-192.0.2.20")
		c.pool("bad", nil, "198.51.100.9-198.51.100.1", "192.0.2.0/24")
		l2 := &v1beta1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: "lost", UID: "l2", Generation: 3}, Spec: v1beta1.L2AdvertisementSpec{IPAddressPools: []string{"wan"}}}
		if _, err := c.custom.BalizaV1beta1().L2Advertisements().Create(t.Context(), l2, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.service("web", nil)
		c.start()
		c.expectShown("web", "192.0.2.10")
		c.expectReady("good", "True Valid 1: ")
		c.expectReady("bad", "False InvalidSpec 1: spec.addresses[0]: the range is reversed")
		c.expectReady("lost", `False ReferenceNotFound 3: spec.ipAddressPools[0]: there is no IPAddressPool "wan"`)

		pools := c.custom.BalizaV1beta1().IPAddressPools()
		bad, err := pools.Get(t.Context(), "bad", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		bad = bad.DeepCopy()
		bad.Generation, bad.Spec.Addresses = 2, []v1beta1.AddressRange{"198.51.100.1-198.51.100.9"}
		if _, err := pools.Update(t.Context(), bad, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.pool("wan", nil, "203.0.113.0/24")
		c.expectReady("bad", "True Valid 2: ")
		c.expectReady("lost", "True Valid 3: ")

		time.Sleep(2 * status.Every) // and then nothing more is written
		c.mu.Lock()
		before := c.statusWrites
		c.mu.Unlock()
		time.Sleep(2 * status.Every)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.statusWrites != before {
			t.Errorf("%d writes although nothing changed", c.statusWrites-before)
		}
	})
}

func TestC07MetricsPassLintAndCount(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10/31", "2001:db8::/64")
		for _, name := range []string{"a", "b", "c"} {
			c.service(name, nil)
		}
		run := c.start()
		c.expectReason("c", v1beta1.ReasonPoolExhausted)
		c.expectShown("b", "192.0.2.11")
		problems, err := testutil.GatherAndLint(run.metrics)
		if err != nil || len(problems) > 0 {
			t.Errorf("lint: %v %v", problems, err)
		}
		const expected = `
# HELP baliza_pool_addresses_assigned Addresses of the pool that Services hold.
# TYPE baliza_pool_addresses_assigned gauge
baliza_pool_addresses_assigned{family="ipv4",pool="lan"} 2
baliza_pool_addresses_assigned{family="ipv6",pool="lan"} 0
# HELP baliza_pool_addresses_available Addresses of the pool that can still be given.
# TYPE baliza_pool_addresses_available gauge
baliza_pool_addresses_available{family="ipv4",pool="lan"} 0
baliza_pool_addresses_available{family="ipv6",pool="lan"} 1.8446744073709552e+19
# HELP baliza_services Services served, by the reason of their condition baliza.io/Allocated.
# TYPE baliza_services gauge
baliza_services{reason="Allocated"} 2
baliza_services{reason="PoolExhausted"} 1
`
		c.eventually(func() string {
			err := testutil.GatherAndCompare(run.metrics, strings.NewReader(expected),
				"baliza_pool_addresses_assigned", "baliza_pool_addresses_available", "baliza_services")
			if err != nil {
				return err.Error()
			}
			return ""
		})
	})
}

// announcedBy makes the Speaker of a node say which addresses it holds.
func (c *cluster) announcedBy(node string, withheld []v1beta1.WithheldAddresses, addresses ...string) {
	c.t.Helper()
	status := v1beta1.SpeakerStatus{Withheld: withheld}
	for _, a := range addresses {
		status.Held = append(status.Held, v1beta1.HeldAddress{Address: a})
	}
	c.report(node, status)
}

// report makes the Speaker of a node say something.
func (c *cluster) report(node string, status v1beta1.SpeakerStatus) {
	c.t.Helper()
	speaker := &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: node}, Status: status}
	speakers := c.custom.BalizaV1beta1().Speakers()
	_, err := speakers.Update(c.t.Context(), speaker, metav1.UpdateOptions{})
	if err != nil {
		_, err = speakers.Create(c.t.Context(), speaker, metav1.CreateOptions{})
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) expectAnnounced(expected string) {
	c.t.Helper()
	c.eventually(func() string {
		got := ""
		if condition := conditionOf(c.live("web"), v1beta1.ConditionAnnounced); condition != nil {
			got = fmt.Sprintf("%s %s: %s", condition.Status, condition.Reason, condition.Message)
		}
		if got != expected {
			return fmt.Sprintf("announced is %q, want %q", got, expected)
		}
		return ""
	})
}

func TestSpeakersReportsAreFoldedIntoTheService(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("web", nil)
		c.start()
		c.expectShown("web", "192.0.2.10")
		c.announcedBy("n2", nil)
		c.announcedBy("n1", nil, "192.0.2.10")
		c.expectAnnounced("True Announced: announced by n1")
		c.announcedBy("n1", nil)
		c.announcedBy("n2", nil, "192.0.2.10")
		c.expectAnnounced("True Announced: announced by n2")
		c.announcedBy("n2", []v1beta1.WithheldAddresses{{Reason: v1beta1.ReasonNoEndpoint, Addresses: []string{"192.0.2.10"}}})
		c.expectAnnounced("False NoEndpoint: no node announces 192.0.2.10")
		c.settle()
		if n := c.writesOf("web"); n != 4 {
			t.Errorf("%d writes, want one for each change", n)
		}
		c.edit("web", "kubectl", annotate(v1beta1.AnnotationAddresses, "192.0.2.15"))
		c.expectShown("web", "192.0.2.15")
		c.expectAnnounced("")
	})
}

// An address that several nodes share is announced by all of them.
func TestPerClientTheServiceNamesAllThatShareItsAddress(t *testing.T) {
	inCluster(t, func(_ *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("web", nil)
		c.start()
		c.expectShown("web", "192.0.2.10")
		for _, name := range []string{"n2", "n1"} {
			c.report(name, v1beta1.SpeakerStatus{Held: []v1beta1.HeldAddress{{Address: "192.0.2.10", Balancing: v1beta1.BalancePerClient}}})
		}
		c.expectAnnounced("True Announced: announced by n1, n2, per client")
		c.announcedBy("n1", nil)
		c.expectAnnounced("True Announced: announced by n2, per client")
		c.announcedBy("n2", nil, "192.0.2.10")
		c.expectAnnounced("True Announced: announced by n2")
	})
}

// The message repeats what the user wrote, and an annotation can have a
// quarter of a megabyte.
func TestAMonstrousAnnotationDoesNotBecomeAMonstrousCondition(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("addresses", annotate(v1beta1.AnnotationAddresses, strings.Repeat("é", 100_000)))
		c.service("pool", annotate(v1beta1.AnnotationPool, strings.Repeat("\U0001F6D1", 50_000)))
		c.start()
		c.expectReason("addresses", v1beta1.ReasonInvalidRequest)
		c.expectReason("pool", v1beta1.ReasonPoolNotFound)
		for _, name := range []string{"addresses", "pool"} {
			message := conditionOf(c.live(name), v1beta1.ConditionAllocated).Message
			if len(message) > 32768 || !utf8.ValidString(message) {
				t.Errorf("%s: the message has %d bytes, valid UTF-8: %t", name, len(message), utf8.ValidString(message))
			}
		}
		c.settle()
		if n := c.writesOf("addresses"); n != 1 {
			t.Errorf("%d writes for one refusal", n)
		}
	})
}

// The owner alone knows why it does not announce; that the others do not own
// the address explains nothing.
func TestWhatIsInTheOwnersWayIsWhatTheServiceSays(t *testing.T) {
	inCluster(t, func(_ *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("web", nil)
		c.start()
		c.expectShown("web", "192.0.2.10")
		because := func(reason v1beta1.Reason) []v1beta1.WithheldAddresses {
			return []v1beta1.WithheldAddresses{{Reason: reason, Addresses: []string{"192.0.2.10"}}}
		}
		c.announcedBy("n1", nil, "192.0.2.10")
		c.expectAnnounced("True Announced: announced by n1")
		c.announcedBy("n2", because(v1beta1.ReasonNoLocalEndpoint))
		c.announcedBy("n1", because(v1beta1.ReasonInterfaceUnavailable))
		c.expectAnnounced("False InterfaceUnavailable: no node announces 192.0.2.10")
		c.announcedBy("n1", because(v1beta1.ReasonSocketError))
		c.expectAnnounced("False SocketError: no node announces 192.0.2.10")
	})
}
