package l2

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// groups holds the solicited-node multicast groups (RFC 4291 section 2.7.1)
// that one interface must be in so that solicitations reach it: switches learn
// of them by MLD, and the card opens its filter. Several addresses may share a
// group. It is used by one goroutine.
type groups struct {
	on     *net.Interface
	joined map[netip.Addr]*ndp.Conn
	conns  []*ndp.Conn
}

// join enters the groups of the addresses. It goes on after a
// failure and returns the addresses that may not be reached.
func (g *groups) join(addresses []netip.Addr) (failed []netip.Addr, err error) {
	for _, address := range addresses {
		group, groupErr := ndp.SolicitedNodeMulticast(address)
		if groupErr == nil && g.joined[group] == nil {
			groupErr = g.enter(group)
		}
		if groupErr != nil {
			failed = append(failed, address)
			err = fmt.Errorf("join solicited-node group of %s on %s: %w", address, g.on.Name, groupErr)
		}
	}
	return failed, err
}

// keep leaves every group that none of the addresses needs.
func (g *groups) keep(addresses []netip.Addr) {
	needed := make(map[netip.Addr]bool, len(addresses))
	for _, address := range addresses {
		if group, err := ndp.SolicitedNodeMulticast(address); err == nil {
			needed[group] = true
		}
	}
	for group, conn := range g.joined {
		if !needed[group] {
			_ = conn.LeaveGroup(group) // fails only if the interface is gone, and the group with it
			delete(g.joined, group)
		}
	}
}

// enter joins one group. The kernel limits the memory of one socket's
// memberships (net.core.optmem_max) to some hundreds of groups, so that
// another socket is opened when one is full.
func (g *groups) enter(group netip.Addr) error {
	for _, conn := range slices.Backward(g.conns) {
		err := conn.JoinGroup(group)
		if err == nil {
			g.joined[group] = conn
			return nil
		}
		if !errors.Is(err, unix.ENOMEM) && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
	}
	conn, _, err := ndp.Listen(g.on, ndp.Unspecified)
	if err != nil {
		return explain(err)
	}
	var none ipv6.ICMPFilter
	none.SetAll(true) // receive nothing: this socket is only there to be in groups
	if err := conn.SetICMPFilter(&none); err != nil {
		_ = conn.Close()
		return err
	}
	g.conns = append(g.conns, conn)
	if err := conn.JoinGroup(group); err != nil {
		return err
	}
	g.joined[group] = conn
	return nil
}

func (g *groups) close() {
	for _, conn := range g.conns {
		_ = conn.Close()
	}
	g.conns = nil
	clear(g.joined)
}
