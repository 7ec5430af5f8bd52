package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/bgp"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// The pass that tells the last weight comes by itself.
func TestB12_A_held_weight_is_told_in_the_end(t *testing.T) {
	r, fake, view, web := weightedRoutes(t)
	prefix := netip.MustParsePrefix("203.0.113.1/32")
	now := time.Unix(1000, 0)
	bandwidth := func() uint64 {
		paths, _ := fake.Told("rack")
		return paths[prefix].Bandwidth / plan.PodBandwidth
	}
	r.pass(now, view, r.gateways)
	web.IPv4.Counts["n1"] = 4
	view.Services.Update(map[string]*plan.Service{web.Key: web})
	again := r.pass(now.Add(time.Millisecond), view, r.gateways)
	if bandwidth() != 1 || again <= 0 || again > time.Second {
		t.Errorf("told %v at once, and again in %s", bandwidth(), again)
	}
	if again = r.pass(now.Add(time.Millisecond+again), view, r.gateways); bandwidth() != 4 || again != 0 {
		t.Errorf("told %v in the end, and again in %s", bandwidth(), again)
	}
}

// weightedRoutes are newRoutes with one pod here, and weights.
func weightedRoutes(t *testing.T) (*router, *bgp.Fake, *plan.View, *plan.Service) {
	t.Helper()
	r, fake, view := newRoutes(t, v1beta1.BGPPeerSpec{})
	view.Config.BGPAdvertisements[0].Weighted = true
	web := served()
	web.Local, web.IPv4.Counts = true, map[string]int{"n1": 1}
	view.Services.Update(map[string]*plan.Service{web.Key: &web})
	return r, fake, view, &web
}
