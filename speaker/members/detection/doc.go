// Package detection decides which speakers are alive, and carries what each of
// them claims to the others. It is the protocol between speakers as a pure
// machine: packets and the time come in, packets go out, and a model.Membership
// says what is known.
//
// The package has no clock, no goroutine, no socket, no lock and no logger, so
// that a simulation runs what ships. package members runs it on a network, and
// the simulation in package sim on a wire that it makes.
//
// Every speaker sends heartbeats to every other one, several a second (see
// detector); with them goes the version of its claims, which are asked for when
// they are not known (see package ownership).
package detection
