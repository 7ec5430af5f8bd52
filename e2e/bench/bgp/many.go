package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/baliza-lb/baliza/e2e/bench/figures"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

const (
	crowdName = "bench-many"
	pause     = time.Second
)

// crowd is the many Services, and what was seen of them.
type crowd struct {
	*bench
	assigned atomic.Int64
	last     atomic.Pointer[time.Time] // when the last was assigned
	watches  sync.WaitGroup
	mu       sync.Mutex
	changed  map[string]time.Time // EndpointSlices, by resource version: when it was seen
}

// many announces thousands of routes from every node, withdraws and announces
// them again by the advertisement, and changes one at a time.
func (b *bench) many(ctx context.Context) error {
	if b.routes == 0 {
		return nil
	}
	c := &crowd{bench: b, changed: map[string]time.Time{}}
	if err := c.prepare(ctx); err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer c.watches.Wait()
	defer stop()
	c.follow(watching)
	sessions, err := c.sessions(ctx)
	if err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{c.create, c.allAtOnce, c.oneByOne} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	if now, err := c.sessions(ctx); err != nil || now != sessions {
		return errors.Join(err, fmt.Errorf("FRR saw %d sessions established, %d before: some were reset", now, sessions))
	}
	b.say("FRR saw no session end")
	return nil
}

// prepare takes the first Service away and BFD off: on a machine that runs a
// whole cluster on two cores a burst of work is no failure of the path. FRR
// ends the sessions for that, once.
func (c *crowd) prepare(ctx context.Context) error {
	if err := c.peer(ctx, map[string]any{"bfdProfile": nil}); err != nil {
		return err
	}
	time.Sleep(5 * pause)
	if _, err := c.Kubectl(ctx, "delete", "namespace", name); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "delete", "bgpadvertisement/"+name, "bpool/"+name); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "create", "namespace", crowdName); err != nil {
		return err
	}
	if err := c.Pool(ctx, crowdName, []string{"198.18.0.0/16"}, crowdName); err != nil {
		return err
	}
	if err := c.AdvertiseBGP(ctx, crowdName, nil, crowdName); err != nil {
		return err
	}
	return c.routesOfAll(ctx, 0)
}

// follow notes what the API server shows.
func (c *crowd) follow(ctx context.Context) {
	all := fields.Everything()
	services := cache.NewSharedInformer(
		cache.NewListWatchFromClient(c.Client.CoreV1().RESTClient(), "services", crowdName, all), &corev1.Service{}, 0)
	made, shown := 0, map[string]bool{}
	note := func(object any) {
		svc, ok := object.(*corev1.Service)
		if !ok || len(svc.Status.LoadBalancer.Ingress) == 0 || shown[svc.Name] {
			return
		}
		shown[svc.Name] = true
		now := time.Now()
		c.last.Store(&now)
		if n := c.assigned.Add(1); n%1000 == 0 {
			c.say("%d Services have an address", n)
		}
	}
	add := func(object any) {
		made++
		if made%1000 == 0 {
			c.say("%d Services are made", made)
		}
		note(object)
	}
	_, _ = services.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, after any) { note(after) }})
	endpoints := cache.NewSharedInformer(
		cache.NewListWatchFromClient(c.Client.DiscoveryV1().RESTClient(), "endpointslices", crowdName, all), &discoveryv1.EndpointSlice{}, 0)
	_, _ = endpoints.AddEventHandler(cache.ResourceEventHandlerFuncs{UpdateFunc: func(_, after any) {
		if slice, ok := after.(*discoveryv1.EndpointSlice); ok {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.changed[slice.ResourceVersion] = time.Now()
		}
	}})
	c.watches.Go(func() { services.Run(ctx.Done()) })
	c.watches.Go(func() { endpoints.Run(ctx.Done()) })
	cache.WaitForCacheSync(ctx.Done(), services.HasSynced, endpoints.HasSynced)
}

// create makes the Services, each with an endpoint, and waits until FRR has all
// of their routes from all nodes. The controller is stopped while they are made: on
// two cores the API server, the speakers and what it writes to each Service would
// share them for twice as long. Then it gives all of them addresses as fast as it can.
func (c *crowd) create(ctx context.Context) error {
	c.say("making %d Services", c.routes)
	replicas, err := c.Kubectl(ctx, "-n", cluster.Namespace, "get", controller, "-o", "jsonpath={.spec.replicas}")
	if err != nil {
		return err
	}
	if err := c.scale(ctx, "0"); err != nil {
		return err
	}
	if err := c.Crowd(ctx, crowdName, c.routes); err != nil {
		return err
	}
	if err := c.scale(ctx, replicas); err != nil {
		return err
	}
	err = lab.WaitFor(ctx, "every Service to have an address", func() (bool, error) { return int(c.assigned.Load()) >= c.routes, nil })
	if err != nil {
		return err
	}
	if err := c.routesOfAll(ctx, c.routes); err != nil {
		return err
	}
	took := max(0, time.Since(*c.last.Load()))
	c.say("FRR has %d routes of each node, %s after the last was assigned", c.routes, took.Round(time.Millisecond))
	c.row(fmt.Sprintf("%d routes of each of 3 nodes after the last was assigned", c.routes), []time.Duration{took}, "")
	c.values["bgp_10k_announce_s"] = seconds(took)
	return nil
}

const controller = "deployment/baliza-controller"

// scale waits until so many controllers run.
func (c *crowd) scale(ctx context.Context, replicas string) error {
	if _, err := c.Kubectl(ctx, "-n", cluster.Namespace, "scale", controller, "--replicas="+replicas); err != nil {
		return err
	}
	return c.Rollout(ctx)
}

// routesOfAll waits until FRR has that many routes of each node.
func (c *crowd) routesOfAll(ctx context.Context, count int) error {
	return lab.WaitFor(ctx, fmt.Sprintf("FRR to have %d routes of each node", count), func() (bool, error) {
		heard, err := c.r1.Heard(ctx)
		for _, n := range c.nodes {
			if h := heard[n.String()]; h.State != "Established" || h.Prefixes != count {
				return false, err
			}
		}
		return true, err
	})
}

// allAtOnce withdraws all routes and announces them again.
func (c *crowd) allAtOnce(ctx context.Context) error {
	time.Sleep(pause)
	began := time.Now()
	if err := c.Baliza.BalizaV1beta1().BGPAdvertisements().Delete(ctx, crowdName, metav1.DeleteOptions{}); err != nil {
		return err
	}
	if err := c.routesOfAll(ctx, 0); err != nil {
		return err
	}
	withdrawn := time.Since(began)
	time.Sleep(pause)
	began = time.Now()
	if err := c.AdvertiseBGP(ctx, crowdName, nil, crowdName); err != nil {
		return err
	}
	if err := c.routesOfAll(ctx, c.routes); err != nil {
		return err
	}
	announced := time.Since(began)
	c.say("withdrawn by the advertisement in %s, announced again in %s", withdrawn.Round(time.Millisecond), announced.Round(time.Millisecond))
	c.row(fmt.Sprintf("%d routes withdrawn, with the advertisement", c.routes), []time.Duration{withdrawn}, "")
	c.row(fmt.Sprintf("%d routes announced, with the advertisement", c.routes), []time.Duration{announced}, "")
	c.values["bgp_10k_withdraw_s"] = seconds(withdrawn)
	return nil
}

// oneByOne takes one Service's only endpoint away, or brings it back, and looks
// for the UPDATEs on the router's cable.
func (c *crowd) oneByOne(ctx context.Context) error {
	if err := c.rest(ctx); err != nil {
		return err
	}
	var samples []time.Duration
	for i := range c.trials {
		time.Sleep(pause)
		all, err := c.change(ctx, i/2, i%2 == 1)
		if err != nil {
			return err
		}
		samples = append(samples, all...)
		c.say("one change of %d routes: on the wire after %s (each node)", c.routes, all)
	}
	if c.trials > 0 {
		c.row("one change, until a node's UPDATE", samples, "")
		c.values["bgp_one_change_ms_at_10k"] = milliseconds(figures.Median(samples))
	}
	return nil
}

// change makes a Service's endpoint ready or not. It returns how long after the
// change was seen, by a watch or the answer to the request, each node sent an
// UPDATE, the fastest first.
func (c *crowd) change(ctx context.Context, i int, ready bool) ([]time.Duration, error) {
	capture, err := c.Capture(ctx, "r1", "tcp", "dst", "port", "179")
	if err != nil {
		return nil, err
	}
	body := fmt.Sprintf(`[{"op":"replace","path":"/endpoints/0/conditions/ready","value":%t}]`, ready)
	sent := time.Now()
	endpoints := c.Client.DiscoveryV1().EndpointSlices(crowdName)
	changed, err := endpoints.Patch(ctx, cluster.CrowdName(i), types.JSONPatchType, []byte(body), metav1.PatchOptions{})
	if err != nil {
		return nil, err
	}
	answered := time.Now()
	var first map[string]time.Time
	bounded, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	err = lab.WaitFor(bounded, "an UPDATE of each node", func() (bool, error) {
		first = updates(capture.Packets(), sent)
		return len(first) == len(c.nodes), nil
	})
	packets := capture.Stop()
	if err != nil {
		return nil, fmt.Errorf("%w; on the wire: %v", err, packets)
	}
	c.mu.Lock()
	seen, ok := c.changed[changed.ResourceVersion]
	c.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("the change of EndpointSlice %s was not seen", cluster.CrowdName(i))
	}
	// It was there before either told us, and we may be late ourselves.
	if answered.Before(seen) {
		seen = answered
	}
	var all []time.Duration
	for _, at := range first {
		all = append(all, at.Sub(seen).Round(100*time.Microsecond))
	}
	slices.Sort(all)
	return all, nil
}

// update is what tcpdump says of what a node sends; a KEEPALIVE has 19 bytes.
var update = regexp.MustCompile(`: (\d+\.\d+\.\d+\.\d+)\.\d+ > .* length (\d+): BGP`)

const keepalive = 19

// updates finds the first UPDATE of each node since a change was sent.
func updates(packets []lab.Packet, sent time.Time) map[string]time.Time {
	first := map[string]time.Time{}
	for _, p := range packets {
		match := update.FindStringSubmatch(p.Text)
		if match == nil || p.Time.Before(sent) {
			continue
		}
		if length, err := strconv.Atoi(match[2]); err == nil && length > keepalive && first[match[1]].IsZero() {
			first[match[1]] = p.Time
		}
	}
	return first
}
