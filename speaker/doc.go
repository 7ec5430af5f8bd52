// Command speaker runs on every node and makes it answer for its share of the
// Services' addresses. Only this package knows all the parts: api/kube sees the
// cluster, members the other speakers, link the interfaces; plan decides; l2
// answers. They hand plain values to each other through here.
//
// Concurrency: one goroutine, that of speaker.run, owns the state and makes
// every decision. It never waits for the API server: it reads caches and hands
// its report to a writer of its own. When the API server is away it goes on
// with what it knows, failover included.
package main
