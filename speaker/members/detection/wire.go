package detection

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/ownership"
)

// What speakers tell each other, beyond memberlist's own messages. memberlist
// encrypts and authenticates all of it with the membership key; what comes
// from whoever lacks the key never gets here. Integers are big-endian.
//
//	kind 1 byte, incarnation 8, name length 1, name, then
//	beat:   sequence 8, pulse in ms 2, flags 1, claims' version 8,
//	        address length 1, address, port 2, heard count 2, heard × (id 8, age in ms 2)
//	ask:    parting 4, address length 1, address, port 2
//	claims: parting 4, version 8, strength 2, count 4, claims × (epoch 8, address length 1, address),
//	        count 1, MACs × 6, count 1, links × (flags 1, name length 1, name,
//		MAC 6, count 1, × (address length 1, address, prefix length 1))
const (
	kindBeat   = 1
	kindAsk    = 2
	kindClaims = 3

	flagReady   = 1
	flagLeaving = 2

	// longestName of a Kubernetes node.
	longestName = 253
	// mostHeard bounds a beat to one packet.
	mostHeard = 100
	// mostClaims bounds what is believed of one speaker.
	mostClaims = 1 << 17
	// longestLink is IFNAMSIZ without its end.
	longestLink  = 15
	flagUsable   = 1
	flagSuitable = 2
	// mostAddrs of an interface that are told.
	mostAddrs = 16
	// longestAge is what fits.
	longestAge = 65535 * time.Millisecond
)

var errMessage = errors.New("malformed message")

// message is any of them.
type message struct {
	kind        byte
	incarnation uint64
	name        string

	beat   beat
	at     netip.AddrPort // of beat and ask: where the sender is reached
	claims ownership.Claims
	// parting of ask and claims: see peer.
	parting uint32
}

// beat says that its sender lives, and whom it has heard how long ago.
type beat struct {
	sequence uint64
	pulse    time.Duration
	ready    bool
	leaving  bool
	version  uint64
	heard    []heard
}

type heard struct {
	id  uint64
	age time.Duration
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

func milliseconds(d time.Duration) uint16 {
	return uint16(min(max(d, 0), longestAge) / time.Millisecond)
}

func (m *message) marshal() []byte {
	b := binary.BigEndian.AppendUint64([]byte{m.kind}, m.incarnation)
	b = append(append(b, byte(len(m.name))), m.name...)
	switch m.kind {
	case kindBeat:
		b = binary.BigEndian.AppendUint64(b, m.beat.sequence)
		b = binary.BigEndian.AppendUint16(b, milliseconds(m.beat.pulse))
		var flags byte
		if m.beat.ready {
			flags |= flagReady
		}
		if m.beat.leaving {
			flags |= flagLeaving
		}
		b = binary.BigEndian.AppendUint64(append(b, flags), m.beat.version)
		b = binary.BigEndian.AppendUint16(appendAddress(b, m.at.Addr()), m.at.Port())
		all := m.beat.heard[:min(len(m.beat.heard), mostHeard)]
		b = binary.BigEndian.AppendUint16(b, uint16(len(all)))
		for _, h := range all {
			b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(b, h.id), milliseconds(h.age))
		}
	case kindAsk:
		b = binary.BigEndian.AppendUint32(b, m.parting)
		b = binary.BigEndian.AppendUint16(appendAddress(b, m.at.Addr()), m.at.Port())
	case kindClaims:
		b = binary.BigEndian.AppendUint32(b, m.parting)
		b = binary.BigEndian.AppendUint64(b, m.claims.Version)
		b = binary.BigEndian.AppendUint16(b, m.claims.Strength)
		b = binary.BigEndian.AppendUint32(b, uint32(len(m.claims.List)))
		for _, c := range m.claims.List {
			b = appendAddress(binary.BigEndian.AppendUint64(b, c.Epoch), c.Address)
		}
		macs := m.claims.MACs[:min(len(m.claims.MACs), ownership.MostMACs)]
		b = append(b, byte(len(macs)))
		for _, mac := range macs {
			b = append(b, mac[:]...)
		}
		b = appendLinks(b, m.claims.Links[:min(len(m.claims.Links), ownership.MostLinks)])
	}
	return b
}

func appendLinks(b []byte, links []model.Link) []byte {
	b = append(b, byte(len(links)))
	for i := range links {
		link := &links[i]
		var flags byte
		if link.Usable {
			flags |= flagUsable
		}
		if link.Suitable {
			flags |= flagSuitable
		}
		b = append(append(b, flags, byte(len(link.Name))), link.Name...)
		b = append(b, link.MAC[:]...)
		addrs := link.Addrs[:min(len(link.Addrs), mostAddrs)]
		b = append(b, byte(len(addrs)))
		for _, a := range addrs {
			b = append(appendAddress(b, a.Addr()), byte(a.Bits()))
		}
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

// unmarshal takes apart what somebody with the key has sent. Whatever it
// accepts, marshal writes in the same way.
func unmarshal(b []byte) (message, error) {
	r := reader{rest: b}
	m := message{kind: r.byte(), incarnation: r.uint64()}
	length := int(r.byte())
	if length == 0 || length > longestName {
		return message{}, errMessage
	}
	m.name = string(r.take(length))
	switch m.kind {
	case kindBeat:
		r.beat(&m)
	case kindAsk:
		m.parting = r.uint32()
		m.at = netip.AddrPortFrom(r.address(), r.uint16())
	case kindClaims:
		r.claims(&m)
	default:
		return message{}, errMessage
	}
	if r.short || len(r.rest) > 0 {
		return message{}, errMessage
	}
	return m, nil
}

func (r *reader) beat(m *message) {
	m.beat.sequence, m.beat.pulse = r.uint64(), r.duration()
	flags := r.byte()
	if flags&^(flagReady|flagLeaving) != 0 {
		r.short = true
	}
	m.beat.ready, m.beat.leaving = flags&flagReady != 0, flags&flagLeaving != 0
	m.beat.version = r.uint64()
	m.at = netip.AddrPortFrom(r.address(), r.uint16())
	count := int(r.uint16())
	if count > mostHeard {
		r.short = true
	}
	for range count {
		if r.short {
			return
		}
		m.beat.heard = append(m.beat.heard, heard{id: r.uint64(), age: r.duration()})
	}
}

func (r *reader) claims(m *message) {
	m.parting, m.claims.Version, m.claims.Strength = r.uint32(), r.uint64(), r.uint16()
	count := r.uint32()
	if count > mostClaims {
		r.short = true
	}
	for range count {
		if r.short {
			return
		}
		m.claims.List = append(m.claims.List, ownership.Claim{Epoch: r.uint64(), Address: r.address()})
	}
	for range r.byte() {
		if r.short {
			return
		}
		m.claims.MACs = append(m.claims.MACs, model.MAC(r.take(len(model.MAC{}))))
	}
	for range r.byte() {
		if r.short {
			return
		}
		m.claims.Links = append(m.claims.Links, r.link())
	}
}

func (r *reader) link() model.Link {
	flags, length := r.byte(), int(r.byte())
	if flags&^(flagUsable|flagSuitable) != 0 || length == 0 || length > longestLink {
		r.short = true
	}
	link := model.Link{Name: string(r.take(length)), Usable: flags&flagUsable != 0, Suitable: flags&flagSuitable != 0, MAC: model.MAC(r.take(len(model.MAC{})))}
	count := int(r.byte())
	if count > mostAddrs {
		r.short = true
	}
	for range count {
		if r.short {
			return link
		}
		prefix := netip.PrefixFrom(r.address(), int(r.byte()))
		r.short = r.short || !prefix.IsValid()
		link.Addrs = append(link.Addrs, prefix)
	}
	return link
}
