package l2

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// mostClients is how many clients are remembered on one interface. The one
// that was not heard for the longest time makes room for the next.
const mostClients = 4096

// ask is a station that asked for a shared address. A host has one entry for it
// in its neighbor table, whatever addresses of its own it asks from.
type ask struct {
	address netip.Addr
	mac     [6]byte
}

// client is what is known of one.
type client struct {
	ask
	// from is the address that it asked from last.
	from netip.Addr
	// with is the node that the client has been told, or "" if that is not
	// known.
	with string
	// heard is when it last asked everybody, and so the last time at which
	// every node that was there heard of it. Zero if only we did.
	heard time.Time
}

// clients remembers who asked for shared addresses on an interface, be it that
// another node answered: should that one fail, somebody must tell its clients.
// A flood of askers costs one look-up for each, and displaces the rest.
type clients struct {
	mu    sync.Mutex
	known map[ask]*list.Element
	order *list.List // of *client, the last heard first
}

func newClients() *clients { return &clients{known: map[ask]*list.Element{}, order: list.New()} }

// note remembers a client. Only who asked everybody was heard by all.
func (c *clients) note(a ask, from netip.Addr, with string, everybody bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.known[a]
	if at == nil {
		if c.order.Len() >= mostClients {
			c.drop(c.order.Back())
		}
		at = c.order.PushFront(&client{ask: a})
		c.known[a] = at
	}
	c.order.MoveToFront(at)
	one := entry(at)
	one.from, one.with = from, with
	if everybody {
		one.heard = now
	}
}

// settle acts on changed shares (nil: shared no more). It divides the clients of
// nodes that are gone among the nodes that know them, and returns who has come
// to this node. To the last one that is left come all whose node is not known.
func (c *clients) settle(changed map[netip.Addr]*share, self string) (ours []ask) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := c.order.Front(); at != nil; {
		one, here := entry(at), at
		at = at.Next()
		s, ok := changed[one.address]
		switch {
		case !ok:
		case s == nil:
			c.drop(here)
		case s.doubtful:
			one.with = ""
		case len(s.nodes) == 1 && one.with != self:
			one.with = self
			ours = append(ours, one.ask)
		case one.with != "" && s.node(one.with) == nil:
			if one.with = s.pickAt(one.from, one.heard); one.with == self {
				ours = append(ours, one.ask)
			}
		}
	}
	return ours
}

// with returns the clients that this node answers, of all shared addresses or,
// if address is valid, of that one.
func (c *clients) with(self string, address netip.Addr) (ours []ask) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := c.order.Front(); at != nil; at = at.Next() {
		if one := entry(at); one.with == self && (!address.IsValid() || one.address == address) {
			ours = append(ours, one.ask)
		}
	}
	return ours
}

// find returns the address of a client that this node answers.
func (c *clients) find(a ask, self string) (from netip.Addr, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.known[a]
	if at == nil || entry(at).with != self {
		return from, false
	}
	return entry(at).from, true
}

func (c *clients) drop(at *list.Element) {
	delete(c.known, entry(at).ask)
	c.order.Remove(at)
}

func entry(at *list.Element) *client { return at.Value.(*client) } //nolint:forcetypeassert // only we put them there
