// Package members knows which speakers are alive and who of them owns what.
//
// Who is alive is decided by the heartbeats of package detection, which every
// speaker sends to every other one, several a second, by UDP and over the segments
// on which it announces; and who owns an address by the claims that go with them
// (see package ownership). Here they are sealed with the membership keys (package
// keyring) and sent; by UDP they use the member port (package socket). memberlist,
// on the same port, is no more than the directory: it finds speakers and tells of
// them. Whether it holds one for dead means nothing. It asks nobody but the
// speakers themselves: the API server may be away. A speaker never stops looking
// for those that it lost.
//
// A Members has goroutines of its own. All its methods may be called from any
// goroutine and none of them waits for the network, but Leave. The set of the
// living is an immutable value that is replaced on each change; Changes tells
// that it was, in the moment it was.
//
// Only the speaker's main package and package ethernet import this package, and only
// this package and those in its folder import memberlist.
package members
