package model

import "net/netip"

// Mode is how an address is answered for.
type Mode uint8

// Modes.
const (
	// Announce: it is answered for, and the neighbors are told.
	Announce Mode = iota
	// Quiet: it is answered for and nobody is told; another node is about to
	// take it over.
	Quiet
	// Probe: it is not answered for yet. Whether another host has it is asked
	// first (RFC 5227 section 2.1.1, RFC 4862 section 5.4.2).
	Probe
	// Shared: several nodes answer for it, each some of its clients.
	Shared
)

// Answer is one address and how it is to be answered for.
type Answer struct {
	Address netip.Addr
	// Interfaces by name, sorted.
	Interfaces []string
	Mode       Mode
	// Sharers are the names of the nodes that answer for a Shared address,
	// sorted.
	Sharers []string
}

// Ping is an address for which the kernel answers ping (ICMP and ICMPv6 echo
// requests), as if it were Local, which is the node's own and of the same family.
type Ping struct {
	Address, Local netip.Addr
}

// Check asks the node's service proxy whether it serves a Service here, or is at
// work at all.
type Check struct {
	// Service is its key, or empty for the proxy itself.
	Service string
	// Port of the node where it answers over HTTP.
	Port uint16
}

// Sighting is another host's use of an address that is answered or probed for
// here: an ARP packet that has it as its sender's (RFC 5227 section 2.4), or a
// neighbor advertisement for it (RFC 4862 section 5.4.4).
type Sighting struct {
	Address   netip.Addr
	MAC       MAC
	Interface string
}
