package keyring

import (
	"bytes"
	"crypto/cipher"
	"slices"
	"sync/atomic"
	"time"
)

// Patience is how long a key that has left the file is still accepted, and how
// long the first key of the file waits, at most, until it is sent with. kubelet
// brings a changed Secret to a node within a minute or two.
const Patience = 5 * time.Minute

// Ring is the keys of one speaker.
type Ring struct {
	all    []*key // those of the file, in its order, then those that have left it
	wanted *key   // the first of the file, since when it is
	since  time.Time
	newest *key
	now    atomic.Pointer[state]
	nonces nonces
}

// key is one.
type key struct {
	raw    []byte
	id     uint32
	aead   cipher.AEAD
	inFile bool
	// until is when it is accepted no more, unless it is in the file or sent with.
	until time.Time
}

// state is what readers and senders look at. It is never changed.
type state struct {
	sending *key
	opens   map[uint32]*key
	newest  uint32
	// told are the keys of the file, and first the one that is sent with.
	told [][]byte
	all  [][]byte
}

// New makes a ring of the keys of a file, which has one at least. The first is
// sent with at once: there is nobody yet who would miss another.
func New(keys [][]byte) *Ring {
	r := &Ring{}
	r.take(keys, time.Time{})
	r.newest = r.wanted
	r.publish(r.wanted)
	return r
}

// Replace says what stands in the file now. Keys that are new are accepted at
// once, and those that are gone for Patience more. Turn says what is sent with.
func (r *Ring) Replace(keys [][]byte, now time.Time) {
	before := r.wanted
	added := r.take(keys, now)
	switch {
	case slices.Contains(added, r.wanted):
		r.newest = r.wanted
	case len(added) > 0:
		r.newest = added[len(added)-1]
	case r.wanted != before || !r.newest.inFile:
		r.newest = r.wanted
	}
	r.publish(r.now.Load().sending)
}

// take puts the keys of a file into the ring and returns those that it did not
// have.
func (r *Ring) take(keys [][]byte, now time.Time) (added []*key) {
	before := r.all
	for _, k := range before {
		if k.inFile {
			k.inFile, k.until = false, now.Add(Patience)
		}
	}
	r.all = nil
	for _, raw := range keys {
		same := func(k *key) bool { return bytes.Equal(k.raw, raw) }
		if slices.ContainsFunc(r.all, same) {
			continue
		}
		at := slices.IndexFunc(before, same)
		if at < 0 {
			before, at = append(before, newKey(raw)), len(before)
			added = append(added, before[at])
		}
		before[at].inFile = true
		r.all = append(r.all, before[at])
	}
	for _, k := range before {
		if !k.inFile {
			r.all = append(r.all, k)
		}
	}
	if r.all[0] != r.wanted {
		r.wanted, r.since = r.all[0], now
	}
	return added
}

// Turn lets time pass: the first key of the file is sent with when allHave says
// that all speakers have it, or after Patience, and what has left the file is
// forgotten in time. It reports whether anything has changed.
func (r *Ring) Turn(now time.Time, allHave func(id uint32) bool) bool {
	sending := r.now.Load().sending
	turned := sending != r.wanted && (now.Sub(r.since) >= Patience || allHave(r.wanted.id))
	if turned {
		// The others may go on with it for as long as we could have.
		sending.until = later(sending.until, now.Add(Patience))
		sending = r.wanted
	}
	kept := slices.DeleteFunc(slices.Clone(r.all), func(k *key) bool {
		return !k.inFile && k != sending && !now.Before(k.until)
	})
	if !turned && len(kept) == len(r.all) {
		return false
	}
	r.all = kept
	r.publish(sending)
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// publish makes known what readers and senders go by.
func (r *Ring) publish(sending *key) {
	s := &state{sending: sending, opens: map[uint32]*key{}, newest: r.newest.id, told: [][]byte{sending.raw}, all: [][]byte{sending.raw}}
	for _, k := range slices.Backward(r.all) { // of two with one id the first counts
		s.opens[k.id] = k
	}
	for _, k := range r.all {
		if k == sending {
			continue
		}
		s.all = append(s.all, k.raw)
		if k.inFile {
			s.told = append(s.told, k.raw)
		}
	}
	r.now.Store(s)
}

// Sending is the id of the key that is sent with.
func (r *Ring) Sending() uint32 { return r.now.Load().sending.id }

// Newest is the id of the key that came into the file last, or to its first line.
func (r *Ring) Newest() uint32 { return r.now.Load().newest }

// Opens reports whether what was sealed with a key can be opened.
func (r *Ring) Opens(id uint32) bool { return r.now.Load().opens[id] != nil }

// Keys are those that are accepted, the one that is sent with first. They must
// not be changed.
func (r *Ring) Keys() [][]byte { return r.now.Load().all }

// Told are those that are accepted for good, likewise: what only waits for its
// end is left out.
func (r *Ring) Told() [][]byte { return r.now.Load().told }
