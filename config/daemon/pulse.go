package daemon

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Pulse tells whether a loop still turns. The loop calls Beat at each turn and
// Rest when it ends; before the first beat and after Rest there is nothing to
// expect of it. It is safe for concurrent use.
type Pulse struct {
	limit time.Duration
	now   func() time.Time
	// last beat, in nanoseconds of Unix time; 0 while the loop does not run.
	last atomic.Int64
}

// NewPulse makes one of a loop that takes at most limit for a turn. now is the
// clock.
func NewPulse(limit time.Duration, now func() time.Time) *Pulse {
	return &Pulse{limit: limit, now: now}
}

// Beat says that the loop turns.
func (p *Pulse) Beat() { p.last.Store(p.now().UnixNano()) }

// Rest says that the loop has ended, as it should.
func (p *Pulse) Rest() { p.last.Store(0) }

// Check is for [Health.Live]: it fails when the last beat is too long ago.
func (p *Pulse) Check() error {
	last := p.last.Load()
	if last == 0 {
		return nil
	}
	if since := p.now().Sub(time.Unix(0, last)); since > p.limit {
		return fmt.Errorf("no turn for %s, more than %s", since.Round(time.Second), p.limit)
	}
	return nil
}
