package bgp

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	// bfdPort of paths of one hop and bfdSeveral of others (RFC 5883 section
	// 5), and the ports that their packets come from (RFC 5881 sections 4 and
	// 9).
	bfdPort           = 3784
	bfdSeveral        = 4784
	bfdFirst, bfdLast = 49152, 65535
	// oneHop is the TTL of a packet that no router has passed on.
	oneHop = 255
	// farewells is how often AdminDown is said.
	farewells = 3
)

// hub is where the packets of all paths come in.
type hub struct {
	log     *slog.Logger
	changed func()
	began   time.Time

	mu      sync.Mutex
	paths   map[*session]*path
	sockets map[kind]*net.UDPConn
	closed  bool
}

func newHub(log *slog.Logger, changed func()) *hub {
	return &hub{log: log, changed: changed, began: time.Now(), paths: map[*session]*path{}, sockets: map[kind]*net.UDPConn{}}
}

// way is where the packets of a path come from and go to; link-local addresses
// have a zone.
type way struct {
	local, router netip.Addr
	// several hops may be between (RFC 5883).
	several bool
}

// kind of a path: each has a socket of its own to receive from.
type kind struct{ v4, several bool }

func (k kind) port() uint16 {
	if k.several {
		return bfdSeveral
	}
	return bfdPort
}

// path is one that is watched.
type path struct {
	way
	conn   *net.UDPConn
	quit   chan struct{}
	sooner chan struct{}

	mu      sync.Mutex
	machine *machine
}

// watch watches the path of a session from now on, or by other times, or no
// more.
func (h *hub) watch(s *session, w way, times BFD) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.paths[s]
	if p != nil && (times.Multiplier == 0 || p.way != w) {
		p.end()
		delete(h.paths, s)
		p = nil
	}
	switch {
	case times.Multiplier == 0 || h.closed || s.ctx.Err() != nil:
		return
	case p != nil:
		p.mu.Lock()
		if p.machine.times != times {
			p.machine.retime(times)
		}
		p.mu.Unlock()
		return
	}
	if err := h.listen(kind{w.local.Is4(), w.several}); err != nil {
		h.log.Error("BFD cannot be used", "error", err)
		return
	}
	conn, err := sender(w)
	if err != nil {
		h.log.Error("BFD cannot be used", "router", w.router.String(), "error", err)
		return
	}
	p = &path{
		way: w, conn: conn, quit: make(chan struct{}), sooner: make(chan struct{}, 1),
		machine: newMachine(times, rand.Uint32()|1), //nolint:gosec // a number to tell paths apart
	}
	h.paths[s] = p
	go h.keep(p, s)
}

// stop ends the watching, having told the router that it is meant.
func (h *hub) stop(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.paths[s]; p != nil {
		p.end()
		delete(h.paths, s)
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s, p := range h.paths {
		p.end()
		delete(h.paths, s)
	}
	for _, conn := range h.sockets {
		_ = conn.Close()
	}
}

func (h *hub) state(s *session) BFDState {
	h.mu.Lock()
	p := h.paths[s]
	h.mu.Unlock()
	if p == nil {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.machine.state
}

func (p *path) end() {
	p.mu.Lock()
	p.machine.shut()
	packet := p.machine.packet()
	p.mu.Unlock()
	for range farewells {
		_, _ = p.conn.Write(packet.marshal())
	}
	close(p.quit)
	_ = p.conn.Close()
}

// keep sends packets, and notices when none come.
func (h *hub) keep(p *path, s *session) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now()
	for {
		select {
		case <-p.quit:
			return
		case <-p.sooner:
		case <-timer.C:
		}
		now := time.Now()
		p.mu.Lock()
		silent := p.machine.expire(now)
		speaks := p.machine.speaks()
		packet, pace := p.machine.packet(), p.machine.pace()
		p.mu.Unlock()
		if silent {
			h.log.Warn("BFD: the router is not heard any more", "router", p.router.String())
			poke(s.silent)
			h.changed()
			next = now
		}
		if least := now.Add(pace); least.Before(next) {
			next = least // the pace has quickened
		}
		if !now.Before(next) {
			if speaks {
				_, _ = p.conn.Write(packet.marshal())
			}
			next = now.Add(jittered(pace, packet.multiplier))
		}
		timer.Reset(time.Until(p.wakeAt(next)))
	}
}

// wakeAt is when something is due: a packet to send, or one that is overdue.
func (p *path) wakeAt(next time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.machine; m.state == BFDUp || m.state == BFDInit {
		if due := m.heard.Add(m.detection()); due.Before(next) {
			return due
		}
	}
	return next
}

// jittered shortens the time between packets by up to a quarter, and by a
// tenth at least where one lost packet is one too many (RFC 5880 section 6.8.7).
func jittered(pace time.Duration, multiplier uint8) time.Duration {
	least, most := 0.75, 1.0
	if multiplier == 1 {
		most = 0.9
	}
	return time.Duration(float64(pace) * (least + rand.Float64()*(most-least))) //nolint:gosec // no secret
}

// receive takes in a packet from a router. Over one hop only what no router has
// passed on counts (RFC 5881 section 5), over several what comes from as near
// as the operator says.
func (h *hub) receive(from netip.Addr, ttl int, several bool, data []byte) {
	packet, err := parseControl(data)
	if err != nil {
		return
	}
	h.mu.Lock()
	var p *path
	for _, one := range h.paths {
		if one.router == from && one.several == several && ttl >= one.least() && (packet.yours == 0 || packet.yours == one.machine.mine) {
			p = one
		}
	}
	h.mu.Unlock()
	if p == nil {
		return
	}
	p.mu.Lock()
	before, pace := p.machine.state, p.machine.pace()
	answer := p.machine.receive(&packet, time.Now())
	after, quicker := p.machine.state, p.machine.pace() < pace
	p.mu.Unlock()
	if answer != nil {
		_, _ = p.conn.Write(answer.marshal())
	}
	if quicker {
		// The router may count on it from now on: FRR does.
		poke(p.sooner)
	}
	if before != after {
		h.log.Info("BFD", "router", from.String(), "state", after, "before", before)
		poke(p.sooner)
		h.changed()
	}
}

// least is the TTL that a packet must have.
func (p *path) least() int {
	if !p.several {
		return oneHop
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(p.machine.times.MinTTL)
}

// sender makes the socket that the packets of a path are sent from.
func sender(w way) (*net.UDPConn, error) {
	to := netip.AddrPortFrom(w.router, kind{several: w.several}.port())
	var last error
	for range 16 {
		port := uint16(bfdFirst + rand.IntN(bfdLast-bfdFirst+1)) //nolint:gosec // in range, and no secret
		conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(w.local, port)),
			net.UDPAddrFromAddrPort(to))
		if err != nil {
			last = err
			continue
		}
		if w.router.Is4() {
			err = ipv4.NewConn(conn).SetTTL(oneHop)
		} else {
			err = ipv6.NewConn(conn).SetHopLimit(oneHop)
		}
		if err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("setting the TTL: %w", err)
		}
		return conn, nil
	}
	return nil, fmt.Errorf("opening a socket: %w", last)
}

// listen opens the socket of a kind of path, unless it is open.
func (h *hub) listen(k kind) error {
	if h.sockets[k] != nil {
		return nil
	}
	network, at := "udp6", netip.IPv6Unspecified()
	if k.v4 {
		network, at = "udp4", netip.IPv4Unspecified()
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, k.port())))
	if err != nil {
		return fmt.Errorf("listening on port %d: %w", k.port(), err)
	}
	var read func([]byte) (int, net.Addr, int, error)
	if k.v4 {
		read, err = reader4(conn)
	} else {
		read, err = reader6(conn)
	}
	if err != nil {
		_ = conn.Close()
		return fmt.Errorf("asking for the TTL of packets: %w", err)
	}
	h.sockets[k] = conn
	go h.read(read, k.several)
	return nil
}

// read takes in packets until the socket is closed.
func (h *hub) read(next func([]byte) (int, net.Addr, int, error), several bool) {
	buffer := make([]byte, 256) //nolint:mnd // more than any packet has
	for {
		n, from, ttl, err := next(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		address, ok := from.(*net.UDPAddr)
		if err != nil || !ok {
			continue
		}
		router := address.AddrPort().Addr().Unmap()
		if !router.IsLinkLocalUnicast() {
			router = router.WithZone("")
		}
		h.receive(router, ttl, several, buffer[:n])
	}
}

func reader4(conn *net.UDPConn) (func([]byte) (int, net.Addr, int, error), error) {
	p := ipv4.NewPacketConn(conn)
	return func(b []byte) (int, net.Addr, int, error) {
		n, cm, from, err := p.ReadFrom(b)
		if cm == nil {
			return n, from, 0, err
		}
		return n, from, cm.TTL, err
	}, p.SetControlMessage(ipv4.FlagTTL, true)
}

func reader6(conn *net.UDPConn) (func([]byte) (int, net.Addr, int, error), error) {
	p := ipv6.NewPacketConn(conn)
	return func(b []byte) (int, net.Addr, int, error) {
		n, cm, from, err := p.ReadFrom(b)
		if cm == nil {
			return n, from, 0, err
		}
		return n, from, cm.HopLimit, err
	}, p.SetControlMessage(ipv6.FlagHopLimit, true)
}
