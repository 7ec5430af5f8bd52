// Package netnstest gives the tests of a package a network namespace of their
// own, and other hosts beside it.
//
// Some of what a kernel has is one for all of its namespaces, and so for all
// tests that run at the same time, in whatever package or clone:
//
//   - the tables of neighbors, one for each family, of 1,024 entries unless an
//     administrator has set more (net.ipv4.neigh.default.gc_thresh3). What is
//     younger than five seconds is not thrown out, so that whoever fills one
//     takes it from all: "No buffer space available". Entries that a test makes
//     itself it makes by [Host.Neighbors], which do not count; a test that has
//     a kernel find many neighbors by itself is not to be written.
//   - the processors. A test that says how soon something must have happened
//     fails beside another that takes them: it waits, with a ceiling that only
//     a hang meets, and logs how long it took.
//   - files and ports outside of the namespace: T.TempDir and port 0.
//
// Only tests import it. All of it may be called from several goroutines at once,
// except that T.FailNow is for that of the test alone.
package netnstest
