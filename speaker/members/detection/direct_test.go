package detection

import (
	"testing"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
)

// A broadcast is a frame for every port of the LAN: who was heard on it is asked alone,
// and everybody for one who is silent or lost, since its MAC may be another by now.
func TestOnlyTheSilentAreAskedForByBroadcast(t *testing.T) {
	r := newRoom(t, "a", "b")
	r.share()
	r.steps(3, all)
	a, b := r.machines["a"], r.machines["b"]
	// asked is what a asks for b, after some time in which b is heard by frames, or not.
	asked := func(d time.Duration, heard bool) (to []model.MAC) {
		for end := r.now.Add(d); r.now.Before(end); {
			r.now = r.now.Add(Default().Pulse)
			for _, turn := range []struct {
				from, to *Machine
				way      Way
				open     bool
			}{{b, a, Way{On: "eth0", MAC: macOf("b")}, heard}, {a, b, Way{At: at("a")}, true}} {
				turn.from.Turn(r.now)
				out := turn.from.Take()
				for _, p := range out.Packets {
					if !turn.open {
						continue
					}
					if err := turn.to.Receive(p.Bytes, turn.way, r.now); err != nil {
						t.Fatal(err)
					}
				}
				for _, q := range out.Questions {
					if turn.from == a && q.Target == at("b").Addr() {
						to = append(to, q.MAC)
					}
				}
			}
		}
		return to
	}
	expect := func(what string, got []model.MAC, want model.MAC) {
		t.Helper()
		if len(got) == 0 {
			t.Errorf("%s: nothing is asked", what)
		}
		for _, mac := range got {
			if mac != want {
				t.Errorf("%s: %s is asked, want %s", what, mac, want)
			}
		}
	}
	_ = asked(time.Second, true) // until the first frame was heard it is asked for by broadcast
	expect("heard", asked(2*witnessEvery, true), macOf("b"))
	expect("silent, and then lost", asked(time.Second, false)[1:], model.MAC{})
}
