package model

import (
	"net/netip"
	"slices"
)

// Link is what a speaker tells the others of one of its interfaces.
type Link struct {
	// Name of the interface. One that an advertisement names and that the node
	// does not have is told, too: it is not Usable.
	Name string
	// Usable and Suitable are those of Interface.
	Usable, Suitable bool
	// MAC that it answers with; zero unless it is Usable.
	MAC MAC
	// Addrs are addresses that the node has on it, with the length of their
	// prefixes: those of its subnets, link-local ones, too.
	Addrs []netip.Prefix
}

// Equal reports whether two are the same.
func (l *Link) Equal(o *Link) bool {
	return l.Name == o.Name && l.Usable == o.Usable && l.Suitable == o.Suitable && l.MAC == o.MAC && slices.Equal(l.Addrs, o.Addrs)
}

// Interface is a network interface of a node.
type Interface struct {
	Name  string
	Index int
	MAC   MAC
	// Epoch grows each time the interface becomes usable, or changes its MAC
	// or its index.
	Epoch uint64
	// Ports are the MACs of a bond's ports, which are this node's own, too.
	Ports []MAC
	// Addrs are its addresses with their prefix lengths.
	Addrs []netip.Prefix
	// Usable says that it can be announced on, Suitable that it is also used
	// when no advertisement names an interface, and Why, in words, what it is
	// that keeps it from the one or the other: "is down or has no carrier".
	Usable, Suitable bool
	Why              string
}
