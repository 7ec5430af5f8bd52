// Package members knows which speakers are alive and who of them owns what.
//
// memberlist is the directory: it finds speakers, carries and encrypts what
// they say, and drops whatever is not encrypted with a known key. Who is alive
// is decided by heartbeats that every speaker sends to every other one, several
// a second (see detector), and who owns an address by the claims that go with
// them (see Ledger). It asks nobody but the speakers themselves: the API server
// may be away. It never stops looking for the speakers that it lost.
//
// A Members has goroutines of its own. All its methods may be called from any
// goroutine and none of them waits for the network, but Leave. The set of the
// living is an immutable value that is replaced on each change; Changes tells
// that it was, in the moment it was.
//
// Only the speaker's main package imports this package, and only this package
// imports memberlist.
package members
