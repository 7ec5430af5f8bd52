// Command ipam measures what an address costs: in the books alone, and from a
// Service without one to a Service that shows it. "make bench-ipam" runs it.
// The last line has the figures.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/baliza-lb/baliza/e2e/lab"
)

func main() { os.Exit(run()) }

func run() int {
	file := flag.String("benchmarks", "", "output of the Go benchmarks of controller/ipam and controller/reconcile")
	count := flag.Int("services", 5000, "how many Services to create on the lab")
	rounds := flag.Int("rounds", 3, "how often to measure on the lab")
	flag.Parse()
	code, inside := lab.Enter(lab.Outside{})
	if !inside {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	books, err := readBenchmarks(*file)
	if err != nil {
		return fail(err)
	}
	fmt.Println("a million Services in the books")
	megabytes, err := million()
	if err != nil {
		return fail(err)
	}
	end, err := endToEnd(ctx, *count, *rounds, os.Stdout)
	if err != nil {
		return fail(err)
	}
	fmt.Printf("ipam_ns_at_1pct=%.0f ipam_ns_at_90pct=%.0f ipam_fill16_s=%.3f ipam_1m_services_mb=%.0f "+
		"wake_10k_ms=%.1f tenant_wait_ms=%.0f e2e_rate=%.0f raw_rate=%.0f e2e_over_raw=%.2f\n",
		books.at1, books.at90, books.fill16, megabytes, books.wake, books.tenant, end.rate, end.raw, end.ratio)
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "bench-ipam:", err)
	return 1
}
