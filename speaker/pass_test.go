package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/bgp"
	"github.com/baliza-lb/baliza/speaker/delivery"
	"github.com/baliza-lb/baliza/speaker/l2"
)

// busy is a cluster of thousands of Services, of which some change.
type busy struct {
	paperObjects
	bgp     kube.BGPObjects
	changed kube.SpeakerChanges
}

func (b *busy) BGP() kube.BGPObjects { return b.bgp }

func (b *busy) Take() kube.SpeakerChanges {
	taken := b.changed
	b.changed = kube.SpeakerChanges{}
	return taken
}

func (b *busy) L2Advertisements() []*v1beta1.L2Advertisement { return nil }

// passServices is how many Services the benchmarks of a pass have.
const passServices = 10_000

// bgpSpeaker is a speaker that announces them over BGP to that many peers.
func bgpSpeaker(b *testing.B, peers int) (*speaker, *busy) {
	b.Helper()
	objects := kube.BGPObjects{Advertisements: []*v1beta1.BGPAdvertisement{{ObjectMeta: metav1.ObjectMeta{Name: "all"}}}}
	for i := range peers {
		objects.Peers = append(objects.Peers, &v1beta1.BGPPeer{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("rack-%d", i)},
			Spec:       v1beta1.BGPPeerSpec{MyASN: 64513, PeerASN: 64512, PeerAddress: fmt.Sprintf("192.0.2.%d", 100+i)},
		})
	}
	world := &busy{paperObjects: paperObjects{&paper{}}, bgp: objects, changed: kube.SpeakerChanges{Nodes: true, Config: true, Services: map[string]struct{}{}}}
	for i := range passServices {
		world.changed.Services[fmt.Sprintf("default/198.18.%d.%d", i>>8, i&255)] = struct{}{}
	}
	s := newSpeaker(dependencies{
		delivery: delivery.New(netip.Addr{}),
		log:      slog.New(slog.DiscardHandler), node: "n1", serveClassless: true, cluster: world, members: &crowd{alive: []string{"n1"}}, lan: noLAN(),
		links: noLinks{}, responder: l2.New(), reports: mute{}, routes: noBGP(),
	})
	b.Cleanup(s.responder.Close)
	s.pass(time.Now())
	if told, _ := s.routes.sessions.(*bgp.Fake).Told("rack-0"); len(told) != passServices {
		b.Fatalf("%d routes", len(told))
	}
	return s, world
}

// What a change of one Service costs where 10,000 are announced over BGP.
func BenchmarkPassAt10000(b *testing.B) {
	s, world := bgpSpeaker(b, 1)
	for b.Loop() {
		world.changed.Services = map[string]struct{}{"default/198.18.0.1": {}}
		s.pass(time.Now())
	}
}

// D10: what a pass costs that 64 dead peers bring about, with 10,000 Services. The
// benchmark of BGP gives it as bgp_pass_ms_64_dead_peers.
func BenchmarkPass64DeadPeersAt10000(b *testing.B) {
	const peers = 64
	s, _ := bgpSpeaker(b, peers)
	fake := s.routes.sessions.(*bgp.Fake)
	for i := range peers {
		fake.Refuse(fmt.Sprintf("rack-%d", i), "connection refused")
	}
	for b.Loop() {
		s.pass(time.Now())
	}
}
