package socket

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// Bounds of the streams that are open at a time, from known speakers and from all
// others: memberlist makes room for what a stream announces before it knows who
// speaks.
const (
	knownStreams    = 64
	strangerStreams = 4
)

// FinalAdvertiseAddr implements memberlist.Transport.
func (s *Socket) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return s.address.Addr().AsSlice(), int(s.address.Port()), nil
}

// WriteTo implements memberlist.Transport.
func (s *Socket) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err == nil {
		err = s.Send(b, to)
	}
	return time.Now(), err
}

// PacketCh implements memberlist.Transport.
func (s *Socket) PacketCh() <-chan *memberlist.Packet { return s.packets }

// DialTimeout implements memberlist.Transport.
func (s *Socket) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout, LocalAddr: &net.TCPAddr{IP: s.address.Addr().AsSlice()}}
	return dialer.Dial("tcp", addr)
}

// StreamCh implements memberlist.Transport.
func (s *Socket) StreamCh() <-chan net.Conn { return s.streams }

// accept takes streams, as many as there may be.
func (s *Socket) accept() {
	var ours, theirs atomic.Int64
	for {
		conn, err := s.listener.AcceptTCP()
		if err != nil {
			select {
			case <-s.closed:
				return
			case <-time.After(10 * time.Millisecond): //nolint:mnd // as when there are no file descriptors
				continue
			}
		}
		open, most := &theirs, int64(strangerStreams)
		if from, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil && s.guard.knows(from.Addr().Unmap()) {
			open, most = &ours, knownStreams
		}
		if open.Add(1) > most {
			open.Add(-1)
			_ = conn.Close()
			continue
		}
		select {
		case s.streams <- &stream{TCPConn: conn, open: open}:
		case <-s.closed:
			_ = conn.Close()
			return
		}
	}
}

// stream is counted until it is closed.
type stream struct {
	*net.TCPConn
	open *atomic.Int64
	once sync.Once
}

// Close implements net.Conn.
func (c *stream) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.TCPConn.Close()
}
