// Package manifests finds what is wrong with objects before a cluster has them: those
// that are written in files. It also writes such files, of what another provider's
// objects become.
//
// The package is pure: it is given the files' content. Only cli/command imports it. A
// [Set] belongs to one goroutine.
package manifests
