package queue

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The three rules of a Queue, whatever is done to it in whatever order, and that
// every key that is ready comes in the end.
func TestRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const slots = 8
		q, now := New(slots), time.Unix(0, 0)
		flying := make(map[string]bool)
		key := func() string {
			return fmt.Sprintf("n%d/s%d", rapid.IntRange(0, 2).Draw(t, "namespace"), rapid.IntRange(0, 9).Draw(t, "name"))
		}
		end := func(key string, fails bool) {
			task := q.Done(key)
			if task == nil || task.key != key {
				t.Fatalf("%s was in flight, and is not", key)
			}
			delete(flying, key)
			if fails {
				if wait := q.Retry(task, now); wait < First || wait > Most {
					t.Fatalf("waits %s", wait)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"add":   func(*rapid.T) { q.Add(key()) },
			"hurry": func(*rapid.T) { q.Hurry(key()) },
			"wait": func(t *rapid.T) {
				q.Wait(key(), now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "s"))*time.Second))
			},
			"drop": func(*rapid.T) { q.Drop(key()) },
			"time": func(*rapid.T) { now = now.Add(30 * time.Second); q.Due(now) },
			"next": func(t *rapid.T) {
				key, found := q.Next()
				switch {
				case !found:
					return
				case flying[key] || !q.InFlight(key):
					t.Fatalf("%s is in flight twice, or not at all", key)
				}
				flying[key] = true
				if len(flying) > slots || len(flying) != q.InFlightCount() {
					t.Fatalf("%d in flight", len(flying))
				}
			},
			"end": func(t *rapid.T) {
				if len(flying) > 0 {
					all := make([]string, 0, len(flying))
					for key := range flying {
						all = append(all, key)
					}
					slices.Sort(all)
					end(rapid.SampledFrom(all).Draw(t, "key"), rapid.Bool().Draw(t, "fails"))
				}
			},
		})
		for range 1000 {
			now = now.Add(time.Minute)
			q.Due(now)
			for key, found := q.Next(); found; key, found = q.Next() {
				flying[key] = true
			}
			for key := range flying {
				end(key, false)
			}
		}
		if !q.Idle() || q.Len() > 0 {
			t.Fatalf("%d are left", q.Len())
		}
	})
}

// Defect 6: a namespace whose keys never end, first or repeated, leaves a slot
// to another.
func TestDefect6ANamespaceThatHangsLeavesASlot(t *testing.T) {
	for name, repeats := range map[string]bool{"at first": false, "again": true} {
		t.Run(name, func(t *testing.T) {
			q, now := New(16), time.Unix(0, 0)
			for i := range 100 {
				q.Add(fmt.Sprintf("bad/s%d", i))
				if repeats {
					key, _ := q.Next()
					q.Retry(q.Done(key), now)
				}
			}
			q.Due(now.Add(time.Hour))
			for found := true; found; {
				_, found = q.Next()
			}
			if q.Busy() {
				t.Error("it is busy, though nothing may start")
			}
			q.Add("good/s")
			if key, found := q.Next(); !found || !strings.HasPrefix(key, "good/") {
				t.Errorf("next is %q, with %d in flight", key, q.InFlightCount())
			}
		})
	}
}
