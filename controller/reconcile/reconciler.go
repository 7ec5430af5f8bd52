package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/ipam"
	"github.com/baliza-lb/baliza/controller/queue"
)

// Cluster is what the loop sees of Services and namespaces. The objects are
// shared and never changed.
type Cluster interface {
	// Service returns the cached Service, or nil.
	Service(namespace, name string) *corev1.Service
	// ReadServices reads all Services past every cache.
	ReadServices(ctx context.Context) ([]*corev1.Service, error)
	// NamespaceLabels returns nil for an unknown namespace.
	NamespaceLabels(name string) labels.Set
}

// Configuration is what the loop sees of the operator's objects and of the
// speakers' reports.
type Configuration interface {
	Pools() []*v1beta1.IPAddressPool
	L2Advertisements() []*v1beta1.L2Advertisement
	BGP() kube.BGPObjects
	Speakers() []*v1beta1.Speaker
	// InUse are the addresses that the cluster itself has.
	InUse() []kube.InUse
}

// Writer writes Services; *kube.Services is one.
type Writer interface {
	Write(ctx context.Context, w kube.ServiceWrite) (*corev1.Service, error)
	// Get reads past every cache; nil when there is no such Service.
	Get(ctx context.Context, namespace, name string) (*corev1.Service, error)
}

// StatusWriter writes the status of the operator's objects.
type StatusWriter interface {
	ApplyPool(ctx context.Context, name string, status v1beta1.IPAddressPoolStatus) error
	ApplyL2Advertisement(ctx context.Context, name string, status v1beta1.L2AdvertisementStatus) error
	ApplyBGP(ctx context.Context, object metav1.Object, conditions []metav1.Condition) error
}

// Recorder records events.
type Recorder interface {
	ServiceEvent(svc *corev1.Service, warning bool, reason v1beta1.Reason, action, note string)
}

// Dependencies of a Reconciler; all but Watchdog must be set.
type Dependencies struct {
	Cluster       Cluster
	Configuration Configuration
	Writer        Writer
	StatusWriter  StatusWriter
	Recorder      Recorder
	Metrics       *Metrics
	Log           *slog.Logger
	// Leading is asked before each write: false forbids it.
	Leading func() bool
	// Now is the clock.
	Now func() time.Time
	// Watchdog, if set, is told that the loop turns. While it runs, a turn comes
	// several times a second, whether or not the API server answers.
	Watchdog Watchdog
}

// Watchdog watches the loop.
type Watchdog interface {
	Kick()
	Stop()
}

// Options of a Reconciler.
type Options struct {
	// ServeClassless serves Services that name no loadBalancerClass.
	ServeClassless bool
	// Classes are the loadBalancerClasses that are always served; none means
	// v1beta1.LoadBalancerClass.
	Classes []string
	// Namespace of Baliza itself, where the Secrets of BGPPeers are.
	Namespace string
	// Parallel writes at once; 0 means 64.
	Parallel int
	// Settle is how long a pass waits for more changes after the first; 0
	// means 20 ms.
	Settle time.Duration
}

const (
	defaultParallel = 64
	defaultSettle   = 20 * time.Millisecond
	// tickEvery is the grain of retries, statuses and folded reports.
	tickEvery = 250 * time.Millisecond
	// fullEvery is how often every Service is looked at again without cause.
	fullEvery = 10 * time.Minute
	// probeEvery is how often one Service is read past the cache.
	probeEvery = time.Minute
	// catchUp is how long the caches may lag behind the first full read.
	catchUp = 30 * time.Second
)

// Reconciler is the loop. Use [New], then call Run once.
type Reconciler struct {
	Dependencies
	options Options
	inbox   *inbox

	books    *ipam.IPAM
	snapshot *config.Snapshot
	problems []config.Problem
	objects  config.Objects

	records map[string]*record
	pending waitList
	// woken is the generation of the books at which the pending were asked.
	woken uint64

	queue   *queue.Queue
	results chan result

	statuses statuses
	reports  reports
	untold   untold
	// quarantines are the addresses that other hosts have, and suspected since
	// when it is said of others.
	quarantines map[netip.Addr]*quarantine
	suspected   map[netip.Addr]time.Time
	// fullAt and probeAt are when to look again without cause.
	fullAt, probeAt time.Time
}

// New makes a Reconciler.
func New(deps Dependencies, options Options) *Reconciler {
	if options.Parallel == 0 {
		options.Parallel = defaultParallel
	}
	if options.Settle == 0 {
		options.Settle = defaultSettle
	}
	empty, _ := config.Build(config.Objects{})
	return &Reconciler{
		Dependencies: deps, options: options, inbox: newInbox(),
		books: ipam.New(), snapshot: empty,
		records: make(map[string]*record), pending: newWaitList(),
		queue: queue.New(options.Parallel), results: make(chan result, options.Parallel),
		untold: untold{last: make(map[string]event)}, statuses: statuses{known: make(map[types.UID]*writtenStatus)},
		quarantines: make(map[netip.Addr]*quarantine),
	}
}

// Changed tells the loop that an object of that kind changed. It returns at
// once and may be called from any goroutine, also before Run.
func (r *Reconciler) Changed(kind kube.Kind, key string) { r.inbox.add(kind, key) }

// Run adopts what the cluster shows and then keeps it as it should be, until
// the context ends. The caches must have been filled. It returns an error
// only when the first reading fails, or when the API server goes back in time.
func (r *Reconciler) Run(ctx context.Context) error {
	defer r.drain()
	r.inbox.open()
	if err := r.begin(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("initial sync: %w", err)
	}
	r.Metrics.leader.Set(1)
	defer r.Metrics.leader.Set(0)

	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	kick, stop := r.watchdog()
	defer stop()
	var settled <-chan time.Time
	for {
		kick()
		if settled == nil && r.books.Generation() != r.woken && r.pending.len() > 0 {
			settled = time.After(r.options.Settle)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.inbox.wake:
			if settled == nil {
				settled = time.After(r.options.Settle)
			}
		case <-settled:
			settled = nil
			r.pass(ctx, r.inbox.take())
		case done := <-r.results:
			if err := r.finish(done); err != nil {
				return err
			}
			r.dispatch(ctx)
		case <-tick.C:
			r.tick(ctx)
		}
	}
}

// watchdog returns what tells the watchdog that the loop turns, and that it ends.
func (r *Reconciler) watchdog() (kick, stop func()) {
	if r.Watchdog == nil {
		return func() {}, func() {}
	}
	return r.Watchdog.Kick, r.Watchdog.Stop
}

// drain waits for the writes in flight, whose context has ended.
func (r *Reconciler) drain() {
	for r.queue.InFlightCount() > 0 {
		r.queue.Done((<-r.results).key)
	}
	r.statuses.wait()
}

// begin reads everything, adopts all that is shown and decides for all.
func (r *Reconciler) begin(ctx context.Context) error {
	started := r.Now()
	services, err := r.Cluster.ReadServices(ctx)
	if err != nil {
		return err
	}
	if services, err = r.awaitCaches(ctx, services); err != nil {
		return err
	}
	r.configure()
	r.resumeQuarantines(r.objects.Pools)
	fresh := make([]*record, 0, len(services))
	for _, svc := range services {
		fresh = append(fresh, r.admit(svc))
	}
	r.takeIn(fresh, nil)
	r.fullAt, r.probeAt = r.Now().Add(fullEvery), r.Now().Add(probeEvery)
	r.Metrics.duration.Observe(r.Now().Sub(started).Seconds())
	r.Log.Info("initial sync complete", "services", len(services), "pools", len(r.snapshot.Pools),
		"pending", r.pending.len(), "writes", r.queue.Len(), "took", r.Now().Sub(started))
	// Reports that changed while nobody led were news to nobody.
	r.statuses.changed, r.reports.changed = true, true
	r.dispatch(ctx)
	r.writeStatuses(ctx)
	return nil
}

// awaitCaches waits until the caches show every Service at least as new as it
// was read, so that a late event cannot take the loop back in time. It returns
// the Services that still exist, from the caches where they are as new.
func (r *Reconciler) awaitCaches(ctx context.Context, read []*corev1.Service) ([]*corev1.Service, error) {
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	var current []*corev1.Service
	behind := read
	for round := 0; ; round++ {
		var still []*corev1.Service
		for _, svc := range behind {
			switch cached := r.Cluster.Service(svc.Namespace, svc.Name); {
			case cached != nil && !older(cached, svc):
				if err := r.fromTheFuture(ctx, svc, cached); err != nil {
					return nil, err
				}
				current = append(current, cached)
			default:
				still = append(still, svc)
			}
		}
		if behind = still; len(behind) == 0 {
			return current, nil
		}
		if round > 0 && round%20 == 0 {
			if behind = r.existing(ctx, behind); len(behind) == 0 {
				return current, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d Services are newer in the API server than in the cache after %s: %w", len(behind), catchUp, ctx.Err())
		case <-time.After(defaultSettle):
		}
	}
}

// fromTheFuture returns an error if the cache has a state that the API server
// does not have yet. That the cache is newer than what was read a moment before
// is no proof: what is read now must be as new.
func (r *Reconciler) fromTheFuture(ctx context.Context, read, cached *corev1.Service) error {
	if !older(read, cached) {
		return nil
	}
	live, err := r.Writer.Get(ctx, cached.Namespace, cached.Name)
	if err == nil && live != nil && live.UID == cached.UID && older(live, cached) {
		return timeRanBackwards(cached, live)
	}
	return err
}

// existing leaves out the Services that are gone.
func (r *Reconciler) existing(ctx context.Context, services []*corev1.Service) []*corev1.Service {
	var left []*corev1.Service
	for _, svc := range services {
		live, err := r.Writer.Get(ctx, svc.Namespace, svc.Name)
		if err != nil || live != nil && live.UID == svc.UID {
			left = append(left, svc)
		}
	}
	return left
}
