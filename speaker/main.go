package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/config/daemon"
	"github.com/baliza-lb/baliza/speaker/bfd"
	"github.com/baliza-lb/baliza/speaker/bgp"
	"github.com/baliza-lb/baliza/speaker/cluster"
	"github.com/baliza-lb/baliza/speaker/delivery"
	"github.com/baliza-lb/baliza/speaker/ethernet"
	"github.com/baliza-lb/baliza/speaker/inspect"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/link"
	"github.com/baliza-lb/baliza/speaker/members"
	"github.com/baliza-lb/baliza/speaker/members/detection"
	"github.com/baliza-lb/baliza/speaker/model"
)

// flags of the speaker, beside the common ones.
type flags struct {
	common         daemon.Options
	nodeName       string
	memberAddress  string
	memberPort     uint16
	keyFile        string
	serveClassless bool
	classes        []string
	ignoreExclude  bool
	shutdownGrace  time.Duration
	profile        string
	namespace      string
	drainTime      time.Duration
	inspect        string
}

// Bounds of the shutdown grace period. The shortest lets the others hear of it. The
// longest may pass twice, in telling them and in answering, and leaves the rest
// of the 10 s that the chart grants at least (terminationGracePeriodSeconds) to
// the last report.
const (
	minShutdownGrace = 100 * time.Millisecond
	maxShutdownGrace = 3 * time.Second
)

func main() {
	var f flags
	set := pflag.NewFlagSet("baliza-speaker", pflag.ContinueOnError)
	f.common.AddFlags(set, ":7473")
	set.StringVar(&f.nodeName, "node-name", "", "name of the Kubernetes node that this speaker runs on")
	set.StringVar(&f.memberAddress, "member-address", "", "address of this node at which the other speakers reach it")
	set.Uint16Var(&f.memberPort, "member-port", 7946, "port for the other speakers, UDP and TCP, the same on every node")
	set.StringVar(&f.keyFile, "membership-key-file", "",
		"file with the membership keys: 32 bytes in base64, one on each line, the first encrypts")
	set.BoolVar(&f.serveClassless, "serve-classless", true, "serve Services without a loadBalancerClass; must be the same as the controller's")
	set.StringSliceVar(&f.classes, "load-balancer-class", []string{v1beta1.LoadBalancerClass},
		"loadBalancerClass of the Services that are always served, any number; must be the same as the controller's")
	set.BoolVar(&f.ignoreExclude, "ignore-exclude-label", false,
		"announce from nodes with the label "+v1beta1.LabelExcludeNode+", too; must be the same for all speakers")
	set.DurationVar(&f.shutdownGrace, "shutdown-grace-period", 800*time.Millisecond,
		"how long to go on answering after a stop signal, while others take over; from 100ms to 3s")
	set.StringVar(&f.profile, "failure-detection-profile", detection.ProfileDefault,
		"how fast the death of another speaker is noticed: "+strings.Join(detection.Profiles(), ", "))
	set.StringVar(&f.namespace, "namespace", "baliza-system", "namespace of Baliza itself, where the Secrets of BGPPeers are")
	set.DurationVar(&f.drainTime, "bgp-drain-time", 30*time.Second,
		"how long a node that is taken out of load balancing goes on announcing over BGP, as the last choice")
	set.StringVar(&f.inspect, "inspect-address", fmt.Sprintf("127.0.0.1:%d", model.InspectPort),
		"host:port of the read-only endpoint for kubectl baliza, on a loopback address; empty is none")
	os.Exit(daemon.Main(daemon.Program{
		Name: "speaker", Options: &f.common, Flags: set,
		Run: func(ctx context.Context, env daemon.Env) error { return run(ctx, env, &f) },
	}, os.Args[1:]))
}

// check refuses what cannot work before anything is started.
func (f *flags) check() (netip.AddrPort, error) {
	if f.nodeName == "" {
		return netip.AddrPort{}, errors.New("--node-name is required")
	}
	if f.keyFile == "" {
		return netip.AddrPort{}, errors.New("--membership-key-file is required")
	}
	if f.shutdownGrace < minShutdownGrace || f.shutdownGrace > maxShutdownGrace {
		return netip.AddrPort{}, fmt.Errorf("--shutdown-grace-period %s: must be from %s to %s", f.shutdownGrace, minShutdownGrace, maxShutdownGrace)
	}
	if err := config.CheckClasses(f.classes); err != nil {
		return netip.AddrPort{}, err
	}
	if f.inspect != "" {
		if err := inspect.CheckAddress(f.inspect); err != nil {
			return netip.AddrPort{}, fmt.Errorf("--inspect-address: %w", err)
		}
	}
	address, err := netip.ParseAddr(f.memberAddress)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("--member-address %q is not an IP address", f.memberAddress)
	}
	// The others are told this address. One that leads each of them to itself
	// would leave every speaker alone, and owner of everything.
	if !address.IsGlobalUnicast() {
		return netip.AddrPort{}, fmt.Errorf("--member-address %s is not one at which other nodes reach this one", address)
	}
	return netip.AddrPortFrom(address, f.memberPort), nil
}

func run(ctx context.Context, env daemon.Env, f *flags) error {
	listen, err := f.check()
	if err != nil {
		return err
	}
	settings, err := detection.Profile(f.profile)
	if err != nil {
		return fmt.Errorf("--failure-detection-profile: %w", err)
	}
	clients, err := kube.Connect(f.common.Kubeconfig, "baliza-speaker/"+daemon.Version())
	if err != nil {
		return err
	}
	links, err := link.New(env.Log)
	if err != nil {
		return err
	}
	if err := checkSockets(links.Snapshot()); err != nil {
		return err
	}
	view, err := kube.NewSpeakerView(clients, f.nodeName, config.ServiceAnnotations())
	if err != nil {
		return err
	}
	if err := view.WatchPasswords(clients, f.namespace); err != nil {
		return err
	}
	segments := ethernet.New(env.Log)
	group, err := members.Start(members.Config{
		Name: f.nodeName, Listen: listen, KeyFile: f.keyFile, Settings: settings, Logger: env.Log, LAN: segments,
	})
	if err != nil {
		return err
	}
	segments.Attach(group)
	reports := kube.NewSpeakerWriter(clients, f.nodeName, env.Log)
	asked := delivery.New(listen.Addr())
	paths := bfd.New(env.Log)
	sessions := bgp.New(bgp.Options{Log: env.Log, Node: f.nodeName, Address: listen.Addr(), Monitor: paths})
	s := newSpeaker(dependencies{
		log: env.Log, node: f.nodeName, version: daemon.Version(), serveClassless: f.serveClassless, classes: f.classes,
		ignoreExclude: f.ignoreExclude, drainTime: f.drainTime,
		cluster: view, members: group, lan: segments, links: links, responder: l2.New(),
		reports: cluster.WithKeys{Reporter: reports, Keys: group.Keys}, namespace: f.namespace,
		routes: &routes{node: f.nodeName, sessions: sessions, paths: paths}, delivery: asked,
	})
	if err := s.metrics.Register(env.Metrics); err != nil {
		return err
	}
	s.addChecks(env.Health)

	background, stop := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	if f.inspect != "" {
		wait.Go(func() { s.inspect.Run(background, f.inspect, env.Log) })
	}
	view.Start(background)
	wait.Go(func() { links.Run(background) })
	wait.Go(func() { asked.Run(background) })
	wait.Go(func() { reports.Run(background) })
	err = errors.Join(s.run(ctx), s.depart(f.shutdownGrace))
	stop()
	wait.Wait()
	reports.Last(s.machine.Departed(listen, time.Now()))
	return err
}

// checkSockets finds out early, and in clear words, if ARP and NDP cannot be
// spoken for want of a privilege.
func checkSockets(interfaces *link.Snapshot) error {
	for _, i := range interfaces.Interfaces {
		if i.Suitable {
			return l2.Check(ethernet.ToL2(i))
		}
	}
	return nil
}
