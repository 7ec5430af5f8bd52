package plan

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
)

// weight of a node for an address: the node with the highest one owns it
// (rendezvous hashing). Every speaker of every version must compute the same.
func weight(node uint64, address halves) uint64 {
	return mix(mix(node^address.high) ^ address.low)
}

// halves of an address in its form of 16 bytes.
type halves struct{ high, low uint64 }

func halvesOf(address netip.Addr) halves {
	b := address.As16()
	return halves{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// seed of a node: FNV-1a of its name, mixed.
func seed(node string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(node)) // never fails
	return mix(h.Sum64())
}

// mix is the finalizer of SplitMix64: each bit of the input changes half of
// the output's.
func mix(h uint64) uint64 {
	h = (h + 0x9e3779b97f4a7c15)
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
