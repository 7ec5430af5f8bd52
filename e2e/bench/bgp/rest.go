package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// restful is how much of the processors' time is used on a machine at rest: a
	// whole cluster with three kube-proxies does something all the time.
	restful = 0.4
	// restFor is how long it must have been so, in samples of restSample.
	restFor    = 5
	restSample = 2 * time.Second
	restMost   = 5 * time.Minute
)

// rest waits until the machine is at rest, and says how long that took. What is
// measured before is how long kube-proxies and the API server need for thousands of
// Services, on the processors that the speakers share with them.
func (c *crowd) rest(ctx context.Context) error {
	began, used, quiet := time.Now(), 0.0, 0
	for before := ""; quiet < restFor && time.Since(began) < restMost; {
		now, err := os.ReadFile("/proc/stat")
		if err != nil {
			return err
		}
		if before != "" {
			if used, err = busyShare(before, string(now)); err != nil {
				return err
			}
			quiet++
			if used > restful {
				quiet = 0
			}
		}
		before = string(now)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(restSample):
		}
	}
	c.say("waited %s for a machine at rest, %.0f %% of its processors' time are used", time.Since(began).Round(time.Second), 100*used)
	return nil
}

// busyShare is the share of the processors' time that was used between two readings of
// /proc/stat, 0 to 1 (proc_stat(5)): all but what stands under idle and iowait.
func busyShare(before, after string) (float64, error) {
	var total, idle [2]float64
	for i, text := range []string{before, after} {
		line, _, _ := strings.Cut(text, "\n")
		fields := strings.Fields(line)
		if len(fields) < 9 || fields[0] != "cpu" {
			return 0, fmt.Errorf("/proc/stat begins with %q", line)
		}
		for j, field := range fields[1:9] { // user to steal; what follows is part of user
			value, err := strconv.ParseFloat(field, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/stat: %w", err)
			}
			total[i] += value
			if j == 3 || j == 4 {
				idle[i] += value
			}
		}
	}
	if total[1] <= total[0] {
		return 0, nil
	}
	return 1 - (idle[1]-idle[0])/(total[1]-total[0]), nil
}
