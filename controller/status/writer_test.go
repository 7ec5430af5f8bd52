package status

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

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
