package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// paper is where statuses are written down.
type paper struct{ lines []string }

func (p *paper) note(object metav1.Object, generation int64, conditions []metav1.Condition) error {
	if len(conditions) != 1 || conditions[0].ObservedGeneration != generation {
		return errors.New("one condition, of the same generation, was to be written")
	}
	p.lines = append(p.lines, fmt.Sprintf("%s %d %s", object.GetName(), generation, conditions[0].Status))
	return nil
}

func (p *paper) ApplyPool(context.Context, string, v1beta1.IPAddressPoolStatus) error { return nil }

func (p *paper) ApplyL2Advertisement(_ context.Context, name string, status v1beta1.L2AdvertisementStatus) error {
	return p.note(&metav1.ObjectMeta{Name: name}, status.ObservedGeneration, status.Conditions)
}

func (p *paper) ApplyBGP(_ context.Context, object metav1.Object, generation int64, conditions []metav1.Condition) error {
	return p.note(object, generation, conditions)
}

// Each kind is written once, and not again when it shows what was written.
func TestEveryKindIsWrittenWithTheGenerationThatWasSeen(t *testing.T) {
	p := &paper{}
	w := New(p, func() bool { return true }, prometheus.NewCounter(prometheus.CounterOpts{}), slog.New(slog.DiscardHandler))
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, UID: types.UID(name), Generation: 3}
	}
	objects := &config.Objects{L2Advertisements: []*v1beta1.L2Advertisement{{ObjectMeta: meta("l2")}}}
	objects.BGP.Peers = []*v1beta1.BGPPeer{{ObjectMeta: meta("peer")}}
	objects.BGP.Advertisements = []*v1beta1.BGPAdvertisement{{ObjectMeta: meta("advertisement")}}
	objects.BGP.BFDProfiles = []*v1beta1.BFDProfile{{ObjectMeta: meta("profile")}}
	objects.BGP.Communities = []*v1beta1.Community{{ObjectMeta: meta("community")}}
	view := View{Objects: objects}
	now := time.Unix(1_000_000, 0)
	for range 3 {
		w.Changed()
		w.Write(t.Context(), view, now)
		if w.busy != nil {
			w.Wait()
			w.busy = nil
		}
		now = now.Add(settles + time.Second)
		for _, peer := range objects.BGP.Peers {
			peer.Status.ObservedGeneration, peer.Status.Conditions = 3, w.known[peer.UID].conditions
		}
	}
	count := func(name string) int {
		n := 0
		for _, line := range p.lines {
			if strings.HasPrefix(line, name+" 3 True") {
				n++
			}
		}
		return n
	}
	slices.Sort(p.lines)
	for _, name := range []string{"l2", "advertisement", "profile", "community"} {
		if count(name) < 2 { // the object never shows it
			t.Errorf("%s was written %d times: %v", name, count(name), p.lines)
		}
	}
	if count("peer") != 1 {
		t.Errorf("the peer was written %d times: %v", count("peer"), p.lines)
	}
}

func TestC03_TheFirstChangeOfAStatusIsWrittenAtOnceAndTheNextWaits(t *testing.T) {
	s := New(nil, nil, nil, nil)
	now := time.Unix(1_000_000, 0)
	expect := func(after time.Duration, uid types.UID, observed, status string, written bool, due time.Duration) {
		t.Helper()
		now, s.due = now.Add(after), time.Time{}
		if got := s.needs(now, uid, observed, status); got != written {
			t.Errorf("%s: %q instead of %q is written: %t", uid, status, observed, got)
		}
		if due == 0 && !s.due.IsZero() || due != 0 && s.due.Sub(now) != due {
			t.Errorf("%s: due %s after %s", uid, s.due, now)
		}
	}
	expect(0, "a", "", "1", true, 0)
	expect(0, "b", "", "1", true, 0) // of each object
	expect(100*time.Millisecond, "a", "1", "2", false, 900*time.Millisecond)
	expect(100*time.Millisecond, "a", "1", "3", false, 800*time.Millisecond)
	expect(800*time.Millisecond, "a", "1", "3", true, 0)
	expect(time.Hour, "a", "3", "3", false, 0)
	expect(0, "a", "3", "4", true, 0)
}

func TestAStatusThatDoesNotArriveIsWrittenAgain(t *testing.T) {
	s := New(nil, nil, nil, nil)
	now := time.Unix(1_000_000, 0)
	if !s.needs(now, "a", "0", "1") {
		t.Fatal("a change is not written")
	}
	s.known["a"].unsure = true // it failed, or only its answer was lost
	if now = now.Add(Every); !s.needs(now, "a", "0", "0") {
		t.Error("what is observed is believed, though a write is under way")
	}
	writes, last := 0, now
	for end := now.Add(time.Hour); now.Before(end); now = now.Add(time.Second) {
		if s.needs(now, "a", "1", "0") { // it did arrive, late
			writes++
			if writes == 1 && now.Sub(last) != settles {
				t.Errorf("written again after %s", now.Sub(last))
			}
		}
	}
	if writes < 3 || writes > 20 {
		t.Errorf("%d writes in an hour in which it did not help", writes)
	}
}
