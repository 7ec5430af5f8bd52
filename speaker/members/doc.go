// Package members knows which speakers are alive. It wraps memberlist (SWIM
// with the Lifeguard extensions), encrypts everything that it sends, accepts
// nothing that is not encrypted with a known key, and never stops looking for
// the speakers that it lost. It asks nobody but the speakers themselves: the
// API server may be away.
//
// A Members has goroutines of its own. All its methods may be called from any
// goroutine and none of them waits for the network, but Leave. The set of the
// living is an immutable value that is replaced on each change; Changes tells
// that it was, in the moment it was.
//
// Only the speaker's main package imports this package, and only this package
// imports memberlist.
package members
