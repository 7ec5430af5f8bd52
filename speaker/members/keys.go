package members

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/baliza-lb/baliza/speaker/members/detection"
)

// keySize of AES-256, in bytes.
const keySize = 32

// readKeys reads the keys of a file: one in base64 on each line, 32 bytes
// each: see keyring.Ring for how they are used.
func readKeys(path string) ([][]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("membership key file: %w", err)
	}
	keys, err := parseKeys(string(text))
	if err != nil {
		return nil, fmt.Errorf("membership key file %s: %w", path, err)
	}
	return keys, nil
}

func parseKeys(text string) ([][]byte, error) {
	var keys [][]byte
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			// The line itself is a secret: it is not shown.
			return nil, fmt.Errorf("line %d is not base64", number)
		}
		if len(key) != keySize {
			return nil, fmt.Errorf("line %d has %d bytes, want %d (head -c %d /dev/urandom | base64)", number, len(key), keySize, keySize)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("contains no key")
	}
	return keys, nil
}

// useKeys makes a ring contain exactly the keys, the first one in charge.
func useKeys(ring *memberlist.Keyring, keys [][]byte) error {
	for _, key := range keys {
		if err := ring.AddKey(key); err != nil {
			return fmt.Errorf("membership key: %w", err)
		}
	}
	if err := ring.UseKey(keys[0]); err != nil {
		return fmt.Errorf("membership key: %w", err)
	}
	for _, old := range slices.Clone(ring.GetKeys()) {
		if !slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, old) }) {
			if err := ring.RemoveKey(old); err != nil {
				return fmt.Errorf("membership key: %w", err)
			}
		}
	}
	return nil
}

// fingerprintSize is that of a fingerprint in bytes: enough to tell keys apart,
// and of no use in finding one.
const fingerprintSize = 8

// Keys are the fingerprints of the keys that are accepted for good, that of the
// one in charge first: hexadecimal digits of the beginning of each one's SHA-256.
func (m *Members) Keys() []string {
	var prints []string
	for _, key := range m.keys.Told() {
		sum := sha256.Sum256(key)
		prints = append(prints, hex.EncodeToString(sum[:fingerprintSize]))
	}
	return prints
}

const (
	// keyPeriod is how often the key file is looked at. A mounted Secret is not
	// worth a file watch: kubelet updates it once a minute.
	keyPeriod = 2 * time.Second
	// turnPeriod is how often it is asked whether all have the first key.
	turnPeriod = 200 * time.Millisecond
)

// watchKeys takes over the keys of the file when it changes, and sends with its
// first key when all have it. A file that cannot be read or understood changes
// nothing, and is reported once.
func (m *Members) watchKeys(ctx context.Context, path string, keys [][]byte) {
	look, turn := time.NewTicker(keyPeriod), time.NewTicker(turnPeriod)
	defer look.Stop()
	defer turn.Stop()
	var complaint string
	for {
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
			m.turnKeys(nil)
			continue
		case <-look.C:
		}
		now, err := readKeys(path)
		if err == nil && !reflect.DeepEqual(now, keys) {
			keys = now
			m.turnKeys(keys)
			m.logger.Info("membership keys changed", "keys", len(keys))
		}
		switch {
		case err == nil:
			complaint = ""
		case err.Error() != complaint:
			complaint = err.Error()
			m.logger.Warn("membership keys stay as they were", "error", err)
		}
	}
}

// turnKeys takes over what stands in the file, unless that is nil, and lets the
// keys' time pass. memberlist gets the same decision.
func (m *Members) turnKeys(file [][]byte) {
	changed := file != nil
	m.do(func(machine *detection.Machine, now time.Time) {
		if changed {
			m.keys.Replace(file, now)
			machine.SetKey(m.keys.Newest(), now)
		}
		changed = m.keys.Turn(now, machine.AllHave) || changed
	})
	if !changed {
		return
	}
	if err := useKeys(m.ring, m.keys.Keys()); err != nil {
		m.logger.Warn("membership keys", "error", err)
	}
}
