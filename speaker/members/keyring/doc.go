// Package keyring decides which membership key a speaker sends with and which
// ones it accepts, and seals what speakers tell each other with them.
//
// It is pure: it reads no file and no clock. Replace and Turn are for one
// goroutine at a time; everything else is for any.
package keyring
