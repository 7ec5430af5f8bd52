// Package bfd watches the way to routers by Bidirectional Forwarding Detection
// in asynchronous mode (RFC 5880), over one hop (RFC 5881) and over several
// (RFC 5883). It takes plain values and returns plain values; speaker/bgp knows
// it through an interface of its own, and package main brings the two together.
//
// # The machine and its doers
//
// All that RFC 5880 says about state and time is in machine, which has no clock,
// no socket and no goroutine: time and packets come in, packets and state go
// out. Around it a Session sends and waits, and Sessions receives, for all.
//
// GoBGP's BFD codec is not used: it has no diagnostics, and does not discard
// what section 6.8.6 says must be discarded.
//
// # What it does not have
//
// Demand mode of our own, the echo function and authentication. A router that
// is in demand mode is obeyed.
//
// # Concurrency
//
// Sessions may be used from several goroutines. No call waits for a router. A
// notify function is called without a lock held.
package bfd
