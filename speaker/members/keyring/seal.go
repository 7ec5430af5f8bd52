package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// A sealed message:
//
//	magic 1 byte, version 1, id of the key 4, nonce 12, ciphertext, tag 16
//
// Integers are big-endian. What stands before the nonce is authenticated, too.
const (
	// Magic is how a sealed message begins. None of memberlist's does: they begin
	// with the version of its encryption, 0 or 1, or with 244 for a label.
	Magic = 0xba
	// Version of what is sealed and of how. Speakers of another version do not
	// understand each other, and leave each other's messages alone.
	Version = 1

	idOffset    = 2
	nonceOffset = 6
	nonceSize   = 12
	tagSize     = 16
	headerSize  = nonceOffset + nonceSize

	// Overhead is how much longer a message is when it is sealed, in bytes.
	Overhead = headerSize + tagSize
)

// ErrSealed is what Open returns for whatever it cannot open.
var ErrSealed = errors.New("not sealed with a key that is known")

// purpose tells the keys that are made of the membership keys here from the
// membership keys themselves, with which memberlist encrypts: so no nonce of the
// one can meet one of the other.
const purpose = "baliza membership messages, version 1"

func newKey(raw []byte) *key {
	made, err := hkdf.Key(sha256.New, raw, nil, purpose, sha256.Size)
	if err != nil {
		panic(fmt.Sprintf("derive a key: %v", err)) // for want of length only
	}
	block, err := aes.NewCipher(made)
	if err != nil {
		panic(fmt.Sprintf("AES-256: %v", err)) // of another length only
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(fmt.Sprintf("AES-GCM: %v", err)) // of another block size only
	}
	sum := sha256.Sum256(raw)
	// Zero means none.
	return &key{raw: raw, id: max(1, binary.BigEndian.Uint32(sum[:])), aead: aead}
}

// nonces are never used twice with one key: 8 random bytes, drawn once for each
// process and each 2^32 messages, and a counter (NIST SP 800-38D section 8.2.1).
// With random ones alone 2^32 messages would be the limit for all speakers
// together, which a hundred of them send in half a day.
type nonces struct {
	mu     sync.Mutex
	prefix [8]byte
	count  uint32
	drawn  bool
}

func (n *nonces) append(b []byte) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.count++
	if n.count == 0 || !n.drawn {
		_, _ = rand.Read(n.prefix[:]) // never fails
		n.drawn = true
	}
	return binary.BigEndian.AppendUint32(append(b, n.prefix[:]...), n.count)
}

// Seal appends the sealed message to b and returns it.
func (r *Ring) Seal(b, message []byte) []byte {
	k := r.now.Load().sending
	start := len(b)
	b = binary.BigEndian.AppendUint32(append(b, Magic, Version), k.id)
	b = r.nonces.append(b)
	header := b[start:]
	return k.aead.Seal(b, header[nonceOffset:], message, header[:nonceOffset])
}

// Accepts reports whether something looks like a sealed message that Open could
// open: that costs next to nothing.
func (r *Ring) Accepts(sealed []byte) bool {
	return len(sealed) >= Overhead && sealed[0] == Magic && sealed[1] == Version && r.Opens(binary.BigEndian.Uint32(sealed[idOffset:]))
}

// Open appends to b what was sealed and returns it. What is changed, or sealed
// with another key, is ErrSealed.
func (r *Ring) Open(b, sealed []byte) ([]byte, error) {
	if !r.Accepts(sealed) {
		return nil, ErrSealed
	}
	k := r.now.Load().opens[binary.BigEndian.Uint32(sealed[idOffset:])]
	if k == nil {
		return nil, ErrSealed // forgotten in this moment
	}
	opened, err := k.aead.Open(b, sealed[nonceOffset:headerSize], sealed[headerSize:], sealed[:nonceOffset])
	if err != nil {
		return nil, ErrSealed
	}
	return opened, nil
}
