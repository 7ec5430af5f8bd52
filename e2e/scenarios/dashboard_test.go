package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// dashboard is what Grafana reads of the chart's.
type dashboard struct {
	Panels []struct {
		Title   string
		Targets []struct{ Expr string }
	}
}

// A Prometheus that reads the programs of the lab has data for every panel of the
// dashboard, after both protocols have worked and a node has died; and it can work out
// every alert.
func TestThe_dashboard_has_data_and_the_alerts_are_worked_out(t *testing.T) {
	ctx, p := newRouted(t, 2, nil, nil)
	p.must(p.Advertise(ctx, p.name, p.name))
	p.watch(ctx, 10)
	v4, _ := p.made(ctx, "web", nil)
	p.hops(ctx, cluster.HostPrefix(v4), nodes4...)
	p.service(ctx, "withheld", func(svc *corev1.Service) { svc.Spec.Selector = map[string]string{"app": "nobody"} })
	files, err := cluster.Chart()
	p.must(err)
	files = filepath.Join(files, "files")
	ask := p.prometheus(ctx, filepath.Join(files, "alerts.yaml"))
	dead := p.owner(ctx, v4)
	p.must(p.Cut(dead))
	t.Cleanup(func() {
		p.must(p.Heal(dead))
		again, cancel := context.WithTimeout(context.Background(), ceiling)
		defer cancel()
		p.waitAllReady(again)
	})

	text, err := os.ReadFile(filepath.Join(files, "dashboard.json"))
	p.must(err)
	var d dashboard
	p.must(json.Unmarshal(text, &d))
	queries := 0
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			queries++
			expr := strings.NewReplacer("$__rate_interval", "20s", "$__range", "5m").Replace(target.Expr)
			var answer struct {
				Data struct{ Result []json.RawMessage }
			}
			err := lab.WaitFor(ctx, fmt.Sprintf("data for the panel %q: %s", panel.Title, expr), func() (bool, error) {
				err := ask("/api/v1/query?query="+url.QueryEscape(expr), &answer)
				return len(answer.Data.Result) > 0, err
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
	if queries < 20 {
		t.Errorf("only %d queries in the dashboard", queries)
	}

	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	alerts := 0
	p.must(ask("/api/v1/rules", &rules))
	for _, group := range rules.Data.Groups {
		for _, rule := range group.Rules {
			alerts++
			if rule.Health != "ok" {
				t.Errorf("alert %s: %s %s", rule.Name, rule.Health, rule.LastError)
			}
		}
	}
	if alerts == 0 {
		t.Error("no alert is worked out")
	}
}

// prometheus starts one that reads every program of the lab once a second, and returns
// what asks it.
func (p *routed) prometheus(ctx context.Context, rules string) (ask func(path string, into any) error) {
	p.t.Helper()
	targets := []string{}
	for _, node := range []string{"n1", "n2", "n3"} {
		targets = append(targets, p.forward(node, "127.0.0.1:7473"))
	}
	out, err := p.Kubectl(ctx, "-n", cluster.Namespace, "get", "pods", "-l", "app.kubernetes.io/component=controller",
		"-o", `jsonpath={range .items[*]}{.spec.nodeName} {.status.podIP}{"\n"}{end}`)
	p.must(err)
	for line := range strings.Lines(out) {
		node, address, _ := strings.Cut(strings.TrimSpace(line), " ")
		targets = append(targets, p.forward(node, net.JoinHostPort(address, "7472")))
	}
	config, err := json.Marshal(map[string]any{ // JSON is YAML
		"global":     map[string]any{"scrape_interval": "1s", "evaluation_interval": "1s"},
		"rule_files": []string{rules},
		"scrape_configs": []any{map[string]any{
			"job_name": "baliza", "static_configs": []any{map[string]any{"targets": targets}},
		}},
	})
	p.must(err)
	dir := p.t.TempDir()
	p.must(os.WriteFile(filepath.Join(dir, "prometheus.yml"), config, 0o600))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	p.must(err)
	at := free.Addr().String()
	p.must(free.Close())
	command := exec.CommandContext(ctx, "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+at)
	log, err := os.Create(filepath.Join(dir, "log"))
	p.must(err)
	command.Stdout, command.Stderr = log, log
	p.must(command.Start())
	p.t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = log.Close()
		if p.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			p.t.Logf("Prometheus said:\n%s", text)
		}
	})
	ask = func(path string, into any) error {
		response, err := http.Get("http://" + at + path)
		if err != nil {
			return nil // not there yet
		}
		defer response.Body.Close()
		if response.StatusCode == http.StatusServiceUnavailable {
			return nil // starting
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", path, response.Status)
		}
		return json.NewDecoder(response.Body).Decode(into)
	}
	p.must(lab.WaitFor(ctx, fmt.Sprintf("Prometheus to read %d programs", len(targets)), func() (bool, error) {
		var up struct {
			Data struct{ Result []json.RawMessage }
		}
		err := ask("/api/v1/query?query="+url.QueryEscape("up == 1"), &up)
		return len(up.Data.Result) == len(targets), err
	}))
	return ask
}

// forward brings an HTTP server that a host reaches to an address here.
func (p *routed) forward(host, to string) string {
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: to}) },
		Transport: &http.Transport{DialContext: p.Dialer(host)},
	})
	p.t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}
