package page

import (
	"context"
	"embed"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/config/daemon"
)

// Limits, against clients that are many, slow or never end.
const (
	// connections that are open at a time, and requests that are answered at a time:
	// one more waits for nothing, and is told to come again.
	connections, requests = 96, 4
	// viewers whose pages are told of changes at a time; those of others still work.
	viewers = 32
	// headerTimeout is for the head of a request, requestTimeout for all of it and its
	// answer, idleTimeout for the next request of a connection.
	headerTimeout, requestTimeout, idleTimeout = 5 * time.Second, 20 * time.Second, time.Minute
	headerBytes                                = 1 << 14
)

//go:embed templates static
var files embed.FS

// Options of a Server.
type Options struct {
	// Objects reads the caches. It is called at most once a second.
	Objects func() explain.Objects
	// Now is the clock.
	Now func() time.Time
	// Hosts are the names, without port, by which the page may be asked for, beside
	// localhost and literal addresses: with any, a page of another site could read this
	// one in a user's browser, by a name that it makes mean an address here.
	Hosts []string
	// Replica is the name of this one, and Leader says which one leads, empty if that is
	// not known.
	Replica string
	Leader  func() string
}

// Server serves the page. Make it with [New].
type Server struct {
	options Options
	pages   map[string]*template.Template
	slots   chan struct{}
	viewers chan struct{}

	mu sync.Mutex
	// snapshot is what is shown now, and used when it was last asked for.
	snapshot *snapshot
	used     time.Time
	forget   *time.Timer
	// count numbers the snapshots.
	count uint64

	changed changes
}

// New makes one. The error is one of the templates.
func New(options Options) (*Server, error) {
	s := &Server{
		options: options, pages: map[string]*template.Template{},
		slots: make(chan struct{}, requests), viewers: make(chan struct{}, viewers),
	}
	common, err := template.New("layout.html").Funcs(functions()).ParseFS(files, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{
		"overview", "services", "service", "address", "pools", "pool", "moves", "peers", "nodes", "node", "message",
	} {
		one, err := common.Clone()
		if err == nil {
			one, err = one.ParseFS(files, "templates/"+name+".html")
		}
		if err != nil {
			return nil, err
		}
		s.pages[name] = one
	}
	return s, nil
}

// Changed says that an object changed. It returns at once and may be called from any
// goroutine.
func (s *Server) Changed() { s.changed.note() }

// CheckAddress refuses what Run could not listen on: it must be an address and a port.
func CheckAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err == nil && host != "" {
		_, err = netip.ParseAddr(host)
	}
	if err != nil || port == "" {
		return fmt.Errorf("%q is no address and port, like 127.0.0.1:%d", address, explain.PagePort)
	}
	return nil
}

// Run listens, and answers until ctx ends. Where the port is taken it says so: what a
// controller is there for does not depend on the page.
func (s *Server) Run(ctx context.Context, address string, log *slog.Logger) {
	at, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		log.Warn("the status page is not served", "error", err)
		return
	}
	server := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: headerBytes, BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), // of clients that go away
	}
	if err := daemon.Serve(ctx, server, netutil.LimitListener(at, connections)); err != nil {
		log.Warn("the status page is not served any more", "error", err)
	}
}

// contentSecurityPolicy lets a page have what is its own and nothing else.
const contentSecurityPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

// Handler answers GET and HEAD, and nothing else.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, show := range map[string]func(*snapshot, *http.Request) (answer, error){
		"/{$}":                         s.overview,
		"/services":                    s.services,
		"/services/{namespace}/{name}": s.service,
		"/addresses/{address}":         s.address,
		"/pools":                       s.poolList,
		"/pools/{pool}":                s.pool,
		"/moves":                       s.moves,
		"/peers":                       s.peers,
		"/nodes":                       s.nodes,
		"/nodes/{node}":                s.node,
	} {
		mux.HandleFunc(pattern, s.show(show))
	}
	mux.HandleFunc("/events", s.events)
	for name, kind := range map[string]string{
		"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		mux.HandleFunc("/"+name, s.static(name, kind))
	}
	mux.HandleFunc("/", s.show(func(*snapshot, *http.Request) (answer, error) {
		return answer{}, notFound("there is no such page")
	}))
	return s.guard(mux)
}

// guard is before everything: it says what a browser may do with any answer, and lets
// through only what reads, and by a name that the page goes by.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are answered", http.StatusMethodNotAllowed)
		case !s.goesBy(r.Host):
			http.Error(w, "the page does not go by that name: see page.hosts of the chart (--page-hosts)", http.StatusMisdirectedRequest)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// goesBy reports whether the page may be asked for by the Host of a request.
func (s *Server) goesBy(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(trimBrackets(host)); err == nil {
		return true
	}
	return host == "localhost" || slices.Contains(s.options.Hosts, host)
}

func trimBrackets(host string) string {
	if n := len(host); n > 1 && host[0] == '[' && host[n-1] == ']' {
		return host[1 : n-1]
	}
	return host
}

func (s *Server) static(name, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := files.ReadFile("static/" + name)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		send(w, r, http.StatusOK, kind, body)
	}
}
