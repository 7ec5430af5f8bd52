// Package bundle makes the archive of a bug report: files, and objects as YAML, from
// which whatever may be a password is taken out.
//
// What is kept of an object is what Baliza looks at. Values that others may have put
// a secret into go, whatever they are: annotations that are not Baliza's, environment
// variables, arguments of other programs. What is left is searched for the known
// passwords, and for what looks like one.
//
// The package is pure: it is given the time, and writes to a writer. Only cli/command
// imports it. A [Bundle] belongs to one goroutine.
package bundle
