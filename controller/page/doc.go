// Package page is the status page of the controller: what kubectl baliza says, in a
// browser, and as it changes. Every replica serves it.
//
// It only reads. What it shows is worked out by cli/explain from the objects that the
// controller's caches have, never from requests of its own, at most once a second and only
// while somebody looks; all viewers share it. It has no password: who may reach the port
// may read it. It shows nothing of Secrets, nor the spec of BGPPeers, which may have
// passwords.
//
// Every page works without a script, by links and by reloading; the one script that there
// is fetches a page again when something has changed and replaces what differs.
//
// Only main imports the package. A [Server] may be used from any goroutine.
package page
