package reconcile

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
)

// What the review of the controller suspected and did not show. That pools lie over
// the cluster's own addresses is T03, that a sentence is parsed is no more (see
// [service.givenByUs]).

func onPort(port int32) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Spec.Ports[0].Port = port }
}

// Suspected: of two that share an address, and that both change in one pass so that
// they may no longer, the younger leaves.
func TestSuspectedOfTwoSharersThatChangeTogetherTheYoungerLeaves(t *testing.T) {
	key := annotate(v1beta1.AnnotationSharingKey, "k")
	for sentence, change := range map[string]func(*corev1.Service){
		"their ports": onPort(82), "their keys": annotate(v1beta1.AnnotationSharingKey, ""),
	} {
		t.Run(sentence, func(t *testing.T) {
			script(t, lan(), func(_ *testing.T, w *world) {
				w.make(key, "older")
				w.make(all(key, onPort(81)), "younger")
				w.settle()
				w.expect("older=192.0.2.10 younger=192.0.2.10")
				w.api.edit("default/younger", "kubectl", change)
				w.api.edit("default/older", "kubectl", change)
				w.settle()
				w.expect("older=192.0.2.10 younger=192.0.2.11")
			})
		})
	}
	t.Run("to another key, together", func(t *testing.T) {
		script(t, lan(), func(_ *testing.T, w *world) {
			w.make(key, "older")
			w.make(all(key, onPort(81)), "younger")
			w.settle()
			for _, name := range []string{"older", "younger"} {
				w.api.edit("default/"+name, "kubectl", annotate(v1beta1.AnnotationSharingKey, "l"))
			}
			w.settle()
			w.expect("older=192.0.2.10 younger=192.0.2.10")
		})
	})
}

// Suspected: a Service that was left to another provider is left alone indefinitely,
// though that one is gone. One annotation brings it back, with the address that it
// shows where a pool has that.
func TestSuspectedAServiceIsYieldedOnlyUntilItAsksForUs(t *testing.T) {
	for shown, then := range map[string]string{"192.0.2.15": "192.0.2.15", "203.0.113.9": "192.0.2.10"} {
		t.Run(shown, func(t *testing.T) {
			script(t, lan(), func(_ *testing.T, w *world) {
				w.make(nil, "web")
				w.settle()
				w.api.edit("default/web", "kube-vip", shownAs(shown))
				w.settle()
				w.expect("web=" + shown)
				w.expectReason("web", v1beta1.ReasonWriteConflict)
				w.crash() // kube-vip is uninstalled, and another leads: that alone changes nothing
				w.settle()
				w.expect("web=" + shown)
				w.expectReason("web", v1beta1.ReasonWriteConflict)
				w.api.edit("default/web", "kubectl", annotate(v1beta1.AnnotationPool, "lan"))
				w.settle()
				w.expect("web=" + then)
				w.expectReason("web", v1beta1.ReasonAllocated)
				w.crash()
				w.settle()
				w.expect("web=" + then)
				w.expectReason("web", v1beta1.ReasonAllocated)
			})
		})
	}
}

// Suspected: the pools of a new leader's cache may be older than those that the
// operator has just written. It waits for them.
func TestSuspectedANewLeaderGivesNothingThatWasJustExcluded(t *testing.T) {
	before, after := lan()[0], poolNamed("lan", 1, noRest, "192.0.2.15-192.0.2.20")
	before.ResourceVersion, after.ResourceVersion = "1", "2"
	for sentence, live := range map[string][]*v1beta1.IPAddressPool{
		"addresses of a pool": {after}, "a pool": {poolNamed("other", 2, noRest, "192.0.2.15-192.0.2.20")},
	} {
		t.Run(sentence, func(t *testing.T) {
			script(t, []*v1beta1.IPAddressPool{before}, func(_ *testing.T, w *world) {
				w.settle()
				w.make(nil, "web")
				w.conf.mu.Lock()
				w.conf.live = live
				w.conf.mu.Unlock()
				go func() { // the watch is slow
					time.Sleep(5 * time.Second)
					w.conf.mu.Lock()
					w.conf.pools = live
					w.conf.mu.Unlock()
				}()
				w.crash()
				w.settle()
				w.expect("web=192.0.2.15")
			})
		})
	}
}

// A cache of pools that does not fill ends the process, as one of Services does.
func TestSuspectedANewLeaderDoesNotWaitForEverForItsPools(t *testing.T) {
	script(t, lan(), func(t *testing.T, w *world) {
		w.settle()
		w.conf.live = []*v1beta1.IPAddressPool{poolNamed("other", 2, noRest, "192.0.2.15-192.0.2.20")}
		w.crash()
		if w.ended == nil || !strings.Contains(w.ended.Error(), "IPAddressPools are newer") {
			t.Errorf("it begins with %v", w.ended)
		}
	})
}

// Suspected: when all Speakers end at once nobody is left to say so. Each says as
// its last word that it holds nothing, and then nothing is announced.
func TestSuspectedWhenAllSpeakersEndNothingIsAnnounced(t *testing.T) {
	script(t, lan(), func(_ *testing.T, w *world) {
		w.make(nil, "web")
		w.settle()
		w.report(speakerOf("n1", held("192.0.2.10")), speakerOf("n2", held()))
		w.run(time.Minute, nil)
		w.expectAnnounced("web", "True Announced: announced by n1")
		w.report(speakerOf("n1", held()), speakerOf("n2", held()))
		w.run(time.Minute, nil)
		w.expectAnnounced("web", "False NoEligibleNode")
	})
}

// Suspected: when all Speakers die at once, by a fault that all have or with their
// nodes, what they said last is not believed indefinitely.
func TestSuspectedWhenAllSpeakersDieNothingIsKnown(t *testing.T) {
	script(t, lan(), func(_ *testing.T, w *world) {
		w.make(nil, "web")
		w.settle()
		ready := func(none bool) {
			w.conf.mu.Lock()
			w.conf.noneReady = none
			w.conf.mu.Unlock()
			w.loop.Changed(kube.KindSpeaker, "baliza-speaker")
		}
		w.report(speakerOf("n1", held("192.0.2.10")), speakerOf("n2", held()))
		w.run(time.Minute, nil)
		w.expectAnnounced("web", "True Announced: announced by n1")
		ready(true) // all are restarted
		w.run(20*time.Second, nil)
		ready(false)
		w.run(20*time.Second, nil)
		w.expectAnnounced("web", "True Announced: announced by n1")
		ready(true)
		w.run(time.Minute, nil)
		w.expectAnnounced("web", "Unknown NoSpeakerReady: no speaker is ready")
		w.crash() // who leads next knows no better
		w.run(time.Minute, nil)
		w.expectAnnounced("web", "Unknown NoSpeakerReady: no speaker is ready")
		w.report(speakerOf("n1", held("192.0.2.10")), speakerOf("n2", held()))
		ready(false)
		w.run(time.Minute, nil)
		w.expectAnnounced("web", "True Announced: announced by n1")
	})
}
