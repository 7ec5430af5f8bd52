package node

import (
	"slices"
	"strings"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// A dead speaker's last report stays in the cluster and goes on claiming
// addresses. Nobody may write it but the dead, and no living speaker writes
// just to say that it lives. So the others say whom they miss, and who is
// missed in error, as in a partition or by a liar, says so itself: see
// SpeakerStatus. Both are written only when they change.
const (
	// unreachableAfter is how long a speaker is away before that is told: a
	// restart is not worth a word.
	unreachableAfter = 3 * time.Second
	// witnesses is how many of those that hear each other tell it.
	witnesses = 3
	// maxUnreachable is a limit of the Speaker object (see api/v1beta1).
	maxUnreachable = 256
)

// noteAlive tells the operator who came and went.
func (n *Node) noteAlive(alive []string, out *Output) {
	for _, name := range alive {
		if _, before := slices.BinarySearch(n.alive, name); !before {
			out.note(Info, "speaker is alive", "speaker", name, "alive", len(alive))
		}
	}
	for _, name := range n.alive {
		if _, still := slices.BinarySearch(alive, name); !still {
			out.note(Info, "speaker is gone", "speaker", name, "alive", len(alive))
		}
	}
	n.alive = alive
}

// noteReady remembers since when each speaker is ready, and returns when the
// next one will have been for as long as an advertisement wants it, or zero.
func (n *Node) noteReady(in *Input) (again time.Duration) {
	ready := n.ready(in.Members)
	since := make(map[string]time.Time, len(ready))
	for _, name := range ready {
		since[name] = in.Now
		if before, ok := n.since[name]; ok {
			since[name] = before
		}
		for _, a := range in.Cluster.Config.L2Advertisements {
			if left := a.Failback - in.Now.Sub(since[name]); a.Failback < config.FailbackNever && left > 0 {
				again = sooner(again, left)
			}
		}
	}
	n.since = since
	return again
}

// noteAway remembers since when speakers that should be there are not. It
// returns when the next of them will be missing, or zero.
func (n *Node) noteAway(in *Input) (again time.Duration) {
	away := make(map[string]time.Time)
	for name := range in.Cluster.Peers {
		if _, alive := slices.BinarySearch(n.alive, name); alive {
			continue
		}
		since, known := n.away[name]
		if !known {
			since = in.Now
		}
		away[name] = since
		if left := unreachableAfter - in.Now.Sub(since); left > 0 {
			again = sooner(again, left)
		}
	}
	n.away = away
	return again
}

// unreachable lists the speakers that are away for long, if it is this one's part
// to tell.
func (n *Node) unreachable(now time.Time) []v1beta1.UnreachableSpeaker {
	if rank := slices.Index(n.alive, n.config.Name); rank < 0 || rank >= witnesses {
		return nil
	}
	var all []v1beta1.UnreachableSpeaker
	for name, since := range n.away {
		if now.Sub(since) >= unreachableAfter {
			all = append(all, v1beta1.UnreachableSpeaker{Name: name, Since: seconds(since)})
		}
	}
	return byName(all)
}

// confirmedAlive lists the others that miss this speaker, and since when they do.
func (n *Node) confirmedAlive(in *Input) []v1beta1.UnreachableSpeaker {
	var all []v1beta1.UnreachableSpeaker
	for _, missed := range in.Cluster.Missed {
		if missed.Name == n.config.Name && missed.By != n.config.Name {
			all = append(all, v1beta1.UnreachableSpeaker{Name: missed.By, Since: missed.Since})
		}
	}
	return byName(all)
}

func byName(all []v1beta1.UnreachableSpeaker) []v1beta1.UnreachableSpeaker {
	slices.SortFunc(all, func(a, b v1beta1.UnreachableSpeaker) int { return strings.Compare(a.Name, b.Name) })
	return all[:min(len(all), maxUnreachable)]
}
