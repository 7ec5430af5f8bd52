package baliza_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baliza-lb/baliza/controller/reconcile"
	"github.com/baliza-lb/baliza/speaker/bgp"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/metrics"
)

// noSessions are BGP's, of which there are none.
type noSessions struct{}

func (noSessions) Status() []bgp.Status { return nil }

var updateMetrics = flag.Bool("update-metrics", false, "write the tables of docs/metrics.md")

// descOf takes a description apart, which has no other form.
var descOf = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "([^"]+)", unit: "", constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}\}$`)

// docs/metrics.md has each metric that the programs register, with its labels and its
// help, and no other.
func TestDocumentedMetricsAreThoseThatThereAre(t *testing.T) {
	ofController, ofSpeaker := prometheus.NewRegistry(), prometheus.NewRegistry()
	reconcile.NewMetrics(ofController)
	from := metrics.Sources{
		Answers: func() l2.Stats { return l2.Stats{} }, Alive: func() int { return 0 }, Stalls: func() uint64 { return 0 }, Sessions: noSessions{},
	}
	if err := metrics.New(from).Register(ofSpeaker); err != nil {
		t.Fatal(err)
	}
	const file = "docs/metrics.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(text), "## Controller\n")
	if !strings.HasSuffix(head, "\n\n") || rest == "" {
		t.Fatal("no part about the controller")
	}
	want := head + "## Controller\n\n" + table(t, ofController) + "\n## Speaker\n\n" + table(t, ofSpeaker)
	if *updateMetrics {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(text) {
		t.Errorf("%s is not up to date: go test . -run %s -update-metrics; want\n%s", file, t.Name(), want)
	}
	for _, user := range []string{"deploy/helm/baliza/files/alerts.yaml", "deploy/helm/baliza/files/dashboard.json"} {
		for _, name := range matches(t, user, `(baliza_[a-z0-9_]+)`) {
			if !strings.Contains(want, "`"+strings.TrimSuffix(name, "_bucket")+"`") {
				t.Errorf("%s: there is no metric %s", user, name)
			}
		}
	}
	for _, alert := range matches(t, "deploy/helm/baliza/files/alerts.yaml", `alert: (\w+)`) {
		for _, state := range []string{" fires", " quiet"} {
			if !slices.Contains(matches(t, "deploy/prometheus/alerts_test.yaml", `- name: (\w+ \w+)`), alert+state) {
				t.Errorf("deploy/prometheus/alerts_test.yaml does not say when %s%s", alert, state)
			}
		}
	}
	for _, name := range regexp.MustCompile("`(baliza_[a-z0-9_]+)").FindAllStringSubmatch(head, -1) {
		if name[1] != "baliza_build_info" && !strings.Contains(want[len(head):], "`"+name[1]+"`") {
			t.Errorf("%s: there is no metric %s", file, name[1])
		}
	}
}

func table(t *testing.T, of *prometheus.Registry) string {
	t.Helper()
	descs := make(chan *prometheus.Desc)
	go func() {
		of.Describe(descs)
		close(descs)
	}()
	var rows []string
	for d := range descs {
		found := descOf.FindStringSubmatch(d.String())
		if found == nil {
			t.Errorf("not understood: %s", d)
			continue
		}
		labels := found[4]
		if name, _, constant := strings.Cut(found[3], "="); constant {
			labels = name
		}
		for one := range strings.SplitSeq(labels, ",") {
			if one != "" {
				labels = strings.ReplaceAll(labels, one, "`"+one+"`")
			}
		}
		rows = append(rows, fmt.Sprintf("| %#q | %s | %s |", found[1], strings.ReplaceAll(labels, ",", ", "), found[2]))
	}
	slices.Sort(rows)
	return "| metric | labels | |\n| --- | --- | --- |\n" + strings.Join(slices.Compact(rows), "\n") + "\n"
}
