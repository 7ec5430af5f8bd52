package bfd

import (
	"fmt"
	"testing"
	"time"
)

const ms = time.Millisecond

func fast() Profile { return Profile{Receive: 100 * ms, Transmit: 100 * ms, Multiplier: 3} }

// ends are two machines that talk to each other.
type ends struct {
	a, b *machine
	now  time.Time
}

func newEnds(p Profile) *ends {
	now := time.Unix(1000, 0)
	return &ends{newMachine(p, 1, now), newMachine(p, 2, now), now}
}

func (e *ends) other(m *machine) *machine {
	if m == e.a {
		return e.b
	}
	return e.a
}

// say delivers a packet of one end, and what is answered at once.
func (e *ends) say(from *machine, packet control) {
	read, err := parse(packet.marshal())
	if err != nil {
		panic(err)
	}
	if answer, ok := e.other(from).receive(&read, e.now); ok {
		e.say(e.other(from), answer)
	}
}

// exchange lets each end say something three times.
func (e *ends) exchange() {
	for range 3 {
		e.say(e.a, e.a.packet())
		e.say(e.b, e.b.packet())
	}
}

// up is a session that is Up, with no Poll Sequence under way.
func up(p Profile) *ends {
	e := newEnds(p)
	e.exchange()
	if e.a.state != Up || e.b.state != Up || e.a.poll != pollNone || e.b.poll != pollNone {
		panic(fmt.Sprintf("%s and %s, polls %d and %d", e.a.state, e.b.state, e.a.poll, e.b.poll))
	}
	return e
}

// heard is a packet of the other end.
func (e *ends) heard(change func(*control)) control {
	c := e.b.packet()
	change(&c)
	return c
}

// Each section of RFC 5880, 6.8.1 to 6.8.18, as far as it asks something of
// this speaker, with what is true of it.
func TestRFC5880(t *testing.T) {
	slow := Profile{Receive: time.Second, Transmit: time.Second, Multiplier: 3}
	for sentence, holds := range map[string]func() bool{
		"6.8.1: a session begins Down, with RemoteMinRxInterval 1 and no RemoteDiscr": func() bool {
			m := newMachine(fast(), 1, time.Unix(0, 0))
			return m.state == Down && m.remoteRx == time.Microsecond && m.remote == 0
		},
		"6.8.1: RemoteDiscr is zero after a detection time without a packet, Up": func() bool {
			e := up(fast())
			e.a.tick(e.now.Add(300*ms), 0)
			return e.a.remote == 0 && e.a.packet().yourDiscriminator == 0
		},
		// D12
		"6.8.1: and so it is where the router said Down first": func() bool {
			e := up(fast())
			e.say(e.b, e.heard(func(c *control) { c.state = Down }))
			known := e.a.remote != 0
			e.a.tick(e.now.Add(3*time.Second), 0)
			return known && e.a.state == Down && e.a.remote == 0
		},
		"6.8.1: and where it said AdminDown first": func() bool {
			e := up(fast())
			e.say(e.b, e.heard(func(c *control) { c.state = AdminDown }))
			e.a.tick(e.now.Add(3*time.Second), 0)
			return e.a.state == Down && e.a.remote == 0
		},
		"6.8.1: a router that wanted no packets and fell silent is spoken to again": func() bool {
			e := up(fast())
			e.say(e.b, e.heard(func(c *control) { c.requiredMinRx = 0 }))
			quiet := !e.a.speaks()
			e.a.tick(e.now.Add(300*ms), 0)
			return quiet && e.a.speaks()
		},
		"6.8.2: the interval is the longer of what we want to send and the router wants to receive": func() bool {
			e := up(fast())
			e.say(e.b, e.heard(func(c *control) { c.requiredMinRx = 400 * ms }))
			return e.a.interval() == 400*ms
		},
		"6.8.3: while not Up we send once a second at most, and say so": func() bool {
			m := newMachine(fast(), 1, time.Unix(0, 0))
			return m.interval() == time.Second && m.packet().desiredMinTx == time.Second
		},
		"6.8.3: another interval starts a Poll Sequence, at once": func() bool {
			e := up(slow)
			e.a.tick(e.now, 0.5)
			e.a.configure(fast(), e.now.Add(10*ms))
			packet, send, _ := e.a.tick(e.now.Add(10*ms), 0)
			return send && packet.poll && packet.requiredMinRx == 100*ms && packet.desiredMinTx == 100*ms
		},
		// D3
		"6.8.3: a shorter RequiredMinRxInterval does not shorten the detection time before the Final": func() bool {
			e := up(slow)
			e.a.configure(fast(), e.now)
			_, _, silent := e.a.tick(e.now.Add(2999*ms), 0)
			return !silent && e.a.state == Up && e.a.detection() == 3*time.Second
		},
		"6.8.3: and does after it": func() bool {
			e := up(slow)
			e.a.configure(fast(), e.now)
			e.b.configure(fast(), e.now)
			e.exchange()
			return e.a.poll == pollNone && e.a.detection() == 300*ms && e.b.detection() == 300*ms
		},
		"6.8.3: a longer RequiredMinRxInterval lengthens the detection time at once": func() bool {
			e := up(fast())
			e.a.configure(slow, e.now)
			return e.a.detection() == 3*time.Second
		},
		"6.8.3: a longer DesiredMinTxInterval does not slow us before the Final": func() bool {
			e := up(fast())
			e.a.configure(slow, e.now)
			before := e.a.interval()
			e.say(e.a, e.a.packet())
			return before == 100*ms && e.a.interval() == time.Second
		},
		"6.8.3: a shorter DesiredMinTxInterval is used at once": func() bool {
			e := up(slow)
			e.b.configure(fast(), e.now)
			e.exchange()
			e.a.configure(Profile{Receive: time.Second, Transmit: 100 * ms, Multiplier: 3}, e.now)
			return e.a.interval() == 100*ms
		},
		"6.5, 6.8.3: a change during a Poll Sequence has one of its own, with a packet between": func() bool {
			e := up(slow)
			e.a.configure(fast(), e.now)
			e.a.configure(Profile{Receive: 50 * ms, Transmit: 50 * ms, Multiplier: 3}, e.now)
			final := e.heard(func(c *control) { c.final = true })
			e.say(e.b, final)
			gap, _, _ := e.a.tick(e.now.Add(time.Second), 0)
			kept := e.a.detection() == 3*time.Second
			next, _, _ := e.a.tick(e.now.Add(2*time.Second), 0)
			e.say(e.b, final)
			return !gap.poll && kept && next.poll && e.a.poll == pollNone && e.a.rxInUse == 50*ms
		},
		"6.8.4: the detection time is the router's multiplier, by the longer of our Rx and its Tx": func() bool {
			e := up(fast())
			e.say(e.b, e.heard(func(c *control) { c.detectMult, c.desiredMinTx = 5, 200*ms }))
			return e.a.detection() == time.Second
		},
		"6.8.4: one that is over takes an Up session Down with diagnostic 1, and is a failure": func() bool {
			e := up(fast())
			_, _, early := e.a.tick(e.now.Add(299*ms), 0)
			_, _, silent := e.a.tick(e.now.Add(300*ms), 0)
			return !early && silent && e.a.state == Down && e.a.diag == diagExpired
		},
		"6.8.4: and an Init session, which is none": func() bool {
			e := newEnds(fast())
			e.say(e.b, e.b.packet())
			was := e.a.state
			_, _, silent := e.a.tick(e.now.Add(3*time.Second), 0)
			return was == Init && !silent && e.a.state == Down && e.a.diag == diagExpired
		},
		"6.8.5, 6.8.8, 6.8.9, 6.8.13: echo is not used, and not offered": func() bool {
			return newMachine(fast(), 1, time.Unix(0, 0)).packet().minEcho == 0
		},
		"6.8.6: a packet for another session changes nothing": func() bool {
			e := up(fast())
			before := *e.a
			e.say(e.b, e.heard(func(c *control) { c.state, c.yourDiscriminator = Down, 77 }))
			return *e.a == before
		},
		"6.8.6: a Poll is answered at once with a Final, which is no Poll": func() bool {
			e := up(fast())
			poll := e.heard(func(c *control) { c.poll = true })
			answer, ok := e.a.receive(&poll, e.now)
			return ok && answer.final && !answer.poll
		},
		"6.8.6: an AdminDown session takes nothing in": func() bool {
			e := up(fast())
			e.a.disable(e.now)
			e.say(e.b, e.b.packet())
			return e.a.state == AdminDown
		},
		"6.8.6: the router's AdminDown takes us Down with diagnostic 3, and is no failure": func() bool {
			e := up(fast())
			e.b.disable(e.now)
			e.say(e.b, e.b.packet())
			_, _, silent := e.a.tick(e.now.Add(time.Hour), 0)
			return e.a.state == Down && e.a.diag == diagNeighborDown && !silent
		},
		"6.2, 6.8.6: the router's Down takes us Down with diagnostic 3, and both come up again": func() bool {
			e := up(fast())
			e.say(e.b, e.heard(func(c *control) { c.state = Down }))
			went := e.a.state == Down && e.a.diag == diagNeighborDown
			e.exchange()
			return went && e.a.state == Up && e.b.state == Up && e.a.diag == diagNone
		},
		"6.8.7: a passive session says nothing before it knows the router": func() bool {
			p := fast()
			p.Passive = true
			e := newEnds(p)
			quiet := !e.a.speaks()
			e.say(e.b, e.b.packet())
			return quiet && e.a.speaks()
		},
		"6.8.7: nothing periodic is said to a router that wants none": func() bool {
			e := up(fast())
			e.say(e.b, e.heard(func(c *control) { c.requiredMinRx = 0 }))
			return !e.a.speaks()
		},
		"6.8.7: nor to one in demand mode, but for a Poll Sequence": func() bool {
			e := up(fast())
			e.say(e.b, e.heard(func(c *control) { c.demand = true }))
			quiet := !e.a.speaks()
			e.a.configure(slow, e.now)
			return quiet && e.a.speaks()
		},
		"6.8.7: another state is said at once": func() bool {
			e := up(fast())
			e.a.tick(e.now, 0.9)
			e.say(e.b, e.heard(func(c *control) { c.state = Down }))
			packet, send, _ := e.a.tick(e.now.Add(ms), 0)
			return send && packet.state == Down
		},
		"6.8.7: the jitter takes away up to a quarter": func() bool {
			return jittered(time.Second, 3, 0) == 750*ms && jittered(time.Second, 3, 0.999) <= time.Second
		},
		"6.8.7: and a tenth at least where one lost packet is one too many": func() bool {
			return jittered(time.Second, 1, 0) == 750*ms && jittered(time.Second, 1, 0.999) <= 900*ms
		},
		"6.8.10, 6.8.11: other intervals of a session that is not Up hold at once": func() bool {
			m := newMachine(fast(), 1, time.Unix(0, 0))
			m.configure(Profile{Receive: 2 * time.Second, Transmit: 2 * time.Second, Multiplier: 3}, time.Unix(0, 0))
			return m.interval() == 2*time.Second && m.rxInUse == 2*time.Second && m.poll == pollNone
		},
		"6.8.12: another multiplier is said in the next packet, without a Poll": func() bool {
			e := up(fast())
			p := fast()
			p.Multiplier = 9
			e.a.configure(p, e.now)
			return e.a.poll == pollNone && e.a.packet().detectMult == 9
		},
		"6.8.14: demand mode of our own is not used": func() bool { return !up(fast()).a.packet().demand },
		"6.8.16: a session that is disabled says AdminDown with diagnostic 7": func() bool {
			e := up(fast())
			e.a.disable(e.now)
			packet, send, _ := e.a.tick(e.now, 0)
			return send && packet.state == AdminDown && packet.diag == diagAdminDown
		},
	} {
		if !holds() {
			t.Errorf("not so: %s", sentence)
		}
	}
}

// D12: a router that restarted and leaves the first packet to us: both of its
// discriminators are new, and it must discard what it does not know.
func TestD12_APassiveRouterThatRestartedIsFoundAgain(t *testing.T) {
	e := up(fast())
	e.b.disable(e.now)
	e.say(e.b, e.b.packet())
	passive := fast()
	passive.Passive = true
	e.b = newMachine(passive, 99, e.now)
	for range 10 {
		e.now = e.now.Add(time.Second)
		if packet, send, _ := e.a.tick(e.now, 0); send && (packet.yourDiscriminator == 0 || packet.yourDiscriminator == 99) {
			e.say(e.a, packet)
		}
		if packet, send, _ := e.b.tick(e.now, 0); send {
			e.say(e.b, packet)
		}
	}
	if e.a.state != Up || e.b.state != Up {
		t.Errorf("%s and %s ten seconds after the router came back", e.a.state, e.b.state)
	}
}

func FuzzParse(f *testing.F) {
	good := newMachine(fast(), 1, time.Unix(0, 0)).packet()
	f.Add(good.marshal())
	f.Add([]byte{0x20, 0xc0, 3, 24})
	f.Add(make([]byte, 24))
	f.Fuzz(func(t *testing.T, data []byte) {
		packet, err := parse(data)
		if err != nil {
			return
		}
		again, err := parse(packet.marshal())
		if err != nil || again != packet {
			t.Errorf("%+v became %+v, %v", packet, again, err)
		}
		// Whatever comes, a session that is Up still has a time to look again.
		e := up(fast())
		packet.yourDiscriminator = 1
		e.a.receive(&packet, e.now)
		e.a.tick(e.now, 0.5)
		if e.a.interval() <= 0 || e.a.next().Before(e.now) {
			t.Errorf("after %+v the next look is at %s", packet, e.a.next())
		}
	})
}
