// Package inspect is the speaker's read-only endpoint for kubectl baliza: what an
// address is on the wire, as a host beside its owner sees it, and the last moves.
//
// It listens on a loopback address alone; who may forward a port to the speaker's pod
// reaches it, and nothing is open on the network. It is no way in: it changes nothing,
// and what it asks for on the wire are addresses of IPAddressPools in use, one at a
// time.
//
// Only the speaker's main package imports it. [Server.Publish] is called by one
// goroutine; requests are answered by others, from what was published last.
package inspect
