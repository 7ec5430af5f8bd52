package probe

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }
	good := func(start, latency int) Attempt {
		return Attempt{Start: at(start), Latency: time.Duration(latency) * time.Millisecond, Pod: "p", Node: "n"}
	}
	bad := func(start, latency int) Attempt {
		a := good(start, latency)
		a.Err = errors.New("no")
		return a
	}
	for name, c := range map[string]struct {
		all              []Attempt
		outage, begin    int
		successes, fails int
	}{
		"nothing tried":                                {nil, 0, 0, 0, 0},
		"all well":                                     {[]Attempt{good(0, 1), good(10, 1), good(20, 1)}, 10, 1, 3, 0},
		"an outage in the middle":                      {[]Attempt{good(0, 1), bad(10, 100), bad(20, 100), good(200, 1)}, 200, 1, 2, 2},
		"an outage that outlasts the probing":          {[]Attempt{good(0, 1), bad(10, 500)}, 509, 1, 1, 1},
		"never an answer":                              {[]Attempt{bad(0, 100), bad(10, 100)}, 110, 0, 0, 2},
		"a late answer does not count as an early one": {[]Attempt{good(0, 1), good(10, 900), good(905, 1)}, 905, 1, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := report(c.all)
			if r.Outage != time.Duration(c.outage)*time.Millisecond || r.Successes != c.successes || len(r.Failures) != c.fails {
				t.Errorf("got %s, %d failures", r, len(r.Failures))
			}
			if len(c.all) > 0 && !r.OutageStart.Equal(at(c.begin)) {
				t.Errorf("the outage began at %s", r.OutageStart.Sub(at(0)))
			}
		})
	}
}

func TestReadAnswer(t *testing.T) {
	pod, node, err := readAnswer(strings.NewReader("HTTP/1.0 200 OK\r\n\r\nweb-1 n2 192.0.2.100:5\n"))
	if pod != "web-1" || node != "n2" || err != nil {
		t.Errorf("got %q %q %v", pod, node, err)
	}
	if _, _, err := readAnswer(strings.NewReader("HTTP/1.0 503 No\r\n\r\n")); err == nil {
		t.Error("a 503 is no answer")
	}
}
