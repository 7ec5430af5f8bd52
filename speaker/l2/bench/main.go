// Command arp measures what answering ARP costs while the segment is flooded
// with requests for other addresses, at 10 addresses and at 10,000. "make
// bench-arp" runs it. The last line has the figures.
//
// Three processes, so that their processor times can be told apart: the first
// makes a network namespace of its own; in it the second is the segment, which
// floods and asks through packet sockets; the third, in another namespace at
// the other end of a cable, is package speaker/l2 and nothing else.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// The environment tells a process which of the three it is.
const (
	role      = "BALIZA_BENCH_ARP"
	segment   = "segment"
	responder = "responder"
)

// The two numbers of addresses that are compared.
const few, many = 10, 10_000

// settings are the command line.
type settings struct {
	rounds   int
	duration time.Duration
	rate     int
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 5, "how often each is measured; the medians count")
	flag.DurationVar(&s.duration, "duration", 3*time.Second, "how long one measurement takes")
	flag.IntVar(&s.rate, "rate", 20_000, "requests for other addresses in a second")
	flag.Parse()
	var err error
	switch os.Getenv(role) {
	case segment:
		err = s.measure()
	case responder:
		err = answer()
	default:
		err = inNamespace(segment, os.Args[1:]...).Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-arp:", err)
		os.Exit(1)
	}
}

// inNamespace is this program again, in a network namespace of its own.
func inNamespace(as string, args ...string) *exec.Cmd {
	c := exec.Command("/proc/self/exe", args...) //nolint:gosec,noctx // this program; it ends when its parent does
	c.Env = append(os.Environ(), role+"="+as)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return c
}

// figures are those of one measurement.
type figures struct {
	quiet, flooded time.Duration // 99th percentile of the time to an answer
	perRequest     float64       // processor time of the responder, in ns
	lost           float64       // share of the requests that it never saw
	answers        int
}

// measure runs the rounds and prints the figures.
func (s *settings) measure() error {
	all := map[int][]figures{}
	answers := 0
	fmt.Printf("%9s  %5s  %12s  %12s  %14s  %7s\n", "addresses", "round", "p99 quiet us", "p99 flood us", "ns per request", "lost %")
	for round := range s.rounds {
		for _, count := range []int{few, many} { // in turn, so that both meet the same weather
			f, err := s.once(count)
			if err != nil {
				return err
			}
			all[count] = append(all[count], f)
			answers += f.answers
			fmt.Printf("%9d  %5d  %12.0f  %12.0f  %14.0f  %7.2f\n", count, round+1, micro(f.quiet), micro(f.flooded), f.perRequest, 100*f.lost)
		}
	}
	added := median(all[many], func(f figures) float64 { return micro(f.flooded - f.quiet) })
	cost := func(f figures) float64 { return f.perRequest }
	at10, at10k := median(all[few], cost), median(all[many], cost)
	fmt.Printf("arp_p99_added_us=%.0f arp_cpu_ns_per_request_10=%.0f arp_cpu_ns_per_request_10k=%.0f arp_cpu_ratio=%.2f n=%d\n",
		added, at10, at10k, at10k/at10, answers)
	return nil
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(time.Microsecond) }

func median(all []figures, of func(figures) float64) float64 {
	values := make([]float64, 0, len(all))
	for _, f := range all {
		values = append(values, of(f))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
