package bgp

import (
	"testing"
	"time"
)

// ends are two machines that talk to each other.
type ends struct {
	a, b *machine
	now  time.Time
}

func newEnds(times BFD) *ends {
	return &ends{newMachine(times, 1), newMachine(times, 2), time.Unix(1000, 0)}
}

// exchange lets each end say something, with what is answered at once.
func (e *ends) exchange() {
	for range 3 {
		packet := e.a.packet()
		e.deliver(e.b, &packet)
		packet = e.b.packet()
		e.deliver(e.a, &packet)
	}
}

func (e *ends) deliver(to *machine, packet *control) {
	from := e.a
	if to == e.a {
		from = e.b
	}
	read, err := parseControl(packet.marshal())
	if err != nil {
		panic(err)
	}
	if answer := to.receive(&read, e.now); answer != nil {
		e.deliver(from, answer)
	}
}

func TestB09_BFD_machine(t *testing.T) {
	times := BFD{Receive: 100 * time.Millisecond, Transmit: 100 * time.Millisecond, Multiplier: 3}
	e := newEnds(times)
	if e.a.pace() < slowly {
		t.Errorf("a path that is down has a pace of %s", e.a.pace())
	}
	e.exchange()
	if e.a.state != BFDUp || e.b.state != BFDUp || e.a.poll || e.b.poll {
		t.Fatalf("%s and %s, polls %t and %t", e.a.state, e.b.state, e.a.poll, e.b.poll)
	}
	if e.a.pace() != times.Transmit || e.a.detection() != 300*time.Millisecond {
		t.Errorf("pace %s, detection %s", e.a.pace(), e.a.detection())
	}
	if e.a.expire(e.now.Add(299 * time.Millisecond)) {
		t.Error("expired too soon")
	}
	e.now = e.now.Add(300 * time.Millisecond)
	if !e.a.expire(e.now) || e.a.state != BFDDown || e.a.diag != diagExpired {
		t.Errorf("not expired: %s", e.a.state)
	}
	// The other end hears that, goes down, and both come up again.
	packet := e.a.packet()
	e.deliver(e.b, &packet)
	if e.b.state != BFDDown || e.b.diag != diagNeighborDown {
		t.Errorf("the other end is %s", e.b.state)
	}
	e.exchange()
	if e.a.state != BFDUp || e.b.state != BFDUp {
		t.Errorf("%s and %s after the heal", e.a.state, e.b.state)
	}
	// A planned end says so.
	e.a.shut()
	packet = e.a.packet()
	e.deliver(e.b, &packet)
	if e.b.state != BFDDown || e.b.expire(e.now.Add(time.Hour)) {
		t.Error("AdminDown counts as a failure")
	}
}

func TestBFDPassiveWaitsForTheRouter(t *testing.T) {
	m := newMachine(BFD{Receive: time.Second, Transmit: time.Second, Multiplier: 3, Passive: true}, 1)
	if m.speaks() {
		t.Error("it speaks first")
	}
	m.receive(&control{state: BFDDown, multiplier: 3, mine: 9, transmit: time.Second, receive: time.Second}, time.Unix(0, 0))
	if !m.speaks() {
		t.Error("it does not answer")
	}
}

func FuzzParseControl(f *testing.F) {
	good := newMachine(BFD{Receive: time.Second, Transmit: time.Second, Multiplier: 3}, 1).packet()
	f.Add(good.marshal())
	f.Add([]byte{0x20, 0xc0, 3, 24})
	f.Add(make([]byte, 24))
	f.Fuzz(func(_ *testing.T, data []byte) {
		packet, err := parseControl(data)
		if err != nil {
			return
		}
		m := newMachine(BFD{Receive: time.Second, Transmit: time.Second, Multiplier: 3}, 1)
		m.receive(&packet, time.Unix(0, 0))
	})
}

func FuzzParseOpen(f *testing.F) {
	f.Add([]byte{4, 0xfc, 0, 0, 90, 192, 0, 2, 254, 0})
	f.Add([]byte{4, 0xfc, 0, 0, 90, 192, 0, 2, 254, 8, 2, 6, 65, 4, 0, 0, 0xfc, 0})
	f.Fuzz(func(_ *testing.T, data []byte) {
		if open, err := parseOpen(data); err == nil {
			offered(open)
		}
	})
}
