// Command bench takes the failover figures of layer 2 on the lab: a client opens
// a new TCP connection every 10 ms while cables are cut, hosts freeze and
// speakers are replaced. "make bench-failover" runs it.
//
// Environment: TRIALS (20) of each kind of cut, BUSY (10m) is how long both
// cores are kept busy to provoke false alarms, ADDRESSES (2000) move at once;
// 0 leaves the part out. PEER_IMAGES and PEER_MANIFESTS name another provider's
// images, archives with commas between (bin/images-tool makes one of a program),
// and its manifests, with a pool and an advertisement for all: the same cuts are
// done to it.
package main
