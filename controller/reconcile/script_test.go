package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/controller/queue"
)

// script runs a story in a world of its own, in which nothing happens that the
// story does not say.
func script(t *testing.T, pools []*v1beta1.IPAddressPool, story func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, chances{}, pools...)
		story(t, w)
		w.end()
		w.failAll()
		if t.Failed() {
			t.Log("\n" + strings.Join(w.log, "\n"))
		}
	})
}

func oneAddress() []*v1beta1.IPAddressPool {
	return []*v1beta1.IPAddressPool{poolNamed("lan", 1, noRest, "192.0.2.10-192.0.2.10")}
}

// make creates Services in the namespace default, each younger than the last.
func (w *world) make(change func(*corev1.Service), names ...string) {
	for _, name := range names {
		w.api.create("default/"+name, change)
	}
}

// settle lets everything happen that is to happen.
func (w *world) settle() {
	w.t.Helper()
	if !w.rest() {
		w.t.Fatal("it never comes to rest")
	}
}

// all carries out the requests that are open, and what follows from them.
func (w *world) all() {
	for len(w.open) > 0 {
		w.decideFate(0, "ok")
		w.finish()
	}
}

func (w *world) get(name string) *corev1.Service { return w.api.live("default/" + name) }

// expect checks what Services show: "a=192.0.2.10 b=".
func (w *world) expect(expected string) {
	w.t.Helper()
	var got []string
	for one := range strings.FieldsSeq(expected) {
		name, _, _ := strings.Cut(one, "=")
		shows := "gone"
		if svc := w.get(name); svc != nil {
			shows = strings.Join(ingress(svc), ",")
		}
		got = append(got, name+"="+shows)
	}
	if now := strings.Join(got, " "); now != expected {
		w.t.Errorf("%s, want %s", now, expected)
	}
}

// expectReason checks the reason of a Service's condition Allocated.
func (w *world) expectReason(name string, reason v1beta1.Reason) {
	w.t.Helper()
	said := conditionOf(w.get(name), v1beta1.ConditionAllocated)
	if said == nil || said.Reason != string(reason) {
		w.t.Errorf("%s says %+v, want reason %s", name, said, reason)
	}
}

// Defect 1: a DELETE that the watch delivers late is about the Service that was,
// and frees nothing of the one that was made anew under its name.
func TestDefect1ALateDeleteFreesNothingOfTheServiceMadeAnew(t *testing.T) {
	script(t, oneAddress(), func(t *testing.T, w *world) {
		w.make(nil, "older", "waits")
		w.settle()
		w.expect("older=192.0.2.10 waits=")
		w.api.remove("default/older")
		w.deliver(1)
		w.pass()
		w.decideFate(0, "lost") // the answer to the write that takes the finalizer off
		w.finish()
		w.expect("older=gone")
		w.wait(queue.First)
		w.make(nil, "older")
		w.all() // it is read past the cache, and written
		w.expect("older=192.0.2.10 waits=")
		w.deliver(1) // DELETE of the first, and not yet ADD of the second
		w.pass()
		w.all()
		w.expect("older=192.0.2.10 waits=")
		w.settle()
		w.expect("older=192.0.2.10 waits=")
		for _, wrong := range w.audit.wrong {
			t.Error(wrong)
		}
	})
}

func dualStack(svc *corev1.Service) {
	policy := corev1.IPFamilyPolicyRequireDualStack
	svc.Spec.IPFamilies, svc.Spec.IPFamilyPolicy = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}, &policy
}

func onlyIPv6(svc *corev1.Service) { svc.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} }

// Defect 5: a late write of a leader that is gone stands, where the Service is
// the older; the younger gives up that one address, and what it shows is free
// only when it no longer shows it.
func TestDefect5AnotherReplicasWriteStandsAndTheYoungerGivesUpThatAddressAlone(t *testing.T) {
	pools := []*v1beta1.IPAddressPool{poolNamed("lan", 1, noRest, "192.0.2.10-192.0.2.12", "2001:db8::1-2001:db8::1")}
	script(t, pools, func(_ *testing.T, w *world) {
		w.audit.late = true
		w.make(nil, "older")
		w.make(dualStack, "younger")
		w.make(onlyIPv6, "waits")
		w.settle()
		w.expect("older=192.0.2.10 younger=192.0.2.11,2001:db8::1 waits=")
		w.api.edit("default/older", kube.FieldManager, writtenByUs("lan", "192.0.2.11"))
		w.settle()
		w.expect("older=192.0.2.11 younger=192.0.2.10,2001:db8::1 waits=")
	})
}

// writtenByUs makes a Service say what another controller of ours would.
func writtenByUs(pool string, addresses ...string) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		shownAs(addresses...)(svc)
		for i := range svc.Status.LoadBalancer.Ingress {
			vip := corev1.LoadBalancerIPModeVIP
			svc.Status.LoadBalancer.Ingress[i].IPMode = &vip
		}
		annotate(v1beta1.AnnotationAllocatedPool, pool, v1beta1.AnnotationAllocatedAddresses, strings.Join(addresses, ","))(svc)
	}
}

// Found by a random world: a Service that was to move when it was deleted, and
// that another's finalizer keeps, goes on showing what the next one is given.
func TestADeletedServiceThatIsKeptShowsNothingOfOurs(t *testing.T) {
	pools := []*v1beta1.IPAddressPool{
		poolNamed("lan", 1, noRest, "192.0.2.10-192.0.2.10"), poolNamed("dmz", 2, namedOnly, "198.51.100.10-198.51.100.10"),
	}
	script(t, pools, func(_ *testing.T, w *world) {
		w.make(foreign, "moves")
		w.settle()
		w.make(nil, "waits")
		w.api.edit("default/moves", "kubectl", annotate(v1beta1.AnnotationPool, "dmz"))
		w.deliver(2)
		w.pass() // the move is decided, and not carried out
		w.api.remove("default/moves")
		w.settle()
		w.expect("moves= waits=192.0.2.10")
	})
}

// Found by a random world: what another provider shows is booked as soon as it
// can be, before an older one that waits is given it.
func TestWhatAnotherProviderShowsIsNotGivenWhenItsHolderGoes(t *testing.T) {
	script(t, oneAddress(), func(_ *testing.T, w *world) {
		w.make(nil, "holder", "waits", "theirs")
		w.settle()
		w.api.edit("default/theirs", "kube-vip", shownAs("192.0.2.10"))
		w.settle()
		w.expectReason("theirs", v1beta1.ReasonWriteConflict)
		w.api.remove("default/holder")
		w.settle()
		w.expect("theirs=192.0.2.10 waits=")
	})
}

// Found by a random world: a Service that may no longer share its address, and that
// is deleted and kept by another's finalizer, goes on showing the address when its
// next leader cannot allocate it to two.
func TestADeletedServiceThatMayNoLongerShareShowsNothingOfOurs(t *testing.T) {
	key := annotate(v1beta1.AnnotationSharingKey, "k")
	script(t, oneAddress(), func(_ *testing.T, w *world) {
		w.make(key, "holder")
		w.make(all(foreign, key, onPort(81)), "kept")
		w.settle()
		w.expect("holder=192.0.2.10 kept=192.0.2.10")
		w.api.edit("default/kept", "kubectl", annotate(v1beta1.AnnotationSharingKey, ""))
		w.api.remove("default/kept")
		w.crash()
		w.settle()
		w.expect("holder=192.0.2.10 kept=")
	})
}
