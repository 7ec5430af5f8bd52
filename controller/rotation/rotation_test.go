package rotation

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func key(number byte) string {
	return base64.StdEncoding.EncodeToString(slices.Repeat([]byte{number}, 32))
}

// prints are the fingerprints of keys.
func prints(keys []string) []string {
	var all []string
	for _, k := range keys {
		all = append(all, Fingerprint(k))
	}
	return all
}

// A world of speakers that take over what the Secret holds whenever they like,
// late ones included: whatever one of them encrypts with, all of the others
// accept; and in the end all use the new key and no other is accepted.
func TestWhateverOneUsesAllAccept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := Secret{Keys: []string{key(0)}, Rotation: "old"}
		seen := make([][]string, rapid.IntRange(1, 5).Draw(t, "speakers"))
		for i := range seen {
			seen[i] = secret.Keys
		}
		reports := func() (all []Speaker) {
			for i, keys := range seen {
				all = append(all, Speaker{Node: string(rune('a' + i)), Keys: prints(keys)})
			}
			return all
		}
		agree := func() {
			for i, mine := range seen {
				for j, theirs := range seen {
					if !slices.Contains(theirs, mine[0]) {
						t.Fatalf("speaker %d uses a key that speaker %d does not accept; the Secret has %v", i, j, secret)
					}
				}
			}
		}
		made := byte(0)
		fresh := func() (string, error) { made++; return key(made), nil } //nolint:unparam // what Next wants can fail
		step := func() bool {
			next, changed, _, err := Next(secret, reports(), "new", fresh)
			if err != nil {
				t.Fatal(err)
			}
			secret = next
			return changed
		}
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			if who := rapid.IntRange(-1, len(seen)-1).Draw(t, "who"); who >= 0 {
				seen[who] = secret.Keys
			} else {
				step()
			}
			agree()
		}
		for range 10 {
			for i := range seen {
				seen[i] = secret.Keys
				agree()
			}
			step()
		}
		if !slices.Equal(secret.Keys, []string{key(1)}) || secret.Rotation != "new" || secret.Incoming != "" || step() {
			t.Fatalf("the rotation ends with %+v", secret)
		}
	})
}

func TestItSaysWhomItWaitsFor(t *testing.T) {
	secret := Secret{Keys: []string{key(0), key(1)}, Rotation: "new", Incoming: Fingerprint(key(1))}
	speakers := []Speaker{{Node: "n2"}, {Node: "n1", Keys: prints([]string{key(0)})}, {Node: "n3", Keys: prints(secret.Keys)}}
	_, changed, waiting, err := Next(secret, speakers, "new", nil)
	if err != nil || changed || waiting != "the new key to be accepted by n1, n2" {
		t.Errorf("got %v, %q, %v", changed, waiting, err)
	}
	for range 9 {
		speakers = append(speakers, Speaker{Node: "n9"})
	}
	if _, _, waiting, _ = Next(secret, speakers, "new", nil); !strings.HasSuffix(waiting, " and 6 more") {
		t.Errorf("got %q", waiting)
	}
}

func TestARotationIsBegunOnce(t *testing.T) {
	for name, c := range map[string]struct{ has, wanted string }{
		"nothing is wanted":             {"", ""},
		"the value was taken out again": {"one", ""},
		"it was done":                   {"one", "one"},
	} {
		if _, changed, waiting, err := Next(Secret{Keys: []string{key(0)}, Rotation: c.has}, nil, c.wanted, nil); err != nil || changed || waiting != "" {
			t.Errorf("%s: %v, %q, %v", name, changed, waiting, err)
		}
	}
}

func TestOneThatWasEndedByHandIsOver(t *testing.T) {
	next, changed, _, err := Next(Secret{Keys: []string{key(0)}, Rotation: "new", Incoming: Fingerprint(key(1))}, nil, "new", nil)
	if err != nil || !changed || next.Incoming != "" || len(next.Keys) != 1 {
		t.Errorf("got %+v, %v, %v", next, changed, err)
	}
}
