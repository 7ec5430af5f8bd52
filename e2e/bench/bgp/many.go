package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
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
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/baliza-lb/baliza/e2e/bench/figures"
	"github.com/baliza-lb/baliza/e2e/lab"
)

const (
	crowdName = "bench-many"
	// inFlight is how many objects are created at a time.
	inFlight = 32
	// proxyLabel names another Service proxy, so that kube-proxy leaves the
	// thousands of Services alone: no traffic is measured with them.
	proxyLabel = "service.kubernetes.io/service-proxy-name"
	pause      = time.Second
)

// crowd is the many Services, and what was seen of them.
type crowd struct {
	*bench
	client kubernetes.Interface // not slowed down

	assigned atomic.Int64
	last     atomic.Pointer[time.Time] // when the last was assigned
	mu       sync.Mutex
	changed  map[string]time.Time // EndpointSlices, by resource version: when it was seen
}

// many announces thousands of routes from every node, withdraws and announces
// them again by the advertisement, and changes one at a time.
func (b *bench) many(ctx context.Context) error {
	if b.routes == 0 {
		return nil
	}
	config := rest.CopyConfig(b.Admin)
	config.QPS, config.Burst = -1, 0
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	c := &crowd{bench: b, client: client, changed: map[string]time.Time{}}
	if err := c.prepare(ctx); err != nil {
		return err
	}
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
// whole cluster on two cores a burst of work is no failure of the path.
func (c *crowd) prepare(ctx context.Context) error {
	if err := c.peer(ctx, map[string]any{"bfdProfile": nil}); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "delete", "namespace", name); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "delete", "bgpadvertisement/"+name, "ippool/"+name); err != nil {
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
	c.follow(ctx)
	return c.routesOfAll(ctx, 0)
}

// follow notes what the API server shows.
func (c *crowd) follow(ctx context.Context) {
	all := fields.Everything()
	services := cache.NewSharedInformer(
		cache.NewListWatchFromClient(c.client.CoreV1().RESTClient(), "services", crowdName, all), &corev1.Service{}, 0)
	_, _ = services.AddEventHandler(cache.ResourceEventHandlerFuncs{UpdateFunc: func(before, after any) {
		old, okOld := before.(*corev1.Service)
		svc, ok := after.(*corev1.Service)
		if ok && okOld && len(old.Status.LoadBalancer.Ingress) == 0 && len(svc.Status.LoadBalancer.Ingress) > 0 {
			now := time.Now()
			c.last.Store(&now)
			if n := c.assigned.Add(1); n%1000 == 0 {
				c.say("%d Services have an address", n)
			}
		}
	}})
	endpoints := cache.NewSharedInformer(
		cache.NewListWatchFromClient(c.client.DiscoveryV1().RESTClient(), "endpointslices", crowdName, all), &discoveryv1.EndpointSlice{}, 0)
	_, _ = endpoints.AddEventHandler(cache.ResourceEventHandlerFuncs{UpdateFunc: func(_, after any) {
		if slice, ok := after.(*discoveryv1.EndpointSlice); ok {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.changed[slice.ResourceVersion] = time.Now()
		}
	}})
	go services.Run(ctx.Done())
	go endpoints.Run(ctx.Done())
	cache.WaitForCacheSync(ctx.Done(), services.HasSynced, endpoints.HasSynced)
}

// create makes the Services, each with an endpoint, and waits until FRR has all
// of their routes from all nodes.
func (c *crowd) create(ctx context.Context) error {
	c.say("making %d Services", c.routes)
	err := each(c.routes, func(i int) error {
		if _, err := c.client.DiscoveryV1().EndpointSlices(crowdName).Create(ctx, slice(i), metav1.CreateOptions{}); err != nil {
			return err
		}
		no := false
		_, err := c.client.CoreV1().Services(crowdName).Create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: serviceName(i), Labels: map[string]string{proxyLabel: crowdName}},
			Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: &no, Ports: []corev1.ServicePort{{Port: 80}},
			},
		}, metav1.CreateOptions{})
		return err
	})
	if err != nil {
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

func serviceName(i int) string { return fmt.Sprintf("s-%d", i) }

func slice(i int) *discoveryv1.EndpointSlice {
	yes, port := true, int32(8080)
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: serviceName(i), Labels: map[string]string{discoveryv1.LabelServiceName: serviceName(i), proxyLabel: crowdName},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"198.51.100.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}}},
		Ports:       []discoveryv1.EndpointPort{{Port: &port}},
	}
}

// each does something for every number, some at a time.
func each(count int, do func(int) error) error {
	var next atomic.Int64
	failures := make(chan error, inFlight)
	var workers sync.WaitGroup
	for range inFlight {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	workers.Wait()
	close(failures)
	return <-failures
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

// sessions is how many FRR has seen established.
func (c *crowd) sessions(ctx context.Context) (all int, err error) {
	heard, err := c.r1.Heard(ctx)
	for _, h := range heard {
		all += h.Sessions
	}
	return all, err
}

// allAtOnce withdraws all routes and announces them again.
func (c *crowd) allAtOnce(ctx context.Context) error {
	time.Sleep(pause)
	began := time.Now()
	if _, err := c.Kubectl(ctx, "delete", "bgpadvertisement/"+crowdName); err != nil {
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
	time.Sleep(5 * pause)
	var worst, first []time.Duration
	for i := range c.trials {
		all, err := c.change(ctx, i/2, i%2 == 1)
		if err != nil {
			return err
		}
		worst, first = append(worst, all[len(all)-1]), append(first, all[0])
		c.say("one change of %d routes: on the wire after %s (each node)", c.routes, all)
	}
	if c.trials > 0 {
		c.row("one change, until the last node's UPDATE", worst, "")
		c.row("one change, until the first node's UPDATE", first, "")
		c.values["bgp_one_change_ms_at_10k"] = strconv.FormatInt(figures.Median(worst).Milliseconds(), 10)
	}
	return nil
}

// change makes a Service's endpoint ready or not. It returns how long after the
// change was seen each node sent an UPDATE, the fastest first.
func (c *crowd) change(ctx context.Context, i int, ready bool) ([]time.Duration, error) {
	capture, err := c.Capture(ctx, "r1", "tcp", "dst", "port", "179")
	if err != nil {
		return nil, err
	}
	body := fmt.Sprintf(`[{"op":"replace","path":"/endpoints/0/conditions/ready","value":%t}]`, ready)
	sent := time.Now()
	endpoints := c.client.DiscoveryV1().EndpointSlices(crowdName)
	changed, err := endpoints.Patch(ctx, serviceName(i), types.JSONPatchType, []byte(body), metav1.PatchOptions{})
	if err != nil {
		return nil, err
	}
	time.Sleep(pause)
	packets := capture.Stop()
	c.mu.Lock()
	seen, ok := c.changed[changed.ResourceVersion]
	c.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("the change of EndpointSlice %s was not seen", serviceName(i))
	}
	return updates(packets, c.nodes, sent, seen)
}

// update is what tcpdump says of what a node sends; a KEEPALIVE has 19 bytes.
var update = regexp.MustCompile(`: (\d+\.\d+\.\d+\.\d+)\.\d+ > .*BGP, length: (\d+)`)

const keepalive = 19

// updates finds the first UPDATE of each node since a change was sent, and
// returns how long after it was seen it passed, the fastest first.
func updates(packets []lab.Packet, nodes []netip.Addr, sent, seen time.Time) ([]time.Duration, error) {
	first := map[string]time.Duration{}
	for _, p := range packets {
		match := update.FindStringSubmatch(p.Text)
		if match == nil || p.Time.Before(sent) {
			continue
		}
		if length, err := strconv.Atoi(match[2]); err != nil || length <= keepalive {
			continue
		}
		if _, ok := first[match[1]]; !ok {
			first[match[1]] = p.Time.Sub(seen).Round(100 * time.Microsecond)
		}
	}
	var all []time.Duration
	for _, n := range nodes {
		took, ok := first[n.String()]
		if !ok {
			return nil, fmt.Errorf("no UPDATE of %s among %d packets", n, len(packets))
		}
		all = append(all, took)
	}
	slices.Sort(all)
	return all, nil
}
