package main

import (
	"slices"
	"time"
)

const (
	// patience is how long a starting speaker looks for the others that there
	// should be, before it acts without them.
	patience = 2 * time.Second
	// calm is how long the membership must have been still before a starting
	// speaker believes that it is complete.
	calm = 50 * time.Millisecond
	// together is how long speakers that all start wait for each other.
	together = 300 * time.Millisecond
)

// phase of a speaker's start.
type phase int

const (
	// reading: the cluster is not known yet.
	reading phase = iota
	// seeking: the other speakers are looked for. Alone for a moment, this one
	// would take every address.
	seeking
	// gathering: nobody holds anything, since all speakers are starting. Who
	// took everything now would have to give most of it back.
	gathering
	// settled: the speaker acts, from now on always.
	settled
)

// start is how far a speaker has come.
type start struct {
	phase phase
	until time.Time // the phase's patience
}

// settle brings the start forward as far as it goes. It returns when to look
// again, or zero when the speaker may act. Until it is settled the others know
// that it is not ready and give it no address.
func (s *speaker) settle(now time.Time) time.Duration {
	if s.start.phase == reading && s.cluster.Synced() {
		s.introduce()
		s.start = start{seeking, now.Add(patience)}
	}
	if s.start.phase == seeking && (now.After(s.start.until) || s.found(now)) {
		othersReady := slices.ContainsFunc(s.members.Ready(), func(name string) bool { return name != s.node })
		s.members.SetReady()
		s.start = start{gathering, now.Add(together)}
		if othersReady {
			s.start.until = now // they give up what is ours as they hear of us
		}
	}
	if s.start.phase == gathering && (!now.Before(s.start.until) || len(s.members.Ready()) == len(s.members.Alive())) {
		s.start.phase = settled
		s.ready.settled.Store(true)
		s.alive = s.members.Alive()
		s.log.Info("settled", "speakers", s.alive, "services", s.services.Len())
	}
	if s.start.phase == settled {
		return 0
	}
	return calm
}

// found tells whether the others are found, or there is none.
func (s *speaker) found(now time.Time) bool {
	return (len(s.members.Alive()) > 1 || len(s.peers()) == 0) && now.Sub(s.lastMove) >= calm
}
