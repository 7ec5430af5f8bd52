package ipam

import (
	"encoding/binary"
	"net/netip"
)

// number is an address as an unsigned number of 128 bits: half the size of a
// netip.Addr and without a pointer for the garbage collector to follow.
type number struct {
	high, low uint64
}

func numberOf(a netip.Addr) number {
	if a.Is4() {
		b := a.As4()
		return number{low: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return number{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (n number) address(f family) netip.Addr {
	if f == ipv4 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(n.low))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], n.high)
	binary.BigEndian.PutUint64(b[8:], n.low)
	return netip.AddrFrom16(b)
}

func (n number) less(o number) bool {
	return n.high < o.high || n.high == o.high && n.low < o.low
}

// next wraps around after the highest number.
func (n number) next() number {
	n.low++
	if n.low == 0 {
		n.high++
	}
	return n
}

// previous wraps around before zero.
func (n number) previous() number {
	if n.low == 0 {
		n.high--
	}
	n.low--
	return n
}
