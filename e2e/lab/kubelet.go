package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// kubeletPort is where the API server asks nodes for logs.
const kubeletPort = 10250

// serveLogs answers "kubectl logs" for the node's containers until ctx ends.
// Only the API server, known by its client certificate, is let in.
func (a *agent) serveLogs(ctx context.Context) error {
	tlsConfig, err := a.servingConfig()
	if err != nil {
		return err
	}
	var listener net.Listener
	err = inNetns(a.node.Name, func() error {
		listener, err = tls.Listen("tcp", fmt.Sprintf(":%d", kubeletPort), tlsConfig)
		return err
	})
	if err != nil {
		return fmt.Errorf("node %s: log server: %w", a.node.Name, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", a.containerLog)
	server := &http.Server{Handler: mux, BaseContext: func(net.Listener) context.Context { return ctx }}
	a.done.Go(func() { _ = server.Serve(listener) }) // until it is closed
	context.AfterFunc(ctx, func() { server.Close() })
	return nil
}

func (a *agent) servingConfig() (*tls.Config, error) {
	pair, err := tls.X509KeyPair(a.serving.Cert, a.serving.Key)
	if err != nil {
		return nil, fmt.Errorf("node %s: serving certificate: %w", a.node.Name, err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(a.lab.ca.PEM)
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
		VerifyConnection: func(s tls.ConnectionState) error {
			if name := s.PeerCertificates[0].Subject.CommonName; name != kubeletClientName {
				return fmt.Errorf("%s may not read logs here", name)
			}
			return nil
		},
	}, nil
}

// containerLog knows tailLines and follow; the log holds all runs of the
// container.
func (a *agent) containerLog(w http.ResponseWriter, r *http.Request) {
	name := strings.Join([]string{a.node.Name, r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")}, "/")
	file, err := os.Open(a.lab.procs.logFile(name))
	if err != nil {
		http.Error(w, "no log of "+name, http.StatusNotFound)
		return
	}
	defer file.Close()
	if lines, err := strconv.Atoi(r.URL.Query().Get("tailLines")); err == nil {
		end := tail(file.Name(), lines)
		if lines > 0 && end != "" {
			fmt.Fprintln(w, end)
		}
		if _, err := file.Seek(0, io.SeekEnd); err != nil {
			a.log.Debug("following a log", "container", name, "error", err)
			return
		}
	}
	follow := r.URL.Query().Get("follow") == "true"
	for {
		if _, err := io.Copy(w, file); err != nil || !follow {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		if _, err := a.lab.procs.find(name); err != nil || !sleep(r.Context(), 200*time.Millisecond) {
			return
		}
	}
}
