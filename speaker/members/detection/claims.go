package detection

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/ownership"
)

// The claims of a speaker go to whoever asks for them, from itself or from
// another that knows them, in as many parts as it takes. Their body:
//
//	endpoint, pulse in ms 2, flags 1, strength 2,
//	count 4, claims × (epoch 8, address length 1, address),
//	count 2, addresses that it cannot hold × (length 1, address),
//	count 2, addresses that it hands to another × (length 1, address, name length 1, name),
//	count 1, MACs × 6, count 1, links × (flags 1, name length 1, name, MAC 6,
//	         count 1, × (address length 1, address, prefix length 1))
//
// Their last changes go with every heartbeat, so that most of the time nobody has
// to ask:
//
//	count 1, changes × (from version 8, flags 1, added count 1, × (epoch 8, address length 1, address),
//	         removed count 1, × (address length 1, address))
const (
	// mostClaims bounds what is believed of one speaker.
	mostClaims = 1 << 17
	// mostParts bounds what is kept of claims that have not come whole.
	mostParts = 4096
	// longestLink is IFNAMSIZ without its end.
	longestLink  = 15
	flagUsable   = 1
	flagSuitable = 2
	// flagOther of a change: see ownership.Change.
	flagOther = 1
	// mostAddrs of an interface that are told.
	mostAddrs = 16
)

// portrait is what one speaker knows of another, or of itself, and tells a third.
type portrait struct {
	at       netip.AddrPort
	pulse    time.Duration
	ready    bool
	strength uint16
	claims   ownership.Claims
}

func (p *portrait) marshal() []byte {
	b := binary.BigEndian.AppendUint16(appendEndpoint(nil, p.at), milliseconds(p.pulse))
	var flags byte
	if p.ready {
		flags = flagReady
	}
	b = binary.BigEndian.AppendUint16(append(b, flags), p.strength)
	b = binary.BigEndian.AppendUint32(b, uint32(len(p.claims.List)))
	for _, c := range p.claims.List {
		b = appendClaim(b, c)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.claims.Unable)))
	for _, a := range p.claims.Unable {
		b = appendAddress(b, a)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.claims.Successions)))
	for _, s := range p.claims.Successions {
		b = appendText(appendAddress(b, s.Address), s.Node)
	}
	b = append(b, byte(len(p.claims.MACs)))
	for _, mac := range p.claims.MACs {
		b = append(b, mac[:]...)
	}
	return appendLinks(b, p.claims.Links)
}

func appendClaim(b []byte, c ownership.Claim) []byte {
	return appendAddress(binary.BigEndian.AppendUint64(b, c.Epoch), c.Address)
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
		b = append(appendText(append(b, flags), link.Name), link.MAC[:]...)
		addrs := link.Addrs[:min(len(link.Addrs), mostAddrs)]
		b = append(b, byte(len(addrs)))
		for _, a := range addrs {
			b = append(appendAddress(b, a.Addr()), byte(a.Bits()))
		}
	}
	return b
}

// unmarshalPortrait takes one apart, with the version that it has.
func unmarshalPortrait(b []byte, version uint64) (p portrait, err error) {
	r := reader{rest: b}
	p.at, p.pulse = r.endpoint(), r.duration()
	p.ready, p.strength = r.flags(flagReady) != 0, r.uint16()
	p.claims.Version = version
	count := r.uint32()
	if count > mostClaims {
		r.short = true
	}
	for range count {
		if r.short {
			return p, errMessage
		}
		p.claims.List = append(p.claims.List, r.claim())
	}
	for range r.uint16() {
		if r.short {
			return p, errMessage
		}
		p.claims.Unable = append(p.claims.Unable, r.address())
	}
	for range r.uint16() {
		if r.short {
			return p, errMessage
		}
		p.claims.Successions = append(p.claims.Successions, model.Succession{Address: r.address(), Node: r.name()})
	}
	for range r.byte() {
		p.claims.MACs = append(p.claims.MACs, r.mac())
	}
	for range r.byte() {
		if r.short {
			return p, errMessage
		}
		p.claims.Links = append(p.claims.Links, r.link())
	}
	if r.short || len(r.rest) > 0 {
		return p, errMessage
	}
	return p, nil
}

func (r *reader) claim() ownership.Claim {
	return ownership.Claim{Epoch: r.uint64(), Address: r.address()}
}

func (r *reader) link() model.Link {
	flags, length := r.flags(flagUsable|flagSuitable), int(r.byte())
	if length == 0 || length > longestLink {
		r.short = true
	}
	link := model.Link{Name: string(r.take(length)), Usable: flags&flagUsable != 0, Suitable: flags&flagSuitable != 0, MAC: r.mac()}
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

func appendChanges(b []byte, all []ownership.Change) []byte {
	b = append(b, byte(len(all)))
	for i := range all {
		c := &all[i]
		var flags byte
		if c.Other {
			flags = flagOther
		}
		b = append(binary.BigEndian.AppendUint64(b, c.From), flags, byte(len(c.Added)))
		for _, one := range c.Added {
			b = appendClaim(b, one)
		}
		b = append(b, byte(len(c.Removed)))
		for _, a := range c.Removed {
			b = appendAddress(b, a)
		}
	}
	return b
}

func (r *reader) changes() (all []ownership.Change) {
	for range r.byte() {
		if r.short {
			return nil
		}
		c := ownership.Change{From: r.uint64(), Other: r.flags(flagOther) != 0}
		for range r.byte() {
			if r.short {
				return nil
			}
			c.Added = append(c.Added, r.claim())
		}
		for range r.byte() {
			if r.short {
				return nil
			}
			c.Removed = append(c.Removed, r.address())
		}
		all = append(all, c)
	}
	return all
}

// lastChanges are those that fit into a heartbeat, the latest of them.
func lastChanges(all []ownership.Change) []ownership.Change {
	size, first := 0, len(all)
	for first > 0 {
		c := &all[first-1]
		const claim, address = 25, 17
		size += 11 + claim*len(c.Added) + address*len(c.Removed) //nolint:mnd // version and counts
		if size > mostChanges {
			break
		}
		first--
	}
	return all[first:]
}

// assembly is claims that have not come whole yet.
type assembly struct {
	incarnation, version uint64
	parts                [][]byte
	missing              int
}

// add takes in a part, and returns the whole when it was the last.
func (a *assembly) add(p *part) (whole []byte, done bool) {
	if p.of > mostParts {
		return nil, false
	}
	if a.incarnation != p.incarnation || a.version != p.version || len(a.parts) != int(p.of) {
		*a = assembly{p.incarnation, p.version, make([][]byte, p.of), int(p.of)}
	}
	if a.parts[p.number] != nil {
		return nil, false
	}
	a.parts[p.number] = append([]byte{}, p.body...)
	a.missing--
	if a.missing > 0 {
		return nil, false
	}
	for _, one := range a.parts {
		whole = append(whole, one...)
	}
	*a = assembly{}
	return whole, true
}
