// Package bgp keeps sessions to routers (BGP-4, RFC 4271) and tells them the
// paths that it is given. It takes plain values and returns plain values: whom
// to tell what comes from speaker/plan, through package main, its only importer.
//
// # It announces and does nothing else
//
// A session is opened from here; nothing listens for BGP. What a router
// announces is read off the wire and dropped unparsed, so it can be neither
// installed, nor passed on, nor crash the speaker, and a full table costs no
// memory. What goes out is encoded with GoBGP's codec, which has no
// dependencies of its own; nothing of it reads what a router sends. GoBGP's
// server is not used: it keeps what it rejects, shares one table and one set of
// attributes between all peers, and waits five seconds after every lost session.
// If listening, receiving routes, VRFs or add-path are ever wanted, that
// decision is to be made again, and this package not to grow into them.
//
// # Sessions
//
// Each peer has a session of its own, with its own goroutines, and shares
// nothing with the others: a router that hangs, resets or refuses delays nobody
// else, and a fault of ours ends one session. A session compares what the router
// was told with what it should be told and sends the difference, so that a
// change costs what changed. After a reconnect everything is told again.
//
// A session has one connection at a time. When its peer is edited, what needs no
// new session changes in place; for the rest the connection ends and the next
// begins, after the delay of EditDelay: the nodes do so one after the other. With
// graceful restart the old one ends without a NOTIFICATION, for the router keeps
// the routes of a session that does (RFC 4724 section 4.2).
//
// # What must hold
//
//   - What is told, what is withdrawn and what is reported as told follow from one
//     reading of what is wanted.
//   - A connection is ended by abort alone, whatever it is doing: BFD, an edit,
//     the listener and the end of the speaker cut a write that waits.
//   - Nothing is reported as told that was not sent, for a family that was agreed
//     on and that this node has a next hop for.
//
// # Unnumbered
//
// Where a peer is named by an interface, the router is found there by its
// router advertisement (RFC 4861), and learns of this node by ours, before each
// attempt to connect. The session runs between link-local addresses and carries
// both families; IPv4 has the IPv6 next hop (RFC 8950) where the router takes
// that.
//
// # Watching the path
//
// A Monitor is told of the path from the first time that a session is
// established: FRR begins its own BFD session afresh at that moment, and whoever
// watched before would see it go down. Only silence ends the BGP session. When
// the router says that it went down itself, or that it was turned off, the
// session is left to the router: it closes it if it means it. A planned stop ends
// with AdminDown, after the connection: a router that heard it before would take
// it for a failure of the path, FRR 8.4 for one.
//
// # Graceful restart
//
// Where it was agreed on, Close ends the connection without a NOTIFICATION, and
// the first session of a process has the restart bit set, with forwarding
// preserved: kube-proxy's rules outlive the speaker.
//
// # Concurrency
//
// Sessions may be used from several goroutines. Apply and Status never wait for
// a router. What Apply was given belongs to it from then on.
package bgp
