package main

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config/daemon"
	"github.com/baliza-lb/baliza/speaker/delivery"
	"github.com/baliza-lb/baliza/speaker/ethernet"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/link"
	"github.com/baliza-lb/baliza/speaker/members/detection"
	"github.com/baliza-lb/baliza/speaker/model"
)

// crowd is a membership of speakers that say nothing.
type crowd struct{ alive []string }

func (c *crowd) Address() (at netip.AddrPort) { return at }

func (c *crowd) Snapshot() *model.Membership {
	return &model.Membership{Self: "n1", Alive: c.alive, Ready: c.alive}
}

func (c *crowd) Changes() <-chan struct{}                { return nil }
func (c *crowd) SetReady()                               {}
func (c *crowd) Hold([]netip.Addr)                       {}
func (c *crowd) Locate([]model.MAC, []model.Link)        {}
func (c *crowd) Seek(map[string]netip.AddrPort)          {}
func (c *crowd) Cannot([]netip.Addr, []model.Succession) {}
func (c *crowd) NetworkChanged()                         {}
func (c *crowd) Frame(string, model.MAC, []byte)         {}
func (c *crowd) Answered(string, model.MAC, netip.Addr)  {}
func (c *crowd) Overflowed()                             {}
func (c *crowd) SetSegments([]detection.Segment)         {}
func (c *crowd) Leave(time.Duration) error               { return nil }
func (c *crowd) Close() error                            { return nil }

// register is a cluster without objects.
type register struct{ paperObjects }

func (r *register) Synced() bool                                   { return true }
func (r *register) Changes() <-chan struct{}                       { return nil }
func (r *register) Pools() []*v1beta1.IPAddressPool                { return nil }
func (r *register) L2Advertisements() []*v1beta1.L2Advertisement   { return nil }
func (r *register) Members() ([]*v1beta1.Member, *v1beta1.Speaker) { return nil, &v1beta1.Speaker{} }

// noLinks is a node without interfaces.
type noLinks struct{}

func (noLinks) Snapshot() *link.Snapshot { return &link.Snapshot{} }
func (noLinks) Changes() <-chan struct{} { return nil }

// noLAN is the presence of such a node on its segments.
func noLAN() *ethernet.LAN {
	l := ethernet.New(slog.New(slog.DiscardHandler))
	l.Attach(&crowd{})
	return l
}

// unreachable is a cluster whose API server is down: its caches stay as they
// were, and nothing comes.
type unreachable struct {
	register
	synced bool
	// hang, if set, is what Take waits for.
	hang chan struct{}
}

func (u *unreachable) Synced() bool { return u.synced }

func (u *unreachable) Take() kube.SpeakerChanges {
	if u.hang != nil {
		<-u.hang
	}
	return kube.SpeakerChanges{}
}

// unread is a reporter whose reports never arrive.
type unread struct{}

func (unread) Report(v1beta1.SpeakerStatus, types.UID) {}
func (unread) Lost()                                   {}

// running runs a speaker without sockets until stop.
func running(t *testing.T, world *unreachable) (watchdog *daemon.Watchdog, stop func()) {
	watchdog = daemon.NewWatchdog(watchdogTimeout, time.Now)
	s := newSpeaker(dependencies{
		delivery: delivery.New(netip.Addr{}),
		log:      slog.New(slog.DiscardHandler), node: "n1", cluster: world, members: &crowd{alive: []string{"n1"}}, lan: noLAN(),
		links: noLinks{}, responder: l2.New(), reports: unread{}, routes: noBGP(), watchdog: watchdog,
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return watchdog, func() {
		cancel()
		<-ended
		s.responder.Close()
	}
}

// A speaker is to be restarted when its loop hangs, and never because the API
// server is down, be it from the start or for hours.
func TestL15_ASpeakerIsAliveWithoutTheAPIServer(t *testing.T) {
	for sentence, synced := range map[string]bool{"never reached": false, "lost": true} {
		synctest.Test(t, func(t *testing.T) {
			watchdog, stop := running(t, &unreachable{synced: synced})
			for range 6 {
				time.Sleep(time.Hour)
				if err := watchdog.Check(); err != nil {
					t.Errorf("API server %s: %v", sentence, err)
				}
			}
			stop()
			time.Sleep(time.Hour)
			if err := watchdog.Check(); err != nil {
				t.Errorf("departed: %v", err)
			}
		})
	}
}

func TestASpeakerWhoseLoopHangsIsNotAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := &unreachable{synced: true, hang: make(chan struct{})}
		watchdog, stop := running(t, world)
		time.Sleep(watchdogTimeout + time.Second)
		if watchdog.Check() == nil {
			t.Error("nothing is wrong")
		}
		close(world.hang)
		stop()
	})
}
