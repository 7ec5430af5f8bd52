package command_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/cli/command"
)

// controllerPod is one that runs, with that flag.
func controllerPod(name, flag string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: named("baliza-system", name)}
	pod.Labels = map[string]string{"app.kubernetes.io/name": "baliza"}
	pod.Status.Phase = corev1.PodRunning
	pod.Spec.Containers = []corev1.Container{{Name: "controller", Args: []string{"--admin-address=:7472", flag}}}
	return pod
}

// The page of the leader is brought to a port here, connection by connection, until the
// command is ended.
func TestThePageIsForwarded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "this is %s of %s", r.URL.Path, r.Host)
	}))
	defer server.Close()
	w := newWorld()
	w.environment.more = append(w.environment.more,
		controllerPod("baliza-controller-111", "--page-address=127.0.0.1:17475"), controllerPod("baliza-controller-7d4", "--page-address=127.0.0.1:17475"))
	clients := w.clients(t)
	clients.DialPod = func(ctx context.Context, namespace, pod string, port uint16) (net.Conn, error) {
		if namespace != "baliza-system" || pod != "baliza-controller-7d4" || port != 17475 {
			return nil, fmt.Errorf("asked for port %d of %s/%s, which does not lead", port, namespace, pod)
		}
		return new(net.Dialer).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	reader, writer := io.Pipe()
	var errs bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- command.Main(ctx, command.Env{
			Args: []string{"page", "--port", "0", "--no-browser"}, In: strings.NewReader(""), Out: writer, Err: &errs,
			Getenv: func(string) string { return "" }, Now: now,
			Connect: func(*genericclioptions.ConfigFlags) (kube.Clients, error) { return clients, nil },
		})
		_ = writer.Close()
	}()
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		t.Fatalf("%v, %s", err, &errs)
	}
	address, _, _ := strings.Cut(line, " ")
	for _, path := range []string{"", "services"} {
		response, err := http.Get(address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if want := "this is /" + path + " of " + strings.Trim(strings.TrimPrefix(address, "http://"), "/"); string(body) != want {
			t.Errorf("got %q, want %q", body, want)
		}
	}
	cancel()
	if status := <-ended; status != command.StatusWell {
		t.Errorf("exit status %d: %s", status, &errs)
	}
}

// Why there is no page is said before anybody is sent to it.
func TestWhyThereIsNoPage(t *testing.T) {
	for sentence, test := range map[string]struct {
		set  func(*world)
		line string
		want string
	}{
		"it is switched off": {func(w *world) { w.environment.more = append(w.environment.more, controllerPod("c", "--page-address=")) }, "page", "page.enabled"},
		"no controller runs": {func(*world) {}, "page", "no pod of the controller runs in baliza-system"},
		"the user may not":   {func(w *world) { w.forbidden["pods/portforward"] = true }, "page", "you may not create pods/portforward in baliza-system"},
		"it does not answer": {func(w *world) {
			w.environment.more = append(w.environment.more, controllerPod("c", "--log-level=info"))
		}, "page", "does not answer"},
		"the port is none":          {func(*world) {}, "page --port 70000", "from 0 to 65535"},
		"there is no such argument": {func(*world) {}, "page services", "unknown command"},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld()
			test.set(w)
			if out, status := w.ask(t, test.line); status != command.StatusUnknown || !strings.Contains(out, test.want) {
				t.Errorf("exit status %d: %s, want %q", status, out, test.want)
			}
		})
	}
}
