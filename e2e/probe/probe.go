// Package probe is a client that connects again and again and says what became of
// each connection.
package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// attemptTimeout is how long one attempt of a [Prober] may take.
const attemptTimeout = time.Second

// Attempt is one connection of a [Prober].
type Attempt struct {
	// Port is the client's.
	Port    int
	Start   time.Time
	Latency time.Duration
	// Connected says that the connection was established, whatever became of
	// it then. One that failed before was refused, unreachable or unanswered.
	Connected bool
	// Pod and Node say who answered; empty when Err is set.
	Pod, Node string
	Err       error
}

func (a Attempt) end() time.Time { return a.Start.Add(a.Latency) }

// Prober opens a new connection at a fixed interval, whether or not earlier
// ones have been answered, and sends an HTTP request on each.
type Prober struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu  sync.Mutex
	all []Attempt
}

// Dialer opens one connection, as from net.Dialer's DialContext.
type Dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// Start begins to connect to target, every time from where next says: the client's
// port, and what dials from it. Every attempt has a second. It ends with
// [Prober.Stop] or ctx.
func Start(ctx context.Context, next func() (port int, dial Dialer), target netip.AddrPort, interval time.Duration) *Prober {
	ctx, stop := context.WithCancel(ctx)
	p := &Prober{stop: stop}
	p.done.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			p.done.Go(func() {
				port, dial := next()
				a := attempt(ctx, dial, target)
				a.Port = port
				if ctx.Err() != nil {
					return // cut short by Stop: says nothing
				}
				p.mu.Lock()
				defer p.mu.Unlock()
				p.all = append(p.all, a)
			})
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return p
}

func attempt(ctx context.Context, dial Dialer, target netip.AddrPort) (a Attempt) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	a.Start = time.Now()
	defer func() { a.Latency = time.Since(a.Start) }()
	conn, err := dial(ctx, "tcp", target.String())
	if err != nil {
		// What is reset was established before (RFC 9293 section 3.10.7: until
		// then a reset means "refused"), however soon that was.
		a.Err, a.Connected = err, errors.Is(err, unix.ECONNRESET)
		return a
	}
	a.Connected = true
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, a.Err = io.WriteString(conn, "GET / HTTP/1.0\r\nHost: lab\r\n\r\n"); a.Err != nil {
		return a
	}
	a.Pod, a.Node, a.Err = readAnswer(conn)
	return a
}

// readAnswer parses what "lab serve" answers: pod, node and client on one line.
func readAnswer(from io.Reader) (pod, node string, err error) {
	response, err := http.ReadResponse(bufio.NewReader(from), nil)
	if err != nil {
		return "", "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return "", "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("answered %s", response.Status)
	}
	fields := strings.Fields(string(body))
	if len(fields) > 0 {
		pod = fields[0]
	}
	if len(fields) > 2 {
		node = fields[1]
	}
	return pod, node, nil
}

// Attempts are the finished attempts so far, in the order of their start.
func (p *Prober) Attempts() []Attempt {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Clone(p.all)
	slices.SortFunc(all, func(a, b Attempt) int { return a.Start.Compare(b.Start) })
	return all
}

// Report sums up the attempts so far.
func (p *Prober) Report() Report { return report(p.Attempts()) }

// Stop ends the probing and sums up; attempts that are under way do not count.
func (p *Prober) Stop() Report {
	p.stop()
	p.done.Wait()
	return p.Report()
}

// Report sums up a [Prober]'s work.
type Report struct {
	Attempts, Successes int
	// Outage is the longest time without a success, from the answer to one
	// attempt to the answer to the next that was answered, from the start of the
	// first attempt and to the end of the last included. In good times it is the
	// interval.
	Outage time.Duration
	// OutageStart is when that time began.
	OutageStart time.Time
	// Failures are the attempts that failed.
	Failures []Attempt
	// Pods and Nodes count who answered how often.
	Pods, Nodes map[string]int
	// Median and P99 are latencies of the successes.
	Median, P99 time.Duration
}

func report(all []Attempt) Report {
	r := Report{Attempts: len(all), Pods: map[string]int{}, Nodes: map[string]int{}}
	if len(all) == 0 {
		return r
	}
	begin, end := all[0].Start, all[0].end()
	var answers []time.Time
	var latencies []time.Duration
	for _, a := range all {
		if a.Start.Before(begin) {
			begin = a.Start
		}
		if a.end().After(end) {
			end = a.end()
		}
		if a.Err != nil {
			r.Failures = append(r.Failures, a)
			continue
		}
		r.Successes++
		r.Pods[a.Pod]++
		r.Nodes[a.Node]++
		answers = append(answers, a.end())
		latencies = append(latencies, a.Latency)
	}
	slices.SortFunc(answers, time.Time.Compare)
	last := begin
	for _, t := range append(answers, end) {
		if gap := t.Sub(last); gap > r.Outage {
			r.Outage, r.OutageStart = gap, last
		}
		last = t
	}
	slices.Sort(latencies)
	if n := len(latencies); n > 0 {
		r.Median, r.P99 = latencies[n/2], latencies[n*99/100]
	}
	return r
}

// Unlucky is the time from the first attempt that failed to the last, by their
// starts: for that long a client may have been unlucky, though others were
// answered meanwhile.
func (r Report) Unlucky() time.Duration {
	if len(r.Failures) == 0 {
		return 0
	}
	return r.Failures[len(r.Failures)-1].Start.Sub(r.Failures[0].Start)
}

// String is one line for a log.
func (r Report) String() string {
	return fmt.Sprintf("%d of %d answered, longest time without an answer %s, median %s, p99 %s",
		r.Successes, r.Attempts, r.Outage.Round(time.Millisecond), r.Median.Round(time.Microsecond), r.P99.Round(time.Microsecond))
}
