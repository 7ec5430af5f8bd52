package daemon

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits of the connections to the admin port. It is on every address of a node, and
// the process behind it must send a heartbeat every few milliseconds, whoever reads
// its metrics how often. A connection is one request: see listenAdmin.
const (
	// adminRate is how many connections of other hosts are taken each second, and
	// adminBurst how many at a time.
	adminRate, adminBurst = 20, 60
	// adminOpen is how many are open at a time, of other hosts and of this one each,
	// so that strangers do not take them from the kubelet.
	adminOpen = 32
	// adminPause follows each connection that is turned away.
	adminPause = 200 * time.Microsecond
)

// boundedListener takes no more connections than it may. The others are reset: there
// is nobody who would have to be told more.
type boundedListener struct {
	*net.TCPListener

	mu     sync.Mutex
	open   map[bool]int // by whether it is of this host
	tokens float64
	filled time.Time
}

func newBounded(l *net.TCPListener) *boundedListener {
	return &boundedListener{TCPListener: l, open: map[bool]int{}, tokens: adminBurst}
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		ours := sameHost(conn)
		if l.admit(ours, time.Now()) {
			return &boundedConn{TCPConn: conn, done: func() { l.leave(ours) }}, nil
		}
		_ = conn.SetLinger(0)
		_ = conn.Close()
		time.Sleep(adminPause)
	}
}

// sameHost reports whether a connection comes from this node itself, as the
// kubelet's do.
func sameHost(conn *net.TCPConn) bool {
	from, errFrom := netip.ParseAddrPort(conn.RemoteAddr().String())
	to, errTo := netip.ParseAddrPort(conn.LocalAddr().String())
	return errFrom == nil && errTo == nil && from.Addr() == to.Addr()
}

func (l *boundedListener) admit(ours bool, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[ours] >= adminOpen {
		return false
	}
	if !ours {
		l.tokens = min(adminBurst, l.tokens+now.Sub(l.filled).Seconds()*adminRate)
		l.filled = now
		if l.tokens < 1 {
			return false
		}
		l.tokens--
	}
	l.open[ours]++
	return true
}

func (l *boundedListener) leave(ours bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[ours]--
}

// boundedConn is counted until it is closed.
type boundedConn struct {
	*net.TCPConn
	once sync.Once
	done func()
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.once.Do(c.done)
	return c.TCPConn.Close()
}
