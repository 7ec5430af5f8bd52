// Command bench takes the failover figures of layer 2 on the lab: a client opens
// a new TCP connection every 10 ms while cables are cut, hosts freeze and
// speakers are replaced. "make bench-failover" runs it.
//
// Environment, where 0 leaves the part out: TRIALS (20) of each kind of cut;
// ADDRESSES (2000) move at once; BUSY (10m) is how long eight busy programs run
// beside the nodes' pods; STOPS (5) is how often a speaker is stopped for 300 ms,
// stopped for good, and killed; BLOCKED (20s), DEAF (4m) and FORGED (30s) are how
// long the member port is blocked, in each of two ways, a node sends and does not
// receive, and a host says that addresses in use are its own. PEER_IMAGES and
// PEER_MANIFESTS name another provider's images, archives with commas between
// (bin/images-tool makes one of a program), and its manifests, with a pool and an
// advertisement for all: the same cuts are done to it.
package main
