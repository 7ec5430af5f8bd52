package config

import (
	"fmt"
	"math/big"
	"net/netip"
	"strings"
)

// Range is a run of addresses of one family, First and Last included.
type Range struct {
	First, Last netip.Addr
}

// Contains reports whether the address lies in the range.
func (r Range) Contains(a netip.Addr) bool {
	return a.BitLen() == r.First.BitLen() && r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0
}

// Overlaps reports whether the ranges have an address in common.
func (r Range) Overlaps(o Range) bool {
	return r.First.BitLen() == o.First.BitLen() && r.First.Compare(o.Last) <= 0 && o.First.Compare(r.Last) <= 0
}

// Size is the number of addresses, from 1 to 2^128.
func (r Range) Size() *big.Int {
	first, last := r.First.AsSlice(), r.Last.AsSlice()
	size := new(big.Int).Sub(new(big.Int).SetBytes(last), new(big.Int).SetBytes(first))
	return size.Add(size, big.NewInt(1))
}

// String writes the range as "first-last".
func (r Range) String() string { return r.First.String() + "-" + r.Last.String() }

// ParseRange reads a CIDR without host bits or "first-last". It refuses zones,
// IPv4-mapped IPv6 addresses, mixed families and reversed ends.
func ParseRange(text string) (Range, error) {
	if first, last, isRange := strings.Cut(text, "-"); isRange {
		return parseEnds(strings.TrimSpace(first), strings.TrimSpace(last))
	}
	prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
	if err != nil {
		if address, addressErr := ParseAddress(strings.TrimSpace(text)); addressErr == nil {
			return Range{}, fmt.Errorf("%q is a single address: write %s/%d", text, address, address.BitLen())
		}
		return Range{}, fmt.Errorf("%q is neither a CIDR (192.0.2.0/24) nor a range (192.0.2.10-192.0.2.20)", text)
	}
	if prefix.Addr().Is4In6() {
		return Range{}, fmt.Errorf("%q is an IPv4-mapped IPv6 prefix: write it as IPv4", text)
	}
	if prefix.Masked() != prefix {
		return Range{}, fmt.Errorf("%q has host bits set: did you mean %s?", text, prefix.Masked())
	}
	return checked(Range{First: prefix.Addr(), Last: lastOf(prefix)})
}

func parseEnds(first, last string) (Range, error) {
	var r Range
	var err error
	if r.First, err = ParseAddress(first); err != nil {
		return Range{}, err
	}
	if r.Last, err = ParseAddress(last); err != nil {
		return Range{}, err
	}
	if r.First.BitLen() != r.Last.BitLen() {
		return Range{}, fmt.Errorf("%s and %s are of different families", first, last)
	}
	if r.Last.Less(r.First) {
		return Range{}, fmt.Errorf("the range is reversed: %s comes after %s", first, last)
	}
	return checked(r)
}

func checked(r Range) (Range, error) {
	if err := checkRange(r); err != nil {
		return Range{}, err
	}
	return r, nil
}

// ParseAddress reads an address of either family that clients can have.
func ParseAddress(text string) (netip.Addr, error) {
	address, err := parseLiteral(text, ", which an address for clients cannot have")
	if err != nil {
		return netip.Addr{}, err
	}
	if address.IsUnspecified() || address.IsLoopback() || address.IsMulticast() || address == broadcast() {
		return netip.Addr{}, checkRange(Range{address, address})
	}
	return address, nil
}

// parseLiteral reads an address of either family without a zone; zone is what to
// say of one. The IPv4-mapped form of IPv6 is refused because it would name an
// IPv4 address in a second way.
func parseLiteral(text, zone string) (netip.Addr, error) {
	address, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return netip.Addr{}, fmt.Errorf("%q is not an IP address", text)
	case address.Zone() != "":
		return netip.Addr{}, fmt.Errorf("%q has a zone%s", text, zone)
	case address.Is4In6():
		return netip.Addr{}, fmt.Errorf("%q is an IPv4-mapped IPv6 address: write it as IPv4", text)
	}
	return address, nil
}

func broadcast() netip.Addr { return netip.AddrFrom4([4]byte{255, 255, 255, 255}) }

// unusable are the ranges of which no client can reach an address as unicast.
func unusable() []struct{ prefix, what string } {
	return []struct{ prefix, what string }{
		{"0.0.0.0/32", "the unspecified address"},
		{"127.0.0.0/8", "loopback addresses"},
		{"169.254.0.0/16", "link-local addresses"},
		{"224.0.0.0/4", "multicast addresses"},
		{"255.255.255.255/32", "the broadcast address"},
		{"::/128", "the unspecified address"},
		{"::1/128", "the loopback address"},
		{"::ffff:0:0/96", "IPv4-mapped addresses"},
		{"fe80::/10", "link-local addresses, which need a zone"},
		{"ff00::/8", "multicast addresses"},
	}
}

// checkRange refuses a range that has unusable addresses.
func checkRange(r Range) error {
	for _, u := range unusable() {
		prefix := netip.MustParsePrefix(u.prefix)
		if !r.Overlaps(Range{prefix.Addr(), lastOf(prefix)}) {
			continue
		}
		if r.First == r.Last {
			return fmt.Errorf("%s cannot be given to a Service: %s (%s)", r.First, u.what, u.prefix)
		}
		return fmt.Errorf("%s cannot be given to Services: it has %s (%s)", r, u.what, u.prefix)
	}
	return nil
}

// lastOf returns the highest address of a prefix.
func lastOf(prefix netip.Prefix) netip.Addr {
	bytes := prefix.Addr().AsSlice()
	for bit := prefix.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}
