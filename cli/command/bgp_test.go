package command_test

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/command"
)

// bgpScenarios are those in which routers are told, and no ARP is spoken.
func bgpScenarios() map[string]scenario {
	return map[string]scenario{
		"bgp-all-is-well":     {ask: explainWeb, set: routed, says: "announced by n1"},
		"peers":               {ask: "peers", set: routed, says: "Established"},
		"bgp-status":          {ask: "status", set: routed, says: "3 of 3 BGP sessions established"},
		"peer-wrong-asn":      {ask: explainWeb, set: down("the router says: OPEN Message Error, Bad Peer AS (RFC 4271 section 6.2)"), status: command.StatusWrong, reason: v1beta1.ReasonNoSession, says: "Bad Peer AS"},
		"peer-wrong-secret":   {ask: "explain node n1", set: down("connecting: no answer; is the router up, and has it the same password?"), status: command.StatusWrong, reason: v1beta1.ReasonNoSession, says: "same password"},
		"peer-without-secret": {ask: "explain node n1", set: down("connecting: no answer; is the router up? One that expects a password (TCP MD5, TCP-AO) drops silently what has none"), status: command.StatusWrong, reason: v1beta1.ReasonNoSession, says: "compare the passwords"},
		"peer-own-words":      {ask: "explain node n1", set: down("the router says: Cease, administrative shutdown: maintenance-til-noon"), status: command.StatusWrong, reason: v1beta1.ReasonNoSession, says: "maintenance-til-noon"},
		"peer-not-there":      {ask: explainWeb, set: noPeer, status: command.StatusWrong, reason: v1beta1.ReasonNoPeer},
		"family-not-carried":  {ask: explainWeb, set: familyNotCarried, status: command.StatusWrong, reason: v1beta1.ReasonNoPeer, says: "none carries its family"},
	}
}

// routed announces shop/web to the router tor from all nodes.
func routed(w *world) {
	w.l2 = nil
	w.bgp = []*v1beta1.BGPAdvertisement{{ObjectMeta: named("", "fabric")}}
	w.bgp[0].Status.Conditions = ready(v1beta1.ReasonValid, "the spec is used as it stands")
	w.peers = []*v1beta1.BGPPeer{{ObjectMeta: named("", "tor")}}
	w.peers[0].Spec.MyASN, w.peers[0].Spec.PeerASN, w.peers[0].Spec.PeerAddress = 64512, 64513, "192.0.2.254"
	w.peers[0].Status.Conditions = ready(v1beta1.ReasonValid, "the spec is used as it stands")
	w.nobodyHolds("", "")
	since := ago(3 * time.Hour)
	for _, s := range w.speakers {
		s.Status.BGP = &v1beta1.BGPReport{
			AnnouncedCount: 1, Announced: []string{"192.0.2.10"},
			Peers: []v1beta1.BGPSession{{Name: "tor", Address: "192.0.2.254", State: "Established", Since: &since, PeerASN: 64513, RoutesSent: 1}},
		}
	}
	says(w.services[0], v1beta1.ConditionAnnounced, "True", v1beta1.ReasonAnnounced, "announced by n1, n2, n3")
}

// down has no session established.
func down(why string) func(*world) {
	return func(w *world) {
		routed(w)
		for _, s := range w.speakers {
			s.Status.BGP.AnnouncedCount, s.Status.BGP.Announced = 0, nil
			p := &s.Status.BGP.Peers[0]
			p.State, p.LastError, p.RoutesSent = "Idle", why, 0
			s.Status.Withheld = []v1beta1.WithheldAddresses{{
				Reason: v1beta1.ReasonNoSession, Message: "no session to tor is established", Count: 1, Addresses: []string{"192.0.2.10"},
			}}
		}
		w.unannounced(v1beta1.ReasonNoSession, "no node announces 192.0.2.10")
	}
}

// noPeer has an advertisement for a peer that there is not.
func noPeer(w *world) {
	routed(w)
	w.bgp[0].Spec.Peers = []string{"spine"}
	w.bgp[0].Status.Conditions = ready(v1beta1.ReasonReferenceNotFound, `spec.peers[0]: there is no BGPPeer "spine"`)
	for _, s := range w.speakers {
		s.Status.BGP.AnnouncedCount, s.Status.BGP.Announced = 0, nil
		s.Status.BGP.Peers[0].RoutesSent = 0
	}
	w.nobodyHolds(v1beta1.ReasonNoPeer, "no BGPPeer of this node is told of the address: none is selected, or none carries its family")
	w.unannounced(v1beta1.ReasonNoPeer, "no node announces 192.0.2.10")
}

// familyNotCarried: the Service has an IPv6 address, and the session carries IPv4.
func familyNotCarried(w *world) {
	routed(w)
	w.pools[0].Spec.Addresses = append(w.pools[0].Spec.Addresses, "2001:db8::/64")
	svc := w.services[0]
	svc.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol}
	give(svc, "2001:db8::10")
	w.endpoints[0].AddressType = discoveryv1.AddressTypeIPv6
	for _, s := range w.speakers {
		s.Status.BGP.AnnouncedCount, s.Status.BGP.Announced = 0, nil
		s.Status.BGP.Peers[0].RoutesSent = 0
		s.Status.Withheld = []v1beta1.WithheldAddresses{{
			Reason: v1beta1.ReasonNoPeer, Message: "no BGPPeer of this node is told of the address: none is selected, or none carries its family",
			Count: 1, Addresses: []string{"2001:db8::10"},
		}}
	}
	w.unannounced(v1beta1.ReasonNoPeer, "no node announces 2001:db8::10")
}
