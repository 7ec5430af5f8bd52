// Command speaker runs on every node and makes it answer for its share of the
// Services' addresses. Its way, in five sentences:
//
// Package cluster says what the API server's objects mean for this node, link
// which interfaces it has, members which speakers live and what they claim (as
// found by members/detection and ownership), and l2 and bgp what neighbors and
// routers do. One goroutine, that of speaker.run, reads all of it at one moment
// whenever something changes, and hands it to node.Node. That is a pure machine:
// package plan says who should own what, node adds what takes time (the start,
// hand-over, conflicts, draining) and returns what is to be done, in order. The
// goroutine carries it out by l2, ping, bgp and bfd, and tells node what came of it;
// only what the sockets really hold is claimed, reported and counted. Nothing
// in that circle waits for the API server, so failover goes on while it is away;
// and all of it but the sockets runs in package sim, on a network that does not
// exist, which is where the promise of one owner is proven.
package main
