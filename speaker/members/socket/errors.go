package socket

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// drops reads how many datagrams the kernel has dropped for want of room, since
// the socket was opened, from what came with one; 0 if nothing is said.
func drops(extra []byte) uint32 {
	if len(extra) == 0 {
		return 0
	}
	messages, err := unix.ParseSocketControlMessage(extra)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_RXQ_OVFL && len(m.Data) >= 4 {
			return binary.NativeEndian.Uint32(m.Data)
		}
	}
	return 0
}

// lookForErrors has the sockets' error queues read.
func (s *Socket) lookForErrors() {
	select {
	case s.errors <- struct{}{}:
	default:
	}
}

// readErrors tells what ICMP errors say. They are in queues of their own
// (IP_RECVERR), of either socket.
func (s *Socket) readErrors() {
	for {
		select {
		case <-s.closed:
			return
		case <-s.errors:
		}
		for _, q := range s.queues {
			for _, at := range q.refusals() {
				s.config.Refused(at)
			}
		}
	}
}

// refusals empties an error queue, and returns the destinations of datagrams that
// were answered with port unreachable by the host itself.
func (q *queue) refusals() (all []netip.AddrPort) {
	const mostAtOnce = 1000
	payload, extra := make([]byte, 1), make([]byte, 512) //nolint:mnd // room for one error and its sender
	_ = q.raw.Control(func(fd uintptr) {
		for range mostAtOnce {
			_, n, _, to, err := unix.Recvmsg(int(fd), payload, extra, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			messages, err := unix.ParseSocketControlMessage(extra[:n])
			if err != nil {
				continue
			}
			at := addressOf(to)
			for _, m := range messages {
				if refusal(&m, at.Addr()) {
					all = append(all, at)
				}
			}
		}
	})
	return all
}

// refusal reports whether a control message says that the host of that address has
// no process on the port. It is struct sock_extended_err (ip(7)), of 16 bytes: errno
// 4, origin 1, type 1, code 1, padding 1, info 4, data 4; then comes who said so.
func refusal(m *unix.SocketControlMessage, host netip.Addr) bool {
	const sender = 16
	offset, length := sender+4, 4 // behind the family and the port
	switch {
	case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR:
	case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR:
		offset, length = sender+8, 16 // and the flow
	default:
		return false
	}
	if len(m.Data) < offset+length || binary.NativeEndian.Uint32(m.Data) != uint32(unix.ECONNREFUSED) {
		return false
	}
	if origin := m.Data[4]; origin != unix.SO_EE_ORIGIN_ICMP && origin != unix.SO_EE_ORIGIN_ICMP6 {
		return false
	}
	by, _ := netip.AddrFromSlice(m.Data[offset : offset+length])
	return by.Unmap() == host
}

func addressOf(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
