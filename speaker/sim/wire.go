package sim

import (
	"net/netip"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
)

// Networks.
const (
	lan      = "eth0" // where the clients are
	backbone = "eth1" // between the nodes
)

// pair of stations, in the direction of the frames.
type pair struct{ from, to string }

// wire is one network segment. What gets from one station to another is decided
// when it is sent.
type wire struct {
	world *World
	// delay is the least time under way, jitter what is added at most: packets
	// overtake each other.
	delay, jitter time.Duration
	// loss is the part of the packets that are lost, from 0 to 1.
	loss float64
	// closed are the stations from which, or to which, nothing comes.
	mute, deaf map[string]bool
	// isolated are pairs that do not hear each other.
	isolated map[pair]bool
	// side is the part of a partition that a station is in.
	side map[string]int
	// flooded are the frames that every station has received, beside its own count.
	flooded uint64
	// held are the packets that have come to a station, and wait there: see Host.Hold.
	held map[string]hold
}

// hold keeps the packets of one sender, or of all if it is empty, until a moment.
type hold struct {
	from  string
	until time.Time
	// counted counts them as received when they come.
	counted func()
}

func newWire(w *World) *wire {
	return &wire{
		world: w, delay: 50 * time.Microsecond, jitter: 3 * time.Millisecond,
		mute: map[string]bool{}, deaf: map[string]bool{}, isolated: map[pair]bool{}, side: map[string]int{}, held: map[string]hold{},
	}
}

// open reports whether what one station sends gets to another now.
func (n *wire) open(from, to string) bool {
	return !n.mute[from] && !n.deaf[to] && !n.isolated[pair{from, to}] && n.side[from] == n.side[to] &&
		(n.loss == 0 || n.world.random.Float64() >= n.loss)
}

// well reports whether everything gets from everybody to everybody, and always did so at
// once.
func (n *wire) well() bool {
	return len(n.mute)+len(n.deaf)+len(n.isolated)+len(n.side)+len(n.held) == 0 && n.loss == 0
}

// travel has something done when a packet arrives.
func (n *wire) travel(from, to string, arrive func()) {
	if !n.open(from, to) {
		return
	}
	n.world.after(n.delay+n.world.upTo(n.jitter), func() { n.arrive(from, to, arrive) })
}

// arrive is the arrival of a packet at a station, where it may have to wait.
func (n *wire) arrive(from, to string, done func()) {
	if !n.holds(from, to) {
		done()
		return
	}
	h := n.held[to]
	h.counted()
	n.world.at(h.until, done)
}

// holds reports whether what one station sends waits when it has come to another.
func (n *wire) holds(from, to string) bool {
	if len(n.held) == 0 {
		return false
	}
	h := n.held[to]
	return n.world.now.Before(h.until) && (h.from == "" || h.from == from)
}

// Hold lets what comes by a network wait for some time: the machine has packets on a
// processor that it does not get, while the process runs on another. It is what one
// station sends, or all if that is empty. The interface may have counted it already.
func (h *Host) Hold(network, from string, counted bool, d time.Duration) {
	count := func() {
		if counted {
			h.received[network]++
		}
	}
	h.world.wires[network].held[h.name] = hold{from, h.world.now.Add(d), count}
}

// frame is an ARP packet, or what says the same in Neighbor Discovery.
type frame struct {
	from   string // the station that sent it
	sender netip.Addr
	mac    model.MAC // of the sender
	target netip.Addr
	// request asks for the target. A probe is one without a sender, an
	// announcement one for the sender itself.
	request bool
	// to is whom it is for; the zero MAC is everybody.
	to model.MAC
}

// broadcast brings a frame to every station on the LAN that may want it.
func (w *World) broadcast(f frame) {
	w.Stats.Broadcasts++
	n := w.wires[lan]
	for _, c := range w.clients {
		n.travel(f.from, c.name, func() { c.hear(f) })
	}
	for _, i := range w.intrude {
		if i.name != f.from {
			n.travel(f.from, i.name, func() { i.hear(f) })
		}
	}
	if n.well() && w.unplugged == 0 {
		w.flood(n, f)
		return
	}
	for _, h := range w.nodes {
		if h.name == f.from {
			continue
		}
		if !h.wants(&f) {
			if n.open(f.from, h.name) && h.plugged(lan) && !n.holds(f.from, h.name) {
				h.received[lan]++
			}
			continue
		}
		n.travel(f.from, h.name, func() { h.received[lan]++; h.hear(f) })
	}
}

// flood brings a frame to every node of a LAN that is as it should be: it counts for
// all, and only those that may want it are looked at.
func (w *World) flood(n *wire, f frame) {
	n.flooded++
	if from := w.byName[f.from]; from != nil {
		from.received[lan]--
	}
	w.interested(f.target, f.sender, func(h *Host) {
		switch {
		case h.name == f.from:
		case !h.wants(&f):
			w.interest.remove(f.target, h)
			w.interest.remove(f.sender, h)
		default:
			h.received[lan]-- // it counts when it arrives
			n.travel(f.from, h.name, func() { h.received[lan]++; h.hear(f) })
		}
	})
}

// unicast brings a frame to one station.
func (w *World) unicast(f frame) {
	n := w.wires[lan]
	if h := w.byMAC[f.to]; h != nil {
		n.travel(f.from, h.name, func() { h.received[lan]++; h.hear(f) })
		return
	}
	for _, c := range w.clients {
		if c.mac == f.to {
			n.travel(f.from, c.name, func() { c.hear(f) })
		}
	}
	for _, i := range w.intrude {
		if i.mac == f.to {
			n.travel(f.from, i.name, func() { i.hear(f) })
		}
	}
}

// intruder is another host on the LAN, which may have an address that a Service
// has.
type intruder struct {
	world *World
	name  string
	mac   model.MAC
	has   map[netip.Addr]bool
}

func (i *intruder) hear(f frame) {
	if f.request && f.sender != f.target && i.has[f.target] {
		i.world.unicast(frame{from: i.name, sender: f.target, mac: i.mac, target: f.sender, to: f.mac})
	}
}

// claim announces an address once.
func (i *intruder) claim(a netip.Addr) {
	i.world.broadcast(frame{from: i.name, sender: a, mac: i.mac, target: a, request: true})
}

// intruderOf returns the host of that name, which is new if it has to be.
func (w *World) intruderOf(name string) *intruder {
	for _, i := range w.intrude {
		if i.name == name {
			return i
		}
	}
	i := &intruder{world: w, name: name, mac: model.MAC{2, 9, 0, 0, 0, byte(len(w.intrude) + 1)}, has: map[netip.Addr]bool{}}
	w.intrude = append(w.intrude, i)
	return i
}
