package status

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

const (
	// Every is how often the status of one object is written at most. The first
	// change in that time is written at once.
	Every = time.Second
	// settles is how long the cache may take to show what was written. After that
	// it counts: a request that had timed out can still arrive. While that does not
	// help the time doubles, up to some minutes.
	settles       = 5 * time.Second
	mostDoublings = 6
	// timeout bounds one request.
	timeout = 15 * time.Second
)

// API writes the status of the operator's objects.
type API interface {
	ApplyPool(ctx context.Context, name string, status v1beta1.IPAddressPoolStatus) error
	ApplyL2Advertisement(ctx context.Context, name string, status v1beta1.L2AdvertisementStatus) error
	ApplyBGP(ctx context.Context, object metav1.Object, observedGeneration int64, conditions []metav1.Condition) error
}

// Writer writes the statuses. Use [New].
type Writer struct {
	api      API
	leading  func() bool
	failures prometheus.Counter
	log      *slog.Logger

	// changed says that something else may be to be said, and due when something
	// is to be written that had to wait; zero is never.
	changed bool
	due     time.Time
	// known is what was last written, by the object's identity.
	known map[types.UID]*written
	// busy receives, from the goroutine that writes, what failed.
	busy chan []failure
}

// written is what is known of one object's status.
type written struct {
	// status as last written, or as first observed, and the conditions in it.
	status     any
	conditions []metav1.Condition
	at         time.Time
	// unsure says that the write failed: it may have arrived all the same.
	// failures counts how often that was so, one time after the other, and
	// failure is the error that was logged last.
	unsure   bool
	failures int
	failure  string
	// again counts writes after which the object was seen to say otherwise.
	again int
}

// write is one write to come, about the object of a kind and name.
type write struct {
	uid    types.UID
	object string
	do     func(context.Context) error
}

// failure is a write that failed, and why.
type failure struct {
	write
	err error
}

// errNotLeading says that a write was held back.
var errNotLeading = errors.New("not leading")

// New makes a Writer. It asks leading before each write, and counts failures.
func New(api API, leading func() bool, failures prometheus.Counter, log *slog.Logger) *Writer {
	return &Writer{api: api, leading: leading, failures: failures, log: log, known: make(map[types.UID]*written)}
}

// Changed says that something else may be to be said.
func (w *Writer) Changed() { w.changed = true }

// Wait returns when no request is under way.
func (w *Writer) Wait() {
	if w.busy != nil {
		<-w.busy
	}
}

// Write writes what differs, one batch at a time, beside the caller. It is to be
// called again and again.
func (w *Writer) Write(ctx context.Context, view View, now time.Time) {
	if w.busy != nil {
		select {
		case failed := <-w.busy:
			w.busy = nil
			for _, one := range failed {
				w.failed(one)
			}
		default:
			return
		}
	}
	isDue := !w.due.IsZero() && !now.Before(w.due)
	if !w.changed && !isDue || ctx.Err() != nil {
		return
	}
	w.changed, w.due = false, time.Time{}
	writes := w.compare(view, now)
	if len(writes) == 0 {
		return
	}
	w.busy = make(chan []failure, 1)
	go func(busy chan<- []failure) {
		var failed []failure
		for _, one := range writes {
			bounded, cancel := context.WithTimeout(ctx, timeout)
			err := errNotLeading
			if w.leading() {
				err = one.do(bounded)
			}
			cancel()
			if err != nil {
				failed = append(failed, failure{one, err})
			}
		}
		busy <- failed
	}(w.busy)
}

// failed has a write repeated, and says so once for each object and error: a custom
// resource definition that is older than the program refuses every write, for one.
func (w *Writer) failed(one failure) {
	k := w.known[one.uid]
	if k == nil {
		return
	}
	k.unsure, w.changed = true, true
	if errors.Is(one.err, errNotLeading) || errors.Is(one.err, context.Canceled) {
		return
	}
	k.failures++
	w.failures.Inc()
	if text := one.err.Error(); k.failure != text {
		k.failure = text
		w.log.Warn("the status of an object cannot be written; trying again ever more slowly", "object", one.object, "error", one.err)
	}
}

// needs reports whether a status is to be written now, and notes that it is; else
// it notes when it will be due.
func (w *Writer) needs(now time.Time, uid types.UID, observed, status any) bool {
	k := w.known[uid]
	if k == nil {
		k = &written{status: observed}
		w.known[uid] = k
	}
	contradicted := !equality.Semantic.DeepEqual(observed, status)
	if !contradicted {
		k.again = 0
		if !k.unsure {
			k.failures, k.failure = 0, ""
		}
	}
	changed := k.unsure || !equality.Semantic.DeepEqual(k.status, status)
	wait := Every
	switch {
	case k.unsure:
		wait <<= min(k.failures, mostDoublings)
	case changed:
	case contradicted:
		wait = settles << min(k.again, mostDoublings)
	default:
		return false
	}
	if at := k.at.Add(wait); now.Before(at) {
		if w.due.IsZero() || at.Before(w.due) {
			w.due = at
		}
		return false
	}
	if !changed {
		k.again++
	}
	k.status, k.at, k.unsure = status, now, false
	return true
}

// conditionsOf are those last written of an object, or observed if nothing was.
func (w *Writer) conditionsOf(object metav1.Object, observed []metav1.Condition) []metav1.Condition {
	if k := w.known[object.GetUID()]; k != nil && k.conditions != nil {
		return k.conditions
	}
	return observed
}

// compare compares what is to be said of each object with what is.
func (w *Writer) compare(view View, now time.Time) []write {
	exist := make(map[types.UID]bool, len(w.known))
	var writes []write
	add := func(kind string, object metav1.Object, conditions []metav1.Condition, observed, status any, do func(context.Context) error) {
		uid := object.GetUID()
		exist[uid] = true
		if w.needs(now, uid, observed, status) {
			w.known[uid].conditions = conditions
			writes = append(writes, write{uid, kind + " " + object.GetName(), do})
		}
	}
	for _, o := range view.Objects.Pools {
		status := view.Pool(o, w.conditionsOf(o, o.Status.Conditions), now)
		add(config.KindPool, o, status.Conditions, o.Status, status, func(ctx context.Context) error {
			return w.api.ApplyPool(ctx, o.Name, status)
		})
	}
	conditions := func(kind string, o metav1.Object, observed []metav1.Condition) []metav1.Condition {
		return view.conditions(kind, o, w.conditionsOf(o, observed), v1beta1.ReasonValid, now)
	}
	for _, o := range view.Objects.L2Advertisements {
		status := v1beta1.L2AdvertisementStatus{
			ObservedGeneration: o.Generation, Conditions: conditions(config.KindL2Advertisement, o, o.Status.Conditions),
		}
		add(config.KindL2Advertisement, o, status.Conditions, o.Status, status, func(ctx context.Context) error {
			return w.api.ApplyL2Advertisement(ctx, o.Name, status)
		})
	}
	eachBGP(&view.Objects.BGP, func(kind string, o metav1.Object, observed summary) {
		now := summary{o.GetGeneration(), conditions(kind, o, observed.Conditions)}
		add(kind, o, now.Conditions, observed, now, func(ctx context.Context) error {
			return w.api.ApplyBGP(ctx, o, now.ObservedGeneration, now.Conditions)
		})
	})
	maps.DeleteFunc(w.known, func(uid types.UID, _ *written) bool { return !exist[uid] })
	return writes
}

// summary is all of the status that objects about BGP have. It is compared as their
// types are, which unexported fields would not be.
type summary struct {
	ObservedGeneration int64
	Conditions         []metav1.Condition
}

// eachBGP calls f for every object about BGP.
func eachBGP(objects *config.BGPObjects, f func(kind string, object metav1.Object, observed summary)) {
	for _, o := range objects.Peers {
		f(config.KindBGPPeer, o, summary{o.Status.ObservedGeneration, o.Status.Conditions})
	}
	for _, o := range objects.Advertisements {
		f(config.KindBGPAdvertisement, o, summary{o.Status.ObservedGeneration, o.Status.Conditions})
	}
	for _, o := range objects.BFDProfiles {
		f(config.KindBFDProfile, o, summary{o.Status.ObservedGeneration, o.Status.Conditions})
	}
	for _, o := range objects.Communities {
		f(config.KindCommunity, o, summary{o.Status.ObservedGeneration, o.Status.Conditions})
	}
}
