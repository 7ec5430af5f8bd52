package main

import (
	"slices"
	"strings"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// A dead speaker's last report stays in the cluster and goes on claiming
// addresses. Nobody may write it but the dead, and no living speaker writes
// just to say that it lives. So the others say whom they miss, and who is
// missed in error, as in a partition or by a liar, says so itself: see
// SpeakerStatus. Both are written only when they change.
const (
	// missingAfter is how long a speaker is away before that is told: a
	// restart is not worth a word.
	missingAfter = 3 * time.Second
	// witnesses is how many of those that hear each other tell it.
	witnesses = 3
)

// noteAway remembers since when speakers that should be there are not. It
// returns when the next of them will be missing, or zero.
func (s *speaker) noteAway(now time.Time) (again time.Duration) {
	away := make(map[string]time.Time)
	for name := range s.peers() {
		if slices.Contains(s.alive, name) {
			continue
		}
		since, known := s.away[name]
		if !known {
			since = now
		}
		away[name] = since
		if left := missingAfter - now.Sub(since); left > 0 {
			again = sooner(again, left)
		}
	}
	s.away = away
	return again
}

// missing lists the speakers that are away for long, if it is this one's part
// to tell.
func (s *speaker) missing(now time.Time) []v1beta1.MissingSpeaker {
	if rank := slices.Index(s.alive, s.node); rank < 0 || rank >= witnesses {
		return nil
	}
	var all []v1beta1.MissingSpeaker
	for name, since := range s.away {
		if now.Sub(since) >= missingAfter {
			all = append(all, v1beta1.MissingSpeaker{Name: name, Since: seconds(since)})
		}
	}
	return byName(all)
}

// refuted lists the others that miss this speaker, and since when they do.
func (s *speaker) refuted() []v1beta1.MissingSpeaker {
	var all []v1beta1.MissingSpeaker
	for _, object := range s.cluster.Speakers() {
		for _, missed := range object.Status.Missing {
			if missed.Name == s.node && object.Name != s.node {
				all = append(all, v1beta1.MissingSpeaker{Name: object.Name, Since: missed.Since})
			}
		}
	}
	return byName(all)
}

func byName(all []v1beta1.MissingSpeaker) []v1beta1.MissingSpeaker {
	slices.SortFunc(all, func(a, b v1beta1.MissingSpeaker) int { return strings.Compare(a.Name, b.Name) })
	return all[:min(len(all), maxMissing)]
}
