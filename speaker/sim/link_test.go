package sim

import (
	"testing"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
)

// L12: whose link was out believes that it is alone, and that each address is its own.
// When the link is back it may look at everything, for any reason, before it is told of
// the change.
func TestL12_WhoseLinkIsBackTakesNothingBeforeItHasHeardTheOthers(t *testing.T) {
	for seed := range uint64(30) {
		w := gathering(seed, 3)
		first := w.nodes[0]
		usable := func(is bool) {
			first.SetLink(lan, func(on *model.Interface) { on.Usable, on.Suitable = is, is })
		}
		usable(false)
		w.Run(2 * time.Second)
		usable(true)
		first.soon(0)
		for range 30 {
			w.Run(2 * time.Millisecond)
			for _, other := range w.nodes[1:] {
				for a := range first.responder.held {
					if on := other.responder.held[a]; len(on) > 0 && len(first.responder.held[a]) > 0 {
						t.Fatalf("seed %d: %s has taken %s, which is %s's; it holds %v", seed, first.name, a, other.name, first.status.Claims)
					}
				}
			}
		}
	}
}
