package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func secret(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 32) }

func secrets(numbers ...int) (all [][]byte) {
	for _, n := range numbers {
		all = append(all, secret(n))
	}
	return all
}

func idOf(n int) uint32 { return newKey(secret(n)).id }

func nobody(uint32) bool    { return false }
func everybody(uint32) bool { return true }

func TestAKeyIsSentWithWhenAllHaveItOrAfterSomeTime(t *testing.T) {
	begin := time.Unix(1_000_000, 0)
	r := New(secrets(1))
	if r.Sending() != idOf(1) || r.Newest() != idOf(1) {
		t.Fatal("the first key is not sent with at the start")
	}
	r.Replace(secrets(1, 2), begin)
	if r.Turn(begin, everybody) || r.Sending() != idOf(1) {
		t.Error("a key that is not the first is sent with")
	}
	if !r.Opens(idOf(2)) || r.Newest() != idOf(2) {
		t.Error("a key that was added is not accepted, or not told to the others")
	}
	r.Replace(secrets(2, 1), begin)
	if r.Turn(begin, nobody) || r.Sending() != idOf(1) {
		t.Error("a key is sent with that others lack")
	}
	if !r.Turn(begin, everybody) || r.Sending() != idOf(2) || !r.Opens(idOf(1)) {
		t.Error("a key that all have is not sent with")
	}
	r.Replace(secrets(3), begin)
	r.Turn(begin.Add(Patience-1), nobody)
	if r.Sending() != idOf(2) || !r.Opens(idOf(1)) || !r.Opens(idOf(3)) {
		t.Error("16: a key that left the file is forgotten at once")
	}
	if !r.Turn(begin.Add(Patience), nobody) || r.Sending() != idOf(3) {
		t.Error("a key waits for ever")
	}
	if r.Opens(idOf(1)) || !r.Opens(idOf(2)) {
		t.Error("what was sent with until now is not accepted any more, or what left long ago is")
	}
	r.Turn(begin.Add(2*Patience), nobody)
	if r.Opens(idOf(2)) {
		t.Error("a key is accepted for ever")
	}
	if got := fmt.Sprint(len(r.Keys()), len(r.Told())); got != "1 1" {
		t.Errorf("%s keys are left", got)
	}
}

func TestWhatIsToldHasTheKeyInUseFirst(t *testing.T) {
	r := New(secrets(1, 2))
	r.Replace(secrets(3, 2), time.Unix(1, 0))
	if got := r.Told(); len(got) != 3 || !bytes.Equal(got[0], secret(1)) || !bytes.Equal(got[1], secret(3)) {
		t.Errorf("told: %v", got)
	}
	r.Turn(time.Unix(2, 0), everybody)
	if got := r.Told(); len(got) != 2 || !bytes.Equal(got[0], secret(3)) {
		t.Errorf("a key that only waits for its end is told: %v", got)
	}
}

// 16: speakers whose files change in any way, in any order, within Patience of
// each other, understand each other at every moment.
func TestRotationLeavesNoGap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const speakers = 4
		now := time.Unix(1_000_000, 0)
		var rings []*Ring
		for range speakers {
			rings = append(rings, New(secrets(1)))
		}
		allHave := func(id uint32) bool {
			for _, r := range rings {
				if r.Newest() != id {
					return false
				}
			}
			return true
		}
		check := func() {
			for i, from := range rings {
				for j, to := range rings {
					if !to.Opens(from.Sending()) {
						t.Fatalf("at %s: %d does not understand %d", now, j, i)
					}
				}
			}
		}
		turn := func(d time.Duration) {
			now = now.Add(d)
			for _, i := range rapid.Permutation([]int{0, 1, 2, 3}).Draw(t, "order") {
				rings[i].Turn(now, allHave)
				check()
			}
		}
		for step := range rapid.IntRange(1, 4).Draw(t, "rotations") {
			fresh := step + 2
			file := rapid.SampledFrom([][][]byte{secrets(fresh), secrets(fresh, fresh-1), secrets(fresh-1, fresh)}).Draw(t, "file")
			for _, i := range rapid.Permutation([]int{0, 1, 2, 3}).Draw(t, "reached") {
				rings[i].Replace(file, now)
				check()
				turn(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second)
			}
			for range 10 {
				turn(time.Minute)
			}
			if !bytes.Equal(rings[0].Keys()[0], file[0]) {
				t.Fatal("the first key of the file is never sent with")
			}
		}
	})
}

func TestSealedMessages(t *testing.T) {
	r, stranger := New(secrets(1)), New(secrets(2))
	message := []byte("a heartbeat")
	sealed := r.Seal([]byte("before"), message)[len("before"):]
	if len(sealed) != len(message)+Overhead || !r.Accepts(sealed) || stranger.Accepts(sealed) {
		t.Fatalf("sealed: %x", sealed)
	}
	if opened, err := r.Open(nil, sealed); err != nil || !bytes.Equal(opened, message) {
		t.Fatalf("opened: %q, %v", opened, err)
	}
	if again := r.Seal(nil, message); bytes.Equal(again, sealed) {
		t.Error("a nonce was used twice")
	}
	for i := range sealed {
		forged := bytes.Clone(sealed)
		forged[i] ^= 1
		if _, err := r.Open(nil, forged); !errors.Is(err, ErrSealed) {
			t.Errorf("byte %d can be changed: %v", i, err)
		}
		if _, err := r.Open(nil, sealed[:i]); !errors.Is(err, ErrSealed) {
			t.Errorf("%d bytes are opened: %v", i, err)
		}
	}
}

func TestNoncesAreNeverUsedTwice(t *testing.T) {
	var n nonces
	first := n.append(nil)
	n.count = 1<<32 - 2
	last, after := n.append(nil), n.append(nil)
	if bytes.Equal(first[:8], after[:8]) || !bytes.Equal(first[:8], last[:8]) {
		t.Errorf("%x, %x, %x: the counter begins anew with the same prefix", first, last, after)
	}
}

func TestOpeningAndDroppingAllocateNothing(t *testing.T) {
	r, stranger := New(secrets(1)), New(secrets(2))
	sealed, foreign := r.Seal(nil, make([]byte, 200)), stranger.Seal(nil, make([]byte, 200))
	buffer := make([]byte, 0, 2048)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = r.Open(buffer, sealed)
		_, _ = r.Open(buffer, foreign)
		_ = r.Seal(buffer, sealed)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzOpen(f *testing.F) {
	r := New(secrets(1))
	f.Add(r.Seal(nil, []byte("beat")))
	f.Add([]byte{Magic, Version})
	f.Fuzz(func(_ *testing.T, sealed []byte) { _, _ = r.Open(nil, sealed) })
}

func BenchmarkOpen(b *testing.B) {
	r, stranger := New(secrets(1)), New(secrets(2))
	buffer := make([]byte, 0, 2048)
	for name, sealed := range map[string][]byte{"ours": r.Seal(nil, make([]byte, 200)), "strangers": stranger.Seal(nil, make([]byte, 200))} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = r.Open(buffer, sealed)
			}
		})
	}
}
