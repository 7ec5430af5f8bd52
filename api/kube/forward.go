package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// PodDialer connects to a port of a pod, by way of the API server and the kubelet: to
// the loopback address of the pod's network, whatever NetworkPolicies say. It opens no
// port here, either.
type PodDialer func(ctx context.Context, namespace, pod string, port uint16) (net.Conn, error)

// mostAnswer is how much of a pod's answer is read, in bytes.
const mostAnswer = 32 << 20

// GetFromPod makes an HTTP request to a port of a pod. What is no 200 OK is an error
// with the answer's words.
func GetFromPod(ctx context.Context, dial PodDialer, namespace, pod string, port uint16, path string) ([]byte, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, namespace, pod, port) },
	}
	defer transport.CloseIdleConnections()
	target := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))) + path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the address of the request says nothing: it is the pod's own
		}
		return nil, fmt.Errorf("pod %s: %w", pod, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, mostAnswer))
	switch {
	case err != nil:
		return nil, fmt.Errorf("pod %s: %w", pod, err)
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("pod %s: %s", pod, strings.TrimSpace(string(body)))
	}
	return body, nil
}

// MayForward asks the API server whether the user may forward ports to pods of a
// namespace.
func MayForward(ctx context.Context, clients Clients, namespace string) (bool, error) {
	allowed, err := mayCreate(ctx, clients, authorizationv1.ResourceAttributes{Namespace: namespace, Resource: "pods", Subresource: "portforward"})
	if err != nil {
		return false, fmt.Errorf("asking for the right to create pods/portforward: %w", err)
	}
	return allowed, nil
}

// mayCreate asks the API server whether the user may create what is described.
func mayCreate(ctx context.Context, clients Clients, what authorizationv1.ResourceAttributes) (bool, error) {
	what.Verb = "create"
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}
	answer, err := clients.Kubernetes.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return answer.Status.Allowed, nil
}

// ReadPods reads Baliza's own pods of a namespace.
func ReadPods(ctx context.Context, clients Clients, namespace string) ([]*corev1.Pod, error) {
	list, err := clients.Kubernetes.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: labelName + "=" + ourName})
	if err != nil {
		return nil, err
	}
	return pointers(list.Items), nil
}

// NewPodDialer makes one.
func NewPodDialer(config *rest.Config, client kubernetes.Interface) PodDialer {
	return func(ctx context.Context, namespace, pod string, port uint16) (net.Conn, error) {
		at := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
		type result struct {
			conn net.Conn
			err  error
		}
		done := make(chan result, 1)
		go func() {
			conn, err := dialPod(config, at, port)
			done <- result{conn, err}
		}()
		select {
		case r := <-done:
			return r.conn, r.err
		case <-ctx.Done():
			go func() {
				if r := <-done; r.err == nil {
					_ = r.conn.Close()
				}
			}()
			return nil, ctx.Err()
		}
	}
}

// dialPod connects over WebSockets and, where the API server or a proxy before it does
// not know those, over SPDY, as kubectl does.
func dialPod(config *rest.Config, at *url.URL, port uint16) (net.Conn, error) {
	overWebsocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(at, config)
	if err != nil {
		return nil, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	overSPDY := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, at)
	dialer := portforward.NewFallbackDialerForStreaming(overWebsocket, overSPDY, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	connection, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	conn, err := streamTo(connection, port)
	if err != nil {
		_ = connection.Close()
	}
	return conn, err
}

// streamTo opens the two streams of a forwarded connection: one for what goes wrong,
// one for the data.
func streamTo(connection httpstream.Connection, port uint16) (net.Conn, error) {
	headers := http.Header{}
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	headers.Set(corev1.PortHeader, strconv.Itoa(int(port)))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	failures, err := connection.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	_ = failures.Close() // nothing is written to it
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := connection.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	conn := &podConn{Stream: data, connection: connection, failed: make(chan error, 1)}
	go func() {
		message, err := io.ReadAll(failures)
		if len(message) > 0 {
			err = errors.New(strings.TrimSpace(string(message)))
		}
		conn.failed <- err
		close(conn.failed)
	}()
	return conn, nil
}

// failureTime is how long the reason is waited for when a stream has ended.
const failureTime = time.Second

// podConn is a connection to a pod.
type podConn struct {
	httpstream.Stream
	connection httpstream.Connection
	failed     chan error
}

// Read implements net.Conn. Where the stream ends because the pod could not be
// connected to, the error says why.
func (c *podConn) Read(p []byte) (int, error) {
	n, err := c.Stream.Read(p)
	if err == nil || n > 0 {
		return n, err
	}
	select {
	case why := <-c.failed:
		if why != nil {
			return 0, why
		}
	case <-time.After(failureTime):
	}
	return 0, err
}

// Close implements net.Conn.
func (c *podConn) Close() error {
	_ = c.Reset()
	return c.connection.Close()
}

// LocalAddr implements net.Conn.
func (c *podConn) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr implements net.Conn.
func (c *podConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline implements net.Conn; there are none.
func (c *podConn) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline implements net.Conn; there are none.
func (c *podConn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline implements net.Conn; there are none.
func (c *podConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
