package daemon

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestAWatchdogFailsOnlyWhileALoopThatRunsDoesNotTurn(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	w := NewWatchdog(time.Minute, func() time.Time { return now })
	health := NewHealth()
	health.Live("loop", w.Check)
	handler := health.handler(func() map[string]Check { return health.live })
	expect := func(code int, what string) {
		t.Helper()
		answer := httptest.NewRecorder()
		handler(answer, httptest.NewRequest(http.MethodGet, "/healthz", http.NoBody))
		if answer.Code != code {
			t.Errorf("%s: %d %q, want %d", what, answer.Code, answer.Body, code)
		}
		if code != http.StatusOK && !strings.HasPrefix(answer.Body.String(), "loop: no turn for 1m1s") {
			t.Errorf("it says %q", answer.Body)
		}
	}
	now = now.Add(time.Hour)
	expect(http.StatusOK, "the loop has not begun")
	w.Kick()
	now = now.Add(time.Minute)
	expect(http.StatusOK, "the last turn is just recent enough")
	now = now.Add(time.Second)
	expect(http.StatusServiceUnavailable, "it hangs")
	w.Kick()
	expect(http.StatusOK, "it was only slow")
	w.Stop()
	now = now.Add(time.Hour)
	expect(http.StatusOK, "it has ended")
}
