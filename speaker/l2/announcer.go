package l2

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// announcer sends what its schedule says, in a goroutine of its own.
type announcer struct {
	send func(announcement)
	wake chan struct{}

	mu       sync.Mutex
	schedule *schedule
}

func newAnnouncer(send func(announcement)) *announcer {
	return &announcer{send: send, wake: make(chan struct{}, 1), schedule: newSchedule(rand.Float64)}
}

// change starts the announcements of some keys and ends those of others.
func (a *announcer) change(start, end []key) {
	if len(start)+len(end) == 0 {
		return
	}
	now := time.Now()
	a.mu.Lock()
	for _, k := range end {
		a.schedule.remove(k)
	}
	for _, k := range start {
		a.schedule.add(k, now)
	}
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *announcer) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-timer.C:
		}
		due, wait, more := a.turn(time.Now())
		for _, one := range due {
			a.send(one)
		}
		if more {
			timer.Reset(wait)
		}
	}
}

func (a *announcer) turn(now time.Time) (due []announcement, wait time.Duration, more bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	due = a.schedule.take(now)
	wait, more = a.schedule.next(now)
	return due, wait, more
}
