package socket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sys/unix"
)

const (
	// longest datagram that is read, in bytes; memberlist's have up to 1,400.
	longest = 2048
	// receiveBuffer of the known speakers' queue, in bytes, that is asked for: the
	// kernel gives no more than net.core.rmem_max.
	receiveBuffer = 4 << 20
	// unknownBuffer holds what unknown senders send in a second, as far as it is read.
	unknownBuffer = 64 << 10
	// unknownRate is how many datagrams of unknown senders are read each second:
	// enough for some nodes that have changed their address.
	unknownRate = 100
	// directoryRate is how many datagrams memberlist is given each second. With
	// 1,000 speakers it gets some forty.
	directoryRate = 500
	// directoryQueue is how many wait for it; it must not hold up a heartbeat.
	directoryQueue = 64
)

// Config of a Socket.
type Config struct {
	// Listen is the address and port, UDP and TCP; port 0 takes a free one.
	Listen netip.AddrPort
	// Magic is how the messages begin that are not memberlist's.
	Magic byte
	// Message is called with each of them. It must not keep it, and says whether
	// it is authentic.
	Message func(message []byte, from netip.AddrPort) bool
	// Refused is called when a host has said that no process listens on a port
	// that something was sent to (RFC 1122 section 4.1.3.1).
	Refused func(at netip.AddrPort)
	// Overflowed is called when the kernel has dropped datagrams of known
	// speakers because there was no room for them.
	Overflowed func()
}

// Socket is the member port, and memberlist's Transport.
type Socket struct {
	config  Config
	address netip.AddrPort
	guard   guard
	// queues are of the known speakers and of all others; what is sent goes out
	// by the first.
	queues    [2]*queue
	listener  *net.TCPListener
	packets   chan *memberlist.Packet
	streams   chan net.Conn
	directory bucket
	errors    chan struct{}
	closed    chan struct{}
	once      sync.Once
	wait      sync.WaitGroup
}

// queue is one UDP socket of the port.
type queue struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	last int // another descriptor of the socket, see keepLast; -1 is none
}

// lastDescriptor is more than a speaker opens.
const lastDescriptor = 512

// keepLast makes the socket the first that the kernel gives up when the process ends,
// as others are told by its kernel as soon as it has (see Config.Refused): Linux puts
// the files of a process that ended away in the reverse order of their numbers, and
// takes some ten milliseconds for each packet socket (synchronize_net).
func (q *queue) keepLast() {
	_ = q.raw.Control(func(fd uintptr) {
		if fd, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, lastDescriptor); err == nil {
			q.last = fd // there may be a lower limit of descriptors: then it takes longer
		}
	})
}

func (q *queue) close() {
	_ = q.conn.Close()
	if q.last >= 0 {
		_ = unix.Close(q.last)
	}
}

const known, unknown = 0, 1

var _ memberlist.Transport = (*Socket)(nil)

// Listen takes the port. Nothing is read before Start.
func Listen(config Config) (*Socket, error) {
	s := &Socket{
		config: config, packets: make(chan *memberlist.Packet, directoryQueue), streams: make(chan net.Conn),
		errors: make(chan struct{}, 1), closed: make(chan struct{}),
		directory: bucket{rate: directoryRate, burst: directoryRate},
	}
	s.guard.unknown = bucket{rate: unknownRate, burst: unknownRate}
	// TCP comes first: other than our UDP sockets, which share the port, it finds
	// out that another process has it.
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(config.Listen))
	if err != nil {
		return nil, err
	}
	s.listener = listener
	at, err := netip.ParseAddrPort(listener.Addr().String())
	if err == nil {
		s.address = netip.AddrPortFrom(config.Listen.Addr(), at.Port())
		err = s.open()
	}
	if err != nil {
		_ = s.Shutdown()
		return nil, err
	}
	return s, nil
}

// open opens the queues. The order counts: see guard.program.
func (s *Socket) open() error {
	for i, size := range [...]int{known: receiveBuffer, unknown: unknownBuffer} {
		options := func(_, _ string, raw syscall.RawConn) error {
			var failed error
			if err := raw.Control(func(fd uintptr) { failed = setOptions(int(fd), size, s.address.Addr().Is6()) }); err != nil {
				return err
			}
			return failed
		}
		listen := net.ListenConfig{Control: options}
		conn, err := listen.ListenPacket(context.Background(), "udp", s.address.String())
		if err != nil {
			return err
		}
		udp, ok := conn.(*net.UDPConn)
		if !ok {
			return fmt.Errorf("%T is no UDP socket", conn)
		}
		q := &queue{conn: udp, last: -1}
		s.queues[i] = q
		if q.raw, err = udp.SyscallConn(); err != nil {
			return err
		}
		q.keepLast()
	}
	return s.attach()
}

func setOptions(fd, size int, v6 bool) error {
	level, option := unix.IPPROTO_IP, unix.IP_RECVERR
	if v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1),
		unix.SetsockoptInt(fd, level, option, 1),
	)
}

// Address is what the port is bound to.
func (s *Socket) Address() netip.AddrPort { return s.address }

// Start begins to read.
func (s *Socket) Start() {
	s.wait.Go(s.readKnown)
	s.wait.Go(s.readUnknown)
	s.wait.Go(s.readErrors)
	s.wait.Go(s.accept)
}

func (s *Socket) readKnown() {
	buffer, extra := make([]byte, longest), make([]byte, unix.CmsgSpace(4)) //nolint:mnd // a counter of 32 bits
	var dropped uint32
	for {
		n, extras, flags, from, err := s.queues[known].conn.ReadMsgUDPAddrPort(buffer, extra)
		if !s.goesOn(err) {
			return
		}
		if now := drops(extra[:extras]); now != dropped && now != 0 {
			dropped = now
			s.config.Overflowed()
		}
		if err != nil || flags&unix.MSG_TRUNC != 0 {
			continue
		}
		// The kernel takes some unknown senders for known: see guard.program.
		if s.guard.knows(from.Addr()) || s.guard.unknown.take(time.Now()) {
			s.receive(buffer[:n], from)
		}
	}
}

// readUnknown reads no more than it may: the rest is lost where it costs us
// nothing.
func (s *Socket) readUnknown() {
	buffer := make([]byte, longest)
	for {
		for !s.guard.unknown.take(time.Now()) {
			select {
			case <-s.closed:
				return
			case <-time.After(time.Second / unknownRate):
			}
		}
		n, _, flags, from, err := s.queues[unknown].conn.ReadMsgUDPAddrPort(buffer, nil)
		if !s.goesOn(err) {
			return
		}
		if err == nil && flags&unix.MSG_TRUNC == 0 {
			s.receive(buffer[:n], from)
		}
	}
}

// receive passes a datagram on.
func (s *Socket) receive(b []byte, from netip.AddrPort) {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	switch {
	case len(b) == 0:
	case b[0] == s.config.Magic:
		if s.config.Message(b, from) && s.guard.learn(from.Addr(), time.Now()) {
			s.attachSoon()
		}
	case s.directory.take(time.Now()):
		one := &memberlist.Packet{Buf: append([]byte(nil), b...), From: net.UDPAddrFromAddrPort(from), Timestamp: time.Now()}
		select {
		case s.packets <- one:
		default: // it has too much to do; UDP is lossy anyway
		}
	}
}

// goesOn reports whether a reader does, after an error or none.
func (s *Socket) goesOn(err error) bool {
	switch {
	case err == nil:
		return true
	case errors.Is(err, net.ErrClosed):
		return false
	}
	// What an ICMP error says about something that was sent comes as an error of
	// whatever is done next.
	s.lookForErrors()
	select {
	case <-s.closed:
		return false
	default:
		return true
	}
}

// Send sends a datagram, and never waits: what there is no room for is lost.
func (s *Socket) Send(b []byte, to netip.AddrPort) error {
	const attempts = 3 // of which each may meet an error about another destination
	var err error
	for range attempts {
		var failed error
		closed := s.queues[known].raw.Write(func(fd uintptr) bool {
			failed = unix.Sendto(int(fd), b, unix.MSG_DONTWAIT, sockaddr(to))
			return true
		})
		if closed != nil {
			return closed
		}
		if err = failed; err == nil || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EMSGSIZE) {
			return err
		}
		s.lookForErrors()
	}
	return err
}

func sockaddr(at netip.AddrPort) unix.Sockaddr {
	if at.Addr().Is4() || at.Addr().Is4In6() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().Unmap().As4()}
	}
	return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
}

// Shutdown implements memberlist.Transport: it ends all of it.
func (s *Socket) Shutdown() error {
	s.once.Do(func() {
		close(s.closed)
		_ = s.listener.Close()
		for _, q := range s.queues {
			if q != nil {
				q.close()
			}
		}
	})
	s.wait.Wait()
	return nil
}
