package rotation

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Secret is what the membership Secret holds of a rotation.
type Secret struct {
	// Keys in base64; the first encrypts, each of them is accepted.
	Keys []string
	// Rotation is the last one that was begun, by its word.
	Rotation string
	// Incoming is the fingerprint of the new key while a rotation is under way.
	Incoming string
}

// Speaker is what one of them says of its keys: fingerprints, that of the key
// which encrypts first. One that says nothing is not known to have any.
type Speaker struct {
	Node string
	Keys []string
}

// fingerprintSize is that of a fingerprint in bytes, as in a Speaker's
// status.membershipKeys.
const fingerprintSize = 8

// Fingerprint of a key in base64; empty when it is none.
func Fingerprint(key string) string {
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:fingerprintSize])
}

// Next is the next step on the way to the wanted rotation:
//
//  1. the new key is accepted by all, and used by none;
//  2. when all accept it, it is used, and the old one is still accepted;
//  3. when all use it, the old one is dropped.
//
// It returns the Secret as it should be, whether that is a change, and, where
// it is none, what is waited for; nothing when the rotation is over. fresh makes
// a new key and is called for the first step alone.
func Next(s Secret, speakers []Speaker, wanted string, fresh func() (string, error)) (next Secret, changed bool, waiting string, err error) {
	switch {
	case s.Incoming == "" && (wanted == "" || wanted == s.Rotation):
		return s, false, "", nil
	case s.Incoming == "":
		key, err := fresh()
		if err != nil {
			return s, false, "", err
		}
		return Secret{Keys: append(slices.Clone(s.Keys), key), Rotation: wanted, Incoming: Fingerprint(key)}, true, "", nil
	}
	at := slices.IndexFunc(s.Keys, func(key string) bool { return Fingerprint(key) == s.Incoming })
	switch {
	case at < 0:
		// Somebody took the new key out by hand, and so ended the rotation.
		s.Incoming = ""
		return s, true, "", nil
	case at > 0:
		if lacking := without(speakers, func(keys []string) bool { return slices.Contains(keys, s.Incoming) }); lacking != "" {
			return s, false, "the new key to be accepted by " + lacking, nil
		}
		rest := slices.Delete(slices.Clone(s.Keys), at, at+1)
		s.Keys = append([]string{s.Keys[at]}, rest...)
		return s, true, "", nil
	}
	if lacking := without(speakers, func(keys []string) bool { return len(keys) > 0 && keys[0] == s.Incoming }); lacking != "" {
		return s, false, "the new key to be used by " + lacking, nil
	}
	return Secret{Keys: s.Keys[:1], Rotation: s.Rotation}, true, "", nil
}

// named is how many nodes a message names.
const named = 5

// without names the speakers that do not pass; it is empty when all do.
func without(speakers []Speaker, passes func(keys []string) bool) string {
	var lacking []string
	for _, s := range speakers {
		if !passes(s.Keys) {
			lacking = append(lacking, s.Node)
		}
	}
	slices.Sort(lacking)
	if more := len(lacking) - named; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(lacking[:named], ", "), more)
	}
	return strings.Join(lacking, ", ")
}
