package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/e2e/lab"
)

// AS numbers of the lab, from the range for private use.
const (
	RouterASN  = 64512
	ClusterASN = 64513
)

// Router is a host that runs FRR or BIRD.
type Router struct {
	c    *Cluster
	Host lab.Host
	dir  string
	// programs that are running, by the lab's names.
	programs []string
}

// FRR starts zebra, bfdd and bgpd on a router with that configuration.
func (c *Cluster) FRR(ctx context.Context, host, configuration string) (*Router, error) {
	r, err := c.router(host, "frr", configuration)
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"zebra", "bfdd", "bgpd"} {
		argv := []string{
			"/usr/lib/frr/" + program, "-u", "root", "-g", "root", "-f", r.file("frr.conf"), "-i", r.file(program + ".pid"),
			"-z", r.file("zserv.api"), "--vty_socket", r.dir, "--log", "stdout",
		}
		if program == "bfdd" {
			argv = append(argv, "--bfdctl", r.file("bfdd.sock"))
		}
		if err := r.run(program, argv...); err != nil {
			return nil, err
		}
		if program != "zebra" {
			continue
		}
		// The others register with zebra once, and try again only after 10 s.
		err := lab.WaitFor(ctx, "zebra on "+host, func() (bool, error) {
			_, err := os.Stat(r.file("zserv.api"))
			return err == nil, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return r, lab.WaitFor(ctx, "FRR on "+host, func() (bool, error) {
		_, err := r.Vtysh(ctx, "show bgp summary json")
		return err == nil, nil
	})
}

// BIRD starts bird on a host with that configuration.
func (c *Cluster) BIRD(ctx context.Context, host, configuration string) (*Router, error) {
	r, err := c.router(host, "bird", configuration)
	if err != nil {
		return nil, err
	}
	if err := r.run("bird", "bird", "-f", "-c", r.file("bird.conf"), "-s", r.file("bird.ctl"), "-P", r.file("bird.pid")); err != nil {
		return nil, err
	}
	return r, lab.WaitFor(ctx, "BIRD on "+host, func() (bool, error) {
		_, err := r.Birdc(ctx, "show status")
		return err == nil, nil
	})
}

func (c *Cluster) router(host, kind, configuration string) (*Router, error) {
	h, err := c.Host(host)
	if err != nil {
		return nil, err
	}
	dir, err := c.Dir(host + "-" + kind)
	if err != nil {
		return nil, err
	}
	r := &Router{c: c, Host: h, dir: dir}
	_ = os.Remove(r.file("zserv.api")) // of an earlier one
	return r, os.WriteFile(r.file(kind+".conf"), []byte(configuration), 0o600)
}

func (r *Router) file(name string) string { return filepath.Join(r.dir, name) }

func (r *Router) run(program string, argv ...string) error {
	name := r.Host.Name + "/" + program
	if _, err := r.c.Run(r.Host.Name, name, argv...); err != nil {
		return err
	}
	r.programs = append(r.programs, name)
	return nil
}

// Stop ends the router's programs.
func (r *Router) Stop(ctx context.Context) {
	for _, name := range slices.Backward(r.programs) {
		_ = r.c.Stop(ctx, name, unix.SIGTERM) // it may have ended by itself
	}
}

// Vtysh runs a command of FRR.
func (r *Router) Vtysh(ctx context.Context, commands ...string) (string, error) {
	argv := []string{"vtysh", "--vty_socket", r.dir}
	for _, c := range commands {
		argv = append(argv, "-c", c)
	}
	return r.c.Exec(ctx, r.Host.Name, argv...)
}

// Birdc runs a command of BIRD. For birdc it is a failure if there is no route
// to show, which it is not here.
func (r *Router) Birdc(ctx context.Context, command string) (string, error) {
	out, err := r.c.Exec(ctx, r.Host.Name, append([]string{"birdc", "-s", r.file("bird.ctl")}, strings.Fields(command)...)...)
	if strings.Contains(out, "Network not found") {
		err = nil
	}
	return out, err
}

// GracefulShutdown is how Path names that community (RFC 8326), as FRR does.
const GracefulShutdown = "graceful-shutdown"

// Path is one of a router's paths to a prefix.
type Path struct {
	Valid     bool `json:"valid"`
	Multipath bool `json:"multipath"`
	BestPath  struct {
		Overall bool `json:"overall"`
	} `json:"bestpath"`
	Metric    uint32 `json:"metric"`
	LocalPref uint32 `json:"locPrf"`
	ASPath    struct {
		String string `json:"string"`
	} `json:"aspath"`
	Community struct {
		String string `json:"string"`
	} `json:"community"`
	LargeCommunity struct {
		String string `json:"string"`
	} `json:"largeCommunity"`
	Nexthops []struct {
		IP string `json:"ip"`
	} `json:"nexthops"`
}

// Paths are the router's to a prefix, in no order; none if it has none. Of BIRD
// the attributes are known, not which path is the best.
func (r *Router) Paths(ctx context.Context, p netip.Prefix) ([]Path, error) {
	if r.proto() == "bird" {
		out, err := r.Birdc(ctx, "show route all for "+p.String())
		return birdPaths(out, p), err
	}
	family := "ipv4"
	if p.Addr().Is6() {
		family = "ipv6"
	}
	out, err := r.Vtysh(ctx, fmt.Sprintf("show bgp %s unicast %s json", family, p))
	if err != nil {
		return nil, err
	}
	var found struct {
		Paths []Path `json:"paths"`
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		return nil, fmt.Errorf("what FRR knows of %s: %w: %s", p, err, out)
	}
	return found.Paths, nil
}

// BFDSettled is for how long FRR must have had a path up until it is watched at
// the agreed pace: FRR asks for that pace a second later (RFC 5880 section 6.5).
const BFDSettled = 2 * time.Second

// Watched reports whether the router watches the paths to all these hosts with BFD,
// FRR for that long already, BIRD with a timeout of a second at most: it says of which.
func (r *Router) Watched(ctx context.Context, since time.Duration, hosts ...netip.Addr) (bool, error) {
	if r.proto() == "bird" {
		out, err := r.Birdc(ctx, "show bfd sessions")
		return birdWatches(out, hosts), err
	}
	out, err := r.Vtysh(ctx, "show bfd peers json")
	if err != nil {
		return false, err
	}
	var peers []struct {
		Peer   netip.Addr `json:"peer"`
		Status string     `json:"status"`
		Uptime int        `json:"uptime"` // in seconds
	}
	if err := json.Unmarshal([]byte(out), &peers); err != nil {
		return false, fmt.Errorf("FRR's BFD sessions: %w: %s", err, out)
	}
	up := 0
	for _, p := range peers {
		if slices.Contains(hosts, p.Peer) && p.Status == "up" && time.Duration(p.Uptime)*time.Second >= since {
			up++
		}
	}
	return up == len(hosts), nil
}

// Heard is what FRR has of one peer.
type Heard struct {
	State string `json:"state"`
	// Prefixes that it was told.
	Prefixes int `json:"pfxRcd"`
	// Sessions that have been established with it.
	Sessions int `json:"connectionsEstablished"`
}

// Heard is what FRR has of each peer, by address, in IPv4.
func (r *Router) Heard(ctx context.Context) (map[string]Heard, error) {
	out, err := r.Vtysh(ctx, "show bgp ipv4 unicast summary json")
	if err != nil {
		return nil, err
	}
	var found struct {
		Peers map[string]Heard `json:"peers"`
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		return nil, fmt.Errorf("FRR's summary: %w: %s", err, out)
	}
	return found.Peers, nil
}

// Age is for how long the router's route to a prefix, or the youngest of
// BIRD's, has been as it is, to the second.
func (r *Router) Age(ctx context.Context, p netip.Prefix) (time.Duration, error) {
	if r.proto() == "bird" {
		out, err := r.Birdc(ctx, "show route for "+p.String())
		if err != nil {
			return 0, err
		}
		return birdAge(out, time.Now())
	}
	family := "ip"
	if p.Addr().Is6() {
		family = "ipv6"
	}
	out, err := r.Vtysh(ctx, fmt.Sprintf("show %s route %s json", family, p))
	if err != nil {
		return 0, err
	}
	var found map[string][]struct {
		Uptime string `json:"uptime"`
	}
	var hours, minutes, seconds int
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found[p.String()]) != 1 {
		return 0, fmt.Errorf("FRR's route to %s: %w: %s", p, err, out)
	}
	if _, err := fmt.Sscanf(found[p.String()][0].Uptime, "%d:%d:%d", &hours, &minutes, &seconds); err != nil {
		return 0, fmt.Errorf("how old FRR's route to %s is: %w: %s", p, err, out)
	}
	return time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute + time.Duration(seconds)*time.Second, nil
}

// NextHops are those that the router's kernel has for a prefix, in order, with
// their weights where they are not all the same ("192.0.2.11*2").
func (r *Router) NextHops(ctx context.Context, p netip.Prefix) ([]string, error) {
	family := "-4"
	if p.Addr().Is6() {
		family = "-6"
	}
	out, err := r.c.Exec(ctx, r.Host.Name, "ip", "-j", family, "route", "show", "exact", p.String(), "proto", r.proto())
	if err != nil {
		return nil, err
	}
	var routes []struct {
		Gateway string `json:"gateway"`
		// Via is an IPv6 gateway of an IPv4 route.
		Via struct {
			Host string `json:"host"`
		} `json:"via"`
		Nexthops []struct {
			Gateway string `json:"gateway"`
			Weight  int    `json:"weight"`
		} `json:"nexthops"`
	}
	if strings.TrimSpace(out) == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(out), &routes); err != nil {
		return nil, fmt.Errorf("kernel routes to %s: %w: %s", p, err, out)
	}
	var hops []string
	for _, route := range routes {
		if one := cmp.Or(route.Gateway, route.Via.Host); one != "" {
			hops = append(hops, one)
		}
		for _, n := range route.Nexthops {
			if n.Weight > 1 {
				hops = append(hops, fmt.Sprintf("%s*%d", n.Gateway, n.Weight))
			} else {
				hops = append(hops, n.Gateway)
			}
		}
	}
	slices.Sort(hops)
	return hops, nil
}

func (r *Router) proto() string {
	if strings.HasSuffix(r.dir, "-bird") {
		return "bird"
	}
	return "bgp"
}

// HostPrefix is an address as a prefix.
func HostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
