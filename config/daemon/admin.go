package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check reports why something does not work, or nil.
type Check func() error

// Health is the set of checks behind /healthz (is restarting the process the
// cure?) and /readyz (does it do its work?). It is safe for concurrent use.
type Health struct {
	mu    sync.Mutex
	live  map[string]Check
	ready map[string]Check
}

// NewHealth has no checks: it is healthy and ready.
func NewHealth() *Health {
	return &Health{live: map[string]Check{}, ready: map[string]Check{}}
}

// Live adds a check to /healthz.
func (h *Health) Live(name string, check Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live[name] = check
}

// Ready adds a check to /readyz.
func (h *Health) Ready(name string, check Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ready[name] = check
}

// handler answers 200 with "ok" when every check passes, else 503 with a line
// for each that does not.
func (h *Health) handler(of func() map[string]Check) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		h.mu.Lock()
		checks := maps.Clone(of())
		h.mu.Unlock()
		var failures []string
		for _, name := range slices.Sorted(maps.Keys(checks)) {
			if err := checks[name](); err != nil {
				failures = append(failures, fmt.Sprintf("%s: %v", name, err))
			}
		}
		if len(failures) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			for _, failure := range failures {
				_, _ = fmt.Fprintln(w, failure)
			}
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	}
}

// admin is the HTTP port for machines: it only answers GET and HEAD.
type admin struct {
	listener net.Listener
	server   *http.Server
}

// Limits of the admin port, against clients that never finish, or never end.
const (
	// adminScrapes is how many are answered with metrics at a time.
	adminScrapes  = 4
	adminTimeout  = 10 * time.Second
	adminShutdown = time.Second
)

// listenAdmin takes the port, so that a taken one is known before any work
// has begun.
func listenAdmin(ctx context.Context, address string, env Env) (*admin, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("admin port %s (--admin-address): %w", address, err)
	}
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("admin port %s (--admin-address): %T is no TCP listener", address, listener)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(env.Metrics, promhttp.HandlerOpts{
		Registry: env.Metrics, MaxRequestsInFlight: adminScrapes,
	}))
	mux.Handle("GET /healthz", env.Health.handler(func() map[string]Check { return env.Health.live }))
	mux.Handle("GET /readyz", env.Health.handler(func() map[string]Check { return env.Health.ready }))
	a := &admin{
		listener: newBounded(tcp),
		server:   &http.Server{Handler: mux, ReadTimeout: adminTimeout, WriteTimeout: adminTimeout, MaxHeaderBytes: 1 << 14},
	}
	// One request for each connection, so that what bounds these bounds those.
	a.server.SetKeepAlivesEnabled(false)
	return a, nil
}

func (a *admin) serve() error {
	if err := a.server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (a *admin) close() {
	ctx, cancel := context.WithTimeout(context.Background(), adminShutdown)
	defer cancel()
	_ = a.server.Shutdown(ctx)
}
