package node

import (
	"slices"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// An address is announced when its node can deliver what is sent to it, and not
// before (T15). What can be observed of that is what the node's service proxy says
// over HTTP: of a Service under externalTrafficPolicy Local at its
// healthCheckNodePort, and of itself at its own port for health checks. A proxy
// that does not say anything is waited for no longer than the bounds say.
const (
	// deliveryBound is how long it may take until an endpoint that has just
	// appeared on this node is served.
	deliveryBound = 3 * time.Second
	// rebootBound is how long a node that has just booted waits for its proxy, and
	// rebooted how long ago it may have been.
	rebootBound, rebooted = 10 * time.Second, 3 * time.Minute
	// proxyHealthPort is that of kube-proxy (healthzBindAddress).
	proxyHealthPort = 10256
)

// undelivered returns what is to be asked of the proxy before this node takes an
// address: nothing if it can deliver, or has had its time. It also returns when
// that will be over, or zero.
func (n *Node) undelivered(in *Input, d *plan.Decision) (checks []model.Check, again time.Duration) {
	for _, key := range d.Services {
		s := in.Cluster.Services.Get(key)
		if s == nil || s.LocalSince.IsZero() || s.HealthPort == 0 || in.Served[key] {
			continue
		}
		if left := deliveryBound - in.Now.Sub(s.LocalSince); left > 0 {
			checks, again = append(checks, model.Check{Service: key, Port: s.HealthPort}), sooner(again, left)
		}
	}
	return checks, again
}

// unserved returns what is to be asked of the proxy before a speaker acts whose
// node has just booted.
func (n *Node) unserved(in *Input) []model.Check {
	since := in.Now.Sub(n.config.Booted)
	if n.config.Booted.IsZero() || since > rebooted || in.Served[""] || in.Now.Sub(n.start.began) > rebootBound {
		return nil
	}
	return []model.Check{{Port: proxyHealthPort}}
}

// check asks for what is not asked for yet.
func (o *Output) check(all []model.Check) {
	for _, one := range all {
		if !slices.Contains(o.Checks, one) {
			o.Checks = append(o.Checks, one)
		}
	}
}
