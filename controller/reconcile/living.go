package reconcile

import (
	"slices"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// missedFor is how long a speaker may leave unrefuted that another misses it.
const missedFor = 5 * time.Second

// living leaves out the speakers whose report is that of a dead one. Their
// objects stay as they were, so the others say whom they miss; a speaker that
// is missed in error refutes it, naming who misses it and since when. So a
// node that lies can hide no other: the others answer. Nobody has to write
// just to show that it lives. Of a last speaker nobody can tell.
func (p *reports) living(speakers []*v1beta1.Speaker, now time.Time) []*v1beta1.Speaker {
	missed := make(map[string]time.Time)
	for _, object := range speakers {
		if !unrefuted(object, speakers) {
			continue
		}
		since, known := p.missed[object.Name]
		switch {
		case known:
		case p.missed == nil:
			since = now.Add(-missedFor) // at the start: who could refute it has had the time
		default:
			since = now
		}
		missed[object.Name] = since
		if now.Sub(since) < missedFor {
			p.changed = true // look again
		}
	}
	p.missed = missed
	return slices.DeleteFunc(slices.Clone(speakers), func(s *v1beta1.Speaker) bool {
		since, known := missed[s.Name]
		return known && now.Sub(since) >= missedFor
	})
}

// unrefuted reports whether somebody misses a speaker that does not deny it.
func unrefuted(object *v1beta1.Speaker, speakers []*v1beta1.Speaker) bool {
	for _, other := range speakers {
		for _, missing := range other.Status.Unreachable {
			if missing.Name != object.Name || other.Name == object.Name {
				continue
			}
			denied := slices.ContainsFunc(object.Status.ConfirmedAlive, func(o v1beta1.UnreachableSpeaker) bool {
				return o.Name == other.Name && o.Since.Equal(&missing.Since)
			})
			if !denied {
				return true
			}
		}
	}
	return false
}
