package scenarios

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// idleBGP makes an object of each kind, for as long as the test lasts, with a
// peer of no node.
func (p *plot) idleBGP(ctx context.Context) {
	p.t.Helper()
	nowhere := func(s *v1beta1.BGPPeerSpec) {
		s.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"nowhere": "true"}}}
	}
	p.must(p.Peer(ctx, p.name, "192.0.2.250", nowhere))
	p.must(p.AdvertiseBGP(ctx, p.name, nil, p.name))
	meta := metav1.ObjectMeta{Name: p.name}
	_, err := p.Baliza.BalizaV1beta1().BFDProfiles().Create(ctx, &v1beta1.BFDProfile{ObjectMeta: meta}, metav1.CreateOptions{})
	p.must(err)
	_, err = p.Baliza.BalizaV1beta1().Communities().Create(ctx, &v1beta1.Community{ObjectMeta: meta}, metav1.CreateOptions{})
	p.must(err)
}
