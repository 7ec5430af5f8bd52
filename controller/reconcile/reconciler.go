package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/ipam"
	"github.com/baliza-lb/baliza/controller/quarantine"
	"github.com/baliza-lb/baliza/controller/queue"
	"github.com/baliza-lb/baliza/controller/status"
)

// Cluster is what the loop sees of Services and namespaces. The objects are
// shared and never changed.
type Cluster interface {
	// Service returns the cached Service, or nil.
	Service(namespace, name string) *corev1.Service
	// ReadServices reads all Services past every cache.
	ReadServices(ctx context.Context) ([]*corev1.Service, error)
	// ReadPools reads all pools past every cache.
	ReadPools(ctx context.Context) ([]*v1beta1.IPAddressPool, error)
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
	// ReadySpeakers is how many pods of the speakers are ready, if that is known.
	ReadySpeakers() (ready int, known bool)
	// InUse are the addresses that the cluster itself has.
	InUse() []kube.InUse
}

// Writer writes Services; *kube.Services is one.
type Writer interface {
	Write(ctx context.Context, w kube.ServiceWrite) (*corev1.Service, error)
	// Get reads past every cache; nil when there is no such Service.
	Get(ctx context.Context, namespace, name string) (*corev1.Service, error)
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
	StatusWriter  status.API
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
	// WithoutProgress leaves the conditions Stalled and Reconciling of Services out.
	WithoutProgress bool
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
)

// Reconciler is the loop. Use [New], then call Run once.
type Reconciler struct {
	Dependencies
	options Options
	inbox   *inbox

	allocator *ipam.IPAM
	snapshot  *config.Snapshot
	problems  []config.Problem
	objects   config.Objects

	records map[string]*record
	pending waitList
	// woken is the generation of the allocator at which the pending were asked.
	woken uint64

	queue   *queue.Queue
	results chan result

	statuses   *status.Writer
	announced  announced
	events     waitingEvents
	quarantine *quarantine.List
	// resting is what rests, as of the last tick.
	resting atomic.Pointer[[]netip.Addr]
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
		allocator: ipam.New(), snapshot: empty,
		records: make(map[string]*record), pending: newWaitList(),
		queue: queue.New(options.Parallel), results: make(chan result, options.Parallel),
		statuses: status.New(deps.StatusWriter, deps.Leading, deps.Metrics.statusFailures, deps.Log),
		events:   waitingEvents{last: make(map[string]event)}, quarantine: quarantine.New(),
	}
}

// Changed tells the loop that an object of that kind changed. It returns at
// once and may be called from any goroutine, also before Run.
func (r *Reconciler) Changed(kind kube.Kind, key string) { r.inbox.add(kind, key) }

// mostResting is how many addresses that rest are named to whoever asks.
const mostResting = 1024

// Resting are the addresses that were given up a moment ago and rest, the first 1,024. It
// may be called from any goroutine; a replica that does not lead knows of none.
func (r *Reconciler) Resting() []netip.Addr {
	if known := r.resting.Load(); known != nil {
		return *known
	}
	return nil
}

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
		if settled == nil && r.allocator.Generation() != r.woken && r.pending.len() > 0 {
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
	r.statuses.Wait()
}

// writeStatuses writes what is to be said in the status of the operator's objects.
func (r *Reconciler) writeStatuses(ctx context.Context) {
	r.statuses.Write(ctx, r.statusView(), r.Now())
}

// statusView is what is to be said there.
func (r *Reconciler) statusView() status.View {
	return status.View{
		Objects: &r.objects, Problems: r.problems,
		Counters: func(pool string) ipam.Counters {
			c := r.allocator.Counters(pool)
			r.Metrics.pool(pool, c)
			return c
		},
		Quarantined: func(pool string) []v1beta1.QuarantinedAddress { return r.quarantine.Of(r.snapshot, pool) },
	}
}
