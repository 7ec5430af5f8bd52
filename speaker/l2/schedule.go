package l2

import (
	"container/heap"
	"net/netip"
	"time"
)

// key is an address on an interface, and the client that is told of it, or the
// zero MAC for everybody.
type key struct {
	address netip.Addr
	index   int
	client  [6]byte
	// probe says that it is not announced but asked for, once.
	probe bool
}

// single tells whether one client is told.
func (k key) single() bool { return k.client != [6]byte{} }

// announcement is a key whose turn has come.
type announcement struct {
	key
	// reminder says that the neighbours have been told before, long ago.
	reminder bool
	// ask goes with it whether somebody else has the address. The very first
	// announcements are not held up by that.
	ask bool
}

// schedule decides when what is announced. It has no clock: the time comes in.
//
// The first announcement is due at once. The second comes shortly after, in
// case the first met a busy moment. Linux drops what contradicts an ARP entry
// that changed less than "locktime" (a second) ago, so that the third and
// fourth come after one and two of those. Then a reminder comes every so
// often, so that switches do not forget the port. A client that is told alone
// is not reminded: it asks us itself whether we are still there.
//
// Sending is paced. What was never announced, or is asked for, goes before what was.
type schedule struct {
	jitter func() float64 // from 0 to 1

	items  map[key]*scheduled
	queue  queue
	tokens float64
	filled time.Time
}

type scheduled struct {
	key
	step     int
	due      time.Time
	position int
}

const (
	// perSecond is how many announcements are sent in a second at most, and
	// burst how many of them at once. A broadcast becomes one packet for each
	// port of the segment, and a Linux host or bridge queues a thousand packets
	// (net.core.netdev_max_backlog) before it drops: with 5,000 a second in bursts of 250 from two
	// nodes, a third of the announcements were lost on the lab.
	perSecond = 2500
	burst     = 10
	// reminderEvery is the mean time between reminders. Switches forget
	// after five minutes by default.
	reminderEvery = 2 * time.Minute
)

// gaps are the times from one announcement to the next.
var gaps = [...]time.Duration{100 * time.Millisecond, time.Second, 1100 * time.Millisecond}

func newSchedule(jitter func() float64) *schedule {
	return &schedule{jitter: jitter, items: map[key]*scheduled{}, tokens: burst}
}

// add starts the announcements of a key, or starts them again.
func (s *schedule) add(k key, now time.Time) {
	item := s.items[k]
	if item == nil {
		item = &scheduled{key: k, due: now}
		s.items[k] = item
		heap.Push(&s.queue, item)
		return
	}
	if k.probe {
		return // it waits for its turn already
	}
	item.step, item.due = 0, now
	heap.Fix(&s.queue, item.position)
}

func (s *schedule) remove(k key) {
	if item := s.items[k]; item != nil {
		heap.Remove(&s.queue, item.position)
		delete(s.items, k)
	}
}

// take returns what is to be sent now.
func (s *schedule) take(now time.Time) []announcement {
	s.tokens = min(burst, s.tokens+now.Sub(s.filled).Seconds()*perSecond)
	s.filled = now
	var due []announcement
	for len(s.queue) > 0 && !s.queue[0].due.After(now) && s.tokens >= 1 {
		item := s.queue[0]
		due = append(due, announcement{
			key: item.key, reminder: item.step > len(gaps), ask: item.step > 0 && item.step <= len(gaps),
		})
		s.tokens--
		if item.probe || item.single() && item.step == len(gaps) {
			s.remove(item.key)
			continue
		}
		item.due = now.Add(s.gap(item.step))
		item.step++
		heap.Fix(&s.queue, 0)
	}
	return due
}

// next is how long nothing has to be sent; ok is false if there never is.
func (s *schedule) next(now time.Time) (wait time.Duration, ok bool) {
	if len(s.queue) == 0 {
		return 0, false
	}
	wait = s.queue[0].due.Sub(now)
	if s.tokens < 1 {
		// Gather some tokens rather than wake up for each.
		wait = max(wait, 4*time.Millisecond)
	}
	return max(0, wait), true
}

func (s *schedule) gap(step int) time.Duration {
	if step < len(gaps) {
		return gaps[step]
	}
	return time.Duration(float64(reminderEvery) * (0.8 + 0.4*s.jitter()))
}

// queue is a heap: what was never sent first, then what is due first.
type queue []*scheduled

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if first, other := q[i].step == 0, q[j].step == 0; first != other {
		return first
	}
	return q[i].due.Before(q[j].due)
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].position, q[j].position = i, j
}

func (q *queue) Push(x any) {
	item := x.(*scheduled) //nolint:forcetypeassert // only we push
	item.position = len(*q)
	*q = append(*q, item)
}

func (q *queue) Pop() any {
	old := *q
	item := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return item
}
