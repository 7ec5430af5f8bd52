package page

import (
	"fmt"
	"net/http"
	"time"
)

// Times of a stream of events.
const (
	// alive is how often something is sent, so that what is between does not end it.
	alive = 15 * time.Second
	// streamTime ends one: the browser opens the next, perhaps to another replica.
	streamTime = 10 * time.Minute
	// eventTimeout is how long a viewer may take to receive one.
	eventTimeout = 10 * time.Second
)

// events tells a page which version there is to see, and whenever there is another, by
// server-sent events (HTML standard, section 9.2).
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	select {
	case s.viewers <- struct{}{}:
		defer func() { <-s.viewers }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many viewers at a time: reload the page", http.StatusServiceUnavailable)
		return
	}
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	if r.Method == http.MethodHead {
		return
	}
	end := time.NewTimer(streamTime)
	defer end.Stop()
	told := ""
	for {
		now := s.current()
		line := ": alive\n\n"
		if now.version != told {
			line, told = fmt.Sprintf("data: %s\n\n", now.version), now.version
		}
		// Where deadlines cannot be set, the server's own ends the stream.
		_ = control.SetWriteDeadline(time.Now().Add(eventTimeout))
		if _, err := w.Write([]byte(line)); err != nil || control.Flush() != nil {
			return
		}
		if !s.wait(r, now, end.C) {
			return
		}
	}
}

// wait returns when there may be something to send, and reports whether the stream goes
// on. A change within the time in which nothing is worked out is seen after it.
func (s *Server) wait(r *http.Request, now *snapshot, end <-chan time.Time) bool {
	quiet := time.NewTimer(alive)
	defer quiet.Stop()
	select {
	case <-r.Context().Done():
		return false
	case <-end:
		return false
	case <-quiet.C:
		return true
	case <-s.changed.after(now.changes):
	}
	rest := time.NewTimer(now.next.Sub(s.options.Now()))
	defer rest.Stop()
	select {
	case <-r.Context().Done():
		return false
	case <-end:
		return false
	case <-rest.C:
		return true
	}
}
