package l2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/speaker/model"
)

const (
	etherTypeIPv4 = 0x0800
	ipv4Header    = 20
	nextTCP       = 6
	tcpHeader     = 20
	timeToLive    = 64
	window        = 65535
)

// Flags of a TCP segment (RFC 9293 section 3.1).
const (
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// Handshake begins a TCP connection with the host that has a MAC (RFC 9293 section
// 3.5), and returns what came back within a time and how long that took. It goes past
// this node's kernel, which may hold the address itself (IPVS) or translate it
// (iptables), and would then deliver to itself what a client sends over the wire.
// A connection that is accepted is reset at once; nothing is sent over it.
func Handshake(from Asker, mac model.MAC, to netip.AddrPort, within time.Duration) (model.Handshake, time.Duration, error) {
	source := connectSource(from.Addrs, to.Addr())
	if !source.IsValid() {
		return "", 0, fmt.Errorf("interface %s has no address to connect to %s from", from.Name, to.Addr())
	}
	port, release, err := reservePort(source)
	if err != nil {
		return "", 0, fmt.Errorf("a port of %s: %w", source, err)
	}
	defer release()
	filter, err := filterTCP(from.Index, to.Addr())
	if err != nil {
		return "", 0, err
	}
	etherType := etherTypeIPv4
	if to.Addr().Is6() {
		etherType = etherTypeIPv6
	}
	conn, err := packet.Listen(from.device(), packet.Raw, etherType, &packet.Config{Filter: filter})
	if err != nil {
		return "", 0, fmt.Errorf("interface %s: %w", from.Name, explain(err))
	}
	defer func() { _ = conn.Close() }()

	syn := tcpSegment{from: netip.AddrPortFrom(source, port), to: to, sequence: rand.Uint32(), flags: flagSYN} //nolint:gosec // a number that differs
	sent := time.Now()
	if err := syn.send(conn, &from.Interface, mac); err != nil {
		return "", 0, fmt.Errorf("interface %s: %w", from.Name, explain(err))
	}
	outcome, took := model.HandshakeSilent, time.Duration(0)
	err = receiveUntil(conn, sent.Add(within), func(frame []byte) bool {
		flags, ok := syn.answeredBy(frame)
		switch {
		case !ok:
			return false
		case flags&flagRST != 0:
			outcome = model.HandshakeRefused
		case flags&(flagSYN|flagACK) == flagSYN|flagACK:
			outcome = model.HandshakeAccepted
		default:
			return false
		}
		took = time.Since(sent)
		return true
	})
	if outcome == model.HandshakeAccepted {
		// This node's kernel knows nothing of the connection, and would reset it, too;
		// but not where it takes the address for its own.
		syn.sequence, syn.flags = syn.sequence+1, flagRST
		err = errors.Join(err, syn.send(conn, &from.Interface, mac))
	}
	return outcome, took, err
}

// connectSource is an address of the interface that a host beyond it can answer to:
// one in the subnet of the target, else any that is not link-local.
func connectSource(addrs []netip.Prefix, target netip.Addr) (source netip.Addr) {
	for _, p := range addrs {
		switch a := p.Addr(); {
		case a.Is4() != target.Is4() || a == target || !a.IsGlobalUnicast():
		case p.Masked().Contains(target):
			return a
		case !source.IsValid():
			source = a
		}
	}
	return source
}

// reservePort takes an ephemeral port of an address, so that nothing else on this
// node uses it meanwhile. The socket neither listens nor connects.
func reservePort(of netip.Addr) (port uint16, release func(), err error) {
	family := unix.AF_INET6
	var at unix.Sockaddr = &unix.SockaddrInet6{Addr: of.As16()}
	if of.Is4() {
		family, at = unix.AF_INET, &unix.SockaddrInet4{Addr: of.As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, err
	}
	release = func() { _ = unix.Close(fd) }
	if err = unix.Bind(fd, at); err == nil {
		at, err = unix.Getsockname(fd)
	}
	if err != nil {
		release()
		return 0, nil, err
	}
	switch bound := at.(type) {
	case *unix.SockaddrInet4:
		port = uint16(bound.Port)
	case *unix.SockaddrInet6:
		port = uint16(bound.Port)
	}
	return port, release, nil
}

// tcpSegment is one without data.
type tcpSegment struct {
	from, to netip.AddrPort
	sequence uint32
	flags    byte
}

func (s *tcpSegment) send(conn *packet.Conn, on *Interface, mac model.MAC) error {
	_, err := conn.WriteTo(s.frame(on, mac), &packet.Addr{HardwareAddr: mac[:]})
	return err
}

// frame puts the segment into a packet (RFC 791 section 3.1, RFC 8200 section 3), and
// that into a frame.
func (s *tcpSegment) frame(on *Interface, mac model.MAC) []byte {
	source, target := s.from.Addr().AsSlice(), s.to.Addr().AsSlice()
	tcp := make([]byte, tcpHeader)
	binary.BigEndian.PutUint16(tcp[0:], s.from.Port())
	binary.BigEndian.PutUint16(tcp[2:], s.to.Port())
	binary.BigEndian.PutUint32(tcp[4:], s.sequence)
	tcp[12], tcp[13] = tcpHeader/4<<4, s.flags
	binary.BigEndian.PutUint16(tcp[14:], window)
	// The pseudo header has the same words in both families, in another order.
	binary.BigEndian.PutUint16(tcp[16:], ^onesSum(source, target, []byte{0, nextTCP, 0, tcpHeader}, tcp))

	if s.to.Addr().Is6() {
		frame := appendEthernet(make([]byte, 0, icmpv6Offset+tcpHeader), mac[:], on.MAC, etherTypeIPv6)
		frame = append(frame, 0x60, 0, 0, 0, 0, tcpHeader, nextTCP, timeToLive)
		return append(append(append(frame, source...), target...), tcp...)
	}
	ip := []byte{0x45, 0, 0, ipv4Header + tcpHeader, 0, 0, 0x40, 0, timeToLive, nextTCP, 0, 0} // not to be fragmented
	ip = append(append(ip, source...), target...)
	binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip))
	frame := appendEthernet(make([]byte, 0, ethernetHeader+ipv4Header+tcpHeader), mac[:], on.MAC, etherTypeIPv4)
	return append(append(frame, ip...), tcp...)
}

// answeredBy reports whether a frame answers the segment, and with which flags. The sums
// are not looked at: an interface of a virtual machine may leave them to others.
func (s *tcpSegment) answeredBy(frame []byte) (flags byte, ok bool) {
	if len(frame) < ethernetHeader+ipv4Header {
		return 0, false
	}
	ip := frame[ethernetHeader:]
	var source, target netip.Addr
	var tcp []byte
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherTypeIPv4:
		header := int(ip[0]&0xf) * 4
		if ip[0]>>4 != 4 || header < ipv4Header || ip[9] != nextTCP || len(ip) < header+tcpHeader || binary.BigEndian.Uint16(ip[6:])&0x1fff != 0 {
			return 0, false
		}
		source, target, tcp = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20])), ip[header:]
	case etherTypeIPv6:
		if len(ip) < ipv6Header+tcpHeader || ip[0]>>4 != 6 || ip[6] != nextTCP {
			return 0, false
		}
		source, target, tcp = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40])), ip[ipv6Header:]
	default:
		return 0, false
	}
	from, to := netip.AddrPortFrom(source, binary.BigEndian.Uint16(tcp)), netip.AddrPortFrom(target, binary.BigEndian.Uint16(tcp[2:]))
	return tcp[13], from == s.to && to == s.from && binary.BigEndian.Uint32(tcp[8:]) == s.sequence+1
}

// onesSum is the sum of RFC 1071 over parts of even length.
func onesSum(parts ...[]byte) uint16 {
	sum := uint32(0)
	for _, part := range parts {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
