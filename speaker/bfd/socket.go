package bfd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	// Ports of paths of one hop and of several, and those that packets come
	// from (RFC 5881 section 4, RFC 5883 section 5).
	portOneHop, portMultihop = 3784, 4784
	firstPort, lastPort      = 49152, 65535
	// oneHop is the TTL of a packet that no router has passed on.
	oneHop = 255
	// networkControl is the traffic class of routing protocols, CS6 (RFC 4594
	// section 3.1): on a full link BFD must not be the first to be dropped.
	networkControl = 0xc0
	// readPause keeps a socket that errs from taking a core.
	readPause = 100 * time.Millisecond
)

// kind of a session: each has a socket of its own to receive from.
type kind struct{ v4, multihop bool }

func (k kind) port() uint16 {
	if k.multihop {
		return portMultihop
	}
	return portOneHop
}

func (r route) kind() kind { return kind{r.local.Is4(), r.multihop} }

// dial makes the socket that the packets of a session are sent from.
func (r route) dial() (*net.UDPConn, error) {
	const attempts = 16 // one port may be in use
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.router, r.kind().port()))
	var last error
	for range attempts {
		port := uint16(firstPort + rand.IntN(lastPort-firstPort+1)) //nolint:gosec // in range, and no secret
		conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.local, port)), to)
		if err != nil {
			last = cause(err)
			continue
		}
		if r.router.Is4() {
			c := ipv4.NewConn(conn)
			err = errors.Join(c.SetTTL(oneHop), c.SetTOS(networkControl))
		} else {
			c := ipv6.NewConn(conn)
			err = errors.Join(c.SetHopLimit(oneHop), c.SetTrafficClass(networkControl))
		}
		if err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("setting TTL and traffic class: %w", err)
		}
		return conn, nil
	}
	return nil, fmt.Errorf("opening a socket to %s: %w", r.router, last)
}

// cause leaves the addresses and ports out of an error of package net: the
// port is another each time, and each time it would be news.
func cause(err error) error {
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number
	}
	return err
}

// listen opens the socket of a kind of session, unless it is open.
func (s *Sessions) listen(k kind) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sockets[k] != nil || s.closed {
		return nil
	}
	network, at := "udp6", netip.IPv6Unspecified()
	if k.v4 {
		network, at = "udp4", netip.IPv4Unspecified()
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, k.port())))
	if err != nil {
		return fmt.Errorf("listening on UDP port %d: %w", k.port(), cause(err))
	}
	read, err := reader(conn, k.v4)
	if err != nil {
		_ = conn.Close()
		return fmt.Errorf("asking for the TTL of packets: %w", err)
	}
	s.sockets[k] = conn
	go s.read(read, k.multihop)
	return nil
}

// next returns a packet, whom it is from, and its TTL.
type next func([]byte) (int, net.Addr, int, error)

func reader(conn *net.UDPConn, v4 bool) (next, error) {
	if v4 {
		p := ipv4.NewPacketConn(conn)
		return func(b []byte) (int, net.Addr, int, error) {
			n, cm, from, err := p.ReadFrom(b)
			if cm == nil {
				return n, from, 0, err
			}
			return n, from, cm.TTL, err
		}, p.SetControlMessage(ipv4.FlagTTL, true)
	}
	p := ipv6.NewPacketConn(conn)
	return func(b []byte) (int, net.Addr, int, error) {
		n, cm, from, err := p.ReadFrom(b)
		if cm == nil {
			return n, from, 0, err
		}
		return n, from, cm.HopLimit, err
	}, p.SetControlMessage(ipv6.FlagHopLimit, true)
}

// read takes in packets until the socket is closed.
func (s *Sessions) read(take next, multihop bool) {
	buffer := make([]byte, 256) //nolint:mnd // more than any packet has
	for {
		n, from, ttl, err := take(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		address, ok := from.(*net.UDPAddr)
		if err != nil || !ok {
			time.Sleep(readPause)
			continue
		}
		router := address.AddrPort().Addr().Unmap()
		if !router.IsLinkLocalUnicast() {
			router = router.WithZone("")
		}
		s.deliver(router, ttl, multihop, buffer[:n])
	}
}

// deliver is receive, which no packet may end.
func (s *Sessions) deliver(router netip.Addr, ttl int, multihop bool, data []byte) {
	defer func() {
		if fault := recover(); fault != nil {
			s.log.Error("BFD packet dropped by a fault of Baliza, please report it", "panic", fault, "stack", string(debug.Stack()))
		}
	}()
	s.receive(router, ttl, multihop, data)
}
