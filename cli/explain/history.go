package explain

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// History is when addresses went from one node to another.
type History struct {
	// Moves, the latest last.
	Moves []PastMove `json:"moves"`
	// Brief are the nodes of whose moves the last ones alone are known, those that
	// their Speakers report, and BriefWhy says why.
	Brief    []string `json:"brief,omitempty"`
	BriefWhy string   `json:"briefWhy,omitempty"`
}

// PastMove is one that was made.
type PastMove struct {
	Time    time.Time `json:"time"`
	Address string    `json:"address"`
	// From and To are nodes; empty is nobody.
	From  string            `json:"from,omitempty"`
	To    string            `json:"to,omitempty"`
	Cause v1beta1.MoveCause `json:"cause"`
	// UnownedMilliseconds is for about how long nobody answered, where that is known.
	UnownedMilliseconds int64 `json:"unownedMilliseconds,omitempty"`
}

// SpeakerNodes are those that have a Speaker, alive or not, in order.
func (c *Cluster) SpeakerNodes() []string {
	nodes := make([]string, 0, len(c.objects.Speakers))
	for _, s := range c.objects.Speakers {
		nodes = append(nodes, s.Name)
	}
	return nodes
}

// History joins what speakers remember, by node, and of the others what they have
// reported, of one address or, if it is not valid, of all.
func (c *Cluster) History(a netip.Addr, remembered map[string][]v1beta1.AddressMove) History {
	out := History{Moves: []PastMove{}}
	for _, s := range c.objects.Speakers {
		moves, asked := remembered[s.Name]
		if !asked {
			moves = s.Status.Moves
			out.Brief = append(out.Brief, s.Name)
		}
		for i := range moves {
			m := &moves[i]
			if of, err := config.ParseAddress(m.Address); a.IsValid() && (err != nil || of != a) {
				continue
			}
			out.Moves = append(out.Moves, PastMove{m.Time.Time, m.Address, m.From, m.To, m.Cause, m.UnownedMilliseconds})
		}
	}
	slices.SortStableFunc(out.Moves, func(x, y PastMove) int { return cmp.Or(x.Time.Compare(y.Time), cmp.Compare(x.Address, y.Address)) })
	return out
}

// lastMove is the last one of an address that Speakers report.
func (c *Cluster) lastMove(a netip.Addr) *PastMove {
	moves := c.History(a, nil).Moves
	if len(moves) == 0 {
		return nil
	}
	return &moves[len(moves)-1]
}
