package lab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Forge lets a host say once, unasked, that it has an address, which it need not
// have: an ARP announcement (RFC 5227 section 1.1), or a neighbor advertisement
// that overrides (RFC 4861 section 7.2.6). It goes to one other host, so that no
// other learns of it, or to all if that is empty.
func (l *Lab) Forge(host, to string, address netip.Addr) error {
	from, err := l.Host(host)
	if err != nil {
		return err
	}
	all := Host{MAC: net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	if address.Is6() {
		all = Host{MAC: net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, IPv6: netip.MustParseAddr("ff02::1")}
	}
	target := all
	if to != "" {
		if target, err = l.Host(to); err != nil {
			return err
		}
	}
	frame, kind := announcement(from, target, address), uint16(unix.ETH_P_ARP)
	if address.Is6() {
		frame, kind = advertisement(from, target, address), unix.ETH_P_IPV6
	}
	err = inNetns(host, func() error { return sendFrame(frame, kind) })
	if err != nil {
		return fmt.Errorf("forging %s on %s: %w", address, host, err)
	}
	return nil
}

// sendFrame sends a frame by the interface of the network namespace that the
// thread is in.
func sendFrame(frame []byte, kind uint16) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	by, err := net.InterfaceByName(nic)
	if err != nil {
		return err
	}
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Protocol: kind<<8 | kind>>8, Ifindex: by.Index})
}

func ethernet(from, to Host, kind uint16) []byte {
	frame := append(append([]byte{}, to.MAC...), from.MAC...)
	return binary.BigEndian.AppendUint16(frame, kind)
}

func announcement(from, to Host, a netip.Addr) []byte {
	frame := append(ethernet(from, to, unix.ETH_P_ARP), 0, 1, 8, 0, 6, 4, 0, 1) // a request, as Linux announces
	frame = append(append(frame, from.MAC...), a.AsSlice()...)
	return append(append(frame, 0, 0, 0, 0, 0, 0), a.AsSlice()...)
}

func advertisement(from, to Host, a netip.Addr) []byte {
	const typeAdvertisement, override, targetLinkLayerAddress = 136, 0x20, 2
	body := append([]byte{typeAdvertisement, 0, 0, 0, override, 0, 0, 0}, a.AsSlice()...)
	body = append(append(body, targetLinkLayerAddress, 1), from.MAC...)
	addresses := append(from.IPv6.AsSlice(), to.IPv6.AsSlice()...)
	binary.BigEndian.PutUint16(body[2:], checksum(addresses, body))
	frame := append(ethernet(from, to, unix.ETH_P_IPV6), 0x60, 0, 0, 0, 0, byte(len(body)), unix.IPPROTO_ICMPV6, 255)
	return append(append(frame, addresses...), body...)
}

// checksum of an ICMPv6 message of even length (RFC 8200 section 8.1).
func checksum(addresses, body []byte) uint16 {
	sum := uint32(len(body)) + unix.IPPROTO_ICMPV6
	for _, part := range [][]byte{addresses, body} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
