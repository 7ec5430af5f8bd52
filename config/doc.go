// Package config says what the operator's objects and the users' Services
// mean: raw API objects go in, one immutable Snapshot and a list of Problems
// come out. A Problem names the object, the field and the reason; it never
// keeps the rest of the configuration from being used.
//
// The package is pure: it has no clock, no goroutine, no socket, no logger and
// no client. Everyone may import it. A Snapshot is never changed after Build
// returned it and may be read from any goroutine.
package config
