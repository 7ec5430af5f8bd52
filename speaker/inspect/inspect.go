package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/config/daemon"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/node"
)

// Limits of the endpoint.
const (
	requestTimeout = 10 * time.Second // more than a probe takes
	headerBytes    = 1 << 13
	// requests are how many are answered at a time.
	requests = 8
)

// View is what the speaker knows at one moment. It is never changed once it is
// published.
type View struct {
	Node string
	// Config is the configuration in use: of its pools' addresses alone is asked.
	Config *config.Snapshot
	// Askers are the interfaces on which there may be a question.
	Askers []l2.Asker
	// Members are those whose MACs are known.
	Members *model.Membership
	// Moves are the last ones, the latest at the end.
	Moves []node.Move
}

// Wire is how the network is asked.
type Wire struct {
	Resolve   func(from l2.Asker, target netip.Addr, within time.Duration) ([]l2.Reply, error)
	Handshake func(from l2.Asker, mac model.MAC, to netip.AddrPort, within time.Duration) (model.Handshake, time.Duration, error)
}

// Server answers. The zero Server cannot be used.
type Server struct {
	wire  Wire
	now   func() time.Time // the clock
	view  atomic.Pointer[View]
	slots chan struct{}

	probing sync.Mutex
	last    time.Time // when the last probe ended
}

// New makes one that asks nothing and knows nothing yet.
func New(wire Wire, now func() time.Time) *Server {
	return &Server{wire: wire, now: now, slots: make(chan struct{}, requests)}
}

// Publish says what is known from now on.
func (s *Server) Publish(v *View) { s.view.Store(v) }

// CheckAddress refuses what Run could not or must not listen on: the endpoint is for
// this host alone.
func CheckAddress(address string) error {
	at, err := netip.ParseAddrPort(address)
	switch {
	case err != nil:
		return fmt.Errorf("%q is no address and port, like 127.0.0.1:%d", address, model.InspectPort)
	case !at.Addr().IsLoopback():
		return fmt.Errorf("%s is not on a loopback address: it would be open to the network", address)
	}
	return nil
}

// Run listens, and answers until ctx ends. Where the port is taken it says so: what a
// speaker is there for does not depend on it.
func (s *Server) Run(ctx context.Context, address string, log *slog.Logger) {
	at, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		log.Warn("kubectl baliza cannot ask this speaker", "error", err)
		return
	}
	server := &http.Server{
		Handler: s.Handler(), ReadTimeout: requestTimeout, WriteTimeout: requestTimeout, MaxHeaderBytes: headerBytes,
	}
	server.SetKeepAlivesEnabled(false)
	if err := daemon.Serve(ctx, server, at); err != nil {
		log.Warn("kubectl baliza cannot ask this speaker any more", "error", err)
	}
}

// Handler answers GET /probe and GET /moves, and nothing else.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/probe", s.only("address", "port")(s.probe))
	mux.HandleFunc("/moves", s.only("address")(s.moves))
	return mux
}

// only lets GET requests through that have no other parameters, and not more than a
// few at a time.
func (s *Server) only(parameters ...string) func(func(http.ResponseWriter, *http.Request, *View)) http.HandlerFunc {
	known := map[string]bool{}
	for _, p := range parameters {
		known[p] = true
	}
	return func(next func(http.ResponseWriter, *http.Request, *View)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet {
				w.Header().Set("Allow", http.MethodGet)
				http.Error(w, "only GET is answered", http.StatusMethodNotAllowed)
				return
			}
			for name := range r.URL.Query() {
				if !known[name] {
					http.Error(w, fmt.Sprintf("there is no parameter %q", name), http.StatusBadRequest)
					return
				}
			}
			select {
			case s.slots <- struct{}{}:
				defer func() { <-s.slots }()
			default:
				http.Error(w, "too many requests at a time", http.StatusTooManyRequests)
				return
			}
			view := s.view.Load()
			if view == nil {
				http.Error(w, "the speaker has only just begun", http.StatusServiceUnavailable)
				return
			}
			next(w, r, view)
		}
	}
}

// moves are the last ones, of one address or of all.
func (s *Server) moves(w http.ResponseWriter, r *http.Request, view *View) {
	moves := view.Moves
	if text := r.URL.Query().Get("address"); text != "" {
		address, err := config.ParseAddress(text)
		if err != nil {
			http.Error(w, "address: "+err.Error(), http.StatusBadRequest)
			return
		}
		moves = slices.DeleteFunc(slices.Clone(moves), func(m node.Move) bool { return m.Address != address })
	}
	answer(w, append([]v1beta1.AddressMove{}, node.Reported(moves)...))
}

func answer(w http.ResponseWriter, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n'))
}
