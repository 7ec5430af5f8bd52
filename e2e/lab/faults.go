package lab

import (
	"context"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Cut pulls the host's cable at the switch: both ends lose their carrier.
func (l *Lab) Cut(host string) error {
	return l.atPort(host, netlink.LinkSetDown)
}

// CutSilently takes the host's port out of the switch: its carrier stays, its
// packets go nowhere.
func (l *Lab) CutSilently(host string) error {
	return l.atPort(host, netlink.LinkSetNoMaster)
}

// Heal undoes [Lab.Cut] and [Lab.CutSilently]; the switch forwards at once.
func (l *Lab) Heal(host string) error {
	return l.atPort(host, func(netlink.Link) error { return attach(host) })
}

func (l *Lab) atPort(host string, f func(netlink.Link) error) error {
	if _, err := l.Host(host); err != nil {
		return err
	}
	err := inNetns(switchName, func() error {
		port, err := netlink.LinkByName(portName(host))
		if err != nil {
			return err
		}
		return f(port)
	})
	if err != nil {
		return fmt.Errorf("switch port of %s: %w", host, err)
	}
	return nil
}

// Freeze stops every process of a node, its pods included, at once. The node's
// kernel lives on: it answers ARP for its own addresses and forwards what
// kube-proxy's rules say.
func (l *Lab) Freeze(node string) error { return freezeGroup(l.groups, l.nodeGroup(node), true) }

// Thaw undoes [Lab.Freeze].
func (l *Lab) Thaw(node string) error { return freezeGroup(l.groups, l.nodeGroup(node), false) }

// PowerOff ends a node as a pulled plug does: one SIGKILL of the first process
// of its PID namespace takes kubelet, containerd and pods with it, and its cable
// is dead.
func (l *Lab) PowerOff(ctx context.Context, node string) error {
	if err := l.Cut(node); err != nil {
		return err
	}
	if err := l.Stop(ctx, node+"/init", unix.SIGKILL); err != nil {
		return err
	}
	for _, p := range l.procs.list(node) {
		if err := p.ended(ctx); err != nil {
			return err
		}
	}
	return removeGroups(l.groups, l.nodeGroup(node))
}

// PowerOn starts a node again after [Lab.PowerOff], with its disk as it was, and
// returns before the node is Ready.
func (l *Lab) PowerOn(ctx context.Context, node string) error {
	for _, n := range l.nodes() {
		if n.Name != node {
			continue
		}
		if err := l.Heal(node); err != nil {
			return err
		}
		if err := l.boot(ctx, n); err != nil {
			return err
		}
		return l.join(ctx, n)
	}
	return fmt.Errorf("there is no node %s in the lab", node)
}

// Drain empties a node with kubectl's own drain, all but its DaemonSets.
func (l *Lab) Drain(ctx context.Context, node string) error {
	_, err := l.Kubectl(ctx, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=60s")
	return err
}

// Block lets a node's firewall drop what comes to a port of it, and what goes to
// that port elsewhere, TCP and UDP, until [Lab.Unblock].
func (l *Lab) Block(ctx context.Context, node string, port int) error {
	return l.block(ctx, node, port, "input", "output")
}

// BlockInbound is [Lab.Block] for what comes alone.
func (l *Lab) BlockInbound(ctx context.Context, node string, port int) error {
	return l.block(ctx, node, port, "input")
}

func (l *Lab) block(ctx context.Context, node string, port int, hooks ...string) error {
	var rules strings.Builder
	for _, hook := range hooks {
		fmt.Fprintf(&rules, "chain %s { type filter hook %s priority -200; meta l4proto { tcp, udp } th dport %d drop; }\n", hook, hook, port)
	}
	table := "table inet lab-block\ndelete table inet lab-block\ntable inet lab-block {\n" + rules.String() + "}\n"
	_, err := l.exec(ctx, node, table, "nft", "-f", "-")
	return err
}

// Unblock undoes [Lab.Block] and [Lab.BlockInbound], if there was one.
func (l *Lab) Unblock(ctx context.Context, node string) error {
	_, err := l.exec(ctx, node, "table inet lab-block\ndelete table inet lab-block\n", "nft", "-f", "-")
	return err
}

// Direction is one of the two directions on a host's cable.
type Direction string

// What a host can still do on a cable that works in one direction only.
const (
	Send    Direction = "send"
	Receive Direction = "receive"
)

// OneWay lets the switch drop what it would forward to a host (left: [Send]) or
// from it (left: [Receive]); its carrier stays. [Lab.BothWays] undoes it.
func (l *Lab) OneWay(ctx context.Context, host string, left Direction) error {
	end := map[Direction]string{Send: "oifname", Receive: "iifname"}[left]
	if _, err := l.Host(host); err != nil || end == "" {
		return fmt.Errorf("one way for %q of host %s: %w", left, host, err)
	}
	return l.atSwitch(ctx, `
table bridge lab-`+host+`
delete table bridge lab-`+host+`
table bridge lab-`+host+` {
	chain forward { type filter hook forward priority 0; `+end+` "`+portName(host)+`" drop; }
}
`)
}

// BothWays undoes [Lab.OneWay].
func (l *Lab) BothWays(ctx context.Context, host string) error {
	return l.atSwitch(ctx, "delete table bridge lab-"+host)
}

func (l *Lab) atSwitch(ctx context.Context, rules string) error {
	_, err := l.execIn(ctx, switchName, rules, "nft", "-f", "-")
	return err
}
