package model

import "net/netip"

// Interface is a network interface of a node.
type Interface struct {
	Name  string
	Index int
	MAC   MAC
	// Epoch grows each time the interface becomes usable, or changes its MAC
	// or its index.
	Epoch uint64
	// Addrs are its addresses with their prefix lengths.
	Addrs []netip.Prefix
	// Usable says that it can be announced on, Suitable that it is also used
	// when no advertisement names an interface, and Why, in words, what it is
	// that keeps it from the one or the other: "is down or has no carrier".
	Usable, Suitable bool
	Why              string
}
