// Package delivery asks a node's service proxy whether it serves a Service here,
// so that an address is announced when its node can deliver. kube-proxy answers
// over HTTP: at a Service's healthCheckNodePort, and at its own port for health
// checks (healthzBindAddress), with 200 when its rules are in force.
//
// It decides nothing: node.Node says what to ask, and for how long.
package delivery

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/speaker/model"
)

const (
	// period is how often what is not served yet is asked for.
	period = 30 * time.Millisecond
	// timeout of one question to this node itself.
	timeout = 500 * time.Millisecond
	// atOnce bounds the questions that are under way.
	atOnce = 16
)

// Booted is when this node did, or zero if the kernel does not say.
func Booted() time.Time {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(info.Uptime) * time.Second)
}

// Prober asks until it is told not to. All its methods may be called from any
// goroutine, and none waits for an answer.
type Prober struct {
	address netip.Addr
	client  *http.Client
	changes chan struct{}
	wake    chan struct{}

	mu     sync.Mutex
	checks []model.Check
	served map[string]bool
}

// New makes a Prober of the node that has the address.
func New(address netip.Addr) *Prober {
	return &Prober{
		address: address, client: &http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil}},
		changes: make(chan struct{}, 1), wake: make(chan struct{}, 1), served: map[string]bool{},
	}
}

// Ask says what to ask from now on: the whole of it.
func (p *Prober) Ask(checks []model.Check) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Equal(checks, p.checks) {
		return
	}
	p.checks = slices.Clone(checks)
	for key := range p.served {
		if !slices.ContainsFunc(checks, func(c model.Check) bool { return c.Service == key }) {
			delete(p.served, key) // it may not be indefinitely
		}
	}
	signal(p.wake)
}

// Served are the Services, of those that are asked for, that are served; the empty
// key is the proxy itself.
func (p *Prober) Served() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]bool, len(p.served))
	for key := range p.served {
		all[key] = true
	}
	return all
}

// Changes receives after Served has more.
func (p *Prober) Changes() <-chan struct{} { return p.changes }

// Run asks until ctx ends.
func (p *Prober) Run(ctx context.Context) {
	for {
		open := p.open()
		var wait <-chan time.Time
		if len(open) > 0 {
			p.round(ctx, open)
			wait = time.After(period)
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-wait:
		}
	}
}

// open are the checks without a yes.
func (p *Prober) open() []model.Check {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.checks), func(c model.Check) bool { return p.served[c.Service] })
}

func (p *Prober) round(ctx context.Context, checks []model.Check) {
	var wait sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, c := range checks {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			if !p.says(ctx, c.Port) {
				return
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if slices.Contains(p.checks, c) {
				p.served[c.Service] = true
				signal(p.changes)
			}
		})
	}
	wait.Wait()
}

// says reports whether a port of the node answers with 200.
func (p *Prober) says(ctx context.Context, port uint16) bool {
	url := "http://" + netip.AddrPortFrom(p.address, port).String() + "/healthz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	answer, err := p.client.Do(request)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}
