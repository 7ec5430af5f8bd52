package ipam

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/baliza-lb/baliza/config"
)

// fragment takes a share of the pool's first 2^18 addresses off its free
// space, one by one and scattered, and all the rest but as much again as is
// left of those, so that percent of the whole pool is taken.
func fragment(b *testing.B, m *IPAM, f family, percent int) {
	b.Helper()
	p := m.order[0]
	random := rand.New(rand.NewPCG(1, 2))
	a := p.Ranges[0].First
	const scattered = 1 << 18
	for range scattered {
		if random.IntN(100) < percent {
			p.free[f].take(a)
		}
		a = a.Next()
	}
	if percent >= 50 { // the rest of the pool in one stroke
		i, _ := p.free[f].at(numberOf(p.Ranges[0].Last))
		p.free[f].tree.Delete(i)
		if n := numberOf(a); i.first.less(n) {
			p.free[f].tree.ReplaceOrInsert(interval{i.first, n.previous()})
		}
	}
	b.ReportMetric(float64(p.free[f].tree.Len()), "fragments")
}

func benchmark(b *testing.B, prefix string, percent int) {
	m := books(b, poolOf("lan", prefix))
	f := familyOf(netip.MustParsePrefix(prefix).Addr())
	fragment(b, m, f, percent)
	const batch = 4096
	requests := make([]config.Request, batch)
	for i := range requests {
		requests[i] = want(fmt.Sprintf("s%d", i))
		if f == ipv6 {
			requests[i].Families = []corev1.IPFamily{corev1.IPv6Protocol}
		}
	}
	at := time.Unix(0, 0)
	m.Advance(at)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		for i := 0; i < batch && n < b.N; i++ {
			if a, refusal := m.Assign(requests[i], nil, time.Time{}); refusal != nil || len(a.Addresses) != 1 {
				b.Fatal(refusal)
			}
			n++
		}
		b.StopTimer()
		for i := range requests {
			m.Release(requests[i].Key)
		}
		at = at.Add(time.Hour) // their rest is over: the next batch meets the fragments again
		m.Advance(at)
		b.StartTimer()
	}
}

func BenchmarkAllocateAt1Pct(b *testing.B) {
	b.Run("v4-8", func(b *testing.B) { benchmark(b, "10.0.0.0/8", 1) })
	b.Run("v6-64", func(b *testing.B) { benchmark(b, "2001:db8::/64", 1) })
}

func BenchmarkAllocateAt90Pct(b *testing.B) {
	b.Run("v4-8", func(b *testing.B) { benchmark(b, "10.0.0.0/8", 90) })
	b.Run("v6-64", func(b *testing.B) { benchmark(b, "2001:db8::/64", 90) })
}

func BenchmarkFill16(b *testing.B) {
	requests := make([]config.Request, 1<<16)
	for i := range requests {
		requests[i] = want(fmt.Sprintf("s%d", i))
	}
	for b.Loop() {
		m := books(b, poolOf("lan", "10.0.0.0/16"))
		for i := range requests {
			if _, refusal := m.Assign(requests[i], nil, time.Time{}); refusal != nil {
				b.Fatal(refusal)
			}
		}
	}
}

func BenchmarkReleaseAndAllocateFull16(b *testing.B) {
	m := books(b, poolOf("lan", "10.0.0.0/16"))
	requests := make([]config.Request, 1<<16)
	for i := range requests {
		requests[i] = want(fmt.Sprintf("s%d", i))
		assign(b, m, requests[i], netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String()+" lan")
	}
	random := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		r := requests[random.IntN(len(requests))]
		m.Release(r.Key)
		if _, refusal := m.Assign(r, nil, time.Time{}); refusal != nil {
			b.Fatal(refusal)
		}
	}
}
