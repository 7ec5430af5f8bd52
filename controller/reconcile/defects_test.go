package reconcile

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
)

func lan() []*v1beta1.IPAddressPool {
	return []*v1beta1.IPAddressPool{poolNamed("lan", 1, noRest, "192.0.2.10-192.0.2.20")}
}

// run lets time pass, with everything delivered and carried out at once; after
// each turn others does what others do.
func (w *world) run(d time.Duration, others func()) {
	for end := time.Now().Add(d); time.Now().Before(end) && w.ended == nil; {
		w.deliver(len(w.cache.events))
		w.pass()
		w.all()
		if others != nil {
			others()
		}
		w.wait(tickEvery)
	}
}

// undone is how often the controller counted that its writes were undone.
func (w *world) undone() float64 {
	return testutil.ToFloat64(w.loop.Metrics.writes.WithLabelValues("reverted"))
}

// Defect 2: whatever undoes what is written, the same is written again ever more
// slowly; it is counted, and said in the log and on the Service.
func TestDefect2AWriteThatDoesNotLastIsRepeatedEverMoreSlowly(t *testing.T) {
	vip, ports := corev1.LoadBalancerIPModeVIP, []corev1.PortStatus{{Port: 80, Protocol: corev1.ProtocolTCP}}
	dropAnnotations := func(s *corev1.Service) { s.Annotations = nil }
	for sentence, test := range map[string]struct {
		admit  func(*corev1.Service)
		undo   func(*corev1.Service)
		change string
	}{
		"admission strips the annotations": {dropAnnotations, nil, "metadata.annotations"},
		"an operator drops them":           {nil, dropAnnotations, "metadata.annotations"},
		"somebody empties the status":      {nil, shownAs(), "status.loadBalancer"},
		"somebody lists the ports": {nil, func(s *corev1.Service) {
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.10", IPMode: &vip, Ports: ports}}
		}, "status.loadBalancer"},
		"somebody writes another address": {nil, shownAs("203.0.113.9"), "status.loadBalancer"},
	} {
		t.Run(sentence, func(t *testing.T) {
			script(t, lan(), func(t *testing.T, w *world) {
				w.api.admit = test.admit
				w.make(class(v1beta1.LoadBalancerClass), "web")
				w.run(10*time.Minute, func() {
					if svc := w.get("web"); test.undo != nil && len(svc.Annotations) > 0 && len(svc.Status.LoadBalancer.Ingress) == 1 &&
						svc.Status.LoadBalancer.Ingress[0].IPMode != nil && len(svc.Status.LoadBalancer.Ingress[0].Ports) == 0 {
						w.api.edit("default/web", "operator", test.undo)
					}
				})
				if w.api.patches < 5 || w.api.patches > 25 {
					t.Errorf("%d writes in ten minutes", w.api.patches)
				}
				if n := w.undone(); n < 3 {
					t.Errorf("%v writes counted as undone", n)
				}
				if n := strings.Count(w.logged.String(), "is undone by another writer"); n != 1 {
					t.Errorf("logged %d times: %s", n, w.logged.String())
				}
				said := conditionOf(w.get("web"), v1beta1.ConditionAllocated)
				if said == nil || !strings.Contains(said.Message, "another writer keeps changing "+test.change) {
					t.Errorf("the Service says %+v", said)
				}
			})
		})
	}
}

func withCloudFinalizer(svc *corev1.Service) { svc.Finalizers = append(svc.Finalizers, cloudFinalizer) }

// Defect 3: the finalizer that cloud providers use is theirs, whatever else
// happens to the Service.
func TestDefect3AnotherProvidersFinalizerStays(t *testing.T) {
	keeps := func(t *testing.T, w *world) {
		t.Helper()
		if svc := w.get("web"); svc == nil || !slices.Contains(svc.Finalizers, cloudFinalizer) {
			t.Errorf("it is gone: %+v", svc)
		}
	}
	t.Run("no pool yet", func(t *testing.T) {
		script(t, nil, func(t *testing.T, w *world) {
			w.make(all(withCloudFinalizer, shownAs("203.0.113.9")), "web")
			w.settle()
			w.expectReason("web", v1beta1.ReasonNoPool)
			keeps(t, w)
		})
	})
	t.Run("yielding, and deleted while that provider is slow", func(t *testing.T) {
		script(t, lan(), func(t *testing.T, w *world) {
			w.make(withCloudFinalizer, "web")
			w.api.edit("default/web", "k3s", shownAs("203.0.113.9"))
			w.settle()
			w.expectReason("web", v1beta1.ReasonWriteConflict)
			keeps(t, w)
			w.api.remove("default/web")
			w.settle()
			keeps(t, w)
			w.expect("web=203.0.113.9")
		})
	})
	t.Run("a foreign class with a copied annotation", func(t *testing.T) {
		script(t, lan(), func(t *testing.T, w *world) {
			w.make(all(class("example.com/other"), withCloudFinalizer, annotate(v1beta1.AnnotationAllocatedPool, "lan")), "web")
			w.settle()
			keeps(t, w)
			if w.api.patches > 0 {
				t.Errorf("%d writes to a Service of another class", w.api.patches)
			}
		})
	})
}

// restore sets the API server back, as a restored backup of etcd does: the same
// objects, with older versions. Watches that ask for the future stay silent.
func (w *world) restore() {
	w.api.mu.Lock()
	defer w.api.mu.Unlock()
	w.api.version = 1
	for key, svc := range w.api.services {
		svc = svc.DeepCopy()
		svc.ResourceVersion = w.api.next()
		w.api.services[key] = svc
	}
}

// Defect 4: where the API server goes back in time the process ends with a clear
// word, and sends no flood before.
func TestDefect4AfterARestoreOfEtcdTheProcessEnds(t *testing.T) {
	setup := func(w *world) {
		w.api.version = 100_000
		w.make(nil, "web", "api")
		w.settle()
	}
	t.Run("a running leader that has nothing to write", func(t *testing.T) {
		script(t, lan(), func(t *testing.T, w *world) {
			setup(w)
			w.restore()
			before := w.api.patches
			w.run(2*probeEvery, nil)
			if !errors.Is(w.ended, errTimeRanBackwards) || w.api.patches > before {
				t.Errorf("ended with %v after %d writes", w.ended, w.api.patches-before)
			}
		})
	})
	t.Run("a running leader that has something to write", func(t *testing.T) {
		script(t, lan(), func(t *testing.T, w *world) {
			setup(w)
			w.restore()
			before := w.api.patches
			w.conf.pools = append(w.conf.pools, poolNamed("lan2", 3, noRest, "198.51.100.0/24"))
			w.cache.items["default/web"] = edited(w.cache.items["default/web"], "100099", annotate(v1beta1.AnnotationAddresses, "192.0.2.15"))
			w.loop.Changed("Service", "default/web")
			w.run(10*time.Second, nil)
			if !errors.Is(w.ended, errTimeRanBackwards) || w.api.patches > before+2 {
				t.Errorf("ended with %v after %d writes", w.ended, w.api.patches-before)
			}
		})
	})
	t.Run("a standby with caches from the future", func(t *testing.T) {
		script(t, lan(), func(t *testing.T, w *world) {
			setup(w)
			w.end()
			w.restore()
			go func() { // the one request of the beginning
				time.Sleep(time.Second)
				w.mu.Lock()
				one := w.open[0]
				w.open = nil
				w.mu.Unlock()
				one.fate <- "ok"
			}()
			w.start()
			if !errors.Is(w.ended, errTimeRanBackwards) {
				t.Errorf("it begins with %v", w.ended)
			}
		})
	})
}

func edited(svc *corev1.Service, version string, change func(*corev1.Service)) *corev1.Service {
	svc = svc.DeepCopy()
	change(svc)
	svc.ResourceVersion = version
	return svc
}

// Defect 6: two hundred Services of one tenant whose writes hang keep no slot
// from the Service of another.
func TestDefect6HangingWritesOfOneTenantKeepNobodyElseWaiting(t *testing.T) {
	script(t, []*v1beta1.IPAddressPool{poolNamed("lan", 1, noRest, "198.18.0.0-198.18.3.255")}, func(t *testing.T, w *world) {
		for i := range 200 {
			w.api.create(fmt.Sprintf("bad/s%d", i), nil)
		}
		for range 3 * 60 { // first attempts, and then retries indefinitely
			w.deliver(len(w.cache.events))
			w.pass()
			w.wait(time.Second)
			for i := len(w.open) - 1; i >= 0 && time.Since(w.open[i].since) >= firstTimeout; i-- {
				w.decideFate(i, "fails")
			}
			w.finish()
		}
		began := time.Now()
		w.make(nil, "good")
		w.deliver(1)
		w.pass()
		i := slices.IndexFunc(w.open, func(r *request) bool { return r.key == "default/good" })
		if i < 0 {
			t.Fatalf("the other tenant's Service waits; in flight: %d", len(w.open))
		}
		w.decideFate(i, "ok")
		w.finish()
		if len(ingress(w.get("good"))) != 1 || time.Since(began) > 0 {
			t.Errorf("it shows %v after %s", ingress(w.get("good")), time.Since(began))
		}
	})
}

// Defect 9: the working address of a program that nobody has heard of is not
// overwritten; what a person or a backup wrote is.
func TestDefect9AnUnknownProvidersAddressStays(t *testing.T) {
	for manager, stays := range map[string]bool{
		"kube-controller-manager": true, "antrea-controller": true, "metallb-controller": true, "microshift": true,
		"kubectl-edit": false, "velero-server": false,
	} {
		t.Run(manager, func(t *testing.T) {
			script(t, lan(), func(_ *testing.T, w *world) {
				w.make(nil, "web")
				w.api.edit("default/web", manager, shownAs("203.0.113.9"))
				w.settle()
				if stays {
					w.expect("web=203.0.113.9")
					w.expectReason("web", v1beta1.ReasonWriteConflict)
				} else {
					w.expect("web=192.0.2.10")
				}
			})
		})
	}
}

// T16: where the class names us, the status is ours, whoever else writes it.
func TestT16WithOurClassNobodyIsYieldedTo(t *testing.T) {
	script(t, lan(), func(_ *testing.T, w *world) {
		w.make(class(v1beta1.LoadBalancerClass), "web")
		w.settle()
		for range 3 {
			w.api.edit("default/web", "microshift", shownAs("198.51.100.9"))
			w.make(nil, fmt.Sprintf("other%d", w.api.made))
			w.settle()
			w.expect("web=192.0.2.10")
			w.expectReason("web", v1beta1.ReasonAllocated)
		}
	})
}

// Defect 14: Services that are restored without their status have the addresses
// again that they had, in whatever order they come; a named request comes first.
func TestDefect14ServicesRestoredWithoutStatusHaveTheirAddressesAgain(t *testing.T) {
	script(t, lan(), func(_ *testing.T, w *world) {
		w.make(nil, "a", "b", "c")
		w.settle()
		w.expect("a=192.0.2.10 b=192.0.2.11 c=192.0.2.12")
		saved := map[string]map[string]string{}
		for _, name := range []string{"a", "b", "c"} {
			saved[name] = w.get(name).Annotations
			w.api.remove("default/" + name)
		}
		w.settle()
		restore := func(name string) {
			w.make(func(s *corev1.Service) { s.Annotations = saved[name] }, name)
		}
		w.make(nil, "new") // in one pass with the restored
		w.make(annotate(v1beta1.AnnotationAddresses, "192.0.2.11"), "named")
		restore("c")
		restore("b")
		restore("a")
		w.settle()
		w.expect("a=192.0.2.10 c=192.0.2.12 named=192.0.2.11 new=192.0.2.13 b=192.0.2.14")
	})
}

// A wish is no more than that: quotas, reservations and pools that must be named
// count, and what is taken stays with who has it.
func TestDefect14AWishDoesNotTakeWhatCouldNotBeHad(t *testing.T) {
	wish := func(pool, address string) func(*corev1.Service) {
		return annotate(v1beta1.AnnotationAllocatedPool, pool, v1beta1.AnnotationAllocatedAddresses, address)
	}
	pools := append(lan(), poolNamed("dmz", 2, namedOnly, "198.51.100.10-198.51.100.10"))
	script(t, pools, func(_ *testing.T, w *world) {
		w.make(nil, "holder")
		w.settle()
		w.make(wish("lan", "192.0.2.10"), "taken")
		w.make(wish("dmz", "198.51.100.10"), "unnamed")
		w.make(wish("lan", "203.0.113.1,x"), "garbage")
		w.settle()
		w.expect("holder=192.0.2.10 taken=192.0.2.12 unnamed=192.0.2.11 garbage=192.0.2.13")
	})
}

// Defect 19: that a shown address cannot stay is logged once.
func TestDefect19WhoWaitsIsLoggedOnce(t *testing.T) {
	script(t, oneAddress(), func(t *testing.T, w *world) {
		w.make(nil, "a")
		for i := range 50 {
			w.make(shownAs(fmt.Sprintf("203.0.113.%d", i+1)), fmt.Sprintf("old%d", i))
		}
		w.settle()
		for i := range 10 {
			w.api.edit("default/a", "kubectl", annotate(v1beta1.AnnotationSharingKey, strconv.Itoa(i)))
			w.settle()
		}
		if n := strings.Count(w.logged.String(), "a shown address cannot stay"); n != 50 {
			t.Errorf("%d warnings about 50 Services", n)
		}
	})
}

// report has the speakers say something.
func (w *world) report(speakers ...*v1beta1.Speaker) {
	w.conf.mu.Lock()
	w.conf.speakers = speakers
	w.conf.mu.Unlock()
	w.loop.Changed(kube.KindSpeaker, "any")
}

func speakerOf(node string, status v1beta1.SpeakerStatus) *v1beta1.Speaker {
	return &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: node}, Status: status}
}

func held(addresses ...string) v1beta1.SpeakerStatus {
	s := v1beta1.SpeakerStatus{HeldCount: int32(len(addresses))}
	for _, a := range addresses {
		s.Held = append(s.Held, v1beta1.HeldAddress{Address: a})
	}
	return s
}

// announced is what a Service's condition says.
func (w *world) announced(name string) string {
	said := conditionOf(w.get(name), v1beta1.ConditionAnnounced)
	if said == nil {
		return ""
	}
	return string(said.Status) + " " + said.Reason + ": " + said.Message
}

func (w *world) expectAnnounced(name, expected string) {
	w.t.Helper()
	if got := w.announced(name); !strings.HasPrefix(got, expected) {
		w.t.Errorf("%s says %q, want %q", name, got, expected)
	}
}

// Defect 8: that an address is not in a report that was cut proves nothing.
func TestDefect8AbsenceFromAReportThatIsCutProvesNothing(t *testing.T) {
	script(t, lan(), func(t *testing.T, w *world) {
		w.make(nil, "web", "api")
		w.settle()
		cut := held("192.0.2.10")
		cut.HeldCount = 2
		w.report(speakerOf("n1", cut))
		w.run(time.Minute, nil)
		w.expectAnnounced("web", "True Announced: announced by n1")
		if got := w.announced("api"); got != "" {
			t.Errorf("api says %q", got)
		}
		w.report(speakerOf("n1", held("192.0.2.10")))
		w.run(time.Minute, nil)
		w.expectAnnounced("api", "False NoEligibleNode")
	})
}

// handOver is how long two nodes may answer for one address.
const handOver = 10 * time.Second

// T05: nodes that do not hear each other answer for the same address. That is
// said, after longer than a hand-over takes, and counted.
func TestT05SeveralOwnersAreSaidAndCounted(t *testing.T) {
	script(t, lan(), func(t *testing.T, w *world) {
		w.make(nil, "web")
		w.settle()
		w.report(speakerOf("n1", held("192.0.2.10")), speakerOf("n2", held("192.0.2.10")))
		w.run(handOver/2, nil)
		w.expectAnnounced("web", "True Announced: announced by n1, n2")
		w.run(handOver+2*reportsEvery, nil)
		w.expectAnnounced("web", "False MultipleOwners: 192.0.2.10 is answered for by n1, n2 at once")
		if n := testutil.ToFloat64(w.loop.Metrics.multipleOwners); n != 1 {
			t.Errorf("%v addresses counted", n)
		}
		told, _ := w.loop.Recorder.(*events)
		if got := told.of("web"); !slices.ContainsFunc(got, func(e string) bool { return strings.Contains(e, "MultipleOwners") }) {
			t.Errorf("events: %q", got)
		}
		w.report(speakerOf("n1", held("192.0.2.10")), speakerOf("n2", held()))
		w.run(2*reportsEvery, nil)
		w.expectAnnounced("web", "True Announced: announced by n1")
	})
}

// T19: where nodes are excluded, the Service says by what.
func TestT19AServiceWhoseNodesAreAllExcludedSaysSo(t *testing.T) {
	script(t, lan(), func(_ *testing.T, w *world) {
		w.make(nil, "web")
		w.settle()
		w.report(speakerOf("n1", v1beta1.SpeakerStatus{Withheld: []v1beta1.WithheldAddresses{
			{Reason: v1beta1.ReasonNodeExcluded, Count: 1, Addresses: []string{"192.0.2.10"}},
		}}))
		w.run(time.Minute, nil)
		w.expectAnnounced("web", "False NodeExcluded: no node announces 192.0.2.10; nodes that could are excluded, by the label "+v1beta1.LabelExcludeNode)
	})
}

// T24: one of a hundred nodes that announce an address comes and goes, and no
// Service is written.
func TestT24OneOfManyAnnouncersIsNoNews(t *testing.T) {
	script(t, lan(), func(t *testing.T, w *world) {
		w.make(nil, "web")
		w.settle()
		var speakers []*v1beta1.Speaker
		for i := range 100 {
			speakers = append(speakers, speakerOf(fmt.Sprintf("n%d", i), v1beta1.SpeakerStatus{
				BGP: &v1beta1.BGPReport{AnnouncedCount: 1, Announced: []string{"192.0.2.10"}},
			}))
		}
		w.report(speakers...)
		w.run(time.Minute, nil)
		w.expectAnnounced("web", "True Announced: announced by more than 3 nodes")
		before := w.api.patches
		for i := range speakers {
			w.report(slices.Delete(slices.Clone(speakers), i, i+1)...)
			w.run(2*reportsEvery, nil)
		}
		if w.api.patches != before {
			t.Errorf("%d writes", w.api.patches-before)
		}
	})
}

// T24: nodes that report one after the other that they announce an address cost its
// Service one write more than one does, and one that restarts costs none.
func TestT24NamesAloneAreWrittenOnceTheyStay(t *testing.T) {
	script(t, lan(), func(t *testing.T, w *world) {
		w.make(nil, "web")
		w.settle()
		announcing := func(nodes ...string) {
			var all []*v1beta1.Speaker
			for _, name := range []string{"n1", "n2", "n3"} {
				var report v1beta1.SpeakerStatus
				if slices.Contains(nodes, name) {
					report.BGP = &v1beta1.BGPReport{AnnouncedCount: 1, Announced: []string{"192.0.2.10"}}
				}
				all = append(all, speakerOf(name, report))
			}
			w.report(all...)
		}
		before := w.api.patches
		announcing("n2")
		w.run(2*reportsEvery, nil)
		w.expectAnnounced("web", "True Announced: announced by n2")
		announcing("n2", "n3")
		w.run(2*reportsEvery, nil)
		announcing("n1", "n2", "n3")
		w.run(time.Minute, nil)
		w.expectAnnounced("web", "True Announced: announced by n1, n2, n3")
		if n := w.api.patches - before; n != 2 {
			t.Errorf("%d writes", n)
		}
		before = w.api.patches
		announcing("n1", "n3")
		w.run(2*reportsEvery, nil)
		announcing("n1", "n2", "n3")
		w.run(time.Minute, nil)
		if n := w.api.patches - before; n != 0 {
			t.Errorf("%d writes for a restart", n)
		}
	})
}

// What the reports say of many Services is written in a few ticks, and not all at once.
func TestReportsAboutManyServicesAreWrittenInPortions(t *testing.T) {
	const many = 2*announcedAtOnce + 10
	script(t, []*v1beta1.IPAddressPool{poolNamed("lan", 1, noRest, "192.0.2.0/24")}, func(t *testing.T, w *world) {
		var addresses []string
		for i := range many {
			w.make(nil, fmt.Sprintf("s%d", i))
			addresses = append(addresses, fmt.Sprintf("192.0.2.%d", i))
		}
		w.settle()
		w.run(reportsEvery, nil)
		w.report(speakerOf("n1", held(addresses...)))
		before := w.api.patches
		for _, written := range []int{announcedAtOnce, 2 * announcedAtOnce, many} {
			w.run(tickEvery, nil) // what is decided in one tick is written in the next turn
			w.all()
			if got := w.api.patches - before; got != written {
				t.Errorf("%d are written, want %d", got, written)
			}
		}
	})
}

// Defect 11: a status that cannot be written is said once, counted, and tried
// ever more slowly.
func TestDefect11AStatusThatCannotBeWrittenIsSaid(t *testing.T) {
	script(t, lan(), func(t *testing.T, w *world) {
		w.settle()
		w.statuses = noStatus{refuses: errors.New(".status.newField: field not declared in schema")}
		w.make(nil, "web")
		w.run(10*time.Minute, nil)
		tries := w.statuses.pools
		if tries < 3 || tries > 20 {
			t.Errorf("%d tries in ten minutes", tries)
		}
		if n := strings.Count(w.logged.String(), "field not declared in schema"); n != 1 || !strings.Contains(w.logged.String(), "IPAddressPool lan") {
			t.Errorf("logged %d times: %s", n, w.logged.String())
		}
		if n := testutil.ToFloat64(w.loop.Metrics.statusFailures); n != float64(tries) {
			t.Errorf("%v failures counted of %d", n, tries)
		}
	})
}

// has the cluster itself have addresses.
func (w *world) has(by string, prefixes ...string) {
	w.conf.mu.Lock()
	for _, p := range prefixes {
		w.conf.inUse = append(w.conf.inUse, kube.InUse{Prefix: netip.MustParsePrefix(p), By: by})
	}
	w.conf.mu.Unlock()
	w.loop.Changed(kube.KindInUse, by)
}

func (w *world) expectAllocated(name, expected string) {
	w.t.Helper()
	said := conditionOf(w.get(name), v1beta1.ConditionAllocated)
	if said == nil || !strings.HasPrefix(string(said.Status)+" "+said.Reason+": "+said.Message, expected) {
		w.t.Errorf("%s says %+v, want %q", name, said, expected)
	}
}

// T03: what the cluster itself has is given to nobody; whoever has it already
// keeps it, and says so.
func TestT03WhatTheClusterItselfHasIsNotGiven(t *testing.T) {
	script(t, lan(), func(t *testing.T, w *world) {
		w.has("node n1", "192.0.2.10/32")
		w.make(nil, "web")
		w.make(annotate(v1beta1.AnnotationAddresses, "192.0.2.10"), "named")
		w.settle()
		w.expectAllocated("web", "True Allocated: 192.0.2.11 from pool lan")
		w.expectAllocated("named", "False UsedByCluster: 192.0.2.10 is of node n1")
		view := w.loop.statusView()
		pool := view.Pool(w.conf.pools[0], nil, time.Now())
		if ready := pool.Conditions[0]; ready.Status != "False" || ready.Reason != string(v1beta1.ReasonUsedByCluster) || !strings.Contains(ready.Message, "192.0.2.10 is of node n1") {
			t.Errorf("the pool says %+v", ready)
		}
		w.has("the pods of node n2", "192.0.2.8/29") // a node comes
		w.settle()
		w.expectAllocated("web", "True UsedByCluster: 192.0.2.11 from pool lan; but 192.0.2.11 is of the pods of node n2")
		w.crash()
		w.start()
		w.make(nil, "next")
		w.settle()
		w.expectAllocated("web", "True UsedByCluster: 192.0.2.11")
		w.expectAllocated("next", "True Allocated: 192.0.2.16 from pool lan")
	})
}

// T03: the same of what only speakers see, as kube-vip's address, but not where
// a Service has it: then it is kube-proxy's doing.
func TestT03WhatSpeakersSeeOnNodesIsNotGiven(t *testing.T) {
	script(t, lan(), func(_ *testing.T, w *world) {
		w.make(nil, "web")
		w.settle()
		w.report(speakerOf("n1", v1beta1.SpeakerStatus{LocalAddresses: []string{"192.0.2.10", "192.0.2.11"}}))
		w.settle()
		w.make(nil, "next")
		w.settle()
		w.expectAllocated("web", "True Allocated: 192.0.2.10 from pool lan")
		w.expectAllocated("next", "True Allocated: 192.0.2.12 from pool lan")
	})
}

// T17: Services that swap the addresses they name, two or more in a ring, have
// each what they name after a moment; nobody who waits for any comes between.
func TestT17ServicesSwapTheirNamedAddresses(t *testing.T) {
	for name, ring := range map[string][]string{
		"two": {"192.0.2.10", "192.0.2.11"}, "three": {"192.0.2.10", "192.0.2.11", "192.0.2.12"},
	} {
		t.Run(name, func(t *testing.T) {
			pool := poolNamed("lan", 1, noRest, "192.0.2.10-"+ring[len(ring)-1])
			script(t, []*v1beta1.IPAddressPool{pool}, func(t *testing.T, w *world) {
				w.make(nil, "waits") // the oldest
				w.settle()
				for i, a := range ring {
					w.make(annotate(v1beta1.AnnotationAddresses, a), fmt.Sprintf("s%d", i))
				}
				w.api.edit("default/waits", "user", func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP })
				w.settle()
				w.api.edit("default/waits", "user", func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeLoadBalancer })
				w.settle()
				w.expectReason("waits", v1beta1.ReasonPoolExhausted)
				for i := range ring {
					w.api.edit(fmt.Sprintf("default/s%d", i), "user", annotate(v1beta1.AnnotationAddresses, ring[(i+1)%len(ring)]))
				}
				w.settle()
				for i := range ring {
					if got := ingress(w.get(fmt.Sprintf("s%d", i))); len(got) != 1 || got[0] != ring[(i+1)%len(ring)] {
						t.Errorf("s%d shows %v, and named %s", i, got, ring[(i+1)%len(ring)])
					}
				}
				w.expectReason("waits", v1beta1.ReasonPoolExhausted)
			})
		})
	}
}

// Defect 7: what is concluded does not depend on whether speakers list the
// addresses that others own.
func TestDefect7ReportsWithAndWithoutWhatOthersOwn(t *testing.T) {
	for name, listed := range map[string]bool{"with": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			script(t, lan(), func(_ *testing.T, w *world) {
				w.make(nil, "held", "idle", "lost")
				w.settle()
				idle := v1beta1.WithheldAddresses{Reason: v1beta1.ReasonNoEndpoint, Count: 1, Addresses: []string{"192.0.2.11"}}
				owner, other := held("192.0.2.10"), held()
				owner.Withheld = []v1beta1.WithheldAddresses{idle}
				if listed {
					other.Withheld = []v1beta1.WithheldAddresses{
						idle, {Reason: v1beta1.ReasonNotOwner, Message: "node n1 owns the address", Count: 1, Addresses: []string{"192.0.2.10"}},
					}
				}
				w.report(speakerOf("n1", owner), speakerOf("n2", other))
				w.run(time.Minute, nil)
				w.expectAnnounced("held", "True Announced: announced by n1")
				w.expectAnnounced("idle", "False NoEndpoint: no node announces 192.0.2.11")
				w.expectAnnounced("lost", "False NoEligibleNode: no node announces 192.0.2.12")
			})
		})
	}
}
