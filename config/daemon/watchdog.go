package daemon

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Watchdog reports whether a loop still turns. The loop calls Kick at each turn
// and Stop when it ends; before the first kick and after Stop there is nothing to
// expect of it. It is safe for concurrent use.
type Watchdog struct {
	limit time.Duration
	now   func() time.Time
	// last kick, in nanoseconds of Unix time; 0 while the loop does not run.
	last atomic.Int64
}

// NewWatchdog makes one of a loop that takes at most limit for a turn. now is the
// clock.
func NewWatchdog(limit time.Duration, now func() time.Time) *Watchdog {
	return &Watchdog{limit: limit, now: now}
}

// Kick says that the loop turns.
func (w *Watchdog) Kick() { w.last.Store(w.now().UnixNano()) }

// Stop says that the loop has ended, as it should.
func (w *Watchdog) Stop() { w.last.Store(0) }

// Check is for [Health.Live]: it fails when the last kick is too long ago.
func (w *Watchdog) Check() error {
	last := w.last.Load()
	if last == 0 {
		return nil
	}
	if since := w.now().Sub(time.Unix(0, last)); since > w.limit {
		return fmt.Errorf("no turn for %s, more than %s", since.Round(time.Second), w.limit)
	}
	return nil
}
