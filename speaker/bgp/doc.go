// Package bgp keeps sessions to routers (BGP-4, RFC 4271) and tells them the
// paths that it is given, and watches the way to them (BFD, RFC 5880, 5881).
// It takes plain values and returns plain values: whom to tell what comes from
// speaker/plan, through package main, its only importer.
//
// # It announces and does nothing else
//
// A session is opened from here; nothing listens for BGP. What a router
// announces is read off the wire and dropped unparsed, so it can be neither
// installed, nor passed on, nor crash the speaker, and a full table costs no
// memory. What goes out is encoded with GoBGP's codec, which has no
// dependencies of its own. GoBGP's server is not used: it keeps what it
// rejects, shares one table and one set of attributes between all peers, waits
// five seconds after every lost session and, in its BFD, resets sessions while
// the path is still coming up.
//
// # Sessions
//
// Each peer has a session of its own, with its own goroutines, and shares
// nothing with the others but the BFD sockets: a router that hangs, resets or
// refuses delays nobody else. A session compares what the router was told with
// what it should be told and sends the difference, so that a change costs what
// changed. After a reconnect everything is told again.
//
// # Unnumbered
//
// Where a peer is named by an interface, the router is found there by its
// router advertisement (RFC 4861), and learns of this node by ours, before each
// attempt to connect. The session runs between link-local addresses and carries
// both families; IPv4 has the IPv6 next hop (RFC 8950) where the router takes
// that.
//
// # BFD
//
// Over one hop, or over several (RFC 5883) where the operator says that routers
// are between, or a peer of our own AS is on no subnet of this node.
//
// The path is watched from the first time that a session is established: FRR
// begins its own BFD session afresh at that moment, and whoever watched before
// would see it go down. Only silence (the detection time ran out) resets the
// BGP session. When the router says that it went down itself, or that it was
// turned off, the session is left to the router: it closes it if it means it.
// A planned stop ends with AdminDown, after the connection: a router that heard
// it before would take it for a failure of the path, FRR 8.4 for one.
//
// # Graceful restart
//
// Where a peer has it, Close ends the connection without a NOTIFICATION, and
// the first session of a process has the restart bit set, with forwarding
// preserved: kube-proxy's rules outlive the speaker.
//
// # Concurrency
//
// Sessions may be used from several goroutines. Apply and Status never wait for
// a router. What Apply was given belongs to it from then on.
package bgp
