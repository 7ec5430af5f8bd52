package detection

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/ownership"
)

// What speakers tell each other. All of it is encrypted and authenticated with
// the membership key before it is sent; what comes from whoever lacks the key
// never gets here. Integers are big-endian.
//
//	version 1 byte, kind 1, incarnation 8, sequence 8, name length 1, name, then
//	beat:       pulse in ms 2, flags 1, segment 1, strength 2, key 4, claims' version 8, endpoint,
//	            changes, heard count 1, heard × (id 8, age in ms 2, version 2, parting 1, segments 1)
//	ask:        endpoint, subject length 1, subject
//	claims:     subject length 1, subject, its incarnation 8, echo 8, age in ms 2,
//	            claims' version 8, part 2, parts 2, and that part of the body (see claims.go)
//	superseded: the incarnation that is known 8, flags 1
//
//	endpoint: address length 1, address, port 2
const (
	wireVersion = 4

	kindBeat       = 1
	kindAsk        = 2
	kindClaims     = 3
	kindSuperseded = 4

	flagReady   = 1
	flagLeaving = 2
	// flagFresh of superseded: the other incarnation was heard a moment ago.
	flagFresh = 1

	// longestName of a Kubernetes node.
	longestName = 253
	// mostHeard, mostChanges (in bytes) and longestPart (likewise) keep messages
	// within a packet.
	mostHeard   = 48
	mostChanges = 300
	longestPart = 1000
	// longestAge is what fits.
	longestAge = 65535 * time.Millisecond
)

var errMessage = errors.New("malformed message")

// message is any of them.
type message struct {
	kind        byte
	incarnation uint64
	// sequence orders what one incarnation sends.
	sequence uint64
	name     string
	// at of beat and ask is where the sender is reached.
	at netip.AddrPort

	beat beat
	// subject of ask and claims is whose claims they are: the sender's, or those
	// of another that it knows.
	subject string
	part    part
	// known of superseded is the incarnation under which the sender knows the
	// other, and fresh says that it heard it a moment ago.
	known uint64
	fresh bool
}

// beat says that its sender lives, and whom it has heard how long ago.
type beat struct {
	pulse          time.Duration
	ready, leaving bool
	// segment is the place, from 1, of the sender's interface by which this copy
	// went, among those that it announces on; 0 for UDP.
	segment  byte
	strength uint16
	// key is the newest that the sender has.
	key     uint32
	version uint64
	// changes are the last ones of the claims, up to version.
	changes []ownership.Change
	heard   []heard
}

// heard is one speaker of which the sender has heard itself.
type heard struct {
	id  uint64
	age time.Duration
	// version of its claims, the lowest 16 bits.
	version uint16
	// parting: see peer. The lowest 8 bits.
	parting byte
	// segments of that speaker on which it was heard: bit 0 is the first.
	segments byte
}

// part is a part of somebody's claims.
type part struct {
	incarnation uint64
	// echo is the sequence of the question.
	echo uint64
	// age is how long ago the subject was heard.
	age     time.Duration
	version uint64
	// number of this part, from 0, and how many there are.
	number, of uint16
	body       []byte
}

// identify shortens a name: FNV-1a.
func identify(name string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 0x100000001b3
	}
	return h
}

func appendAddress(b []byte, a netip.Addr) []byte {
	raw := a.Unmap().AsSlice()
	return append(append(b, byte(len(raw))), raw...)
}

func appendEndpoint(b []byte, at netip.AddrPort) []byte {
	return binary.BigEndian.AppendUint16(appendAddress(b, at.Addr()), at.Port())
}

func appendText(b []byte, text string) []byte { return append(append(b, byte(len(text))), text...) }

func milliseconds(d time.Duration) uint16 {
	return uint16(min(max(d, 0), longestAge) / time.Millisecond)
}

func (m *message) marshal() []byte {
	b := binary.BigEndian.AppendUint64([]byte{wireVersion, m.kind}, m.incarnation)
	b = appendText(binary.BigEndian.AppendUint64(b, m.sequence), m.name)
	switch m.kind {
	case kindBeat:
		b = m.beat.append(b, m.at)
	case kindAsk:
		b = appendText(appendEndpoint(b, m.at), m.subject)
	case kindClaims:
		p := &m.part
		b = binary.BigEndian.AppendUint64(appendText(b, m.subject), p.incarnation)
		b = binary.BigEndian.AppendUint64(b, p.echo)
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint16(b, milliseconds(p.age)), p.version)
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, p.number), p.of)
		b = append(b, p.body...)
	case kindSuperseded:
		var flags byte
		if m.fresh {
			flags = flagFresh
		}
		b = append(binary.BigEndian.AppendUint64(b, m.known), flags)
	}
	return b
}

func (beat *beat) append(b []byte, at netip.AddrPort) []byte {
	b = binary.BigEndian.AppendUint16(b, milliseconds(beat.pulse))
	var flags byte
	if beat.ready {
		flags |= flagReady
	}
	if beat.leaving {
		flags |= flagLeaving
	}
	b = binary.BigEndian.AppendUint16(append(b, flags, beat.segment), beat.strength)
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, beat.key), beat.version)
	b = appendChanges(appendEndpoint(b, at), beat.changes)
	all := beat.heard[:min(len(beat.heard), mostHeard)]
	b = append(b, byte(len(all)))
	for _, h := range all {
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(b, h.id), milliseconds(h.age))
		b = append(binary.BigEndian.AppendUint16(b, h.version), h.parting, h.segments)
	}
	return b
}

// reader takes a message apart. After the first shortage it returns zeros.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if r.short || len(r.rest) < n {
		r.short = true
		return make([]byte, n)
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *reader) duration() time.Duration { return time.Duration(r.uint16()) * time.Millisecond }

func (r *reader) address() netip.Addr {
	length := int(r.byte())
	if length != 4 && length != 16 {
		r.short = true
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(r.take(length))
	if a != a.Unmap() {
		r.short = true // there is one way to write an address
	}
	return a
}

func (r *reader) endpoint() netip.AddrPort { return netip.AddrPortFrom(r.address(), r.uint16()) }

// name reads that of a node.
func (r *reader) name() string {
	length := int(r.byte())
	if length == 0 || length > longestName {
		r.short = true
	}
	return string(r.take(length))
}

func (r *reader) mac() model.MAC { return model.MAC(r.take(len(model.MAC{}))) }

// flags reads some of which only those are known.
func (r *reader) flags(known byte) byte {
	flags := r.byte()
	r.short = r.short || flags&^known != 0
	return flags
}

// unmarshal takes apart what somebody with the key has sent. Whatever it
// accepts, marshal writes in the same way.
func unmarshal(b []byte) (message, error) {
	r := reader{rest: b}
	if r.byte() != wireVersion {
		return message{}, errMessage
	}
	m := message{kind: r.byte(), incarnation: r.uint64(), sequence: r.uint64(), name: r.name()}
	switch m.kind {
	case kindBeat:
		r.beat(&m)
	case kindAsk:
		m.at, m.subject = r.endpoint(), r.name()
	case kindClaims:
		m.subject = r.name()
		m.part = part{incarnation: r.uint64(), echo: r.uint64(), age: r.duration(), version: r.uint64(), number: r.uint16(), of: r.uint16()}
		m.part.body, r.rest = r.rest, nil
		r.short = r.short || m.part.number >= m.part.of || len(m.part.body) > longestPart
	case kindSuperseded:
		m.known = r.uint64()
		m.fresh = r.flags(flagFresh) != 0
	default:
		return message{}, errMessage
	}
	if r.short || len(r.rest) > 0 {
		return message{}, errMessage
	}
	return m, nil
}

func (r *reader) beat(m *message) {
	beat := &m.beat
	beat.pulse = r.duration()
	flags := r.flags(flagReady | flagLeaving)
	beat.ready, beat.leaving = flags&flagReady != 0, flags&flagLeaving != 0
	beat.segment, beat.strength, beat.key, beat.version = r.byte(), r.uint16(), r.uint32(), r.uint64()
	m.at = r.endpoint()
	beat.changes = r.changes()
	count := int(r.byte())
	if count > mostHeard {
		r.short = true
	}
	for range count {
		if r.short {
			return
		}
		beat.heard = append(beat.heard, heard{id: r.uint64(), age: r.duration(), version: r.uint16(), parting: r.byte(), segments: r.byte()})
	}
}
