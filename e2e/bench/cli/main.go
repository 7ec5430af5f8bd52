// Command cli measures how long kubectl-baliza takes in a cluster with many Services:
// the real program, from its start to its end, against the lab's API server. All that
// it reads was written by a controller and by speakers. "make bench-cli" runs it; the
// last line has the figures.
//
// Environment: SERVICES (10000) is how many there are, and TRIALS (15) how often each
// command runs.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/e2e/bench/figures"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

const (
	namespace = "bench"
	// pause lets the cluster come to rest between looks at it.
	pause = 5 * time.Second
	// ceiling catches a hang.
	ceiling = 20 * time.Minute
)

func main() {
	code, inside := lab.Enter(lab.Outside{})
	if !inside {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, ceiling)
	err := run(ctx)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-cli:", err)
		os.Exit(1)
	}
}

// question is a command, the figure that it is for, and what it must print: an answer
// that is wrong is not worth its time.
type question struct {
	key  string
	args []string
	says string
}

// questions about the last of some Services, none of which is in trouble.
func questions(count int) []question {
	last := cluster.CrowdName(count - 1)
	return []question{
		{"cli_status_ms", []string{"status"}, fmt.Sprintf("%d announced", count)},
		{"cli_explain_ms", []string{"explain", "service", last, "-n", namespace}, "announced by n"},
		{"cli_simulate_ms", []string{"simulate", "--drain", "n1"}, "n1"},
	}
}

func run(ctx context.Context) error {
	count, rounds := max(1, figures.Number("SERVICES", 10000)), max(1, figures.Number("TRIALS", 15))
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, err := cluster.Start(ctx, lab.Config{Log: quiet})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := fill(ctx, c, count); err != nil {
		return err
	}
	all := questions(count)
	samples := make([][]time.Duration, len(all))
	for range rounds {
		for i, q := range all {
			took, err := ask(ctx, c, q)
			if err != nil {
				return err
			}
			samples[i] = append(samples[i], took)
		}
	}
	var rows []figures.Row
	var keys []string
	values := map[string]string{}
	for i, q := range all {
		rows = append(rows, figures.Row{Name: strings.Join(q.args, " "), Samples: samples[i]})
		keys, values[q.key] = append(keys, q.key), strconv.FormatInt(figures.Median(samples[i]).Milliseconds(), 10)
	}
	figures.Table(os.Stdout, fmt.Sprintf("kubectl baliza, with %d Services", count), rows)
	fmt.Println(figures.Line(keys, values, rounds))
	return nil
}

// ask runs a command; what it takes is from the program's start to its end.
func ask(ctx context.Context, c *cluster.Cluster, q question) (time.Duration, error) {
	began := time.Now()
	out, err := c.KubectlBaliza(ctx, q.args...)
	took := time.Since(began)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w\n%s", err, out)
	case !strings.Contains(out, q.says):
		return 0, fmt.Errorf("kubectl baliza %s does not say %q:\n%s", strings.Join(q.args, " "), q.says, out)
	}
	return took, nil
}

// fill makes the Services, and waits until all are announced and nobody writes them
// any more.
func fill(ctx context.Context, c *cluster.Cluster, count int) error {
	if _, err := c.Kubectl(ctx, "create", "namespace", namespace); err != nil {
		return err
	}
	if err := c.Advertise(ctx, namespace, namespace); err != nil {
		return err
	}
	if err := c.Pool(ctx, namespace, []string{"198.18.0.0/16"}, namespace); err != nil {
		return err
	}
	began := time.Now()
	say := func(what string) { fmt.Printf("%s after %s\n", what, time.Since(began).Round(time.Second)) }
	if err := c.Crowd(ctx, namespace, count); err != nil {
		return err
	}
	say(fmt.Sprintf("%d Services are made", count))
	before := ""
	for {
		now, err := latest(ctx, c)
		if err != nil {
			return err
		}
		if out, wrong := c.KubectlBaliza(ctx, "status"); wrong == nil && now == before {
			say("all are announced, and at rest,")
			fmt.Print(out)
			return nil
		}
		before = now
		select {
		case <-ctx.Done():
			return fmt.Errorf("the Services are not at rest: %w", ctx.Err())
		case <-time.After(pause):
		}
	}
}

// latest is the newest version among the Services.
func latest(ctx context.Context, c *cluster.Cluster) (string, error) {
	list, err := c.Client.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	newest := ""
	for i := range list.Items {
		if v := list.Items[i].ResourceVersion; len(v) > len(newest) || len(v) == len(newest) && v > newest {
			newest = v
		}
	}
	return newest, nil
}
