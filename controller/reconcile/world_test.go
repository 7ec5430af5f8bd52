package reconcile

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// A world is a cluster in which everything happens in a random order: what
// users do, when the watch delivers it, when the loop takes it in, what becomes
// of each request, and which controller is alive. It is turned by hand, under
// the clock of testing/synctest, so that a seed always gives the same story.

// dice decides what happens next.
type dice interface{ IntN(n int) int }

// chances are which kinds of things happen in a world.
type chances struct {
	// faults makes requests fail, with or without effect.
	faults bool
	// crashes ends controllers, and late lets their last writes arrive after.
	crashes, late bool
	// others write to the status of Services, too.
	others bool
}

// request is one of the controller's that waits for what becomes of it.
type request struct {
	life  int
	key   string
	since time.Time
	fate  chan string
}

type world struct {
	t     *testing.T
	dice  dice
	may   chances
	api   *apiServer
	cache *lagging
	conf  *static
	audit *auditor

	mu   sync.Mutex
	open []*request

	// loop is the controller that is alive, the life-th.
	loop *Reconciler
	life int
	// ended is why the loop gave up.
	ended error
	ctx   context.Context
	end   context.CancelFunc
	log   []string
	// logged is what the controller logged, metrics what it counted.
	logged  bytes.Buffer
	metrics *prometheus.Registry
	// statuses takes what is said of pools.
	statuses noStatus
}

var (
	worlds     = flag.Uint64("worlds", 500, "random worlds of each kind")
	firstWorld = flag.Uint64("first-world", 0, "the first of them")
)

const worldServices = 4

// namedAddress is the one of the pool that must be named.
const namedAddress = "198.51.100.10"

// worldPool are the addresses of the pool that serves all.
func worldPool() []string { return []string{"192.0.2.10", "192.0.2.11"} }

// lagging is a cache that shows the Services as they were some events ago.
type lagging struct {
	mu     sync.Mutex
	api    *apiServer
	conf   *static
	items  map[string]*corev1.Service
	events []watchEvent
}

// watchEvent is a state that the watch has yet to deliver; nil is gone.
type watchEvent struct {
	key string
	svc *corev1.Service
}

func (c *lagging) Service(namespace, name string) *corev1.Service {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.items[namespace+"/"+name]
}

func (c *lagging) ReadServices(context.Context) ([]*corev1.Service, error) { return c.api.list(), nil }

func (c *lagging) ReadPools(context.Context) ([]*v1beta1.IPAddressPool, error) {
	c.conf.mu.Lock()
	defer c.conf.mu.Unlock()
	if c.conf.live != nil {
		return c.conf.live, nil
	}
	return c.conf.pools, nil
}

func (c *lagging) NamespaceLabels(string) labels.Set { return labels.Set{} }

// note has the watch deliver a state some time.
func (c *lagging) note(_ string, before, after *corev1.Service) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if after == nil {
		c.events = append(c.events, watchEvent{key: config.ServiceKey(before)})
		return
	}
	c.events = append(c.events, watchEvent{config.ServiceKey(after), after})
}

// deliver delivers up to n events and returns their keys.
func (c *lagging) deliver(n int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []string
	for ; n > 0 && len(c.events) > 0; n-- {
		e := c.events[0]
		c.events = c.events[1:]
		if e.svc == nil {
			delete(c.items, e.key)
		} else {
			c.items[e.key] = e.svc
		}
		keys = append(keys, e.key)
	}
	return keys
}

// static is a configuration that stays.
type static struct {
	mu sync.Mutex
	// live are the pools that the cache has yet to show; nil where it shows all.
	pools, live []*v1beta1.IPAddressPool
	speakers    []*v1beta1.Speaker
	// noneReady says that no speaker's pod is ready; else that is not known.
	noneReady bool
	inUse     []kube.InUse
}

func (s *static) Pools() []*v1beta1.IPAddressPool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pools)
}

func (s *static) L2Advertisements() []*v1beta1.L2Advertisement { return nil }
func (s *static) BGP() kube.BGPObjects                         { return kube.BGPObjects{} }

func (s *static) InUse() []kube.InUse {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.inUse)
}

func (s *static) ReadySpeakers() (ready int, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return 0, s.noneReady
}

func (s *static) Speakers() []*v1beta1.Speaker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.speakers)
}

// noStatus takes every status of pools and advertisements, or refuses it.
type noStatus struct {
	refuses error
	// pools counts the requests about pools.
	pools int
}

func (n *noStatus) ApplyPool(context.Context, string, v1beta1.IPAddressPoolStatus) error {
	n.pools++
	return n.refuses
}

func (n *noStatus) ApplyL2Advertisement(context.Context, string, v1beta1.L2AdvertisementStatus) error {
	return n.refuses
}

func (n *noStatus) ApplyBGP(context.Context, metav1.Object, int64, []metav1.Condition) error {
	return n.refuses
}

// poolNamed makes a pool; later ones are younger.
func poolNamed(name string, age int64, change func(*v1beta1.IPAddressPoolSpec), ranges ...string) *v1beta1.IPAddressPool {
	p := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: types.UID("pool-" + name), Generation: 1, CreationTimestamp: metav1.NewTime(time.Unix(age, 0)),
	}}
	for _, r := range ranges {
		p.Spec.Addresses = append(p.Spec.Addresses, v1beta1.AddressRange(r))
	}
	if change != nil {
		change(&p.Spec)
	}
	return p
}

func noRest(s *v1beta1.IPAddressPoolSpec) { s.ReuseDelay = &metav1.Duration{} }

func namedOnly(s *v1beta1.IPAddressPoolSpec) {
	noRest(s)
	s.AutoAssign = new(bool)
}

// gate is the Writer of one controller: each request waits for its fate.
type gate struct {
	w    *world
	life int
	real *kube.Services
}

var errTimeout = errors.New("the request timed out")

func (g gate) Write(ctx context.Context, write kube.ServiceWrite) (*corev1.Service, error) {
	switch g.w.await(g.life, config.ServiceKey(write.Before)) {
	case "fails":
		return nil, errTimeout
	case "lost":
		_, _ = g.real.Write(ctx, write)
		return nil, errTimeout
	}
	return g.real.Write(ctx, write)
}

func (g gate) Get(ctx context.Context, namespace, name string) (*corev1.Service, error) {
	if g.w.await(g.life, namespace+"/"+name) != "ok" {
		return nil, errTimeout
	}
	return g.real.Get(ctx, namespace, name)
}

func (w *world) await(life int, key string) string {
	one := &request{life: life, key: key, since: time.Now(), fate: make(chan string)}
	w.mu.Lock()
	w.open = append(w.open, one)
	w.mu.Unlock()
	return <-one.fate
}

func (w *world) say(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

// worldPools are the pools of a random world: one for all, and one that must be
// named.
func worldPools() []*v1beta1.IPAddressPool {
	return []*v1beta1.IPAddressPool{
		poolNamed("lan", 1, noRest, worldPool()[0]+"-"+worldPool()[1]), poolNamed("dmz", 2, namedOnly, namedAddress+"-"+namedAddress),
	}
}

func newWorld(t *testing.T, d dice, may chances, pools ...*v1beta1.IPAddressPool) *world {
	t.Helper()
	w := &world{t: t, dice: d, may: may, api: newAPIServer(), audit: newAuditor(), conf: &static{pools: pools}}
	w.audit.late = may.late
	w.cache = &lagging{api: w.api, conf: w.conf, items: make(map[string]*corev1.Service)}
	w.api.changed = func(by string, before, after *corev1.Service) {
		w.audit.changed(by, before, after)
		w.cache.note(by, before, after)
		w.say("    %s wrote %s", by, describe(before, after))
	}
	w.start()
	return w
}

func describe(before, after *corev1.Service) string {
	if after == nil {
		return before.Name + ": gone"
	}
	said := ""
	if c := conditionOf(after, v1beta1.ConditionAllocated); c != nil {
		said = c.Reason + ": " + c.Message
	}
	return fmt.Sprintf("%s: %s version %s %s port %d shows %v deleted %t %v %v %q", after.Name, after.UID, after.ResourceVersion, after.Spec.Type,
		after.Spec.Ports[0].Port, ingress(after), after.DeletionTimestamp != nil, after.Annotations, after.Finalizers, said)
}

// start brings another controller to life, with caches that are up to date.
func (w *world) start() {
	w.life++
	w.say("controller %d starts", w.life)
	w.ctx, w.end = context.WithCancel(context.Background())
	w.cache.deliver(len(w.cache.events))
	w.metrics = prometheus.NewRegistry()
	w.loop = New(Dependencies{
		Cluster: w.cache, Configuration: w.conf,
		Writer:       gate{w, w.life, kube.NewServices(w.api.clients(), config.ServiceAnnotations())},
		StatusWriter: &w.statuses, Recorder: &events{}, Metrics: NewMetrics(w.metrics),
		Log: slog.New(slog.NewTextHandler(&w.logged, &slog.HandlerOptions{Level: slog.LevelWarn})), Leading: func() bool { return true }, Now: time.Now,
	}, Options{ServeClassless: true, Parallel: 8})
	w.loop.inbox.open()
	w.ended = w.loop.begin(w.ctx)
	synctest.Wait()
}

// crash ends the controller. Its requests fail, unless they may arrive late.
func (w *world) crash() {
	w.say("controller %d crashes", w.life)
	w.end()
	if !w.may.late {
		w.failAll()
	}
	w.start()
}

// failAll ends all requests without effect.
func (w *world) failAll() {
	for len(w.open) > 0 {
		w.decideFate(0, "fails")
	}
}

// decideFate ends the i-th request.
func (w *world) decideFate(i int, fate string) {
	w.mu.Lock()
	one := w.open[i]
	w.open = slices.Delete(w.open, i, i+1)
	w.mu.Unlock()
	w.say("  a request of controller %d about %s: %s", one.life, one.key, fate)
	one.fate <- fate
	synctest.Wait()
}

func (w *world) deliver(n int) {
	for _, key := range w.cache.deliver(n) {
		w.say("  the watch delivers %s", key)
		w.loop.Changed(kube.KindService, key)
	}
}

func (w *world) pass() {
	w.say("  pass")
	select {
	case <-w.loop.inbox.wake:
	default:
	}
	w.loop.pass(w.ctx, w.loop.inbox.take())
	synctest.Wait()
}

// finish takes in what came of requests.
func (w *world) finish() {
	for len(w.loop.results) > 0 {
		if err := w.loop.finish(<-w.loop.results); err != nil {
			w.say("the loop ends: %v", err)
			w.ended = err
			return
		}
		w.loop.dispatch(w.ctx)
		synctest.Wait()
	}
}

func (w *world) wait(d time.Duration) {
	time.Sleep(d)
	w.loop.tick(w.ctx)
	synctest.Wait()
}

// cloudFinalizer is the one of cloud providers.
const cloudFinalizer = "service.kubernetes.io/load-balancer-cleanup"

// foreign makes a Service carry what belongs to others.
func foreign(svc *corev1.Service) {
	svc.Finalizers = append(svc.Finalizers, "example.com/keep", cloudFinalizer)
	annotate("example.com/note", "x")(svc)
	svc.Status.Conditions = append(svc.Status.Conditions, metav1.Condition{Type: "example.com/Good", Status: metav1.ConditionTrue, Reason: "Fine"})
}

// user has the user of a Service do something.
func (w *world) user() {
	key := fmt.Sprintf("default/s%d", w.dice.IntN(worldServices))
	live := w.api.live(key)
	if live == nil {
		w.say("the user makes %s", key)
		w.api.create(key, func(s *corev1.Service) {
			if w.dice.IntN(3) == 0 {
				annotate(v1beta1.AnnotationSharingKey, "k")(s)
				s.Spec.Ports[0].Port = int32(80 + w.dice.IntN(2))
			}
			if w.dice.IntN(4) == 0 {
				foreign(s)
			}
		})
		return
	}
	if live.DeletionTimestamp != nil {
		w.say("whoever else holds %s lets it go", key)
		w.api.edit(key, "other", func(s *corev1.Service) {
			s.Finalizers = slices.DeleteFunc(s.Finalizers, func(f string) bool { return f == "example.com/keep" || f == cloudFinalizer })
		})
		return
	}
	what := w.dice.IntN(8)
	w.say("the user does %d to %s", what, key)
	if what < 3 {
		w.api.remove(key)
		return
	}
	w.api.edit(key, "kubectl", w.edit(what))
}

func (w *world) edit(what int) func(*corev1.Service) {
	one := func(of ...string) string { return of[w.dice.IntN(len(of))] }
	switch what {
	case 3:
		return func(s *corev1.Service) {
			if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
				s.Spec.Type = corev1.ServiceTypeClusterIP
			} else {
				s.Spec.Type = corev1.ServiceTypeLoadBalancer
			}
		}
	case 4:
		return annotate(v1beta1.AnnotationPool, one("lan", "dmz", ""))
	case 5:
		return annotate(v1beta1.AnnotationAddresses, one("192.0.2.10", "192.0.2.11", "198.51.100.10", ""))
	case 6:
		return annotate(v1beta1.AnnotationSharingKey, one("k", "l", ""))
	}
	return func(s *corev1.Service) { s.Spec.Ports[0].Port = int32(80 + w.dice.IntN(2)) }
}

// other has another program write to a Service's status or metadata.
func (w *world) other() {
	key := fmt.Sprintf("default/s%d", w.dice.IntN(worldServices))
	who := []string{"kube-vip", "kubectl-edit", "antrea-controller"}[w.dice.IntN(3)]
	w.say("%s writes %s", who, key)
	w.api.edit(key, who, []func(*corev1.Service){
		shownAs(), shownAs("203.0.113.9"), shownAs("192.0.2.10"), func(s *corev1.Service) { s.Annotations = nil },
		func(s *corev1.Service) { s.Finalizers = nil },
	}[w.dice.IntN(5)])
}

func (w *world) step() {
	switch k := w.dice.IntN(20); {
	case k < 3:
		w.user()
	case k < 8:
		w.deliver(1 + w.dice.IntN(2))
	case k < 12:
		w.pass()
	case k < 16 && len(w.open) > 0:
		fate := "ok"
		if w.may.faults {
			fate = []string{"ok", "ok", "ok", "fails", "lost"}[w.dice.IntN(5)]
		}
		w.decideFate(w.dice.IntN(len(w.open)), fate)
	case k < 18:
		w.finish()
	case k < 19:
		w.wait(300 * time.Millisecond)
	case w.may.crashes && w.dice.IntN(4) == 0:
		w.crash()
	case w.may.others:
		w.other()
	}
}

// rest lets everything happen that is to happen.
func (w *world) rest() bool {
	for range 400 {
		w.deliver(len(w.cache.events))
		w.pass()
		for len(w.open) > 0 {
			w.decideFate(0, "ok")
		}
		w.finish()
		w.wait(time.Second)
		if len(w.open) == 0 && len(w.cache.events) == 0 && w.idle() {
			return true
		}
	}
	return false
}

// phases says which records are about to do something of which the queue does not
// know: nobody would ever do it.
func (w *world) phases() {
	busy := 0
	for _, rec := range w.loop.records {
		if rec.phase.doing != idle {
			busy++
		}
		if (rec.phase.want != nil) != (rec.phase.doing == writing) {
			w.audit.say("%s is in phase %d and wants %v", rec.key, rec.phase.doing, rec.phase.want)
		}
	}
	if busy > w.loop.queue.Len() {
		w.audit.say("%d records are not idle, and %d keys are queued", busy, w.loop.queue.Len())
	}
}

// idle reports whether the loop has nothing more to do before something happens.
func (w *world) idle() bool {
	r := w.loop
	return r.queue.Idle() && len(r.results) == 0 && len(r.inbox.wake) == 0 &&
		(r.pending.len() == 0 || r.allocator.Generation() == r.woken)
}

// runWorld runs a world and returns what the auditor found wrong, and the story.
func runWorld(t *testing.T, d dice, may chances, steps int) (wrong, story []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, d, may, worldPools()...)
		for range steps {
			w.step()
			w.audit.twice(w.api.list(), false)
			w.phases()
			if len(w.audit.wrong) > 0 {
				break
			}
		}
		if len(w.audit.wrong) == 0 {
			before := w.audit.writes
			switch {
			case w.ended != nil:
				w.audit.say("the loop ended: %v", w.ended)
			case !w.rest():
				w.audit.say("it never comes to rest")
			case w.audit.writes-before > 20*worldServices:
				w.audit.say("%d writes before it came to rest", w.audit.writes-before)
			}
			w.audit.atRest(w.api.list(), worldPool())
			for key, rec := range w.loop.records {
				if w.ended == nil && rec.phase != (phase{}) {
					w.audit.say("%s is at rest in phase %d", key, rec.phase.doing)
				}
			}
			for _, rec := range w.loop.pending.all() { // those that were not woken had no reason to be
				reason, has := rec.reason, w.loop.allocator.Holding(rec.key)
				w.loop.decide(rec)
				if rec.reason != reason || !slices.Equal(w.loop.allocator.Holding(rec.key).Addresses, has.Addresses) {
					w.audit.say("%s was %s with %v, and can have %v", rec.key, reason, has, w.loop.allocator.Holding(rec.key))
				}
			}
		}
		w.end()
		w.failAll()
		wrong, story = w.audit.wrong, w.log
	})
	return wrong, story
}

// TestRandomWorlds holds the invariants of the auditor in worlds of each kind:
// among much else that a late DELETE frees nothing of a Service that was made
// anew (1), and that two controllers agree (5).
func TestRandomWorlds(t *testing.T) {
	t.Parallel()
	count := *worlds
	if testing.Short() {
		count = min(count, 40)
	}
	for name, may := range map[string]chances{
		"plain":   {},
		"faults":  {faults: true},
		"crashes": {faults: true, crashes: true},
		"late":    {faults: true, crashes: true, late: true},
		"others":  {faults: true, crashes: true, others: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range count {
				seed := *firstWorld + i
				wrong, story := runWorld(t, rand.New(rand.NewPCG(seed, 1)), may, 250)
				if len(wrong) > 0 {
					t.Fatalf("world %d: %s\n%s", seed, strings.Join(wrong, "; "), strings.Join(story[max(0, len(story)-50):], "\n"))
				}
			}
		})
	}
}

// bytesDice reads what happens from an input of the fuzzer; when it ends,
// nothing more happens.
type bytesDice struct{ left []byte }

func (d *bytesDice) IntN(n int) int {
	if len(d.left) == 0 {
		return 0
	}
	b := d.left[0]
	d.left = d.left[1:]
	return int(b) % n
}

// FuzzWorld looks for worlds that the auditor does not like.
func FuzzWorld(f *testing.F) {
	for seed := range uint64(4) {
		d := rand.New(rand.NewPCG(seed, 2))
		input := make([]byte, 400)
		for i := range input {
			input[i] = byte(d.IntN(256))
		}
		f.Add(byte(seed), input)
	}
	f.Fuzz(func(t *testing.T, kind byte, input []byte) {
		may := chances{faults: kind&1 > 0, crashes: kind&2 > 0, late: kind&6 == 6, others: kind&8 > 0}
		d := &bytesDice{input}
		wrong, story := runWorld(t, d, may, min(len(input)/2, 400))
		if len(wrong) > 0 {
			t.Errorf("%s\n%s", strings.Join(wrong, "; "), strings.Join(story, "\n"))
		}
	})
}
