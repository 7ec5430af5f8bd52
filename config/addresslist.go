package config

import (
	"net/netip"
	"strings"
)

// MaxAnnounced is how many addresses a Speaker says that it announces over BGP (see
// api/v1beta1).
const MaxAnnounced = 16384

// FormatAddresses writes addresses that are sorted and occur once, those that follow
// each other as one range ("192.0.2.10-192.0.2.20"): a report of thousands is a few
// words where the addresses of a pool are given one after the other.
func FormatAddresses(sorted []netip.Addr) (texts []string) {
	for i := 0; i < len(sorted); {
		first, last := sorted[i], sorted[i]
		for i++; i < len(sorted) && sorted[i] == last.Next(); i++ {
			last = sorted[i]
		}
		if first == last {
			texts = append(texts, first.String())
		} else {
			texts = append(texts, Range{first, last}.String())
		}
	}
	return texts
}

// ParseAddresses reads what FormatAddresses has written. What is neither an address
// nor a range is left out, and so is all that is beyond so many addresses: a range is
// short, however many it has.
func ParseAddresses(texts []string, most int) (addresses []netip.Addr) {
	for _, text := range texts {
		var r Range
		var err error
		if first, last, isRange := strings.Cut(text, "-"); isRange {
			r, err = parseEnds(first, last)
		} else {
			r.First, err = ParseAddress(text)
			r.Last = r.First
		}
		if err != nil {
			continue
		}
		for a := r.First; len(addresses) < most; a = a.Next() {
			addresses = append(addresses, a)
			if a == r.Last {
				break
			}
		}
	}
	return addresses
}
