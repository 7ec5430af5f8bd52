package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/config/daemon"
	"github.com/baliza-lb/baliza/controller/page"
	"github.com/baliza-lb/baliza/controller/reconcile"
)

// pageSource is what the status page is made of.
type pageSource struct {
	view     *kube.ControllerView
	election *kube.Election
	loop     *reconcile.Reconciler
}

// pageChanges brings changes to the page, once it is served.
type pageChanges struct{ served atomic.Pointer[page.Server] }

func (c *pageChanges) note() {
	if server := c.served.Load(); server != nil {
		server.Changed()
	}
}

// startPage starts the status page, if there is to be one; what it returns ends it, and
// waits for the end.
func startPage(ctx context.Context, env daemon.Env, f *flags, source *pageSource, changes *pageChanges) (end func(), err error) {
	if f.pageAddress == "" {
		return func() {}, nil
	}
	server, err := page.New(page.Options{
		Objects: func() explain.Objects { return source.objects(f) }, Now: time.Now, Hosts: f.pageHosts,
		Replica: podName(source.election.Identity()), Leader: func() string { return podName(source.election.Leader()) },
	})
	if err != nil {
		return nil, fmt.Errorf("status page: %w", err)
	}
	changes.served.Store(server)
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { server.Run(ctx, f.pageAddress, env.Log) })
	return func() {
		cancel()
		serving.Wait()
	}, nil
}

// objects are those of the caches.
func (s *pageSource) objects(f *flags) explain.Objects {
	i := s.view.Inventory()
	objects := explain.Objects{
		Services: i.Services, Nodes: i.Nodes, Namespaces: i.Namespaces, DaemonSets: i.DaemonSets,
		Pools: i.Pools, L2Advertisements: i.L2Advertisements, BGP: config.BGPObjects(i.BGP), Speakers: i.Speakers,
		Told:    &explain.Told{Namespace: f.namespace, ServeClassless: f.serveClassless, Classes: f.classes},
		Resting: s.loop.Resting(),
	}
	for _, one := range i.InUse {
		objects.InUse = append(objects.InUse, config.InUse{Range: config.Prefixed(one.Prefix), By: one.By})
	}
	for _, one := range i.Unread {
		objects.Unread = append(objects.Unread, explain.Unread{Kind: one.Kind, Why: one.Why})
	}
	return objects
}

// podName is that of a replica, of its identity in the Lease.
func podName(identity string) string {
	name, _, _ := strings.Cut(identity, "_")
	return name
}
