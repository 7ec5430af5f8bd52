package members

import (
	"time"

	"github.com/hashicorp/memberlist"
)

// Settings decide how fast a death is noticed, and how sure that is.
type Settings struct {
	// ProbeInterval is how often each speaker probes one other. Its inverse,
	// times the number of speakers, is the number of probes on the LAN.
	ProbeInterval time.Duration
	// ProbeTimeout is how long a probe's answer may take before others are
	// asked to probe as well. It must be below ProbeInterval.
	ProbeTimeout time.Duration
	// SuspicionMult, times ProbeInterval, is how long a silent speaker may
	// still object before it is dead (up to ten speakers; with the decimal
	// logarithm of their number above).
	SuspicionMult int
	// IndirectChecks is how many others are asked to probe as well.
	IndirectChecks int
	// GossipInterval is how long news waits at most for the next hop.
	GossipInterval time.Duration
	// AwarenessMax bounds by how much a speaker that finds itself slow
	// stretches its probes.
	AwarenessMax int
	// FullSyncInterval is how often a speaker compares all it knows with
	// another's.
	FullSyncInterval time.Duration
	// StreamTimeout bounds a TCP exchange with another speaker.
	StreamTimeout time.Duration

	// SeekInterval is how often a lost speaker is called, in the first
	// minute; SeekSlowly is how often afterwards. Both are jittered.
	SeekInterval, SeekSlowly time.Duration
	// ForgetAfter is when a speaker that is neither alive nor wanted is
	// called no more.
	ForgetAfter time.Duration
}

// Default settings are for a LAN: a death is noticed in 0.3 to 0.6 s.
func Default() Settings {
	return Settings{
		ProbeInterval:    100 * time.Millisecond,
		ProbeTimeout:     50 * time.Millisecond,
		SuspicionMult:    2,
		IndirectChecks:   3,
		GossipInterval:   50 * time.Millisecond,
		AwarenessMax:     3,
		FullSyncInterval: 10 * time.Second,
		StreamTimeout:    2 * time.Second,
		SeekInterval:     100 * time.Millisecond,
		SeekSlowly:       400 * time.Millisecond,
		ForgetAfter:      time.Hour,
	}
}

// config translates the settings to memberlist's own.
func (s Settings) config() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.ProbeInterval, c.ProbeTimeout = s.ProbeInterval, s.ProbeTimeout
	c.SuspicionMult = s.SuspicionMult
	c.IndirectChecks = s.IndirectChecks
	c.GossipInterval = s.GossipInterval
	c.AwarenessMaxMultiplier = s.AwarenessMax
	c.PushPullInterval = s.FullSyncInterval
	c.TCPTimeout = s.StreamTimeout
	c.GossipToTheDeadTime = 10 * time.Second
	// A speaker that restarted with another address is known again at once.
	c.DeadNodeReclaimTime = time.Millisecond
	// Messages are small: compressing costs more than it saves.
	c.EnableCompression = false
	return c
}
