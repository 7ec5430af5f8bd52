package main

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/controller/ipam"
)

// books are the figures of the Go benchmarks.
type books struct {
	// at1 and at90 are nanoseconds for one address in a pool that is so full
	// in per cent: the family that is worse in proportion.
	at1, at90 float64
	// fill16 is seconds to give every address of a /16.
	fill16 float64
	// wake is milliseconds to give an address that was freed, beside 10,000
	// Services that wait; tenant those that a Service waits for its address while
	// the writes of 200 of another namespace hang.
	wake, tenant float64
}

var benchmarkLine = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op`)

// readBenchmarks takes the best of several runs of each benchmark.
func readBenchmarks(file string) (books, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return books{}, err
	}
	best := make(map[string]float64)
	for _, match := range benchmarkLine.FindAllStringSubmatch(string(text), -1) {
		ns, err := strconv.ParseFloat(match[2], 64)
		if err != nil {
			return books{}, fmt.Errorf("%s: %w", match[0], err)
		}
		if before, found := best[match[1]]; !found || ns < before {
			best[match[1]] = ns
		}
	}
	four := books{at1: best["AllocateAt1Pct/v4-8"], at90: best["AllocateAt90Pct/v4-8"]}
	six := books{at1: best["AllocateAt1Pct/v6-64"], at90: best["AllocateAt90Pct/v6-64"]}
	if four.at1*four.at90*six.at1*six.at90*best["Fill16"]*best["Wake10k"]*best["TenantWait"] == 0 {
		return books{}, fmt.Errorf("%s lacks a benchmark: %v", file, best)
	}
	worse := four
	if six.at90/six.at1 > four.at90/four.at1 {
		worse = six
	}
	worse.fill16 = best["Fill16"] / 1e9
	worse.wake, worse.tenant = best["Wake10k"]/1e6, best["TenantWait"]/1e6
	return worse, nil
}

// million is what the books need, in megabytes of heap, for a million Services
// of one address each. The names of the Services count too.
func million() (float64, error) {
	heap := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := heap()
	m := ipam.New()
	snapshot, _ := config.Build(config.Objects{Pools: []*v1beta1.IPAddressPool{{
		ObjectMeta: metav1.ObjectMeta{Name: "lan"},
		Spec:       v1beta1.IPAddressPoolSpec{Addresses: []v1beta1.AddressRange{"10.0.0.0/8"}},
	}}})
	m.SetSnapshot(snapshot)
	families := []corev1.IPFamily{corev1.IPv4Protocol}
	for i := range 1_000_000 {
		r := config.Request{Key: fmt.Sprintf("default/service-%d", i), Namespace: "default", Families: families}
		if _, refusal := m.Assign(r, nil, time.Unix(0, 0)); refusal != nil {
			return 0, refusal
		}
	}
	used := heap() - before
	runtime.KeepAlive(m)
	return float64(used) / 1e6, nil
}
