package l2

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func keyOf(n int) key {
	return key{address: netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)}), index: 3}
}

// L08: at once, shortly after, after Linux's locktime, and then for ever.
func TestAnAddressIsAnnouncedAtOnceAndAgainAndForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var times []time.Duration
		var reminders int
		a := newAnnouncer(func(one announcement) {
			times = append(times, time.Since(begin))
			if one.reminder {
				reminders++
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.run(ctx) }()
		a.change([]key{keyOf(1)}, nil)
		time.Sleep(10 * time.Minute)
		cancel()
		<-done
		want := []time.Duration{0, 100 * time.Millisecond, 1100 * time.Millisecond, 2200 * time.Millisecond}
		if !slices.Equal(times[:4], want) {
			t.Errorf("announced after %v, want %v", times[:4], want)
		}
		if reminders < 4 || reminders > 6 || reminders != len(times)-4 {
			t.Errorf("%d reminders in ten minutes, %d announcements in all", reminders, len(times))
		}
	})
}

func TestWhatIsLetGoIsNotAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []announcement
		a := newAnnouncer(func(one announcement) { sent = append(sent, one) })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go a.run(ctx)
		a.change([]key{keyOf(1), keyOf(2)}, nil)
		synctest.Wait()
		a.change(nil, []key{keyOf(1)})
		time.Sleep(time.Second)
		synctest.Wait()
		for _, one := range sent[2:] {
			if one.key == keyOf(1) {
				t.Error("announced after it was let go")
			}
		}
	})
}

// L08: thousands are paced, and those that nobody heard of come first.
func TestThousandsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 10000
		first := map[key]time.Duration{}
		perTick := map[time.Duration]int{}
		begin := time.Now()
		a := newAnnouncer(func(one announcement) {
			now := time.Since(begin)
			perTick[now.Truncate(100*time.Millisecond)]++
			if _, ok := first[one.key]; !ok {
				first[one.key] = now
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go a.run(ctx)
		var keys []key
		for n := range count {
			keys = append(keys, keyOf(n))
		}
		a.change(keys, nil)
		time.Sleep(500 * time.Millisecond)
		late := keyOf(60000)
		a.change([]key{late}, nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		var last time.Duration
		for _, at := range first {
			last = max(last, at)
		}
		t.Logf("the last of %d was first announced after %s", count, last)
		if len(first) != count+1 || last > time.Duration(count)*time.Second/perSecond+500*time.Millisecond {
			t.Errorf("%d announced, the last after %s", len(first), last)
		}
		for tick, n := range perTick {
			if n > perSecond/10+burst {
				t.Errorf("%d announcements in the tenth of a second at %s", n, tick)
			}
		}
	})
}

// Whatever is added and removed, exactly what is there is announced in the end.
func TestScheduleKeepsItsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSchedule(func() float64 { return 0.5 })
		now := time.Unix(0, 0)
		wanted := map[key]bool{}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			k := keyOf(rapid.IntRange(0, 9).Draw(t, "key"))
			switch rapid.SampledFrom([]string{"add", "remove", "wait"}).Draw(t, "what") {
			case "add":
				s.add(k, now)
				wanted[k] = true
			case "remove":
				s.remove(k)
				delete(wanted, k)
			case "wait":
				now = now.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond)
				for _, one := range s.take(now) {
					if !wanted[one.key] {
						t.Fatal("announced what was removed")
					}
				}
			}
			for i, item := range s.queue {
				if item.position != i || s.items[item.key] != item {
					t.Fatal("the queue has lost its order")
				}
			}
			if len(s.queue) != len(wanted) {
				t.Fatal(fmt.Sprintf("%d in the queue, want %d", len(s.queue), len(wanted)))
			}
			if wait, ok := s.next(now); ok != (len(wanted) > 0) || wait < 0 {
				t.Fatal("wrong time of the next announcement")
			}
		}
	})
}

// Finding 17: what is asked for goes out at the pace of announcements, each once, in
// the order of asking, however often it is wanted meanwhile.
func TestF17_ProbesArePacedAndNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, asked := time.Now(), map[netip.Addr]int{}
		var within int // the first tenth of a second
		a := newAnnouncer(func(one announcement) {
			if !one.probe {
				t.Errorf("%s is announced", one.address)
			}
			asked[one.address]++
			if time.Since(begin) < 100*time.Millisecond {
				within++
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.run(ctx) }()
		const count = 6000
		var all []key
		for i := range count {
			k := keyOf(i)
			k.probe = true
			all = append(all, k)
		}
		for range 3 { // passes
			a.change(all, nil)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		cancel()
		<-done
		if most := perSecond/10 + 2*burst; within > most {
			t.Errorf("%d in a tenth of a second, want %d at most", within, most)
		}
		if len(asked) != count {
			t.Errorf("%d of %d were asked for", len(asked), count)
		}
		for address, times := range asked {
			if times > 2 { // those that were asked for before the next pass
				t.Fatalf("%s was asked for %d times", address, times)
			}
		}
	})
}
