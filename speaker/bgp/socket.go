package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// networkControl is the traffic class of routing protocols, CS6 (RFC 4594
// section 3.1): on a full link they must not be the first to be dropped.
const networkControl = 0xc0

// dial opens the connection of a session, with what the kernel must know
// before its first packet.
func dial(ctx context.Context, p *Peer) (net.Conn, error) {
	d := net.Dialer{
		Timeout: dialTimeout, KeepAlive: -1,
		Control: func(_, _ string, raw syscall.RawConn) error {
			var failed error
			err := raw.Control(func(fd uintptr) { failed = prepare(int(fd), p) })
			return errors.Join(err, failed)
		},
	}
	if p.Source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.Source, 0))
	}
	conn, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(p.Address, p.Port).String())
	if err == nil {
		return conn, nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err) {
		return nil, noAnswer(p)
	}
	return nil, fmt.Errorf("connecting: %w", rootCause(err))
}

// noAnswer says what may be behind a connection that nobody accepts or refuses: a
// segment without the signature that the other side expects, or with another, is dropped
// without a word (RFC 2385 section 2).
func noAnswer(p *Peer) error {
	if p.Password != "" {
		return errors.New("connecting: no answer; is the router up, and has it the same password?")
	}
	return errors.New("connecting: no answer; is the router up? One that expects a password (TCP MD5, TCP-AO) drops silently what has none")
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// rootCause leaves the addresses and ports out of an error of package net: the
// port is another each time, and each time it would be news.
func rootCause(err error) error {
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number
	}
	return err
}

// prepare sets the password (RFC 2385), and how far packets may come and go
// (RFC 4271, 5.1.3 and RFC 5082).
func prepare(fd int, p *Peer) error {
	if p.Password != "" {
		if err := setPassword(fd, p); err != nil {
			return fmt.Errorf("setting the password: %w", err)
		}
	}
	external := p.PeerASN != 0 && p.PeerASN != p.as() || p.Dynamic == External
	const farthest, nearest = 255, 1
	ttl := 0
	switch {
	case p.TTLSecurity || external && p.MultiHop:
		ttl = farthest
	case external:
		ttl = nearest
	}
	level, hops, least, class := unix.IPPROTO_IP, unix.IP_TTL, unix.IP_MINTTL, unix.IP_TOS
	if p.Address.Is6() {
		level, hops, least, class = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_MINHOPCOUNT, unix.IPV6_TCLASS
	}
	if err := unix.SetsockoptInt(fd, level, class, networkControl); err != nil {
		return fmt.Errorf("setting the traffic class: %w", err)
	}
	if ttl != 0 {
		if err := unix.SetsockoptInt(fd, level, hops, ttl); err != nil {
			return fmt.Errorf("setting the TTL: %w", err)
		}
	}
	if p.TTLSecurity {
		if err := unix.SetsockoptInt(fd, level, least, farthest); err != nil {
			return fmt.Errorf("setting the least TTL: %w", err)
		}
	}
	return nil
}

func setPassword(fd int, p *Peer) error {
	sig := unix.TCPMD5Sig{Keylen: uint16(len(p.Password))}
	if copy(sig.Key[:], p.Password) != len(p.Password) {
		return errors.New("it is longer than 80 bytes")
	}
	sig.Addr.Family = unix.AF_INET
	// The address stands in the structure as it would in a sockaddr: after the
	// port, and for IPv6 the flow label as well.
	const after4, after6 = 2, 6
	if p.Address.Is6() {
		sig.Addr.Family = unix.AF_INET6
		copy(sig.Addr.Data[after6:], p.Address.AsSlice())
	} else {
		copy(sig.Addr.Data[after4:], p.Address.AsSlice())
	}
	return unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &sig)
}

// localAddress of a connection.
func localAddress(conn net.Conn) netip.Addr {
	if a, ok := conn.LocalAddr().(interface{ AddrPort() netip.AddrPort }); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// setUserTimeout bounds for how long sent bytes may stay unacknowledged (RFC
// 5482).
func setUserTimeout(conn *net.TCPConn, limit time.Duration) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit/time.Millisecond))
	})
	return errors.Join(err, failed)
}
