// Package cluster turns the objects of the API server, as api/kube caches them,
// into what node.Node looks at. It waits for nothing: while the API server is
// away everything stays as it was.
//
// A View is for one goroutine. Only the speaker's main package imports this
// package.
package cluster
