package lab

import (
	"errors"
	"fmt"

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

// Freeze stops every process of a node, its agent included. The node's kernel
// lives on: it answers ARP for its own addresses and forwards what kube-proxy's
// rules say.
func (l *Lab) Freeze(node string) error {
	runner, ok := l.runners[node]
	if !ok {
		return fmt.Errorf("there is no node %s in the lab", node)
	}
	runner.Freeze()
	return l.signalAll(node, unix.SIGSTOP)
}

// Thaw undoes [Lab.Freeze].
func (l *Lab) Thaw(node string) error {
	runner, ok := l.runners[node]
	if !ok {
		return fmt.Errorf("there is no node %s in the lab", node)
	}
	err := l.signalAll(node, unix.SIGCONT)
	runner.Thaw()
	return err
}

func (l *Lab) signalAll(host string, s unix.Signal) error {
	var err error
	for _, p := range l.procs.list(host) {
		if errSignal := p.signal(s); p.Running() {
			err = errors.Join(err, errSignal)
		}
	}
	return err
}
