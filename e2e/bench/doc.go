// Command bench takes the failover figures of layer 2 on the lab: a client opens
// a new TCP connection every 10 ms while cables are cut, hosts freeze and
// speakers are replaced. "make bench-failover" runs it.
//
// Environment: TRIALS (20) of each kind of cut, BUSY (10m) is how long both
// cores are kept busy to provoke false alarms, ADDRESSES (2000) move at once;
// 0 leaves the part out. PEER_CONTROLLER, PEER_SPEAKER and PEER_MANIFESTS name
// another provider's programs (images peer/controller and peer/speaker) and its
// manifests, with a pool and an advertisement for all: the same cuts are done
// to it.
package main
