package config

import (
	"fmt"
	"net/netip"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Times of a session unless they are set.
const (
	defaultHoldTime    = 90 * time.Second
	defaultConnectTime = time.Second
	defaultBGPPort     = 179
)

// BGPPeer is a BGPPeer that has been understood. What is taken from nodes is
// there after On.
type BGPPeer struct {
	Name string
	// Rank is the place in the order of age, the oldest first; the name decides
	// between equally old ones.
	Rank int
	// MyASN is the cluster's; LocalASN, unless it is zero, stands in its
	// place in the OPEN message.
	MyASN, LocalASN uint32
	// PeerASN is zero when any is taken that is on the side that Dynamic says.
	PeerASN uint32
	Dynamic v1beta1.DynamicASN
	// Address is not valid where the router is found on each node: at the
	// other end of Interface, or as the gateway of the default route of family
	// Gateway. One of the three is set. A link-local one has its interface for a
	// zone.
	Address   netip.Addr
	Interface string
	Gateway   v1beta1.GatewayFamily
	// Source and RouterID are not valid unless they are set.
	Source, RouterID netip.Addr
	Port             uint16
	// HoldTime is zero when it is turned off, KeepAlive when it follows from
	// the hold time.
	HoldTime, KeepAlive, ConnectTime time.Duration

	// Password in clear; PasswordSecret names where it is instead.
	Password, PasswordSecret string

	// BFD is nil when the path is not watched.
	BFD                                                *BFDProfile
	GracefulRestart, MultiHop, TTLSecurity, DualFamily bool

	nodes Selectors

	addressFrom, peerASNFrom, myASNFrom nodeValue
}

// BFDProfile is a BFDProfile that has been understood.
type BFDProfile struct {
	Receive, Transmit time.Duration
	Multiplier        uint8
	// MinTTL is for paths of several hops.
	MinTTL  uint8
	Passive bool
}

// SelectsNode tells whether a node with these labels has the session.
func (p *BGPPeer) SelectsNode(set labels.Set) bool { return p.nodes.Match(set) }

// Carries tells whether the session carries routes of an address's family.
func (p *BGPPeer) Carries(a netip.Addr) bool {
	v4 := p.Address.Is4() || p.Gateway == v1beta1.GatewayIPv4
	return p.DualFamily || p.Interface != "" || v4 == a.Is4()
}

// router is what tells one from another.
func (p *BGPPeer) router() string {
	switch {
	case p.Interface != "":
		return fmt.Sprintf("the router on %s, port %d,", p.Interface, p.Port)
	case p.Gateway != "":
		return fmt.Sprintf("the %s default gateway, port %d,", p.Gateway, p.Port)
	case !p.Address.IsValid():
		return fmt.Sprintf("the router that %s names, port %d,", p.addressFrom, p.Port)
	}
	return netip.AddrPortFrom(p.Address, p.Port).String()
}

// field where the router is named.
func (p *BGPPeer) field() string {
	switch {
	case p.Interface != "":
		return "spec.interface"
	case p.Gateway != "":
		return "spec.defaultGateway"
	case !p.Address.IsValid():
		return "spec.peerAddressFrom"
	}
	return "spec.peerAddress"
}

// peerParser gathers what is wrong with a peer.
type peerParser struct {
	*BGPPeer
	problems []Problem
}

func (p *peerParser) complain(field string, reason v1beta1.Reason, format string, args ...any) {
	p.problems = append(p.problems, Problem{KindBGPPeer, p.Name, field, reason, fmt.Sprintf(format, args...)})
}

// address reads one that may be absent.
func (p *peerParser) address(field, text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	parsed, err := parsePeerAddress(text)
	if err != nil {
		p.complain(field, v1beta1.ReasonInvalidSpec, "%s", err)
		return netip.Addr{}
	}
	return parsed
}

// parseBGPPeer understands a peer; it returns nil where no session can come of
// it. The namespace is Baliza's own.
func parseBGPPeer(object *v1beta1.BGPPeer, profiles map[string]*BFDProfile, namespace string) (*BGPPeer, []Problem) {
	spec := &object.Spec
	p := &peerParser{BGPPeer: &BGPPeer{
		Name: object.Name,
		// The schema bounds the numbers.
		MyASN: uint32(spec.MyASN), LocalASN: uint32(spec.LocalASN), PeerASN: uint32(spec.PeerASN),
		Dynamic: spec.DynamicASN, Port: defaultBGPPort, Interface: spec.Interface, Gateway: spec.DefaultGateway,
		HoldTime: duration(spec.HoldTime, defaultHoldTime), KeepAlive: duration(spec.KeepaliveTime, 0),
		ConnectTime: duration(spec.ConnectTime, defaultConnectTime),
		Password:    spec.Password, GracefulRestart: spec.EnableGracefulRestart, MultiHop: spec.EBGPMultiHop,
		TTLSecurity: spec.TTLSecurity, DualFamily: spec.DualStackAddressFamily,
		addressFrom: nodeValueOf(spec.PeerAddressFrom), peerASNFrom: nodeValueOf(spec.PeerASNFrom), myASNFrom: nodeValueOf(spec.MyASNFrom),
	}}
	if spec.PeerPort != 0 {
		p.Port = uint16(spec.PeerPort)
	}
	p.RouterID = p.address("spec.routerID", spec.RouterID)
	reachable := p.reach(spec)
	if p.HoldTime > 0 && p.KeepAlive > p.HoldTime/3 {
		p.complain("spec.keepaliveTime", v1beta1.ReasonInvalidSpec, "%s is more than a third of the hold time, %s", p.KeepAlive, p.HoldTime)
		p.KeepAlive = 0
	}
	if spec.BFDProfile != "" {
		if p.BFD = profiles[spec.BFDProfile]; p.BFD == nil {
			p.complain("spec.bfdProfile", v1beta1.ReasonReferenceNotFound, "there is no BFDProfile %q: the path is not watched", spec.BFDProfile)
		}
	}
	readable := p.readSecret(spec.PasswordSecret, namespace)
	selectors, found := parseSelectors(KindBGPPeer, p.Name, "spec.nodeSelectors", spec.NodeSelectors)
	p.nodes = selectors
	p.problems = append(p.problems, found...)
	if !reachable || !readable {
		return nil, p.problems
	}
	return p.BGPPeer, p.problems
}

// reach reads where the router is, and reports whether that is somewhere.
func (p *peerParser) reach(spec *v1beta1.BGPPeerSpec) bool {
	p.Source = p.address("spec.sourceAddress", spec.SourceAddress)
	if spec.SourceAddress != "" && !p.Source.IsValid() {
		return false
	}
	if address, err := netip.ParseAddr(spec.PeerAddress); err == nil && spec.Interface != "" && address.Is6() && address.IsLinkLocalUnicast() {
		// As at the other end of an interface that the router is looked for on:
		// the session carries both families.
		p.Address, p.Interface, p.DualFamily = address.WithZone(spec.Interface), "", !spec.DisableMP
		return true
	}
	p.Address = p.address("spec.peerAddress", spec.PeerAddress)
	return p.Address.IsValid() || p.Interface != "" || p.Gateway != "" || p.addressFrom != nodeValue{}
}

// readSecret tells whether the speakers may read the Secret, if there is one.
func (p *peerParser) readSecret(secret *v1beta1.PasswordSecret, namespace string) bool {
	if secret == nil {
		return true
	}
	p.PasswordSecret = secret.Name
	if secret.Namespace == "" || secret.Namespace == namespace {
		return true
	}
	p.complain("spec.passwordSecret.namespace", v1beta1.ReasonInvalidSpec,
		"speakers read Secrets in Baliza's own namespace, %s, and not in %s: the peer is not used", namespace, secret.Namespace)
	return false
}

func parseBFDProfile(object *v1beta1.BFDProfile) *BFDProfile {
	spec := &object.Spec
	ms := func(value int32, fallback time.Duration) time.Duration {
		if value == 0 {
			return fallback
		}
		return time.Duration(value) * time.Millisecond
	}
	p := &BFDProfile{
		Receive: ms(spec.ReceiveInterval, defaultInterval), Transmit: ms(spec.TransmitInterval, defaultInterval),
		Multiplier: defaultMultiplier, MinTTL: defaultMinTTL, Passive: spec.PassiveMode,
	}
	if spec.MinimumTTL != 0 {
		p.MinTTL = uint8(spec.MinimumTTL)
	}
	if spec.DetectMultiplier != 0 {
		p.Multiplier = uint8(spec.DetectMultiplier)
	}
	return p
}

// BFD's values unless they are set.
const (
	defaultInterval   = 300 * time.Millisecond
	defaultMultiplier = 3
	defaultMinTTL     = 254
)

func duration(value *metav1.Duration, fallback time.Duration) time.Duration {
	if value == nil {
		return fallback
	}
	return value.Duration
}
