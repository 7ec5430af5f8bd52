// Package status says in the status of the operator's objects (pools,
// advertisements, and all about BGP) what is wrong with them and what they have
// given away. [Writer] writes what differs from what is there: nothing twice, the
// first change at once, the next a second later, and what does not last or cannot
// be written ever more slowly.
//
// A [Writer] belongs to one goroutine and starts another for its requests. Only
// controller/reconcile imports the package.
package status
