package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

func annotate(pairs ...string) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		if svc.Annotations == nil {
			svc.Annotations = make(map[string]string)
		}
		for i := 0; i < len(pairs); i += 2 {
			svc.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

func class(name string) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Spec.LoadBalancerClass = &name }
}

func retype(kind corev1.ServiceType) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Spec.Type = kind }
}

func shownAs(addresses ...string) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		svc.Status.LoadBalancer.Ingress = nil
		for _, a := range addresses {
			entry := corev1.LoadBalancerIngress{IP: a}
			if strings.Contains(a, "example") {
				entry = corev1.LoadBalancerIngress{Hostname: a}
			}
			svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, entry)
		}
	}
}

func all(changes ...func(*corev1.Service)) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		for _, change := range changes {
			change(svc)
		}
	}
}

func TestA01ClasslessServiceGetsAnAddressInOneWrite(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("web", nil)
		run := c.start()
		c.expectShown("web", "192.0.2.10")
		c.settle()
		svc := c.live("web")
		if mode := svc.Status.LoadBalancer.Ingress[0].IPMode; mode == nil || *mode != corev1.LoadBalancerIPModeVIP {
			t.Errorf("ipMode is %v, want VIP", mode)
		}
		if !slices.Contains(svc.Finalizers, v1beta1.Finalizer) || svc.Annotations[v1beta1.AnnotationAllocatedPool] != "lan" {
			t.Errorf("finalizers %v, annotations %v", svc.Finalizers, svc.Annotations)
		}
		if n := c.writesOf("web"); n != 1 {
			t.Errorf("%d writes, want one that says everything", n)
		}
		if got := run.events.of("web"); len(got) != 1 || got[0] != "web Allocate Allocated: 192.0.2.10 from pool lan" {
			t.Errorf("events: %q", got)
		}
	})
}

func TestA02ForeignClassIsNeverTouched(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("foreign", all(class("example.com/other"), shownAs("192.0.2.11")))
		c.service("ours", class(v1beta1.LoadBalancerClass))
		c.start()
		c.expectShown("ours", "192.0.2.10")
		c.settle()
		if n := c.writesOf("foreign"); n != 0 || c.shows("foreign") != "192.0.2.11" {
			t.Errorf("the foreign Service was written %d times and shows %s", n, c.shows("foreign"))
		}
	})
}

func TestA03WithClasslessServingOffOnlyOurClassIsServed(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("classless", nil)
		c.service("ours", class(v1beta1.LoadBalancerClass))
		c.start(func(_ *Dependencies, o *Options) { o.ServeClassless = false })
		c.expectShown("ours", "192.0.2.10")
		c.settle()
		if n := c.writesOf("classless"); n != 0 {
			t.Errorf("the class-less Service was written %d times", n)
		}
	})
}

func TestA04TypeChangeAndDeletionFreeTheAddress(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10/32")
		c.service("web", nil)
		run := c.start()
		c.expectShown("web", "192.0.2.10")
		c.service("next", nil)
		c.expectReason("next", v1beta1.ReasonPoolExhausted)

		c.edit("web", "kubectl", retype(corev1.ServiceTypeClusterIP))
		c.expectShown("next", "192.0.2.10")
		svc := c.live("web")
		if len(svc.Finalizers) > 0 || len(svc.Status.Conditions) > 0 || len(svc.Annotations) > 0 {
			t.Errorf("left behind: %v %v %v", svc.Finalizers, svc.Status.Conditions, svc.Annotations)
		}
		c.edit("web", "kubectl", retype(corev1.ServiceTypeLoadBalancer))
		c.expectReason("web", v1beta1.ReasonPoolExhausted)
		c.remove("next")
		c.expectShown("web", "192.0.2.10")
		if c.shows("next") != "gone" || !slices.Contains(c.live("web").Finalizers, v1beta1.Finalizer) {
			t.Errorf("next: %s; web: %v", c.shows("next"), c.live("web").Finalizers)
		}
		c.settle()
		if got := run.events.of("next"); len(got) != 2 {
			t.Errorf("one event for each change, got %q", got)
		}
	})
}

func TestA04AFinalizerThatABackupBroughtIsRemovedToo(t *testing.T) {
	inCluster(t, func(_ *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10/32")
		c.service("web", func(svc *corev1.Service) {
			svc.Finalizers = []string{v1beta1.Finalizer, "example.com/keep"}
			annotate(v1beta1.AnnotationAllocatedPool, "lan")(svc)
		})
		c.start()
		c.expectShown("web", "192.0.2.10")
		c.edit("web", "kubectl", retype(corev1.ServiceTypeClusterIP))
		c.eventually(func() string {
			if svc := c.live("web"); !slices.Equal(svc.Finalizers, []string{"example.com/keep"}) || len(svc.Annotations) > 0 {
				return fmt.Sprintf("finalizers %v, annotations %v", svc.Finalizers, svc.Annotations)
			}
			return ""
		})
	})
}

func TestA05AnnotationWinsAndDisagreementIsReported(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("web", all(annotate(v1beta1.AnnotationAddresses, "192.0.2.15"), func(svc *corev1.Service) {
			svc.Spec.LoadBalancerIP = "192.0.2.16"
		}))
		c.start()
		c.expectShown("web", "192.0.2.15")
		if message := conditionOf(c.live("web"), v1beta1.ConditionAllocated).Message; !strings.Contains(message, string(v1beta1.ReasonConflictingRequests)) {
			t.Errorf("the disagreement is not reported: %s", message)
		}
	})
}

func TestA06GarbageInAnAnnotationKeepsThePresentAddress(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("web", nil)
		c.start()
		c.expectShown("web", "192.0.2.10")
		c.edit("web", "kubectl", annotate(v1beta1.AnnotationAddresses, "192.0.999.1"))
		c.expectReason("web", v1beta1.ReasonInvalidRequest)
		if got := c.shows("web"); got != "192.0.2.10" {
			t.Errorf("shows %s", got)
		}
		c.edit("web", "kubectl", annotate(v1beta1.AnnotationAddresses, ""))
		c.expectReason("web", v1beta1.ReasonAllocated)
	})
}

func TestA08SwitchingPoolsReassigns(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.pool("dmz", nil, "198.51.100.10-198.51.100.20")
		c.service("web", nil)
		c.start()
		c.expectShown("web", "192.0.2.10")
		c.edit("web", "kubectl", annotate(v1beta1.AnnotationPool, "nowhere"))
		c.expectReason("web", v1beta1.ReasonPoolNotFound)
		c.edit("web", "kubectl", annotate(v1beta1.AnnotationPool, "dmz"))
		c.expectShown("web", "198.51.100.10")
		if got := c.live("web").Annotations[v1beta1.AnnotationAllocatedPool]; got != "dmz" {
			t.Errorf("allocated from %s", got)
		}
	})
}

// TestA09 has one waiting Service and each way in which an address can become
// free for it.
func TestA09WhoeverWaitsGetsAFreedAddress(t *testing.T) {
	key := func(k string) func(*corev1.Service) { return annotate(v1beta1.AnnotationSharingKey, k) }
	udp := func(svc *corev1.Service) { svc.Spec.Ports[0].Protocol = corev1.ProtocolUDP }
	for name, test := range map[string]struct {
		holder, waiter func(*corev1.Service)
		free           func(*cluster)
	}{
		"the holder is deleted":        {nil, nil, func(c *cluster) { c.remove("holder") }},
		"the holder changes its type":  {nil, nil, func(c *cluster) { c.edit("holder", "kubectl", retype(corev1.ServiceTypeNodePort)) }},
		"the holder moves to a pool":   {nil, nil, func(c *cluster) { c.edit("holder", "kubectl", annotate(v1beta1.AnnotationPool, "named")) }},
		"the holder changes its port":  {key("k"), key("k"), func(c *cluster) { c.edit("holder", "kubectl", udp) }},
		"the holder changes its key":   {key("a"), all(key("k"), udp), func(c *cluster) { c.edit("holder", "kubectl", key("k")) }},
		"a pool is added":              {nil, nil, func(c *cluster) { c.pool("more", nil, "192.0.2.1/32") }},
		"the waiter changes its port":  {key("k"), key("k"), func(c *cluster) { c.edit("waiter", "kubectl", udp) }},
		"the waiter names another one": {nil, nil, func(c *cluster) { c.edit("waiter", "kubectl", annotate(v1beta1.AnnotationPool, "named")) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inCluster(t, func(t *testing.T, c *cluster) {
				no := false
				c.pool("lan", nil, "192.0.2.10/32")
				c.pool("named", func(spec *v1beta1.IPAddressPoolSpec) { spec.AutoAssign = &no }, "198.51.100.1/32")
				c.service("holder", test.holder)
				c.start()
				c.expectShown("holder", "192.0.2.10")
				c.service("waiter", test.waiter)
				c.eventually(func() string {
					if c.allocated("waiter") == "" {
						return "the waiter says nothing"
					}
					return ""
				})
				if got := c.shows("waiter"); got != "" {
					t.Fatalf("the waiter has %s already", got)
				}
				test.free(c)
				c.expectReason("waiter", v1beta1.ReasonAllocated)
			})
		})
	}
}

func TestA10GarbageInStatusIsRepaired(t *testing.T) {
	inCluster(t, func(_ *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("fresh", shownAs("203.0.113.9"))
		c.start()
		c.expectShown("fresh", "192.0.2.10")
		for _, garbage := range [][]string{{"lb.example.org"}, {"203.0.113.99"}, {"192.0.2.10", "192.0.2.11"}, {}} {
			c.edit("fresh", "kubectl-edit", shownAs(garbage...))
			c.expectShown("fresh", "192.0.2.10")
			c.expectReason("fresh", v1beta1.ReasonAllocated)
		}
	})
}

func TestA10OfTwoThatShowOneAddressTheOlderKeepsIt(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		garbage := annotate("test/garbage", "yes")
		c.service("older", all(shownAs("192.0.2.12"), garbage))
		c.service("younger", all(shownAs("192.0.2.12"), garbage))
		c.start()
		c.expectShown("younger", "192.0.2.10")
		c.expectReason("older", v1beta1.ReasonAllocated)
		if got := c.shows("older"); got != "192.0.2.12" {
			t.Errorf("the older shows %s", got)
		}
	})
}

func TestAnotherProviderIsNotFought(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("web", nil)
		run := c.start()
		c.expectShown("web", "192.0.2.10")
		c.edit("web", "kube-vip", shownAs("203.0.113.9"))
		c.expectReason("web", v1beta1.ReasonWriteConflict)
		c.settle()
		if got := c.shows("web"); got != "203.0.113.9" {
			t.Errorf("shows %s: the other's address was overwritten", got)
		}
		if svc := c.live("web"); len(svc.Finalizers) > 0 {
			t.Errorf("finalizers %v", svc.Finalizers)
		}
		before := c.writesOf("web")
		run.stop()
		c.start()
		c.settle()
		if n := c.writesOf("web"); n != before || c.shows("web") != "203.0.113.9" {
			t.Errorf("after a restart: %d writes more, shows %s", n-before, c.shows("web"))
		}
		c.edit("web", "kube-vip", shownAs())
		c.expectReason("web", v1beta1.ReasonAllocated)
	})
}

func TestC06AnAddressGivenByMetalLBStaysThoughNoPoolHasIt(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("inside", shownAs("192.0.2.12"))
		c.service("outside", all(shownAs("203.0.113.9"), annotate("metallb.universe.tf/ip-allocated-from-pool", "old")))
		c.start()
		c.expectReason("inside", v1beta1.ReasonAllocated)
		c.expectReason("outside", v1beta1.ReasonAllocated)
		if c.shows("inside") != "192.0.2.12" || c.shows("outside") != "203.0.113.9" {
			t.Errorf("inside shows %s, outside %s", c.shows("inside"), c.shows("outside"))
		}
	})
}

func TestA15PoolEditsMoveNobodyAndThePoolSaysWhoIsOutside(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("web", annotate(v1beta1.AnnotationAddresses, "192.0.2.19"))
		c.service("low", nil)
		run := c.start()
		c.expectShown("web", "192.0.2.19")
		c.expectShown("low", "192.0.2.10")

		pools := c.custom.BalizaV1beta1().IPAddressPools()
		pool, err := pools.Get(t.Context(), "lan", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		pool = pool.DeepCopy()
		pool.Spec.Addresses = []v1beta1.AddressRange{"192.0.2.8/29"}
		if _, err := pools.Update(t.Context(), pool, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.eventually(func() string {
			pool, err := pools.Get(t.Context(), "lan", metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			ready := pool.Status.Conditions
			if !slices.Equal(pool.Status.OutsideSpec, []string{"192.0.2.19 default/web"}) || len(ready) != 1 ||
				ready[0].Reason != string(v1beta1.ReasonInUseOutsideSpec) || pool.Status.AssignedIPv4 != 2 || pool.Status.AvailableIPv4 != "7" {
				return fmt.Sprintf("%+v", pool.Status)
			}
			return ""
		})
		if err := pools.Delete(t.Context(), "lan", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.settle()
		before := c.writesOf("web")
		run.stop()
		c.start()
		c.settle()
		if c.shows("web") != "192.0.2.19" || c.shows("low") != "192.0.2.10" || c.writesOf("web") != before {
			t.Errorf("web shows %s, low %s, %d writes after the restart", c.shows("web"), c.shows("low"), c.writesOf("web")-before)
		}
	})
}

func TestADeletedAndRecreatedServiceInheritsNothing(t *testing.T) {
	inCluster(t, func(_ *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("web", annotate(v1beta1.AnnotationAddresses, "192.0.2.15"))
		c.start()
		c.expectShown("web", "192.0.2.15")
		c.remove("web")
		c.eventually(func() string {
			if c.live("web") != nil {
				return "web is still there"
			}
			return ""
		})
		c.service("web", nil)
		c.expectShown("web", "192.0.2.10")
	})
}

func TestS04DualStack(t *testing.T) {
	inCluster(t, func(_ *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20", "2001:db8::10-2001:db8::20")
		policy := corev1.IPFamilyPolicyRequireDualStack
		c.service("web", func(svc *corev1.Service) {
			svc.Spec.IPFamilyPolicy, svc.Spec.IPFamilies = &policy, []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol}
		})
		c.start()
		c.expectShown("web", "2001:db8::10,192.0.2.10")
	})
}

// The caches of Services and of namespaces are filled independently: a Service
// may be seen before the namespace that it is in.
func TestA12AServiceIsNotLetInBeforeItsNamespaceIsKnown(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", func(spec *v1beta1.IPAddressPoolSpec) {
			spec.AllocateTo = &v1beta1.ServiceAllocation{NamespaceSelectors: []metav1.LabelSelector{{
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "quarantined", Operator: metav1.LabelSelectorOpDoesNotExist}},
			}}}
		}, "192.0.2.10-192.0.2.20")
		c.service("web", nil)
		c.start()
		c.expectReason("web", v1beta1.ReasonPoolNotAllowed)
		c.expectShown("web", "")
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
		if _, err := c.core.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.expectShown("web", "192.0.2.10")
	})
}

// Another provider may have a pool that overlaps ours. What it gave is not
// given again, before and after a restart, until it is let go.
func TestAnAddressThatAnotherProviderGaveIsNotGivenAgain(t *testing.T) {
	inCluster(t, func(_ *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.12")
		c.service("web", nil)
		run := c.start()
		c.expectShown("web", "192.0.2.10")
		c.edit("web", "metallb-controller", shownAs("192.0.2.11"))
		c.expectReason("web", v1beta1.ReasonWriteConflict)
		c.service("b", nil)
		c.expectShown("b", "192.0.2.10")
		run.stop()
		c.start()
		c.service("c", nil)
		c.expectShown("c", "192.0.2.12")
		c.service("d", nil)
		c.expectReason("d", v1beta1.ReasonPoolExhausted)
		c.edit("web", "metallb-controller", shownAs("203.0.113.9"))
		c.expectShown("d", "192.0.2.11")
		c.expectShown("web", "203.0.113.9")
	})
}
