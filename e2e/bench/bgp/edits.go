package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// edit is one of a field of the peer, or of its BFDProfile. Those fields are left out
// whose edit the router must follow (AS numbers, port, password, ttlSecurity): it
// ends its sessions by itself then. So are vrf and echoMode, which are refused.
type edit struct {
	field         string
	peer, profile map[string]any
}

// edits are made one after the other; the last of each field takes it back. With
// OpenBGPD, which has no BFD, those of the profile are left out.
func edits(watched bool) []edit {
	all := []edit{
		{"connectTime", map[string]any{"connectTime": "2s"}, nil},
		{"keepaliveTime", map[string]any{"keepaliveTime": "2s"}, nil},
		{"holdTime", map[string]any{"holdTime": "12s"}, nil},
		{"routerID", map[string]any{"routerID": "198.51.100.9"}, nil},
		{"enableGracefulRestart", map[string]any{"enableGracefulRestart": true}, nil},
		{"dynamicASN", map[string]any{"peerASN": nil, "dynamicASN": v1beta1.DynamicASNExternal}, nil},
		{"peerASN", map[string]any{"peerASN": cluster.RouterASN, "dynamicASN": nil}, nil},
		{"dualStackAddressFamily", map[string]any{"dualStackAddressFamily": nil}, nil},
		{"disableMP", map[string]any{"disableMP": true}, nil},
		{"nodeSelectors", map[string]any{"nodeSelectors": []any{map[string]any{}}}, nil},
		{"ebgpMultiHop", map[string]any{"ebgpMultiHop": true, "bfdProfile": nil}, nil},
		{"all of them, back", map[string]any{
			"connectTime": nil, "keepaliveTime": nil, "holdTime": nil, "routerID": nil, "enableGracefulRestart": nil,
			"disableMP": nil, "dualStackAddressFamily": true, "nodeSelectors": nil, "ebgpMultiHop": nil,
		}, nil},
	}
	if !watched {
		return all
	}
	return append(all,
		edit{"bfdProfile", map[string]any{"bfdProfile": name}, nil},
		edit{"receiveInterval, slower", nil, map[string]any{"receiveInterval": 500}},
		edit{"receiveInterval, faster", nil, map[string]any{"receiveInterval": 100}},
		edit{"transmitInterval, slower", nil, map[string]any{"transmitInterval": 500}},
		edit{"transmitInterval, faster", nil, map[string]any{"transmitInterval": 100}},
		edit{"detectMultiplier", nil, map[string]any{"detectMultiplier": 5}},
		edit{"passiveMode", nil, map[string]any{"passiveMode": true}},
		edit{"minimumTtl", nil, map[string]any{"minimumTtl": 250}},
		edit{"all of them, back", nil, map[string]any{"detectMultiplier": 3, "passiveMode": nil, "minimumTtl": nil}},
	)
}

// editTakes is for how long an edit may still be under way: the nodes follow it one
// after the other, a second apart, and each may need a new session.
const editTakes = 6 * time.Second

// edit patches a BGPPeer or a BFDProfile.
func (b *bench) edit(ctx context.Context, peer string, e edit) error {
	patch := func(spec map[string]any, do func(body []byte) error) error {
		if spec == nil {
			return nil
		}
		body, err := json.Marshal(map[string]any{"spec": spec})
		if err != nil {
			return err
		}
		return do(body)
	}
	client := b.Baliza.BalizaV1beta1()
	err := patch(e.peer, func(body []byte) error {
		_, err := client.BGPPeers().Patch(ctx, peer, types.MergePatchType, body, metav1.PatchOptions{})
		return err
	})
	if err != nil {
		return err
	}
	return patch(e.profile, func(body []byte) error {
		_, err := client.BFDProfiles().Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{})
		return err
	})
}

// edits changes every field in turn, first with FRR, which sends a client's connections
// to two nodes, and then with OpenBGPD. That does not write the kernel's routes on
// Linux: what counts there is how often it was seen with no path at all.
func (b *bench) edits(ctx context.Context) error {
	if b.trials == 0 {
		return nil
	}
	if err := b.watched(ctx); err != nil {
		return err
	}
	all := losses{}
	for _, e := range edits(true) {
		report, l, err := b.under(ctx, func() error {
			if err := b.edit(ctx, name, e); err != nil {
				return err
			}
			time.Sleep(editTakes)
			return b.hops(ctx, b.nodes[:2]...)
		})
		if err != nil {
			return fmt.Errorf("edit of %s: %w", e.field, err)
		}
		all.add(l)
		b.say("edit of %s: %s", e.field, report)
	}
	b.row("every field edited in turn, FRR", nil, all.String())
	without, looks, err := b.editsOfOpenBGPD(ctx)
	if err != nil {
		return err
	}
	b.row("every field edited in turn, OpenBGPD", nil, fmt.Sprintf("%d of %d looks found no path", without, looks))
	b.values["bgp_edit_lost"] = strconv.Itoa(all.lost + without)
	return nil
}

// editsOfOpenBGPD returns how often OpenBGPD was looked at, and had no path.
func (b *bench) editsOfOpenBGPD(ctx context.Context) (without, looks int, err error) {
	const other = name + "-openbgpd"
	router, err := b.Stack(ctx, cluster.OpenBGPD, "c2", cluster.StackConfig{ASN: cluster.ClusterASN, GracefulRestart: true}, "n1", victim)
	if err != nil {
		return 0, 0, err
	}
	defer router.Stop(context.WithoutCancel(ctx))
	if err := b.Peer(ctx, other, router.Host.IPv4.String(), nil); err != nil {
		return 0, 0, err
	}
	defer func() {
		_, failed := b.Kubectl(context.WithoutCancel(ctx), "delete", "bgppeer/"+other)
		if err == nil {
			err = failed
		}
	}()
	for _, node := range b.nodes[:2] {
		err := lab.WaitFor(ctx, "OpenBGPD to have the path of "+node.String(), func() (bool, error) {
			return router.Knows(ctx, cluster.HostPrefix(b.v4), node.String())
		})
		if err != nil {
			return 0, 0, err
		}
	}
	for _, e := range edits(false) {
		if err := b.edit(ctx, other, e); err != nil {
			return 0, 0, fmt.Errorf("edit of %s: %w", e.field, err)
		}
		missed, count, err := b.look(ctx, router)
		if err != nil {
			return 0, 0, err
		}
		b.say("edit of %s, OpenBGPD: no path in %d of %d looks", e.field, missed, count)
		without, looks = without+missed, looks+count
	}
	return without, looks, nil
}

// look looks at a router every 20 ms while an edit may be under way.
func (b *bench) look(ctx context.Context, router *cluster.Stack) (without, looks int, err error) {
	const every = 20 * time.Millisecond
	for end := time.Now().Add(editTakes); time.Now().Before(end); time.Sleep(every) {
		one, err := router.Knows(ctx, cluster.HostPrefix(b.v4), b.nodes[0].String())
		if err != nil {
			return 0, 0, err
		}
		two, err := router.Knows(ctx, cluster.HostPrefix(b.v4), b.nodes[1].String())
		if err != nil {
			return 0, 0, err
		}
		looks++
		if !one && !two {
			without++
		}
	}
	return without, looks, nil
}
