package quarantine

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/reports"
)

func conflicting(found v1beta1.ConflictFound, addresses ...string) *v1beta1.Speaker {
	s := &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	for _, a := range addresses {
		s.Status.Conflicts = append(s.Status.Conflicts, v1beta1.AddressConflict{Address: a, MAC: "02:00:00:00:00:99", Found: found})
	}
	return s
}

func lan(t *testing.T) *config.Snapshot {
	t.Helper()
	snapshot, problems := config.Build(config.Objects{Pools: []*v1beta1.IPAddressPool{{
		ObjectMeta: metav1.ObjectMeta{Name: "lan"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []v1beta1.AddressRange{"192.0.2.0/24"}},
	}}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return snapshot
}

// A conflict counts once it has been reported for a while, of an address that a
// Service has, until some time after it is no longer reported.
func TestAQuarantineBeginsAndEnds(t *testing.T) {
	snapshot, now := lan(t), time.Unix(1000, 0)
	l, a := New(), netip.MustParseAddr("192.0.2.10")
	update := func(s *v1beta1.Speaker, after time.Duration, want string) {
		t.Helper()
		now = now.Add(after)
		var r reports.Reports
		r.Read([]*v1beta1.Speaker{s}, false, now)
		c := l.Update(&r, snapshot, func(one netip.Addr) bool { return one == a }, now)
		if got := fmt.Sprintf("began %v ended %v status %t again %t", c.Began, c.Ended, c.Status, c.Again); got != want {
			t.Errorf("after %s: %s, want %s", after, got, want)
		}
	}
	reported := conflicting(v1beta1.FoundAtFirstUse, "192.0.2.10", "192.0.2.11")
	update(reported, 0, "began [] ended [] status false again true")
	update(conflicting(v1beta1.FoundAtFirstUse), time.Second, "began [] ended [] status false again false")
	update(reported, time.Second, "began [] ended [] status false again true")
	update(reported, ConfirmedAfter, "began [192.0.2.10] ended [] status true again false")
	update(reported, time.Second, "began [] ended [] status false again false")
	if got := l.ToLeave(); !slices.Equal(got, []netip.Addr{a}) {
		t.Errorf("to leave: %v", got)
	}
	update(conflicting(v1beta1.FoundInUse, "192.0.2.10"), time.Second, "began [] ended [] status false again false")
	if got := l.ToLeave(); len(got) > 0 {
		t.Errorf("to leave, though somebody knows of a use: %v", got)
	}
	update(conflicting(v1beta1.FoundInUse), time.Second, "began [] ended [] status true again false")
	if c := l.Expire(now.Add(Lasts - 1)); len(c.Ended) > 0 {
		t.Error("it is over too early")
	}
	if c := l.Expire(now.Add(Lasts)); !slices.Equal(c.Ended, []netip.Addr{a}) || !c.Status {
		t.Errorf("it is not over: %+v", c)
	}
}

// A Speaker that lies keeps so many addresses of a pool, and moves a Service so
// often; what another announces it does not touch. Whoever leads next knows it all.
func TestALyingSpeakerIsBounded(t *testing.T) {
	snapshot, now := lan(t), time.Unix(1000, 0)
	var all []string
	for i := range 256 {
		all = append(all, fmt.Sprintf("192.0.2.%d", i))
	}
	honest := &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: "n2"}}
	honest.Status.Held = []v1beta1.HeldAddress{{Address: "192.0.2.0"}}
	l := New()
	var r reports.Reports
	for range 3 {
		now = now.Add(ConfirmedAfter)
		r.Read([]*v1beta1.Speaker{conflicting(v1beta1.FoundAtFirstUse, all...), honest}, false, now)
		l.Update(&r, snapshot, func(netip.Addr) bool { return true }, now)
	}
	said := l.Of(snapshot, "lan")
	if len(said) != PerPool || slices.Contains(l.ToLeave(), netip.MustParseAddr("192.0.2.0")) || len(l.Of(snapshot, "other")) > 0 {
		t.Errorf("in quarantine: %v", said)
	}
	for i, a := range l.ToLeave()[:mostMoves] {
		if !l.MayMove("default/web") {
			t.Errorf("it may not move after %d moves", i)
		}
		l.Moved(a, "default/web")
	}
	next := New()
	pool := &v1beta1.IPAddressPool{Status: v1beta1.IPAddressPoolStatus{Quarantined: l.Of(snapshot, "lan")}}
	if c := next.Resume([]*v1beta1.IPAddressPool{pool}, now); len(c.Began) != PerPool || !c.Status {
		t.Errorf("the next one knows of %d", len(c.Began))
	}
	for _, known := range []*List{l, next} {
		if known.MayMove("default/web") || !known.MayMove("default/other") {
			t.Error("what was moved is forgotten")
		}
	}
}
