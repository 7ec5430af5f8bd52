// Package l2 answers ARP (RFC 826) and Neighbor Discovery (RFC 4861) for
// addresses that are on no interface of the node, and announces them: at once,
// again when Linux listens again after its "locktime", and periodically from then on.
// No address is ever put on an interface, so nothing is left behind by a
// process that dies.
//
// A Responder is told what is Desired by one goroutine; everything else is its
// own business. Concurrency: one goroutine for each socket reads frames and
// answers them from an immutable table behind an atomic pointer, without a
// lock; one goroutine sends announcements. The decision what to answer is
// pure: a frame, the interface and the table go in, a frame or the reason for
// silence comes out.
//
// Several nodes can share an address. Then each client is answered by one of
// them, which all compute from the client's address (see share), and nobody is
// told of the address but clients whose node has gone. Who they are every node
// remembers from their requests (see clients); that memory has a lock, which
// requests for other addresses do not take.
//
// Only the speaker's main package imports this package, and only this package
// imports mdlayher's packages. It needs the capability NET_RAW.
package l2
