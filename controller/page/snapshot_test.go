package page

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baliza-lb/baliza/cli/explain"
)

// What is shown is worked out at most once a second, however many look and whatever
// changes, and not at all while nobody looks; a change after a while is seen at once.
func TestTheSnapshotIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int32
		s, err := New(Options{Now: time.Now, Objects: func() explain.Objects {
			reads.Add(1)
			return healthy()
		}})
		if err != nil {
			t.Fatal(err)
		}
		expect := func(want int32, when string) {
			t.Helper()
			if got := reads.Load(); got != want {
				t.Errorf("%s: read %d times, want %d", when, got, want)
			}
		}
		s.Changed()
		expect(0, "nobody looks")
		for range 100 {
			s.current()
			s.Changed()
		}
		expect(1, "a hundred look within a second")
		time.Sleep(shortest)
		s.current()
		expect(2, "a second later")
		time.Sleep(longest / 2)
		s.current()
		expect(2, "nothing has changed")
		s.Changed()
		s.current()
		expect(3, "a change after a while")
		time.Sleep(longest)
		s.current()
		expect(4, "some of it follows from the time")
		time.Sleep(2 * unused)
		synctest.Wait()
		s.mu.Lock()
		kept := s.snapshot
		s.mu.Unlock()
		if kept != nil {
			t.Error("it is kept though nobody looks")
		}
	})
}

// A viewer is told which version there is, and of the next as soon as something changes.
func TestAViewerIsToldOfChanges(t *testing.T) {
	s, err := New(Options{Now: time.Now, Objects: healthy})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	open := func() (status int, kind string, body io.Reader) {
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/events", http.NoBody)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = response.Body.Close() })
		return response.StatusCode, response.Header.Get("Content-Type"), response.Body
	}
	_, kind, stream := open()
	if kind != "text/event-stream" {
		t.Fatal(kind)
	}
	lines := bufio.NewScanner(stream)
	next := func() string {
		for lines.Scan() {
			if version, is := strings.CutPrefix(lines.Text(), "data: "); is {
				return version
			}
		}
		t.Fatal(lines.Err())
		return ""
	}
	before := next()
	if body := get(t, s.Handler(), "/").Body.String(); !strings.Contains(body, `data-version="`+before+`"`) {
		t.Error("the page is not of the version that is told")
	}
	s.Changed()
	if after := next(); after == before {
		t.Errorf("version %s after a change, too", after)
	}
	for range viewers - 1 {
		open()
	}
	if last, _, _ := open(); last != http.StatusServiceUnavailable {
		t.Errorf("one viewer too many: %d", last)
	}
	if page := get(t, s.Handler(), "/"); page.Code != http.StatusOK {
		t.Errorf("the page of one more: %d", page.Code)
	}
}

// BenchmarkPageOf10k is what a change costs with 10,000 Services and a viewer: working it
// out and showing a list.
func BenchmarkPageOf10k(b *testing.B) {
	objects := large()
	var s *Server
	for b.Loop() {
		s = serverOf(b, func() explain.Objects { return objects })
		if w := get(b, s.Handler(), "/services"); w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
	b.StopTimer()
	before := heap()
	s.mu.Lock()
	s.snapshot = nil
	s.mu.Unlock()
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "page_ms")
	b.ReportMetric(float64(before-heap())/(1<<20), "page_mb")
}
