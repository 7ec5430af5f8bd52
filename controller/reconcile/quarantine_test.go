package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/controller/quarantine"
)

const foreignMAC = "02:00:00:00:00:99"

// says makes the Speaker of a node report a status.
func (c *cluster) says(node string, change func(*v1beta1.SpeakerStatus)) {
	c.t.Helper()
	speakers := c.custom.BalizaV1beta1().Speakers()
	speaker, err := speakers.Get(c.t.Context(), node, metav1.GetOptions{})
	if err != nil {
		speaker = &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: node}}
		if speaker, err = speakers.Create(c.t.Context(), speaker, metav1.CreateOptions{}); err != nil {
			c.t.Fatal(err)
		}
	}
	speaker = speaker.DeepCopy()
	change(&speaker.Status)
	if _, err := speakers.Update(c.t.Context(), speaker, metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// conflicting is the report of a speaker that would announce these addresses.
func conflicting(found v1beta1.ConflictFound, addresses ...string) func(*v1beta1.SpeakerStatus) {
	return func(s *v1beta1.SpeakerStatus) {
		*s = v1beta1.SpeakerStatus{}
		for _, a := range addresses {
			s.Conflicts = append(s.Conflicts, v1beta1.AddressConflict{Address: a, MAC: foreignMAC, Found: found, Since: metav1.Unix(1000, 0)})
		}
		if len(addresses) > 0 {
			s.Withheld = []v1beta1.WithheldAddresses{{
				Reason: v1beta1.ReasonAddressConflict, Message: foreignMAC + " answers", Count: int32(len(addresses)), Addresses: addresses,
			}}
		}
	}
}

func holding(addresses ...string) func(*v1beta1.SpeakerStatus) {
	return func(s *v1beta1.SpeakerStatus) {
		*s = v1beta1.SpeakerStatus{}
		for _, a := range addresses {
			s.Held = append(s.Held, v1beta1.HeldAddress{Address: a})
		}
	}
}

// quarantinedOf describes what the status of a pool says: of each address
// "address mac services", with a star while the conflict is reported.
func (c *cluster) quarantinedOf(pool string) string {
	object, err := c.custom.BalizaV1beta1().IPAddressPools().Get(c.t.Context(), pool, metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, q := range object.Status.Quarantined {
		text := q.Address + " " + q.MAC + " " + strings.Join(q.ReassignedServices, ",")
		if q.Until == nil {
			text += "*"
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

func (c *cluster) expectQuarantined(expected string) {
	c.t.Helper()
	c.eventually(func() string {
		if got := c.quarantinedOf("lan"); got != expected {
			return fmt.Sprintf("the pool has %q in quarantine, want %q", got, expected)
		}
		return ""
	})
}

// stays sees that a Service keeps its address for longer than it takes to act
// on a conflict.
func (c *cluster) stays(name, addresses string) {
	c.t.Helper()
	for end := time.Now().Add(quarantine.ConfirmedAfter + 3*reportsEvery + 4*tickEvery); time.Now().Before(end); time.Sleep(tickEvery) {
		if got := c.shows(name); got != addresses {
			c.t.Fatalf("%s shows %q, want %q still", name, got, addresses)
		}
	}
}

func TestL13_AServiceIsGivenAnotherAddressForAForeignOneThatItNeverUsed(t *testing.T) {
	t.Parallel()
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("web", nil)
		run := c.start()
		c.expectShown("web", "192.0.2.10")
		if got := c.live("web").Annotations[v1beta1.AnnotationUnannounced]; got != "192.0.2.10" {
			t.Errorf("unannounced are %q", got)
		}
		c.says("n2", holding())
		c.says("n1", conflicting(v1beta1.FoundAtFirstUse, "192.0.2.10"))
		c.expectShown("web", "192.0.2.11")
		c.expectReason("web", v1beta1.ReasonAllocated)
		c.expectQuarantined("192.0.2.10 " + foreignMAC + " default/web*")
		c.says("n1", holding("192.0.2.11"))
		c.expectAnnounced("True Announced: announced by n1")
		c.expectQuarantined("192.0.2.10 " + foreignMAC + " default/web")
		if got := c.live("web").Annotations[v1beta1.AnnotationUnannounced]; got != "" {
			t.Errorf("unannounced are %q though they are announced", got)
		}
		if events := run.events.of("web"); !slices.ContainsFunc(events, func(e string) bool {
			return strings.Contains(e, "Move AddressConflict: 192.0.2.10") && strings.Contains(e, foreignMAC)
		}) {
			t.Errorf("events: %q", events)
		}
		// Nobody else is given it, unless it is named, and that over a change of
		// leaders, too.
		c.service("next", nil)
		c.expectShown("next", "192.0.2.12")
		run.stop()
		c.start()
		c.service("then", nil)
		c.expectShown("then", "192.0.2.13")
		c.service("bold", annotate(v1beta1.AnnotationAddresses, "192.0.2.10"))
		c.expectShown("bold", "192.0.2.10")
		c.remove("bold")
		c.expectShown("bold", "gone")
		c.service("again", nil)
		c.expectShown("again", "192.0.2.14")
		time.Sleep(quarantine.Lasts)
		c.expectQuarantined("")
		c.service("last", nil)
		c.expectShown("last", "192.0.2.10")
	})
}

func TestL13_AnAddressInUseIsNotTakenFromItsService(t *testing.T) {
	for sentence, test := range map[string]struct {
		service func(*corev1.Service)
		before  func(*cluster)
		found   v1beta1.ConflictFound
	}{
		"it was announced once, though the speakers do not remember": {
			before: func(c *cluster) {
				c.says("n1", holding("192.0.2.10"))
				c.expectAnnounced("True Announced: announced by n1")
			},
			found: v1beta1.FoundAtFirstUse,
		},
		"a speaker knows of a use that the Service does not tell of": {found: v1beta1.FoundInUse},
		"one speaker knows of a use and another does not": {
			before: func(c *cluster) { c.says("n2", conflicting(v1beta1.FoundInUse, "192.0.2.10")) },
			found:  v1beta1.FoundAtFirstUse,
		},
		"it is named": {service: annotate(v1beta1.AnnotationAddresses, "192.0.2.10"), found: v1beta1.FoundAtFirstUse},
		"it is shared with one that named it": {
			service: annotate(v1beta1.AnnotationSharingKey, "k"),
			before: func(c *cluster) {
				c.service("named", func(svc *corev1.Service) {
					annotate(v1beta1.AnnotationSharingKey, "k")(svc)
					annotate(v1beta1.AnnotationAddresses, "192.0.2.10")(svc)
					svc.Spec.Ports[0].Port = 81
				})
				c.expectShown("named", "192.0.2.10")
			},
			found: v1beta1.FoundAtFirstUse,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			inCluster(t, func(_ *testing.T, c *cluster) {
				c.pool("lan", nil, "192.0.2.10-192.0.2.20")
				c.service("web", test.service)
				run := c.start()
				c.expectShown("web", "192.0.2.10")
				if test.before != nil {
					test.before(c)
				}
				run.stop() // the next leader knows it, too
				c.start()
				c.says("n1", conflicting(test.found, "192.0.2.10"))
				c.expectQuarantined("192.0.2.10 " + foreignMAC + " *")
				c.stays("web", "192.0.2.10")
				c.expectAnnounced("False AddressConflict: no node announces 192.0.2.10: " + foreignMAC + " answers")
				c.says("n2", holding())
				c.says("n1", holding("192.0.2.10"))
				c.expectAnnounced("True Announced: announced by n1")
				c.expectQuarantined("")
			})
		})
	}
}

// What an earlier controller of ours, or MetalLB, gave, and that has no mark,
// counts as used.
func TestL13_AnAdoptedAddressIsNotTakenFromItsService(t *testing.T) {
	t.Parallel()
	inCluster(t, func(_ *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("web", func(svc *corev1.Service) {
			svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.15"}}
		})
		c.start()
		c.says("n1", conflicting(v1beta1.FoundAtFirstUse, "192.0.2.15"))
		c.expectQuarantined("192.0.2.15 " + foreignMAC + " *")
		c.stays("web", "192.0.2.15")
	})
}

func TestL13_ServicesThatShareAnAddressLeaveItTogether(t *testing.T) {
	t.Parallel()
	inCluster(t, func(_ *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		for i, name := range []string{"web", "other"} {
			c.service(name, func(svc *corev1.Service) {
				annotate(v1beta1.AnnotationSharingKey, "k")(svc)
				svc.Spec.Ports[0].Port = int32(80 + i)
			})
		}
		c.start()
		c.expectShown("other", "192.0.2.10")
		c.says("n1", conflicting(v1beta1.FoundAtFirstUse, "192.0.2.10"))
		c.expectShown("web", "192.0.2.11")
		c.expectShown("other", "192.0.2.11")
	})
}

// A node that was broken into may report whatever it likes.
func TestL13_ALyingSpeakerDoesLittleHarm(t *testing.T) {
	t.Parallel()
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.0/24")
		const many = quarantine.PerPool + 4
		var all, named []string
		for i := range 256 {
			all = append(all, fmt.Sprintf("192.0.2.%d", i))
		}
		for i := range many {
			name := fmt.Sprintf("s%d", i)
			named = append(named, name)
			c.service(name, annotate(v1beta1.AnnotationAddresses, all[100+i]))
		}
		c.service("web", nil)
		c.service("honest", nil)
		c.start()
		c.expectShown("honest", "192.0.2.1")
		c.says("n1", holding("192.0.2.1"))
		c.says("liar", conflicting(v1beta1.FoundAtFirstUse, append([]string{"192.0.2.0"}, all[1:20]...)...))
		// Away from 0, 2 and 3, and no further; what an honest node announces stays,
		// and what nobody holds is not even put into quarantine.
		c.expectShown("web", "192.0.2.4")
		c.stays("web", "192.0.2.4")
		c.stays("honest", "192.0.2.1")
		c.says("liar", conflicting(v1beta1.FoundAtFirstUse, all...))
		c.eventually(func() string {
			if n := strings.Count(c.quarantinedOf("lan"), foreignMAC); n != quarantine.PerPool {
				return fmt.Sprintf("%d in quarantine, want %d", n, quarantine.PerPool)
			}
			return ""
		})
		for i, name := range named {
			if got := c.shows(name); got != all[100+i] {
				t.Errorf("%s shows %s", name, got)
			}
		}
	})
}

func TestADeadSpeakersReportIsNotBelievedForEver(t *testing.T) {
	t.Parallel()
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("web", nil)
		run := c.start()
		c.expectShown("web", "192.0.2.10")
		c.says("n1", holding("192.0.2.10"))
		c.says("n2", holding())
		c.expectAnnounced("True Announced: announced by n1")
		missed := []v1beta1.UnreachableSpeaker{{Name: "n1", Since: metav1.Unix(1000, 0)}}
		c.says("n2", func(s *v1beta1.SpeakerStatus) { s.Unreachable = missed })
		c.expectAnnounced("False NoEligibleNode: no node announces 192.0.2.10")
		// It was only cut off, and says so.
		c.says("n1", func(s *v1beta1.SpeakerStatus) {
			s.ConfirmedAlive = []v1beta1.UnreachableSpeaker{{Name: "n2", Since: metav1.Unix(1000, 0)}}
		})
		c.expectAnnounced("True Announced: announced by n1")
		// Later it dies; that it refuted something before does not help it.
		missed[0].Since = metav1.Unix(2000, 0)
		c.says("n2", func(s *v1beta1.SpeakerStatus) { s.Unreachable = missed })
		c.says("n2", func(s *v1beta1.SpeakerStatus) { s.Held = []v1beta1.HeldAddress{{Address: "192.0.2.10"}} })
		c.expectAnnounced("True Announced: announced by n2")
		run.stop()
		writes := c.writesOf("web")
		c.start()
		c.settle()
		c.expectAnnounced("True Announced: announced by n2")
		if n := c.writesOf("web") - writes; n > 0 {
			t.Errorf("the next leader wrote %d times", n)
		}
	})
}

// What the speakers said while nobody led is not lost.
func TestTheNextLeaderReadsTheReports(t *testing.T) {
	t.Parallel()
	inCluster(t, func(_ *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("web", nil)
		run := c.start()
		c.expectShown("web", "192.0.2.10")
		run.stop()
		c.says("n1", holding("192.0.2.10"))
		c.start()
		c.expectAnnounced("True Announced: announced by n1")
	})
}

// A liar that says everybody is dead is contradicted by the living.
func TestALiarCannotHideTheLiving(t *testing.T) {
	t.Parallel()
	inCluster(t, func(_ *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("web", nil)
		c.start()
		c.expectShown("web", "192.0.2.10")
		lie := []v1beta1.UnreachableSpeaker{{Name: "n1", Since: metav1.Unix(1000, 0)}}
		c.says("n1", func(s *v1beta1.SpeakerStatus) {
			holding("192.0.2.10")(s)
			s.ConfirmedAlive = []v1beta1.UnreachableSpeaker{{Name: "liar", Since: metav1.Unix(1000, 0)}}
		})
		c.says("liar", func(s *v1beta1.SpeakerStatus) { s.Unreachable = lie })
		c.expectAnnounced("True Announced: announced by n1")
		for end := time.Now().Add(5*time.Second + 2*reportsEvery + 4*tickEvery); time.Now().Before(end); time.Sleep(tickEvery) {
			c.expectAnnounced("True Announced: announced by n1")
		}
	})
}

// An address that moves is told of by two speakers, in any order.
func TestAMoveBetweenNodesIsNoLoss(t *testing.T) {
	t.Parallel()
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pool("lan", nil, "192.0.2.10-192.0.2.20")
		c.service("web", nil)
		c.start()
		c.expectShown("web", "192.0.2.10")
		c.says("n1", holding("192.0.2.10"))
		c.expectAnnounced("True Announced: announced by n1")
		time.Sleep(reportsEvery) // the next report is not kept waiting
		writes := c.writesOf("web")
		c.says("n1", holding())
		time.Sleep(2 * tickEvery)
		c.says("n2", holding("192.0.2.10"))
		c.expectAnnounced("True Announced: announced by n2")
		if n := c.writesOf("web") - writes; n != 1 {
			t.Errorf("%d writes for one move", n)
		}
	})
}
