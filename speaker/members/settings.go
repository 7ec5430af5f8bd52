package members

import (
	"time"

	"github.com/hashicorp/memberlist"
)

// The directory: memberlist, which finds speakers and tells of them, but does
// not decide who is alive.
const (
	// probeInterval is how often memberlist probes one other, probeTimeout how
	// long the answer may take: less than the interval.
	probeInterval, probeTimeout = time.Second, 400 * time.Millisecond
	// gossipInterval is how long news waits at most for the next hop.
	gossipInterval = 100 * time.Millisecond
	// fullSyncInterval is how often a speaker compares all that memberlist
	// knows with another's.
	fullSyncInterval = 15 * time.Second
	// streamTimeout bounds a TCP exchange with another speaker.
	streamTimeout = 2 * time.Second
)

// directory is how memberlist is used.
func directory() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.ProbeInterval, c.ProbeTimeout = probeInterval, probeTimeout
	c.GossipInterval = gossipInterval
	c.PushPullInterval = fullSyncInterval
	c.TCPTimeout = streamTimeout
	c.GossipToTheDeadTime = 10 * time.Second
	// A speaker that restarted with another address is known again at once.
	c.DeadNodeReclaimTime = time.Millisecond
	// Messages are small: compressing costs more than it saves.
	c.EnableCompression = false
	return c
}
