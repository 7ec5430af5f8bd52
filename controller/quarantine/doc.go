// Package quarantine keeps the addresses that a host has which is none of ours, as
// the Speakers report it: they are kept from Services that do not name them, and a
// Service that was given one, and that never used it, may be moved.
//
// The reports are trusted no further than that. A Speaker that reports conflicts
// everywhere, because its node was broken into, can keep [PerPool] addresses from
// each pool, can move a Service [mostMoves] times in one quarantine, and cannot
// touch an address that another node announces.
//
// All that is known of a quarantine is in the status of the pool, so that the next
// leader goes on with it.
//
// The package is pure: it is told the time and returns what changed. Only
// controller/reconcile imports it. A [List] belongs to one goroutine.
package quarantine
