// Package checks works out whether a cluster is fit for Baliza, and whether Baliza is
// well in it: a list of checks, each with an id that lasts, what was found, what to do,
// and where docs/checks.md says more. It is for kubectl-baliza and for a status page.
//
// A check that nobody could make says so: it is never taken for one that was passed.
//
// The package is pure: it is told the time, and it reads and writes nothing. What it
// returns are values.
package checks
