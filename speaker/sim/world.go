package sim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/speaker/members/detection"
	"github.com/baliza-lb/baliza/speaker/model"
)

// World is nodes, clients and other hosts, on one LAN and maybe a second network
// between the nodes. It is for one goroutine.
type World struct {
	now    time.Time
	random *rand.Rand
	events events
	count  uint64

	Cluster *Cluster
	nodes   []*Host
	byName  map[string]*Host
	byMAC   map[model.MAC]*Host
	// interest is that of nodes in broadcasts on the LAN.
	interest interest
	clients  []*client
	intrude  []*intruder
	wires    map[string]*wire
	// unplugged is how many nodes are not on the LAN.
	unplugged int

	settings detection.Settings
	// second says that speakers talk to each other over a network of their own.
	second bool
	// noGateway says that the nodes have no default route; else it leads to the first
	// client.
	noGateway bool
	// passTime is how long a speaker's pass takes, for each address and node: the next
	// cannot begin before, and takes in what has changed meanwhile.
	passTime time.Duration
	// Stats count what went over the wires.
	Stats Stats
}

// Stats count messages.
type Stats struct {
	Beats, Asks, Claims int // between speakers, by kind
	Bytes               int // of those
	Broadcasts          int // on the LAN
	Passes              int
}

// note counts a message between speakers.
func (s *Stats) note(p *detection.Packet) {
	s.Bytes += len(p.Bytes)
	const beat, ask = 1, 2 // the second byte says the kind
	switch p.Bytes[1] {
	case beat:
		s.Beats++
	case ask:
		s.Asks++
	default:
		s.Claims++
	}
}

// begin is when every world begins.
func begin() time.Time { return time.Unix(1_000_000_000, 0) }

// New makes a world without nodes.
func New(seed uint64) *World {
	w := &World{
		now: begin(), random: rand.New(rand.NewPCG(seed, seed)), //nolint:gosec // a simulation
		byName: map[string]*Host{}, byMAC: map[model.MAC]*Host{}, interest: interest{}, settings: detection.Default(),
		passTime: 2 * time.Microsecond, //nolint:mnd // as measured
	}
	w.wires = map[string]*wire{lan: newWire(w), backbone: newWire(w)}
	w.Cluster = newCluster(w)
	return w
}

// Now is the world's time since it began.
func (w *World) Now() time.Duration { return w.now.Sub(begin()) }

// at has something done at a time.
func (w *World) at(t time.Time, do func()) {
	w.count++
	w.events.push(event{t.Sub(begin()), w.count, do})
}

func (w *World) after(d time.Duration, do func()) { w.at(w.now.Add(d), do) }

// Run lets time pass.
func (w *World) Run(d time.Duration) {
	end := w.now.Add(d)
	for len(w.events) > 0 && w.events[0].at <= end.Sub(begin()) {
		e := w.events.pop()
		if at := begin().Add(e.at); at.After(w.now) {
			w.now = at
		}
		e.do()
	}
	w.now = end
}

// upTo is a random time from zero to less than d.
func (w *World) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.random.Int64N(int64(d)))
}

// AddNode plugs a node in, without a speaker.
func (w *World) AddNode() *Host {
	number := len(w.nodes) + 1
	h := newHost(w, number)
	w.nodes = append(w.nodes, h)
	w.byName[h.name] = h
	for _, on := range h.interfaces {
		w.byMAC[on.MAC] = h
	}
	return h
}

func (w *World) countUnplugged() {
	w.unplugged = 0
	for _, h := range w.nodes {
		if !h.plugged(lan) {
			w.unplugged++
		}
	}
}

// Node returns the node of that name, or nil.
func (w *World) Node(name string) *Host { return w.byName[name] }

// Nodes are all of them, in the order in which they were added.
func (w *World) Nodes() []*Host { return slices.Clone(w.nodes) }

// Address is the nth of the addresses that Services have.
func Address(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)}) }

// own is the address of the nth node on a network.
func own(network string, n int) netip.Addr {
	if network == backbone {
		return netip.AddrFrom4([4]byte{198, 51, 100, byte(n)})
	}
	return netip.AddrFrom4([4]byte{198, 19, byte(n >> 8), byte(n)})
}

func macOf(network string, n int) model.MAC {
	m := model.MAC{2, 0, 0, 0, byte(n >> 8), byte(n)}
	if network == backbone {
		m[1] = 1
	}
	return m
}

func nodeName(n int) string { return fmt.Sprintf("n%d", n) }
