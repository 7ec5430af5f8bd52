package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// nodeValue is where a node has a value: in a label or an annotation. The zero
// value is nowhere.
type nodeValue struct{ label, annotation string }

func nodeValueOf(raw *v1beta1.NodeValue) nodeValue {
	if raw == nil {
		return nodeValue{}
	}
	return nodeValue{raw.NodeLabel, raw.NodeAnnotation}
}

// String names it in messages.
func (v nodeValue) String() string {
	if v.label != "" {
		return "label " + v.label
	}
	return "annotation " + v.annotation
}

// read returns what a node has there.
func (v nodeValue) read(set labels.Set, annotations map[string]string) (string, error) {
	text, found := annotations[v.annotation]
	if v.label != "" {
		text, found = set[v.label]
	}
	if !found {
		return "", fmt.Errorf("this node has no %s", v)
	}
	return text, nil
}

// On returns the peer as it is on a node with these labels and annotations: with
// the values that are taken from there. The error names each that the node lacks,
// or has something else in.
func (p *BGPPeer) On(set labels.Set, annotations map[string]string) (*BGPPeer, error) {
	none := nodeValue{}
	if p.addressFrom == none && p.peerASNFrom == none && p.myASNFrom == none {
		return p, nil
	}
	here := *p
	var failed error
	take := func(from nodeValue, use func(text string) error) {
		if from == none {
			return
		}
		text, err := from.read(set, annotations)
		if err == nil {
			if err = use(text); err != nil {
				err = fmt.Errorf("%s of this node: %w", from, err)
			}
		}
		failed = errors.Join(failed, err)
	}
	take(p.addressFrom, func(text string) (err error) { here.Address, err = parsePeerAddress(text); return err })
	take(p.peerASNFrom, func(text string) (err error) { here.PeerASN, err = parseASN(text); return err })
	take(p.myASNFrom, func(text string) (err error) {
		if here.MyASN, err = parseASN(text); err == nil && here.MyASN == here.LocalASN {
			err = fmt.Errorf("%d is localASN already, which must differ", here.MyASN)
		}
		return err
	})
	if failed != nil {
		return nil, fmt.Errorf("spec of BGPPeer %s: %w", p.Name, failed)
	}
	return &here, nil
}

// parseASN reads an AS number in decimal digits (asplain, RFC 5396).
func parseASN(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no AS number from 1 to 4294967295", text)
	}
	return uint32(n), nil
}

// parsePeerAddress reads the address of a router, which unlike a Service's may be
// one of this node alone.
func parsePeerAddress(text string) (netip.Addr, error) {
	address, err := parseLiteral(text, ": set interface instead")
	switch {
	case err != nil:
		return netip.Addr{}, err
	case address.IsUnspecified() || address.IsMulticast() || address == broadcast():
		return netip.Addr{}, fmt.Errorf("%q is not the address of one host", text)
	case address.Is6() && address.IsLinkLocalUnicast():
		return address, fmt.Errorf("%s is a link-local address, of which every interface has its own: set interface", address)
	}
	return address, nil
}
