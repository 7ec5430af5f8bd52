package queue

import (
	"slices"
	"strings"
	"time"
)

// First and Most bound the wait after a failure.
const (
	First = 250 * time.Millisecond
	Most  = time.Minute
)

// Queue says which Service is to be written next. It knows keys alone
// (namespace/name), and of each one state: ready, waiting until a time, or in
// flight. It keeps to three rules:
//
//   - never two at once for one key;
//   - namespaces take turns, and none has all slots: one whose writes hang, as
//     when its admission webhook does, keeps no other waiting;
//   - what failed, or is repeated, comes after what is tried for the first time
//     and has a quarter of the slots.
//
// It is not safe for concurrent use.
type Queue struct {
	slots int
	tasks map[string]*Task
	// lanes hold what is ready: first attempts, and what is repeated.
	lanes [2]lane
	// flying counts what is in flight: in all, by namespace, and of the repeated.
	flying, repeated int
	byNamespace      map[string]int
	// stalled says that what is ready may not start before something ends.
	stalled bool
}

type taskState int

const (
	ready taskState = iota
	waiting
	inFlight
)

// Task is one key that is not idle.
type Task struct {
	key   string
	state taskState
	// until is when the wait is over.
	until time.Time
	// Attempts that failed, one after the other.
	Attempts int
	// repeats says that it is not the first attempt, and counted that it has one
	// of the slots for those.
	repeats, counted bool
	// dropped says that the key is idle, though it may still be in a lane.
	dropped bool
}

// lane is a list of keys for each namespace, with the order of their turns.
type lane struct {
	turns []string
	keys  map[string][]*Task
}

// New makes an empty queue with that many slots.
func New(slots int) *Queue {
	q := &Queue{slots: slots, tasks: make(map[string]*Task), byNamespace: make(map[string]int)}
	for i := range q.lanes {
		q.lanes[i].keys = make(map[string][]*Task)
	}
	return q
}

func namespaceOf(key string) string {
	namespace, _, _ := strings.Cut(key, "/")
	return namespace
}

// Add makes a key ready, unless it waits or is in flight.
func (q *Queue) Add(key string) {
	if t := q.tasks[key]; t == nil {
		t = &Task{key: key}
		q.tasks[key] = t
		q.push(t)
	}
}

// Wait has a key wait until a time: it is ready no earlier. One that failed, or
// is in flight, stays as it is.
func (q *Queue) Wait(key string, until time.Time) {
	t := q.tasks[key]
	switch {
	case t == nil:
		t = &Task{key: key}
		q.tasks[key] = t
	case t.state == inFlight || t.Attempts > 0:
		return
	}
	t.state, t.until, t.repeats = waiting, until, true
}

// Hurry makes a key ready that only waited to be repeated.
func (q *Queue) Hurry(key string) {
	if t := q.tasks[key]; t != nil && t.state == waiting && t.Attempts == 0 {
		t.state, t.repeats = ready, false
		q.push(t)
		return
	}
	q.Add(key)
}

// Drop forgets a key, but for what is in flight.
func (q *Queue) Drop(key string) {
	switch t := q.tasks[key]; {
	case t == nil:
	case t.state == inFlight:
		t.Attempts = 0
	default:
		t.dropped = true
		delete(q.tasks, key)
	}
}

// Due makes ready whose wait is over, the longest due first.
func (q *Queue) Due(now time.Time) {
	var over []*Task
	for _, t := range q.tasks {
		if t.state == waiting && !t.until.After(now) {
			over = append(over, t)
		}
	}
	slices.SortFunc(over, func(a, b *Task) int {
		if order := a.until.Compare(b.until); order != 0 {
			return order
		}
		return strings.Compare(a.key, b.key)
	})
	for _, t := range over {
		t.state = ready
		q.push(t)
	}
}

func (q *Queue) push(t *Task) {
	l := &q.lanes[0]
	if t.Attempts > 0 || t.repeats {
		l = &q.lanes[1]
	}
	namespace := namespaceOf(t.key)
	if len(l.keys[namespace]) == 0 {
		l.turns = append(l.turns, namespace)
	}
	l.keys[namespace] = append(l.keys[namespace], t)
	q.stalled = false
}

// Next returns a key that may start now and counts it as in flight.
func (q *Queue) Next() (string, bool) {
	if q.flying >= q.slots {
		return "", false
	}
	for i := range q.lanes {
		if i == 1 && q.repeated >= max(1, q.slots/4) {
			break
		}
		if t := q.take(&q.lanes[i]); t != nil {
			t.state = inFlight
			q.flying++
			q.byNamespace[namespaceOf(t.key)]++
			if i == 1 {
				q.repeated++
				t.counted = true
			}
			return t.key, true
		}
	}
	q.stalled = true
	return "", false
}

// take takes the first key of the first namespace that has a slot to spare.
func (q *Queue) take(l *lane) *Task {
	for i := 0; i < len(l.turns); {
		namespace := l.turns[i]
		keys := l.keys[namespace]
		for len(keys) > 0 && (keys[0].dropped || keys[0].state != ready) {
			keys = keys[1:]
		}
		switch {
		case len(keys) == 0:
			delete(l.keys, namespace)
			l.turns = slices.Delete(l.turns, i, i+1)
			continue
		case q.byNamespace[namespace] >= q.share():
			l.keys[namespace] = keys
			i++
			continue
		}
		l.turns = slices.Delete(l.turns, i, i+1)
		if l.keys[namespace] = keys[1:]; len(keys) > 1 {
			l.turns = append(l.turns, namespace)
		} else {
			delete(l.keys, namespace)
		}
		return keys[0]
	}
	return nil
}

// share is how many slots one namespace may have.
func (q *Queue) share() int { return max(1, q.slots-max(1, q.slots/8)) }

// InFlight reports whether a key is in flight.
func (q *Queue) InFlight(key string) bool {
	t := q.tasks[key]
	return t != nil && t.state == inFlight
}

// Done ends what is in flight: the key is idle.
func (q *Queue) Done(key string) *Task {
	t := q.tasks[key]
	if t == nil || t.state != inFlight {
		return nil
	}
	namespace := namespaceOf(key)
	q.flying--
	q.byNamespace[namespace]--
	if q.byNamespace[namespace] == 0 {
		delete(q.byNamespace, namespace)
	}
	if t.counted {
		q.repeated--
	}
	q.stalled = false
	delete(q.tasks, key)
	return t
}

// Retry has a key that was just done wait for another attempt; it returns how
// long: First, and twice as long each time up to Most.
func (q *Queue) Retry(t *Task, now time.Time) time.Duration {
	wait := BackOff(t.Attempts)
	q.tasks[t.key] = &Task{key: t.key, state: waiting, until: now.Add(wait), Attempts: t.Attempts + 1}
	return wait
}

// Attempts is how often a key failed, one time after the other.
func (q *Queue) Attempts(key string) int {
	if t := q.tasks[key]; t != nil {
		return t.Attempts
	}
	return 0
}

// Busy reports whether something is ready that only waits for a slot.
func (q *Queue) Busy() bool {
	return !q.stalled && (len(q.lanes[0].turns) > 0 || len(q.lanes[1].turns) > 0)
}

// Idle reports whether every key is.
func (q *Queue) Idle() bool { return len(q.tasks) == 0 }

// BackOff is the wait after a number of failures.
func BackOff(failures int) time.Duration { return min(First<<min(failures, 10), Most) }

// InFlightCount is how many keys are in flight.
func (q *Queue) InFlightCount() int { return q.flying }

// Len is how many keys are not idle.
func (q *Queue) Len() int { return len(q.tasks) }
