// Package queue holds which of many keys is to be worked on next: back-off, what is
// in flight, and fairness between namespaces. It is pure: it knows keys
// (namespace/name) and no objects, starts nothing, and is told the time.
//
// client-go's workqueue keeps no order between namespaces and no slots, so that one
// tenant whose requests hang would hold up all others.
//
// Nothing here is safe for concurrent use. Only controller/reconcile imports it.
package queue
