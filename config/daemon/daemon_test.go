package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/spf13/pflag"
)

func options(t *testing.T, args ...string) (*Options, error) {
	t.Helper()
	o := &Options{}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	o.AddFlags(flags, ":7472")
	err := o.Parse(flags, args)
	return o, err
}

func TestFlagsComeFromCommandLineThenEnvironment(t *testing.T) {
	t.Setenv("BALIZA_LOG_LEVEL", "warn")
	t.Setenv("BALIZA_ADMIN_ADDRESS", "127.0.0.1:1")
	o, err := options(t, "--log-level=debug")
	if err != nil {
		t.Fatal(err)
	}
	if o.LogLevel != "debug" || o.AdminAddress != "127.0.0.1:1" || o.LogFormat != "json" {
		t.Errorf("got %+v", o)
	}
}

func TestBadFlagsAreRefusedByName(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		env  string
		want string
	}{
		"unknown flag":        {args: []string{"--nonsense"}, want: "nonsense"},
		"left-over argument":  {args: []string{"extra"}, want: "extra"},
		"bad boolean in env":  {env: "maybe", want: "BALIZA_VERSION"},
		"version is no error": {args: []string{"--version"}, want: "version asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.env != "" {
				t.Setenv("BALIZA_VERSION", test.env)
			}
			_, err := options(t, test.args...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want something about %q", err, test.want)
			}
		})
	}
}

func TestLoggerRefusesUnknownLevelAndFormat(t *testing.T) {
	for _, args := range [][]string{{"--log-level=loud"}, {"--log-format=xml"}} {
		o, err := options(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Logger(); err == nil || !strings.Contains(err.Error(), strings.SplitN(args[0], "=", 2)[0]) {
			t.Errorf("%v: got %v, want an error that names the flag", args, err)
		}
	}
}

// program runs a Program on a free loopback port and returns its base URL.
func program(t *testing.T, run func(context.Context, Env) error) (url string, done <-chan error, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	o, err := options(t, "--admin-address="+address)
	if err != nil {
		t.Fatal(err)
	}
	log, _ := o.Logger()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- Program{Name: "test", Options: o, Run: run}.serve(ctx, log) }()
	t.Cleanup(cancel)
	return "http://" + address, result, cancel
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	var response *http.Response
	var err error
	for range 100 {
		if response, err = http.Get(url); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

func TestAdminPortTellsHealthReadinessAndMetrics(t *testing.T) {
	url, done, stop := program(t, func(ctx context.Context, env Env) error {
		env.Health.Ready("caches", func() error { return errors.New("services not listed yet") })
		<-ctx.Done()
		return ctx.Err()
	})
	if code, body := get(t, url+"/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("healthz: %d %q", code, body)
	}
	if code, body := get(t, url+"/readyz"); code != http.StatusServiceUnavailable || body != "caches: services not listed yet\n" {
		t.Errorf("readyz: %d %q", code, body)
	}
	if _, body := get(t, url+"/metrics"); !strings.Contains(body, "baliza_build_info{") || !strings.Contains(body, "process_resident_memory_bytes") {
		t.Errorf("metrics miss build info or process figures:\n%s", body)
	}
	response, err := http.Post(url+"/metrics", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST got %d: the port must not accept writes", response.StatusCode)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("a stop that was asked for is no failure: %v", err)
	}
}

// S4: who asks for metrics as fast as it can gets as many as it may, and the kubelet's
// probes are answered all the while, also when strangers hold connections open.
func TestS4_AFloodOfRequestsIsBounded(t *testing.T) {
	url, done, stop := program(t, func(ctx context.Context, _ Env) error { <-ctx.Done(); return ctx.Err() })
	get(t, url+"/healthz") // it runs
	at := strings.TrimPrefix(url, "http://")
	foreign := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 99)}, Timeout: time.Second}
	begin := time.Now()
	for range 2 * adminOpen { // some of which are held open
		if conn, err := foreign.Dial("tcp", at); err == nil {
			t.Cleanup(func() { _ = conn.Close() })
		}
	}
	var answered atomic.Int64
	var floods sync.WaitGroup
	end := make(chan struct{})
	for range 4 {
		floods.Go(func() {
			client := &http.Client{Transport: &http.Transport{DialContext: foreign.DialContext}}
			for {
				select {
				case <-end:
					return
				default:
				}
				if response, err := client.Get(url + "/metrics"); err == nil {
					_ = response.Body.Close()
					answered.Add(1)
				}
			}
		})
	}
	for range 50 {
		if code, body := get(t, url+"/healthz"); code != http.StatusOK {
			t.Errorf("a probe of this host: %d %q", code, body)
		}
		time.Sleep(10 * time.Millisecond)
	}
	close(end)
	floods.Wait()
	if most := adminBurst + int64(time.Since(begin).Seconds()*adminRate) + 1; answered.Load() > most {
		t.Errorf("%d requests of another host were answered in %s", answered.Load(), time.Since(begin))
	}
	stop()
	<-done
}

func TestTakenAdminPortIsNamed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, err = listenAdmin(context.Background(), listener.Addr().String(), Env{Metrics: registry("test"), Health: NewHealth()})
	if err == nil || !strings.Contains(err.Error(), listener.Addr().String()) || !strings.Contains(err.Error(), "--admin-address") {
		t.Errorf("got %v", err)
	}
}

func TestC07_CommonMetricsPassPromlint(t *testing.T) {
	families, err := registry("test").Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		if strings.HasPrefix(problem.Metric, "baliza_") {
			t.Errorf("%s: %s", problem.Metric, problem.Text)
		}
	}
}
