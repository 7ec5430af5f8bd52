package l2

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"slices"
	"time"
)

// share divides the clients of one address among the nodes that answer for it.
// It is never changed once it is in use.
type share struct {
	nodes []sharer // by name
	// doubtful says that no fewer nodes came at once than were there before:
	// maybe this one was cut off, and others have told its clients meanwhile.
	doubtful bool
}

// sharer is one of those nodes.
type sharer struct {
	name string
	seed uint64
	// since when it has been one of them, as seen from here. It has heard
	// whoever asked everybody after that.
	since time.Time
}

// newShare makes a share among the named nodes, which must be sorted. A node
// that was in before has been in since then.
func newShare(address netip.Addr, names []string, before *share, now time.Time) *share {
	s := &share{nodes: make([]sharer, 0, len(names))}
	added := 0
	for _, name := range names {
		h := fnv.New64a()
		_, _ = h.Write([]byte(name)) // never fails
		one := sharer{name: name, seed: mixAddress(mix(h.Sum64()), address), since: now}
		if known := before.node(name); known != nil {
			one.since = known.since
		} else {
			added++
		}
		s.nodes = append(s.nodes, one)
	}
	s.doubtful = before != nil && added >= len(before.nodes)
	return s
}

// node returns the sharer of that name, or nil.
func (s *share) node(name string) *sharer {
	if s == nil {
		return nil
	}
	for i := range s.nodes {
		if s.nodes[i].name == name {
			return &s.nodes[i]
		}
	}
	return nil
}

// among reports whether the share is among exactly these nodes.
func (s *share) among(names []string) bool {
	return s != nil && slices.EqualFunc(s.nodes, names, func(one sharer, name string) bool { return one.name == name })
}

// pick returns the node that answers a client: the one with the highest random
// weight (rendezvous hashing), so that only a node's own clients go elsewhere
// when it goes. All speakers, of whatever version, must pick the same.
func (s *share) pick(client netip.Addr) string {
	return s.highest(client, func(*sharer) bool { return true })
}

// pickAt picks among the nodes that were there at that time, since nobody else
// knows the client; it returns "" if none was.
func (s *share) pickAt(client netip.Addr, at time.Time) string {
	return s.highest(client, func(one *sharer) bool { return !one.since.After(at) })
}

func (s *share) highest(client netip.Addr, eligible func(*sharer) bool) string {
	best, most := "", uint64(0)
	for i := range s.nodes {
		one := &s.nodes[i]
		if w := mixAddress(one.seed, client); eligible(one) && (best == "" || w > most) {
			best, most = one.name, w
		}
	}
	return best
}

func mixAddress(h uint64, address netip.Addr) uint64 {
	b := address.As16()
	return mix(mix(h^binary.BigEndian.Uint64(b[:8])) ^ binary.BigEndian.Uint64(b[8:]))
}

// mix is the finalizer of SplitMix64: each bit of the input changes half of
// the output's.
func mix(h uint64) uint64 {
	h += 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
