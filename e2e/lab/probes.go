package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probeAll runs the container's probes until ctx ends: the startup probe first,
// then readiness and liveness side by side.
func (c *container) probeAll(ctx context.Context, p *Process) {
	if probe := c.spec.StartupProbe; probe != nil {
		started, stop := context.WithCancel(ctx)
		defer stop()
		c.probeLoop(started, p, probe, func(ok bool) {
			if ok {
				stop()
				return
			}
			p.signal(unix.SIGKILL)
		})
	}
	if ctx.Err() != nil {
		return
	}
	c.change(func() { c.started, c.ready = true, c.spec.ReadinessProbe == nil })
	var both sync.WaitGroup
	if probe := c.spec.ReadinessProbe; probe != nil {
		both.Go(func() {
			c.probeLoop(ctx, p, probe, func(ok bool) {
				c.change(func() { c.ready = ok && c.process == p })
			})
		})
	}
	if probe := c.spec.LivenessProbe; probe != nil {
		both.Go(func() {
			c.probeLoop(ctx, p, probe, func(ok bool) {
				select {
				case <-c.pod.ending:
					return // a pod that ends is no longer checked for life
				default:
				}
				if !ok {
					c.pod.agent.log.Info("liveness probe failed", "pod", c.pod.name(), "container", c.spec.Name)
					p.signal(unix.SIGTERM)
					if !sleep(ctx, 5*time.Second) {
						return
					}
					p.signal(unix.SIGKILL)
				}
			})
		})
	}
	both.Wait()
}

// probeLoop calls verdict whenever the thresholds of the probe are reached and
// the verdict differs from the last.
func (c *container) probeLoop(ctx context.Context, p *Process, probe *corev1.Probe, verdict func(ok bool)) {
	if !sleep(ctx, time.Duration(probe.InitialDelaySeconds)*time.Second) {
		return
	}
	var last *bool
	run, lastOK := int32(0), false
	for c.pod.agent.gate.wait(ctx) {
		ok := c.check(ctx, p, probe) == nil
		if ctx.Err() != nil {
			return
		}
		if ok != lastOK || run == 0 {
			run, lastOK = 0, ok
		}
		run++
		need := max(probe.FailureThreshold, 1)
		if ok {
			need = max(probe.SuccessThreshold, 1)
		}
		if run >= need && (last == nil || *last != ok) {
			last = &ok
			verdict(ok)
		}
		// Until the first success, look more often than asked, so that a
		// program that starts in milliseconds is ready as fast.
		pause := time.Duration(max(probe.PeriodSeconds, 1)) * time.Second
		if last == nil || !*last {
			pause = min(pause, 250*time.Millisecond)
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

func (c *container) check(ctx context.Context, p *Process, probe *corev1.Probe) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(probe.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	switch {
	case probe.HTTPGet != nil:
		return c.httpGet(ctx, probe.HTTPGet)
	case probe.TCPSocket != nil:
		address, err := c.address(probe.TCPSocket.Host, probe.TCPSocket.Port)
		if err != nil {
			return err
		}
		conn, err := dialIn(c.pod.agent.node.Name)(ctx, "tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	case probe.Exec != nil:
		return c.exec(ctx, p, probe.Exec.Command)
	}
	return errors.New("the lab does not know this kind of probe")
}

// address of a port of the container, given by number or by name.
func (c *container) address(host string, port intstr.IntOrString) (string, error) {
	if host == "" {
		host = c.pod.ips()[0]
	}
	number := port.IntValue()
	if port.Type == intstr.String && number == 0 {
		for _, p := range c.spec.Ports {
			if p.Name == port.StrVal {
				number = int(p.ContainerPort)
			}
		}
	}
	if number == 0 {
		return "", fmt.Errorf("container %s has no port %s", c.spec.Name, port.String())
	}
	return net.JoinHostPort(host, strconv.Itoa(number)), nil
}

func (c *container) httpGet(ctx context.Context, get *corev1.HTTPGetAction) error {
	address, err := c.address(get.Host, get.Port)
	if err != nil {
		return err
	}
	scheme := strings.ToLower(string(get.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	path := "/" + strings.TrimPrefix(get.Path, "/")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+path, http.NoBody)
	if err != nil {
		return err
	}
	for _, h := range get.HTTPHeaders {
		request.Header.Set(h.Name, h.Value)
	}
	client := http.Client{Transport: &http.Transport{
		DialContext: dialIn(c.pod.agent.node.Name), DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // as the kubelet does
	}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body) // the status is the answer
	if response.StatusCode >= 400 || response.StatusCode < 200 {
		return fmt.Errorf("%s answered %s", request.URL, response.Status)
	}
	return nil
}

// exec runs a command inside the container.
func (c *container) exec(ctx context.Context, p *Process, argv []string) error {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(p.PID), "-m", "-n", "-u", "-i", "--"}, argv...)...)
	cmd.Env = c.env
	return cmd.Run()
}

// hook runs a lifecycle handler; the container ends whatever comes of it.
func (c *container) hook(ctx context.Context, p *Process, h *corev1.LifecycleHandler) {
	var err error
	switch {
	case h.Sleep != nil:
		ctx, cancel := context.WithTimeout(ctx, time.Duration(h.Sleep.Seconds)*time.Second)
		defer cancel()
		select {
		case <-ctx.Done():
		case <-p.Done():
		}
	case h.Exec != nil:
		err = c.exec(ctx, p, h.Exec.Command)
	case h.HTTPGet != nil:
		err = c.httpGet(ctx, h.HTTPGet)
	}
	if err != nil {
		c.pod.agent.log.Info("pre-stop hook failed", "pod", c.pod.name(), "container", c.spec.Name, "error", err)
	}
}
