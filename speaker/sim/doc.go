// Package sim runs any number of speakers on a network, and in a time, that it
// makes. What decides is what ships: node.Node, plan, detection.Machine and the
// ledgers of package ownership. What carries it out is simulated below the
// packet: wires with delay and loss, cables, partitions, one-way links, blocked
// ports, processes that stand still or start anew, API views that lag, sockets
// that fail, other hosts, and clients with neighbor caches.
//
// The judge (judge.go) sees only the wire: it asks as a client would, and looks
// at clients' neighbor caches. Worlds are scripts (script.go) or drawn from a
// seed (random_test.go). All follows from the seed: there is no real clock, no
// goroutine and no socket.
package sim
