// Command web is what the pods of the lab run: a server that says who it is
// ("web"), and the process that holds a pod's namespaces ("web pause").
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "pause" {
		pause()
		return
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(1)
	}
}

// pause holds the namespaces of a pod: it waits to be told to end, and reaps
// whatever is orphaned.
func pause() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != nil || pid <= 0 {
				break
			}
		}
	}
}

// serve answers on HTTP with who it is and whom it talks to, and echoes TCP and
// UDP. After SIGTERM it fails its readiness check and serves on for a while, as
// a well-behaved server does.
func serve() error {
	web := flag.String("http", ":8080", "address of the web server")
	tcp := flag.String("tcp", ":7000", "address of the TCP echo")
	udp := flag.String("udp", ":7001", "address of the UDP echo")
	linger := flag.Duration("linger", 5*time.Second, "how long to serve on after SIGTERM")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 3)
	go func() { failed <- http.ListenAndServe(*web, handler(ctx)) }()
	go func() { failed <- echoTCP(*tcp) }()
	go func() { failed <- echoUDP(*udp) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		fmt.Fprintln(os.Stderr, "web: leaving in", *linger)
		time.Sleep(*linger)
		return nil
	}
}

func handler(leaving context.Context) http.Handler {
	pod, node := os.Getenv("POD_NAME"), os.Getenv("NODE_NAME")
	if pod == "" {
		pod, _ = os.Hostname()
	}
	var unready atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if leaving.Err() != nil || unready.Load() {
			http.Error(w, "leaving", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("POST /ready/{value}", func(_ http.ResponseWriter, r *http.Request) {
		unready.Store(r.PathValue("value") != "true")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s\n", pod, node, r.RemoteAddr)
	})
	return mux
}

func echoTCP(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			continue
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn) // until the client hangs up
		}()
	}
}

func echoUDP(address string) error {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err == nil {
			_, _ = conn.WriteTo(buffer[:n], from) // UDP promises nothing
		}
	}
}
