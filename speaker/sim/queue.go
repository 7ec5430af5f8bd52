package sim

import (
	"cmp"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/speaker/members/detection"
)

// event is something that is to happen. Those of one moment happen in the order in
// which they were planned.
type event struct {
	at    time.Duration // since the world began
	order uint64
	do    func()
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.order < o.order }

// events is a heap of them, the next at its top.
type events []event

func (e *events) push(one event) {
	all := append(*e, one)
	*e = all
	for i := len(all) - 1; i > 0; {
		up := (i - 1) / 2
		if !one.before(&all[up]) {
			break
		}
		all[i], all[up] = all[up], all[i]
		i = up
	}
}

func (e *events) pop() event {
	all := *e
	first, last := all[0], len(all)-1
	all[0], all[last] = all[last], event{}
	all = all[:last]
	*e = all
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			return first
		}
		if other := down + 1; other < last && all[other].before(&all[down]) {
			down = other
		}
		if !all[down].before(&all[i]) {
			return first
		}
		all[i], all[down] = all[down], all[i]
		i = down
	}
}

// message is what one speaker has sent. It is taken apart once, however many get it.
type message struct {
	bytes []byte
	key   uint32

	parsed *detection.Message
	err    error
}

func (m *message) parse() (*detection.Message, error) {
	if m.parsed == nil && m.err == nil {
		m.parsed, m.err = detection.Parse(m.bytes)
	}
	return m.parsed, m.err
}

// delivery is one message under way to several. Each arrival has its time and its
// place among the events as if it were one of its own; but only the next of them waits
// in the world's heap, since a thousand speakers have millions under way.
type delivery struct {
	world    *World
	from     string
	arrivals []arrival
	arrive   func(*arrival)
}

// arrival is that of one packet at one host.
type arrival struct {
	at     time.Duration
	order  uint64
	on     *wire
	to     *Host
	packet *detection.Packet
}

// add plans one, if the packet is not lost.
func (d *delivery) add(n *wire, to *Host, packet *detection.Packet) {
	if !n.open(d.from, to.name) {
		return
	}
	w := d.world
	w.count++
	d.arrivals = append(d.arrivals, arrival{w.Now() + n.delay + w.upTo(n.jitter), w.count, n, to, packet})
}

// depart sends them on their way.
func (d *delivery) depart() {
	slices.SortFunc(d.arrivals, func(a, b arrival) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.order, b.order)) })
	d.wait(d.next)
}

func (d *delivery) wait(next func()) {
	if len(d.arrivals) > 0 {
		d.world.events.push(event{d.arrivals[0].at, d.arrivals[0].order, next})
	}
}

func (d *delivery) next() {
	one := &d.arrivals[0]
	d.arrivals = d.arrivals[1:]
	d.wait(d.next)
	one.on.arrive(d.from, one.to.name, func() { d.arrive(one) })
}
