package node

import (
	"slices"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/model"
)

const (
	// seekTimeout is how long a starting speaker looks for the others that there
	// should be, before it acts without them.
	seekTimeout = 2 * time.Second
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
	// acting: from now on, always.
	acting
)

// start is how far a speaker has come.
type start struct {
	phase phase
	until time.Time // the phase's timeout
	began time.Time // when the cluster was known
	ready bool      // the others have been told so
}

// started brings the start forward as far as it goes, and reports whether it is
// over. Until it is the others know that this speaker is not ready and give it
// no address.
func (n *Node) started(in *Input, out *Output) bool {
	s := &n.start
	if s.phase == reading && in.Cluster.Synced {
		n.recall(in.Cluster.Moves)
		out.Introduction = &v1beta1.SpeakerStatus{
			MemberAddress: in.Members.Address.String(), Version: n.config.Version, MembersAlive: int32(len(in.Members.Alive)),
			Moves: n.reported(),
		}
		s.phase, s.until, s.began = seeking, in.Now.Add(seekTimeout), in.Now
	}
	if s.phase == seeking && (in.Now.After(s.until) || found(in)) {
		othersReady := slices.ContainsFunc(in.Members.Ready, func(name string) bool { return name != n.config.Name })
		out.Ready, s.ready = true, true
		s.phase, s.until = gathering, in.Now.Add(together)
		if othersReady {
			s.until = in.Now // they give up what is ours as they hear of us
		}
	}
	out.check(n.unserved(in))
	if s.phase == gathering && len(out.Checks) == 0 && (!in.Now.Before(s.until) || len(n.ready(in.Members)) == len(in.Members.Alive)) {
		s.phase, n.alive = acting, in.Members.Alive
		out.note(Info, "settled", "speakers", n.alive, "services", in.Cluster.Services.Len())
	}
	if s.phase != acting {
		out.Again = calm
	}
	return s.phase == acting
}

// Started reports whether the start is over.
func (n *Node) Started() bool { return n.start.phase == acting }

// found reports whether the others are found, or there is none.
func found(in *Input) bool {
	return (len(in.Members.Alive) > 1 || len(in.Cluster.Peers) == 0) && in.Now.Sub(in.Members.Changed) >= calm
}

// ready are the speakers that may own addresses: this one as soon as it has said
// so, which the membership shows a moment later.
func (n *Node) ready(m *model.Membership) []string {
	at, found := slices.BinarySearch(m.Ready, n.config.Name)
	if _, alive := slices.BinarySearch(m.Alive, n.config.Name); found || !alive || !n.start.ready {
		return m.Ready
	}
	return slices.Insert(slices.Clone(m.Ready), at, n.config.Name)
}

func (o *Output) note(level Level, message string, pairs ...any) {
	o.Notes = append(o.Notes, Note{level, message, pairs})
}
