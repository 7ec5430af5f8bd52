// Package link follows the node's network interfaces: which there are, whether
// they carry traffic, what MAC and addresses they have, and where the default
// routes lead. It listens to the kernel's netlink events and never polls; only
// when the kernel says that events were lost does it list everything again.
//
// A Snapshot is an immutable value. One goroutine of the Watcher owns the
// state; readers take the latest Snapshot at any time, from any goroutine, and
// Changes tells them when there is a newer one.
//
// Only the speaker's main package imports this package, and only this package
// imports vishvananda/netlink.
package link
