package cluster

import (
	"context"
	_ "embed" // the routers' configurations

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// FRRConfig and BIRDConfig are the routers' side of three nodes. They are the
// ones that docs/bgp.md shows.
//
//go:embed frr.conf
var FRRConfig string

// FRRUnnumberedConfig is that of one node behind eth0 whose address FRR does
// not know.
//
//go:embed frr-unnumbered.conf
var FRRUnnumberedConfig string

// BIRDUnnumberedConfig is BIRD's for the same.
//
//go:embed bird-unnumbered.conf
var BIRDUnnumberedConfig string

// BIRDConfig is BIRD's.
//
//go:embed bird.conf
var BIRDConfig string

// Peer makes every node a peer of a router, with both families in one session.
// The function may change the peer before it is sent.
func (c *Cluster) Peer(ctx context.Context, name, address string, change func(*v1beta1.BGPPeerSpec)) error {
	peer := &v1beta1.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: name}}
	peer.Spec = v1beta1.BGPPeerSpec{MyASN: ClusterASN, PeerASN: RouterASN, PeerAddress: address, DualStackAddressFamily: true}
	if change != nil {
		change(&peer.Spec)
	}
	_, err := c.Baliza.BalizaV1beta1().BGPPeers().Create(ctx, peer, metav1.CreateOptions{})
	return err
}

// AdvertiseBGP announces the pools over BGP. The function may change the
// advertisement before it is sent.
func (c *Cluster) AdvertiseBGP(ctx context.Context, name string, change func(*v1beta1.BGPAdvertisementSpec), pools ...string) error {
	a := &v1beta1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: name}}
	a.Spec.IPAddressPools = pools
	if change != nil {
		change(&a.Spec)
	}
	_, err := c.Baliza.BalizaV1beta1().BGPAdvertisements().Create(ctx, a, metav1.CreateOptions{})
	return err
}
