// Package figures is what the benchmarks have in common: how they are asked to
// be shorter, and the table, the picture and the last line that they end with.
package figures

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Number reads one from the environment, zero included.
func Number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n >= 0 {
		return n
	}
	return otherwise
}

// Time reads one from the environment, zero included.
func Time(name string, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(os.Getenv(name)); err == nil && d >= 0 {
		return d
	}
	return otherwise
}

// Median of the samples; zero if there are none.
func Median[T time.Duration | float64](samples []T) T {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// Row is one line of a table: what was measured and how it came out, or, where
// there are no samples, a note.
type Row struct {
	Name    string
	Samples []time.Duration
	Note    string
}

// Table writes the rows with their spread, and how busy the machine is.
func Table(to io.Writer, heading string, rows []Row) {
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + " ms" }
	fmt.Fprintf(to, "\n%-52s %5s %9s %9s %9s\n", heading, "n", "median", "worst", "best")
	for _, r := range rows {
		if len(r.Samples) == 0 {
			fmt.Fprintf(to, "%-52s %s\n", r.Name, r.Note)
			continue
		}
		fmt.Fprintf(to, "%-52s %5d %9s %9s %9s %s\n",
			r.Name, len(r.Samples), ms(Median(r.Samples)), ms(slices.Max(r.Samples)), ms(slices.Min(r.Samples)), r.Note)
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(to, "load of the machine at the end: %s\n", load)
}

// Line is the last line: the values in the order of keys, "-" for one that was
// not taken in this run, and the number of trials.
func Line(keys []string, values map[string]string, trials int) string {
	var line strings.Builder
	for _, key := range keys {
		value := values[key]
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(&line, "%s=%s ", key, value)
	}
	return fmt.Sprintf("%sn=%d", line.String(), trials)
}
