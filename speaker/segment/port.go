package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// receiveBuffer of a socket that is asked for, in bytes; the kernel gives no
	// more than net.core.rmem_max.
	receiveBuffer = 4 << 20
	// lookEvery is how often it is asked whether the kernel has dropped frames. A
	// socket that overflows is read all the time.
	lookEvery = 10 * time.Millisecond
	// otherHost is the kernel's type of frames that are not for this host: see
	// packet(7).
	otherHost = 3
)

// port is the socket of one interface.
type port struct {
	on     Interface
	file   *os.File
	raw    syscall.RawConn
	broken atomic.Bool
	wait   sync.WaitGroup
}

// listen opens a socket and reads it.
func (s *Segments) listen(on Interface) (*port, error) {
	program, err := filter(on.Index, s.config.Prefix)
	if err != nil {
		return nil, err
	}
	// Bound to no protocol it receives nothing before it has its filter.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			err = fmt.Errorf("the process lacks the capability NET_RAW (securityContext.capabilities.add): %w", err)
		}
		return nil, err
	}
	p := &port{on: on, file: os.NewFile(uintptr(fd), "segment "+on.Name)}
	// What comes while this process waits for a processor is better heard late
	// than lost.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(etherType), Ifindex: on.Index})
	}
	if err == nil {
		group := Group()
		member := unix.PacketMreq{Ifindex: int32(on.Index), Type: unix.PACKET_MR_MULTICAST, Alen: uint16(len(group))}
		copy(member.Address[:], group[:])
		err = unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &member)
	}
	if err == nil {
		p.raw, err = p.file.SyscallConn()
	}
	if err != nil {
		_ = p.file.Close()
		return nil, err
	}
	p.wait.Go(func() { p.read(&s.config) })
	return p, nil
}

// networkOrder is a number as it stands in a frame.
func networkOrder(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// filter lets through frames for this host, of this interface itself (those of its
// VLANs and macvlans come to this socket, too, under another index), that carry what
// begins with the prefix.
func filter(index int, prefix []byte) ([]unix.SockFilter, error) {
	type check struct {
		load bpf.Instruction
		drop bpf.JumpTest
		val  uint32
	}
	checks := []check{
		{bpf.LoadExtension{Num: bpf.ExtType}, bpf.JumpEqual, otherHost},
		{bpf.LoadExtension{Num: bpf.ExtInterfaceIndex}, bpf.JumpNotEqual, uint32(index)},
		{bpf.LoadAbsolute{Off: typeOffset, Size: 2}, bpf.JumpNotEqual, etherType},
	}
	for i, b := range prefix {
		checks = append(checks, check{bpf.LoadAbsolute{Off: payloadOffset + uint32(i), Size: 1}, bpf.JumpNotEqual, uint32(b)})
	}
	var instructions []bpf.Instruction
	for i, c := range checks {
		left := 2 * (len(checks) - 1 - i) // instructions of the checks that follow
		instructions = append(instructions, c.load, bpf.JumpIf{Cond: c.drop, Val: c.val, SkipTrue: uint8(left + 1)})
	}
	raw, err := bpf.Assemble(append(instructions, bpf.RetConstant{Val: payloadOffset + Longest}, bpf.RetConstant{Val: 0}))
	if err != nil {
		return nil, fmt.Errorf("assemble packet filter: %w", err)
	}
	program := make([]unix.SockFilter, 0, len(raw))
	for _, one := range raw {
		program = append(program, unix.SockFilter{Code: one.Op, Jt: one.Jt, Jf: one.Jf, K: one.K})
	}
	return program, nil
}

// read passes on what comes until the socket is closed.
func (p *port) read(config *Config) {
	buffer := make([]byte, payloadOffset+Longest)
	var n int
	var failed error
	var looked time.Time
	read := func(fd uintptr) bool {
		n, failed = unix.Read(int(fd), buffer)
		return !errors.Is(failed, unix.EAGAIN)
	}
	for {
		if err := p.raw.Read(read); err != nil {
			return // closed
		}
		switch {
		case failed == nil:
			if from, payload := parse(buffer[:n], p.on.MAC); payload != nil {
				config.Receive(p.on.Name, from, payload)
			}
		case errors.Is(failed, unix.ENETDOWN), errors.Is(failed, unix.ENOBUFS), errors.Is(failed, unix.EINTR):
			// The interface went down for a moment: the socket lives.
		default:
			p.broken.Store(true)
			return
		}
		if now := time.Now(); now.Sub(looked) >= lookEvery {
			looked = now
			if p.overflowed() {
				config.Overflowed()
			}
		}
	}
}

// overflowed reports whether the kernel has dropped frames since it was asked last.
func (p *port) overflowed() (dropped bool) {
	_ = p.raw.Control(func(fd uintptr) {
		stats, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
		dropped = err == nil && stats.Drops > 0
	})
	return dropped
}

func (p *port) send(to [6]byte, frame []byte) error {
	address := &unix.SockaddrLinklayer{Protocol: networkOrder(etherType), Ifindex: p.on.Index, Halen: uint8(len(to))}
	copy(address.Addr[:], to[:])
	var failed error
	if err := p.raw.Write(func(fd uintptr) bool {
		failed = unix.Sendto(int(fd), frame, unix.MSG_DONTWAIT, address)
		return true
	}); err != nil {
		return err
	}
	return failed
}

func (p *port) close() {
	_ = p.file.Close()
	p.wait.Wait()
}
