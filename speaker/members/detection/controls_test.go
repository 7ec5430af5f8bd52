package detection

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// Heartbeats of b are missing, and its kernel does not answer: a holds it for dead when
// the gateway has answered a question that was put when b's time was over, and not
// before. Questions are put from the second pulse on; the time is over with the third.
func TestL16_NobodyIsDeadBeforeAControlHasAnswered(t *testing.T) {
	gateway := netip.AddrFrom4([4]byte{198, 51, 100, 1})
	bound := int(Default().Silence / Default().Pulse)
	for _, test := range []struct {
		name string
		// before says that the gateway answers while all is well.
		before bool
		// answers says that it answers meanwhile; else its answers wait, and so many of
		// them come after a pulse.
		answers bool
		come    map[int]int
		dead    int // with which pulse
	}{
		{name: "it answers", before: true, answers: true, dead: 4},
		{name: "it has never answered", dead: 4},
		{name: "it is silent", before: true, dead: bound},
		{name: "an answer to an earlier question comes", before: true, come: map[int]int{3: 1}, dead: bound},
		{name: "and the one to that which counts", before: true, come: map[int]int{3: 2}, dead: 4},
		{name: "and that is one pulse late", before: true, come: map[int]int{3: 1, 4: 1}, dead: 5},
	} {
		r := newRoom(t, "a", "b")
		r.gateways = map[netip.Addr]bool{gateway: test.before}
		r.share()
		r.steps(20, all)
		r.gateways[gateway], r.kernels["b"], r.waiting = test.answers, false, nil
		died := 0
		for pulse := 1; pulse <= bound+2 && died == 0; pulse++ {
			r.step(not("b"))
			if !slices.Contains(r.machines["a"].Alive(), "b") {
				died = pulse
			}
			come := min(test.come[pulse], len(r.waiting))
			for _, answer := range r.waiting[:come] {
				answer()
			}
			r.waiting = r.waiting[come:]
		}
		if died != test.dead {
			t.Errorf("%s: dead with pulse %d, want %d", test.name, died, test.dead)
		}
	}
}

// Of three nodes without a gateway one that is heard is the control of another, and of
// two that are not heard each is the other's, and does not answer.
func TestL16_AnotherNodeIsTheControl(t *testing.T) {
	for _, answers := range []bool{true, false} {
		r := newRoom(t, "a", "b", "c")
		r.share()
		r.steps(20, all)
		r.kernels["b"], r.kernels["c"] = false, answers
		open := not("b")
		if !answers {
			open = func(_, to string) bool { return to != "a" }
		}
		r.steps(Default().Misses+1, open)
		if answers {
			r.expect("a", "c")
		} else {
			r.expect("a", "b", "c")
		}
	}
}

// What was held up comes one after the other: who has received nothing, and hears
// somebody again, gives the others time.
func TestL16_WhoHearsAgainGivesTheOthersTime(t *testing.T) {
	gateway := netip.AddrFrom4([4]byte{198, 51, 100, 1})
	r := newRoom(t, "a", "b", "c")
	r.gateways = map[netip.Addr]bool{gateway: true}
	r.share()
	r.steps(20, all)
	r.gateways[gateway], r.kernels["b"], r.kernels["c"] = false, false, false
	r.steps(16, func(from, to string) bool { return from != "b" && to != "a" })
	r.expect("a", "b", "c")
	// The gateway is heard again, and c; what b has sent comes last.
	for _, answer := range r.waiting {
		answer()
	}
	r.gateways[gateway], r.kernels["c"] = true, true
	r.steps(Default().MissesAlone-2, not("b"))
	r.expect("a", "b", "c")
	r.steps(3, all)
	r.expect("a", "b", "c")
}

// One that hears nobody, and whose gateway does not answer, takes nothing, whatever its
// interface has counted.
func TestL19_WhatAnInterfaceHasCountedProvesNothingWhereAGatewayIsSilent(t *testing.T) {
	gateway := netip.AddrFrom4([4]byte{198, 51, 100, 1})
	r := newRoom(t, "a", "b")
	r.gateways = map[netip.Addr]bool{gateway: true}
	m := r.machines["a"]
	m.config.Received = func(string) uint64 { r.frames++; return r.frames }
	r.share()
	r.steps(20, all)
	r.gateways[gateway], r.kernels["b"] = false, false
	settled := func() bool {
		_, settled := m.Snapshot().Settled(r.now.Add(time.Second))
		return settled
	}
	r.steps(int(2*Default().Silence/Default().Pulse), not("b"))
	r.expect("a")
	if settled() {
		t.Error("its gateway is silent, and it would take what b has")
	}
	r.gateways[gateway], r.waiting = true, nil
	r.steps(answerWithin+2, not("b"))
	if !settled() {
		t.Error("its gateway answers, and it would take nothing")
	}
}
