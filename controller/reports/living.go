package reports

import (
	"slices"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// denialWithin is how long a Speaker may leave undenied that another misses it.
const denialWithin = 5 * time.Second

// living leaves out the Speakers whose report is that of a dead one. Their objects
// stay as they were, so the others say whom they miss; a Speaker that is missed in
// error denies it, naming who misses it and since when. So a node that lies can
// hide no other: the others answer. Nobody has to write just to show that it lives.
// Of a last Speaker nobody can tell.
//
// missed is since when Speakers are missed by others: as it was, nil at the first
// reading, and as it is now. undecided says that one of them may yet deny it.
func living(speakers []*v1beta1.Speaker, missed map[string]time.Time, now time.Time) (
	alive []*v1beta1.Speaker, stillMissed map[string]time.Time, undecided bool,
) {
	stillMissed = make(map[string]time.Time)
	for _, s := range speakers {
		since, known := missed[s.Name]
		switch {
		case !Missed(s, speakers):
			alive = append(alive, s)
			continue
		case known:
		case missed == nil:
			since = now.Add(-denialWithin) // who could deny it has had the time
		default:
			since = now
		}
		stillMissed[s.Name] = since
		if now.Sub(since) < denialWithin {
			alive = append(alive, s)
			undecided = true
		}
	}
	return alive, stillMissed, undecided
}

// Missed reports whether one of the speakers misses a Speaker that does not deny it: what
// that one reported is then the report of a dead one.
func Missed(speaker *v1beta1.Speaker, speakers []*v1beta1.Speaker) bool {
	for _, other := range speakers {
		for _, missing := range other.Status.Unreachable {
			if missing.Name != speaker.Name || other.Name == speaker.Name {
				continue
			}
			denied := slices.ContainsFunc(speaker.Status.ConfirmedAlive, func(o v1beta1.UnreachableSpeaker) bool {
				return o.Name == other.Name && o.Since.Equal(&missing.Since)
			})
			if !denied {
				return true
			}
		}
	}
	return false
}
