package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/cli/explain"
)

func (o *options) page() *cobra.Command {
	port, quiet := 0, false
	cmd := &cobra.Command{
		Use: "page", Short: "The status page of the controller, in a browser", Args: cobra.NoArgs,
		Long: "Brings the status page of the controller to a port of this machine, and opens it in a browser where there is a terminal.\n" +
			"It takes the right to create pods/portforward in the namespace of Baliza. Ctrl-C ends it.",
		RunE: func(cmd *cobra.Command, _ []string) error { return o.servePage(cmd.Context(), port, quiet) },
	}
	cmd.Flags().IntVar(&port, "port", explain.PagePort, "port of this machine, on 127.0.0.1; 0 is any that is free")
	cmd.Flags().BoolVar(&quiet, "no-browser", false, "print where it is, and open no browser")
	return cmd
}

// controllers are the running pods of the controller, the leader first, and the way to
// them.
type controllers struct {
	clients   kube.Clients
	namespace string
	leader    string
	// failed is one that could not be reached: perhaps its node is dead, and nobody has
	// noticed yet.
	failed string
}

// dialTimeout is how long a pod may take to be reached.
const dialTimeout = 3 * time.Second

func (o *options) servePage(ctx context.Context, port int, quiet bool) error {
	if port < 0 || port > 65535 {
		return fmt.Errorf("--port %d: must be from 0 to 65535", port)
	}
	clients, objects, err := o.gather(ctx, "")
	if err != nil {
		return err
	}
	status := explain.New(objects, o.env.Now()).Status()
	to := controllers{clients: clients, namespace: status.Controller.Namespace, leader: status.Controller.Leader}
	if err := to.may(ctx); err != nil {
		return err
	}
	// Whether there is a page is found out before anybody is sent to it.
	pod, at, err := to.find(ctx)
	if err != nil {
		return err
	}
	if _, err := kube.GetFromPod(ctx, clients.DialPod, to.namespace, pod, at, "/icon.svg"); err != nil {
		return fmt.Errorf("the status page does not answer: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return fmt.Errorf("--port %d: %w", port, err)
	}
	address := "http://" + listener.Addr().String() + "/"
	fmt.Fprintf(o.env.Out, "%s is the status page, from pod %s. Ctrl-C ends it.\n", address, pod)
	if file, ok := o.env.Out.(*os.File); ok && !quiet && term.IsTerminal(int(file.Fd())) {
		openBrowser(ctx, address)
	}
	return to.forward(ctx, listener, o.env.Err)
}

// may says why the page cannot be reached.
func (c *controllers) may(ctx context.Context) error {
	if c.clients.DialPod == nil {
		return errors.New("there is no way to ports of pods")
	}
	if may, err := kube.MayForward(ctx, c.clients, c.namespace); err == nil && !may {
		return fmt.Errorf("you may not create pods/portforward in %s", c.namespace)
	}
	return nil
}

// find is a pod that serves the page, and its port.
func (c *controllers) find(ctx context.Context) (pod string, port uint16, err error) {
	pods, err := kube.ReadPods(ctx, c.clients, c.namespace)
	switch {
	case apierrors.IsForbidden(err):
		return "", 0, fmt.Errorf("you may not list pods in %s", c.namespace)
	case err != nil:
		return "", 0, fmt.Errorf("reading pods: %w", err)
	}
	pods = slices.DeleteFunc(pods, func(pod *corev1.Pod) bool {
		return container(pod, "controller") == nil || pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil
	})
	if len(pods) == 0 {
		return "", 0, fmt.Errorf("no pod of the controller runs in %s", c.namespace)
	}
	chosen := pods[0]
	for _, one := range pods {
		if one.Name == c.leader {
			chosen = one // it alone knows which addresses rest
		}
	}
	for _, one := range pods {
		if chosen.Name == c.failed && one.Name != c.failed {
			chosen = one
		}
	}
	if port = portOf(container(chosen, "controller"), "page-address", explain.PagePort); port == 0 {
		return "", 0, errors.New("the status page is switched off: see page.enabled of the chart (--page-address)")
	}
	return chosen.Name, port, nil
}

// forward brings each connection to a pod, until ctx ends.
func (c *controllers) forward(ctx context.Context, listener net.Listener, errs io.Writer) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	for {
		here, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		all.Go(func() {
			if err := c.join(ctx, here); err != nil && ctx.Err() == nil {
				fmt.Fprintf(errs, "error: %s\n", strings.TrimSpace(err.Error()))
			}
		})
	}
}

// join connects one connection to a pod, which need not be that of the one before.
func (c *controllers) join(ctx context.Context, here net.Conn) error {
	defer func() { _ = here.Close() }()
	pod, port, err := c.find(ctx)
	if err != nil {
		return err
	}
	there, err := c.dial(ctx, pod, port)
	if err != nil {
		other := *c
		other.failed = pod
		if pod, port, err = other.find(ctx); err == nil {
			there, err = c.dial(ctx, pod, port)
		}
	}
	if err != nil {
		return fmt.Errorf("pod %s: %w", pod, err)
	}
	end := sync.OnceFunc(func() {
		_ = here.Close()
		_ = there.Close()
	})
	defer end()
	stop := context.AfterFunc(ctx, end)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(there, here)
		end()
	}()
	_, _ = io.Copy(here, there)
	end()
	<-done
	return nil
}

func (c *controllers) dial(ctx context.Context, pod string, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return c.clients.DialPod(ctx, c.namespace, pod, port)
}

// openBrowser does what it can; where the page is was printed.
func openBrowser(ctx context.Context, address string) {
	name, args := "xdg-open", []string{address}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", address}
	}
	if command := exec.CommandContext(ctx, name, args...); command.Start() == nil {
		go func() { _ = command.Wait() }()
	}
}
