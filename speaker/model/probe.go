package model

import "net/netip"

// InspectPort is the default port of a speaker's read-only endpoint, on its node's
// loopback address.
const InspectPort = 7474

// WireProbe is what one speaker has found out about an address on the wire. It is sent as
// JSON.
type WireProbe struct {
	Address netip.Addr `json:"address"`
	// Node whose speaker asked, and the interfaces on which it did.
	Node       string   `json:"node"`
	Interfaces []string `json:"interfaces"`
	// Answers, each MAC once for each interface, the fastest first.
	Answers []WireAnswer `json:"answers"`
	// Problems are what kept it from asking, or from asking everywhere, in words.
	Problems []string `json:"problems,omitempty"`
}

// WireAnswer is a host that has answered a neighbor request.
type WireAnswer struct {
	Interface string `json:"interface"`
	MAC       string `json:"mac"`
	// Node whose MAC it is; empty if it is no speaker's.
	Node         string  `json:"node,omitempty"`
	Milliseconds float64 `json:"milliseconds"`
	// Port to which a TCP connection was begun, and what came of it; zero and empty
	// if none was.
	Port                  uint16    `json:"port,omitempty"`
	Handshake             Handshake `json:"handshake,omitempty"`
	HandshakeMilliseconds float64   `json:"handshakeMilliseconds,omitempty"`
}

// Handshake is what comes back for the first segment of a TCP connection.
type Handshake string

// What comes back for a SYN.
const (
	// HandshakeAccepted is SYN and ACK.
	HandshakeAccepted Handshake = "Accepted"
	// HandshakeRefused is RST.
	HandshakeRefused Handshake = "Refused"
	// HandshakeSilent is nothing.
	HandshakeSilent Handshake = "Silent"
)
