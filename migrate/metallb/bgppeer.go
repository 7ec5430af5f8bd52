package metallb

import (
	"math"
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ours "github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
)

// bgpPeer translates a peer. It reports false where no session of ours is what
// MetalLB's would be, and the peer is left out.
func (t *translator) bgpPeer(object *BGPPeer) bool {
	from, a := &object.Spec, about{t, config.KindBGPPeer, object.Name}
	if from.VRF != "" {
		a.note(Lost, "spec.vrf", "VRFs are not supported: in the main table a session might lead to another router, so that the peer is left out")
		return false
	}
	to := &ours.BGPPeer{TypeMeta: typeMeta(a.kind), ObjectMeta: metaOf(object)}
	to.Spec = ours.BGPPeerSpec{
		MyASN: int64(from.MyASN), PeerASN: int64(from.PeerASN), DynamicASN: ours.DynamicASN(from.DynamicASN),
		LocalASN: int64(from.LocalASN), PeerAddress: from.PeerAddress, Interface: from.Interface,
		SourceAddress: from.SourceAddress, PeerPort: from.PeerPort, RouterID: from.RouterID,
		NodeSelectors: slices.Clone(from.NodeSelectors), BFDProfile: from.BFDProfile, Password: from.Password,
		EnableGracefulRestart: from.EnableGracefulRestart, EBGPMultiHop: from.EBGPMultiHop,
		DisableMP: from.DisableMP, DualStackAddressFamily: from.DualStackAddressFamily,
	}
	if !a.reach(&to.Spec) {
		return false
	}
	a.fit("spec.nodeSelectors", len(from.NodeSelectors), mostSelectors)
	a.identity(&to.Spec)
	a.asn(&to.Spec)
	a.times(from, &to.Spec)
	a.password(from, &to.Spec)
	if to.Spec.DisableMP && to.Spec.DualStackAddressFamily {
		to.Spec.DualStackAddressFamily = false
		a.note(Lost, "spec.dualStackAddressFamily", "it contradicts disableMP, which counts: the session carries one family")
	}
	t.objects.BGP.Peers = append(t.objects.BGP.Peers, to)
	return true
}

// reach checks what a session needs, and reports whether there can be one.
func (a about) reach(to *ours.BGPPeerSpec) bool {
	router, err := netip.ParseAddr(to.PeerAddress)
	usable := err == nil && router.Zone() == "" && !router.Is4In6()
	switch {
	case to.PeerAddress == "" && to.Interface == "":
		a.note(Lost, "spec.peerAddress", "there is neither a peerAddress nor an interface: the peer is left out")
	case to.PeerAddress != "" && !usable:
		a.note(Lost, "spec.peerAddress", "%q is no IP address: the peer is left out", to.PeerAddress)
	case to.MyASN == 0 || to.PeerASN == 0 && to.DynamicASN == "":
		a.note(Lost, "spec", "myASN, or peerASN and dynamicASN are not set: the peer is left out")
	case to.PeerPort < 0 || to.PeerPort > math.MaxUint16:
		a.note(Lost, "spec.peerPort", "%d is no port: the peer is left out", to.PeerPort)
	case !reachedFrom(to.SourceAddress, router):
		a.note(Lost, "spec.sourceAddress", "%s is no address from which %s is reached: the peer is left out", to.SourceAddress, orInterface(to))
	default:
		return true
	}
	return false
}

// reachedFrom reports whether a session to a router may come from an address, which
// may be absent.
func reachedFrom(source string, router netip.Addr) bool {
	from, err := netip.ParseAddr(source)
	return source == "" || err == nil && router.IsValid() && from.Is4() == router.Is4()
}

// identity checks the router ID, and what goes with an interface.
func (a about) identity(to *ours.BGPPeerSpec) {
	if id, err := netip.ParseAddr(to.RouterID); to.RouterID != "" && (err != nil || !id.Is4()) {
		a.note(Lost, "spec.routerID", "%q has not the form of an IPv4 address, and is left out", to.RouterID)
		to.RouterID = ""
	}
	if to.Interface != "" && to.EBGPMultiHop {
		a.note(Exact, "spec.ebgpMultiHop", "it is left out: what an interface leads to is one hop away")
		to.EBGPMultiHop = false
	}
}

func orInterface(to *ours.BGPPeerSpec) string {
	if to.PeerAddress == "" {
		return "interface " + to.Interface
	}
	return to.PeerAddress
}

// asn checks the AS numbers.
func (a about) asn(to *ours.BGPPeerSpec) {
	if to.LocalASN == to.MyASN && to.LocalASN != 0 {
		a.note(Exact, "spec.localASN", "it is left out: it is myASN")
		to.LocalASN = 0
	}
	if to.PeerASN != 0 && to.DynamicASN != "" {
		a.note(Lost, "spec.dynamicASN", "it is left out beside peerASN, which counts")
		to.DynamicASN = ""
	}
}

// Bounds of times.
const (
	leastHold    = 3 * time.Second
	mostTime     = 65535 * time.Second
	mostKeep     = 21845 * time.Second
	keepsPerHold = 3
)

// times translates the timers. Of hold time and keepalive time MetalLB makes one from
// the other by a factor of three.
func (a about) times(from *BGPPeerSpec, to *ours.BGPPeerSpec) {
	hold, keep := from.HoldTime, from.KeepaliveTime
	if hold != nil && hold.Duration != 0 && (hold.Duration < leastHold || hold.Duration > mostTime) {
		a.note(Lost, "spec.holdTime", "%s is none: it must be 0s, or from 3s to 65535s, and is left out", hold.Duration)
		hold = nil
	}
	switch {
	case keep == nil:
	case keep.Duration < time.Second || keep.Duration > mostKeep:
		a.note(Differs, "spec.keepaliveTime", "%s is left out, since it must be from 1s to 21845s: it is a third of the hold time", keep.Duration)
		keep = nil
	case hold == nil:
		hold = &metav1.Duration{Duration: max(leastHold, keepsPerHold*keep.Duration)}
		a.note(Exact, "spec.holdTime", "%s is written where there was none, three times the keepalive time, as MetalLB takes it", hold.Duration)
	case hold.Duration > 0 && keep.Duration > hold.Duration/keepsPerHold:
		a.note(Differs, "spec.keepaliveTime", "%s is more than a third of the hold time, %s, and is left out: it is a third",
			keep.Duration, hold.Duration)
		keep = nil
	}
	to.HoldTime, to.KeepaliveTime = copied(hold), copied(keep)
	switch connect := from.ConnectTime; {
	case connect == nil:
	case connect.Duration < time.Second || connect.Duration > mostTime:
		a.note(Lost, "spec.connectTime", "%s is none: it must be from 1s to 65535s, and is left out", connect.Duration)
	default:
		to.ConnectTime = copied(connect)
	}
}

func copied(d *metav1.Duration) *metav1.Duration {
	if d == nil {
		return nil
	}
	return &metav1.Duration{Duration: d.Duration}
}

// password translates how the session is authenticated.
func (a about) password(from *BGPPeerSpec, to *ours.BGPPeerSpec) {
	secret := from.PasswordSecret
	if secret == nil || secret.Name == "" {
		return
	}
	if from.Password != "" {
		a.note(Lost, "spec.password", "it is left out beside passwordSecret, which counts")
		to.Password = ""
	}
	to.PasswordSecret = &ours.PasswordSecret{Name: secret.Name}
	a.note(Differs, "spec.passwordSecret", "Secret %s is read in Baliza's own namespace: copy it there before the peer is used", secret.Name)
}
