// Package explain works out what the objects of a cluster mean for those who ask:
// whether all is well, which Service has which address and why, which node answers
// for it and why the others do not, and what to do about it.
//
// What the controller and the speakers have said is taken from the objects; what they
// did not say, because it is of no use to them, is asked of the packages that decide:
// controller/ipam about pools, speaker/plan about nodes.
//
// The package is pure: it is told the time, and it reads and writes nothing. Only
// cli/command and cli/text import it. A [Cluster] belongs to one goroutine; what it
// returns is a value.
package explain
