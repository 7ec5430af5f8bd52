package node

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// reportedMoves are in the report, the last ones.
const reportedMoves = 32

// recall takes over what the speaker reported before it was started, which is what is
// left of it.
func (n *Node) recall(reported []v1beta1.AddressMove) {
	for _, m := range reported {
		if move, err := moveOf(m); err == nil {
			n.history.last = append(n.history.last, move)
		}
	}
}

// reported are the last moves as they stand in a report.
func (n *Node) reported() []v1beta1.AddressMove {
	last := n.history.last
	return Reported(last[max(0, len(last)-reportedMoves):])
}

// Reported is how moves are written down.
func Reported(moves []Move) []v1beta1.AddressMove {
	var all []v1beta1.AddressMove
	for _, m := range moves {
		all = append(all, v1beta1.AddressMove{
			// As the API server keeps it, see seconds.
			Time: metav1.NewMicroTime(m.At.UTC().Truncate(time.Microsecond)), Address: m.Address.String(),
			From: m.From, To: m.To, Cause: m.Cause, UnownedMilliseconds: m.Unowned.Milliseconds(),
		})
	}
	return all
}

// moveOf reads what Reported wrote.
func moveOf(m v1beta1.AddressMove) (Move, error) {
	a, err := config.ParseAddress(m.Address)
	return Move{
		At: m.Time.Time, Address: a, From: m.From, To: m.To, Cause: m.Cause, Unowned: time.Duration(m.UnownedMilliseconds) * time.Millisecond,
	}, err
}
