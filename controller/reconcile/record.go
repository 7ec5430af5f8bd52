package reconcile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/controller/queue"
)

// record is what the loop remembers of one Service.
type record struct {
	key string
	// object as last observed: from the cache, from our last write, or read.
	object *service
	// unseen says that the Service was read past the cache, which has not shown
	// it yet: that the cache shows nothing is no proof that it is gone.
	unseen bool
	// phase is what is being done about it.
	phase phase
	// yieldedTo names the other provider that writes this Service's status, which
	// is left alone; empty where there is none.
	yieldedTo string
	// written is the memory of what was written here.
	written written
	// unannounced are the addresses that were given here, or by another controller
	// of ours, and that no node has announced yet.
	unannounced []netip.Addr
	// announced is what was last concluded from the Speakers' reports about the
	// addresses that it shows, or nil.
	announced *metav1.Condition
	// missingSince is since when nobody says any more that it announces the
	// addresses, while the condition still says that somebody does.
	missingSince time.Time
	// reason for the metric, empty for a Service that is not served.
	reason v1beta1.Reason
	// warned is what was logged last about what it shows.
	warned string
}

// desired is what should be said about a Service.
type desired struct {
	addresses   []netip.Addr
	pool        string
	unannounced []netip.Addr
	allocated   *metav1.Condition
	announced   *metav1.Condition
	// progress is what follows from the two for who waits, unless that is switched off.
	progress *metav1.Condition
	// vanish takes away what is shown, where nothing takes its place.
	vanish bool
	// clean takes everything back.
	clean bool
}

func (d *desired) conditions() []metav1.Condition {
	var all []metav1.Condition
	for _, c := range []*metav1.Condition{d.allocated, d.announced} {
		if c != nil {
			all = append(all, *c)
		}
	}
	return all
}

// content is all that is wanted, in one line, without when and without what is
// only said about writing itself.
func (d *desired) content(note string) string {
	said := func(c *metav1.Condition) string {
		if c == nil {
			return ""
		}
		return string(c.Status) + c.Reason + strings.TrimSuffix(c.Message, note)
	}
	return fmt.Sprintln(d.addresses, d.pool, d.unannounced, d.vanish, d.clean, said(d.allocated), said(d.announced))
}

// written is the memory of what was last written to a Service. Whatever undoes
// it, be it admission, an operator or another provider, is not answered at once
// indefinitely: each repetition waits twice as long as the one before.
type written struct {
	content string
	at      time.Time
	// again counts the times that the same had to be written again.
	again int
	// note is what the condition says about it, once it is worth saying.
	note string
}

const (
	// rememberFor is how long a write is remembered.
	rememberFor = 10 * time.Minute
	// undoneOften is how many repetitions the condition speaks of.
	undoneOften = 3
)

// add notes a write that succeeded; it reports whether it repeats the last.
func (w *written) add(content string, now time.Time) bool {
	if w.content != content || now.Sub(w.at) > rememberFor {
		*w = written{content: content, at: now}
		return false
	}
	w.again++
	w.at = now
	return true
}

// until is when that content may be written.
func (w *written) until(content string) time.Time {
	if w.content != content {
		return time.Time{}
	}
	return w.at.Add(queue.BackOff(w.again))
}

// forget forgets what is long past.
func (w *written) forget(now time.Time) {
	if w.content != "" && now.Sub(w.at) > rememberFor {
		*w = written{}
	}
}

// byAge orders records: the oldest Service first, then by key.
func byAge(a, b *record) int {
	return cmp.Or(a.object.CreationTimestamp.Compare(b.object.CreationTimestamp.Time), cmp.Compare(a.key, b.key))
}

// older reports whether a is an earlier state of the object than b, as far as
// their versions can be compared.
func older(a, b metav1.Object) bool {
	order, err := resourceversion.CompareResourceVersion(a.GetResourceVersion(), b.GetResourceVersion())
	return err == nil && order < 0
}

// sameCondition compares what conditions say, not since when.
func sameCondition(a, b *metav1.Condition) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Status == b.Status && a.Reason == b.Reason && a.Message == b.Message && a.ObservedGeneration == b.ObservedGeneration
}

// noteGiven keeps in mind which of a Service's addresses are new to it: it neither
// had nor showed them.
func (rec *record) noteGiven(before, given []netip.Addr) {
	var unannounced []netip.Addr
	for _, a := range given {
		if slices.Contains(rec.unannounced, a) || !slices.Contains(before, a) && !slices.Contains(rec.object.shown, a) {
			unannounced = append(unannounced, a)
		}
	}
	rec.unannounced = unannounced
}

// stillUnannounced are the addresses that no node has announced, given what is said
// of them now. Once one has, that is never forgotten.
func (rec *record) stillUnannounced(announced *metav1.Condition) []netip.Addr {
	if announced != nil && announced.Status == metav1.ConditionTrue {
		rec.unannounced = nil
	}
	return rec.unannounced
}
