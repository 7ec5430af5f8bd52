package l2

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"
)

// mostClients is how many clients are remembered on one interface. The one
// that was not heard for the longest time makes room for the next.
const mostClients = 4096

// ask is a client that asked for a shared address.
type ask struct{ address, client netip.Addr }

// client is what is known of one.
type client struct {
	ask
	mac [6]byte
	// with is the node that the client has been told.
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
func (c *clients) note(a ask, mac [6]byte, with string, everybody bool, now time.Time) {
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
	one := of(at)
	one.mac, one.with = mac, with
	if everybody {
		one.heard = now
	}
}

// settle forgets the clients of addresses that are not shared any more, and
// divides those of nodes that are gone among the nodes that know them. It
// returns who has come to this node.
func (c *clients) settle(shares map[netip.Addr]*share, self string) (ours []ask) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := c.order.Front(); at != nil; {
		one, here := of(at), at
		at = at.Next()
		s := shares[one.address]
		switch {
		case s == nil:
			c.drop(here)
		case s.node(one.with) == nil:
			if one.with = s.pickAt(one.client, one.heard); one.with == self {
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
		if one := of(at); one.with == self && (!address.IsValid() || one.address == address) {
			ours = append(ours, one.ask)
		}
	}
	return ours
}

// find returns the MAC of a client that this node answers.
func (c *clients) find(a ask, self string) (mac net.HardwareAddr, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.known[a]
	if at == nil || of(at).with != self {
		return nil, false
	}
	return net.HardwareAddr(append([]byte(nil), of(at).mac[:]...)), true
}

func (c *clients) drop(at *list.Element) {
	delete(c.known, of(at).ask)
	c.order.Remove(at)
}

func of(at *list.Element) *client { return at.Value.(*client) } //nolint:forcetypeassert // only we put them there
