// Package ipam allocates addresses: it knows which Service holds which, what
// is free, and what a Service that asks can be given. It decides; others write
// the decision down.
//
// Three rules stand above all others. What the cluster shows is adopted before
// anything new is given. An address that a Service has stays with it until the
// Service's owner asks for something else, whatever becomes of the pool. And
// an address that a Service leaves stays taken until the caller confirms, with
// [IPAM.Settled] or [IPAM.Release], that the cluster no longer shows it: a
// crash between two writes therefore never shows one address twice.
//
// A pool's free addresses are kept as disjoint intervals, one tree for each
// family, so that giving and taking back cost the logarithm of the number of
// fragments, whatever the size of the pool and however full it is.
//
// A request is judged by a chain of small rules (rules.go), each of which says
// why a pool does not do; the refusal names each pool and the rule. What
// reservations set aside is a [part] of its own, with its own free addresses;
// quotas (quota.go) look at a finished plan. A freed address that cools down, or
// that waits for its turn in the order of use, is [cooldowns]. The allocator has a
// clock for that, which [IPAM.Advance] and [IPAM.Assign] move on; cool-downs and
// the order of use are memory only, and a restart begins without them.
//
// An address in quarantine (quarantine.go) is given only to who names it.
// [IPAM.Move] is the one way for a Service to lose an address without asking.
//
// The package is pure: it has no clock, no goroutine, no logger and no client.
// Only controller/reconcile and commands that explain may import it. An [IPAM]
// is not safe for concurrent use: it belongs to one goroutine.
package ipam
