// Package reconcile is the controller's loop: it sees the cluster through
// caches, asks controller/ipam who gets which address, and writes the answer
// to the Services, with conditions and events.
//
// # How one pass goes
//
// Changes arrive as keys. A pass, tens of milliseconds after the first of
// them, takes in what changed: first the pools, then each Service, the oldest
// first. Services new to the loop have what they show adopted before anything
// is given. Each Service then has a [desired] state; where that differs from
// what is observed, a write is queued. When something was freed, whoever waits
// is asked again, the oldest first.
//
// # Writes
//
// One write says everything about a Service (see [kube.ServiceWrite]), so a
// crash never leaves half of a decision behind. Up to Options.Parallel writes are
// in flight, never two for one Service. Each is bound to the version of the
// object that the decision was made on. A result comes back into the loop and
// takes the place of the observed object until the cache is at least as new.
// An address that a Service leaves is free only when a write without it has
// been confirmed. Nothing is written that is so already.
//
// # Others who write the same status
//
// What a Service shows is compared by value. Where it names a class of ours, or has
// an annotation of ours that asks for an address, what others write is written over.
// Where it does neither, addresses that are not allocated to it are replaced only
// after asking the API server who owns them: what a person's tool or a backup wrote
// is; to any other program the loop yields: the Service carries reason WriteConflict,
// loses its allocation, and is left alone until its status is empty. What it shows
// meanwhile is allocated to it where a pool of ours has it, so that nobody else is
// given the same. Whatever is undone that was written is written again ever more
// slowly, and that is said.
//
// # Where decisions are made
//
// A Service is parsed once, when it is seen (service.go). controller/ipam answers
// what it is given, [desire] decides what is said, without memory. A record has the
// little that must be remembered, and one [phase]: what is being done about it.
// controller/queue knows what is to be requested next, controller/reports what the
// Speakers say, controller/quarantine which addresses other hosts have, and
// controller/status writes to the operator's objects.
//
// # Concurrency
//
// One goroutine, that of [Reconciler.Run], owns all state. [Reconciler.Changed] may
// be called from anywhere at any time; workers get values and return values.
// Only package main may import this package.
package reconcile
