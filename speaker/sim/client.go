package sim

import (
	"net/netip"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
)

// Neighbor cache of a Linux client: what a packet says is not believed within
// lockTime of the last change; an entry in use is confirmed every reachable, and
// given up if nobody answers.
const (
	lockTime  = time.Second
	reachable = 30 * time.Second
	// answerTime is how long an answer may take, and attempts how often is asked.
	answerTime = time.Second
	attempts   = 3
)

// client uses every address that there is, all the time.
type client struct {
	world   *World
	name    string
	mac     model.MAC
	address netip.Addr
	cache   map[netip.Addr]*neighbor
	// answers is who answered a question of the judge's.
	answers map[netip.Addr]map[model.MAC]bool
}

type neighbor struct {
	mac       model.MAC // zero while nobody has answered
	changed   time.Time
	confirmed time.Time
}

// AddClient plugs a client in.
func (w *World) AddClient() {
	n := len(w.clients) + 1
	c := &client{
		world: w, name: "client" + string(rune('0'+n)), mac: model.MAC{2, 8, 0, 0, 0, byte(n)},
		address: netip.AddrFrom4([4]byte{198, 19, 254, byte(n)}), cache: map[netip.Addr]*neighbor{},
	}
	w.clients = append(w.clients, c)
	w.after(w.upTo(answerTime), c.use)
}

// use is a second of traffic to every address.
func (c *client) use() {
	for _, a := range c.world.Cluster.addresses {
		n := c.cache[a]
		switch {
		case n == nil || n.mac == model.MAC{}:
			c.cache[a] = &neighbor{}
			c.ask(a, model.MAC{})
		case c.world.now.Sub(n.confirmed) > reachable+attempts*answerTime:
			n.mac = model.MAC{}
			c.ask(a, model.MAC{})
		case c.world.now.Sub(n.confirmed) > reachable:
			c.ask(a, n.mac)
		}
	}
	c.world.after(answerTime, c.use)
}

// ask asks everybody, or one.
func (c *client) ask(a netip.Addr, of model.MAC) {
	f := frame{from: c.name, sender: c.address, mac: c.mac, target: a, request: true, to: of}
	if of == (model.MAC{}) {
		c.world.broadcast(f)
		return
	}
	c.world.unicast(f)
}

func (c *client) hear(f frame) {
	if f.request && f.target == c.address && f.sender != f.target {
		c.world.unicast(frame{from: c.name, sender: c.address, mac: c.mac, target: f.sender, to: f.mac})
	}
	answer := f.to == c.mac && !f.request
	if answer && c.answers != nil && c.answers[f.sender] != nil {
		c.answers[f.sender][f.mac] = true
	}
	n := c.cache[f.sender]
	if n == nil {
		return
	}
	if n.mac != f.mac {
		if n.mac != (model.MAC{}) && c.world.now.Sub(n.changed) < lockTime {
			return
		}
		n.mac, n.changed = f.mac, c.world.now
	}
	if answer {
		n.confirmed = c.world.now
	}
	if n.confirmed.IsZero() {
		n.confirmed = c.world.now
	}
}
