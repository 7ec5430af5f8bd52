package delivery

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
)

// T15: what the proxy does not serve yet is asked for until it does, and not
// longer.
func TestT15_AServiceIsAskedForUntilItIsServed(t *testing.T) {
	var code, asked atomic.Int64
	code.Store(http.StatusServiceUnavailable)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(int(code.Load()))
	}))
	defer server.Close()
	at := netip.MustParseAddrPort(server.Listener.Addr().String())
	p := New(at.Addr())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	defer func() { stop(); <-done }()

	check := model.Check{Service: "default/s", Port: at.Port()}
	p.Ask([]model.Check{check, {Service: "default/nobody", Port: 1}})
	for asked.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	if len(p.Served()) > 0 {
		t.Fatal("503 counts as served")
	}
	code.Store(http.StatusOK)
	<-p.Changes()
	if served := p.Served(); !served["default/s"] || len(served) != 1 {
		t.Fatalf("served: %v", served)
	}
	p.Ask(nil)
	if len(p.Served()) > 0 {
		t.Error("an old answer is kept")
	}
	before := asked.Load()
	time.Sleep(3 * period)
	if asked.Load() > before+1 {
		t.Error("it goes on asking")
	}
}
