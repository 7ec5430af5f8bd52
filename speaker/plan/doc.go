// Package plan decides, for each address, which node answers for it, and for
// the node it runs on: on which interfaces, or why not.
//
// The package is pure: it has no clock, no goroutine, no socket, no logger and
// no client. Every speaker computes the same plan from the same View, so that
// nobody needs to be asked: that is the election. Only the speaker's main
// package imports it.
//
// # Who owns an address
//
// One node owns an address, whatever number of Services share it. A node can
// own an address for a Service if its speaker is alive, nothing excludes the
// node from load balancing, an advertisement that selects the address's pool
// and the Service selects the node and means an interface that it has, and the
// Service's endpoints can be reached through it. Interfaces in whose subnet the
// address is come before those that only have its family, and those before any:
// what fits less than another node's counts for nothing. Nodes that are unable to
// answer for the address count only if all are. Of the nodes that can own the
// address for the most of its Services, the present owner stays, unless an
// advertisement asks for failback. If it is not among them, or unknown, the most
// preferred come first, then those with the most pods that only they send traffic
// to, and of those the highest random weight decides: a hash of node and address.
// Nobody gets much more than the mean while others have less. When a node goes,
// only its addresses move, and they spread over all that are left.
//
// Who has let an address go because another's claim was better leaves it to that
// one, whatever follows from these rules: another may know more.
//
// # Addresses without an owner
//
// Where every advertisement of an address has balancing PerClient, all nodes
// that could own it for the most of its Services share it. Which of them answers
// which client is not decided here: package l2 does it for each request.
package plan
