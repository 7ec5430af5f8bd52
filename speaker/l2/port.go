package l2

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/speaker/model"
)

// maxFrame is the longest frame that is read, in bytes. ARP has 42; a
// solicitation has 86, or some more with options we do not know.
const maxFrame = 1514

// receiveBuffer of a socket that is asked for, in bytes.
const receiveBuffer = 4 << 20

// port is what is open on one interface. It is opened, changed and closed by
// the goroutine that applies; its sockets are read by goroutines of their own
// and written by the announcer.
type port struct {
	on     atomic.Pointer[Interface]
	table  *atomic.Pointer[table]
	stats  *counters
	arp    atomic.Pointer[packet.Conn] // nil while no IPv4 address is desired
	nd     atomic.Pointer[packet.Conn] // nil while no IPv6 address is desired
	seen   *sightings
	asked  *clients
	groups groups
	spans  []span      // of the ARP socket's filter
	broken atomic.Bool // a reader gave up
	wait   sync.WaitGroup
}

// newPort makes one with no socket open; it goes on with what another knew of
// the interface's clients.
func newPort(on Interface, t *atomic.Pointer[table], stats *counters, seen *sightings, asked *clients) *port {
	p := &port{table: t, stats: stats, seen: seen, asked: asked}
	p.on.Store(&on)
	p.groups = groups{on: p.device(), joined: map[netip.Addr]*ndp.Conn{}}
	return p
}

func (p *port) device() *net.Interface { return p.on.Load().device() }

type sighter func(frame []byte, on *Interface, t *table) (netip.Addr, net.HardwareAddr, bool)

type answerer func(frame []byte, on *Interface, t *table) ([]byte, verdict)

type asker func(frame []byte, on *Interface, t *table) (a ask, from netip.Addr, everybody, ok bool)

// protocol is how one family is spoken.
type protocol struct {
	etherType int
	answer    answerer
	sight     sighter
	ask       asker
	stats     *familyCounters
}

// want opens the sockets that the addresses need, and closes the others.
func (p *port) want(v4, v6 []netip.Addr) error {
	spans := spansOf(v4)
	arp, errARP := filterARP(p.on.Load().Index, spans, arpTarget, arpSender)
	if errARP == nil {
		errARP = p.wantSocket(&p.arp, len(v4) > 0, arp, &protocol{etherTypeARP, answerARP, sightARP, askARP, &p.stats.arp})
	}
	if conn := p.arp.Load(); errARP == nil && conn != nil && !slices.Equal(spans, p.spans) {
		errARP = conn.SetBPF(arp)
	}
	if errARP == nil {
		p.spans = spans
	}
	ndp, errNDP := filterNDP(p.on.Load().Index)
	if errNDP == nil {
		errNDP = p.wantSocket(&p.nd, len(v6) > 0, ndp, &protocol{etherTypeIPv6, answerNDP, sightNDP, askNDP, &p.stats.ndp})
	}
	return errors.Join(errARP, errNDP)
}

func (p *port) wantSocket(at *atomic.Pointer[packet.Conn], wanted bool, filter []bpf.RawInstruction, how *protocol) error {
	conn := at.Load()
	switch {
	case wanted && conn == nil:
		var err error
		if conn, err = packet.Listen(p.device(), packet.Raw, how.etherType, &packet.Config{Filter: filter}); err != nil {
			return fmt.Errorf("interface %s: open packet socket: %w", p.on.Load().Name, explain(err))
		}
		raw, err := conn.SyscallConn()
		if err != nil {
			_ = conn.Close()
			return fmt.Errorf("interface %s: %w", p.on.Load().Name, err)
		}
		// What comes while this process waits for a processor is better answered
		// late than lost. The kernel gives no more than net.core.rmem_max.
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) })
		at.Store(conn)
		p.wait.Go(func() { p.serve(raw, conn, how) })
	case !wanted && conn != nil:
		at.Store(nil)
		return conn.Close()
	}
	return nil
}

// serve answers frames until the socket is closed.
func (p *port) serve(raw syscall.RawConn, conn *packet.Conn, how *protocol) {
	buffer := make([]byte, maxFrame)
	var n int
	var readErr error
	read := func(fd uintptr) bool {
		n, readErr = unix.Read(int(fd), buffer)
		return readErr != unix.EAGAIN
	}
	for {
		if err := raw.Read(read); err != nil {
			return // closed
		}
		if readErr != nil {
			// The interface went down for a moment, or the kernel could not
			// keep up: the socket lives. Anything else is final.
			if errors.Is(readErr, unix.ENETDOWN) || errors.Is(readErr, unix.ENOBUFS) || errors.Is(readErr, unix.EINTR) {
				continue
			}
			p.broken.Store(true)
			return
		}
		p.receive(buffer[:n], conn, how)
	}
}

// receive acts on one frame.
func (p *port) receive(frame []byte, conn *packet.Conn, how *protocol) {
	on, t := p.on.Load(), p.table.Load()
	if address, mac, sighted := how.sight(frame, on, t); sighted {
		p.seen.add(model.Sighting{Address: address, MAC: model.MACOf(mac), Interface: on.Name})
	}
	reply, v := how.answer(frame, on, t)
	if (v == answered || v == othersClient) && len(t.shares) > 0 {
		p.remember(frame, on, t, how.ask)
	}
	if v != answered {
		how.stats.ignored.Add(1)
		return
	}
	if _, err := conn.WriteTo(reply, &packet.Addr{HardwareAddr: reply[:6]}); err != nil {
		how.stats.failed.Add(1)
		return
	}
	how.stats.answered.Add(1)
}

// remember notes who asked for a shared address, and which node has answered.
func (p *port) remember(frame []byte, on *Interface, t *table, who asker) {
	a, from, everybody, ok := who(frame, on, t)
	if !ok {
		return
	}
	s := t.shares[a.address]
	with := t.self
	if everybody {
		with = s.pick(from)
	}
	p.asked.note(a, from, with, everybody, time.Now())
}

// tell sends one client the frame that says where a shared address is, if the
// client is this node's.
func (p *port) tell(a ask, self string) {
	frame, conn, stats := tellARP, p.arp.Load(), &p.stats.arp
	if a.address.Is6() {
		frame, conn, stats = tellNDP, p.nd.Load(), &p.stats.ndp
	}
	client, found := p.asked.find(a, self)
	if conn == nil || !found {
		return
	}
	one, err := frame(p.on.Load(), a, client)
	if err == nil {
		_, err = conn.WriteTo(one, &packet.Addr{HardwareAddr: a.mac[:]})
	}
	if err != nil {
		stats.failed.Add(1)
		return
	}
	stats.announced.Add(1)
}

// announce sends the frames that tell the neighbors of an address. A reminder
// needs one frame only.
func (p *port) announce(address netip.Addr, reminder, ask bool) {
	frames, conn, stats := announceARP, p.arp.Load(), &p.stats.arp
	if address.Is6() {
		frames, conn, stats = announceNDP, p.nd.Load(), &p.stats.ndp
	}
	if conn == nil {
		return
	}
	all, err := frames(p.on.Load(), address)
	if err != nil {
		stats.failed.Add(1)
		return
	}
	if reminder {
		all = all[:1]
	}
	if ask {
		if question, err := probe(p.on.Load(), address); err == nil {
			all = append(all, question) // beside the announcement: another host who has it answers
		}
	}
	for _, frame := range all {
		if _, err := conn.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]}); err != nil {
			stats.failed.Add(1)
			return
		}
	}
	stats.announced.Add(1)
}

// probe asks whether an address is taken.
func (p *port) probe(address netip.Addr) {
	conn, stats := p.arp.Load(), &p.stats.arp
	if address.Is6() {
		conn, stats = p.nd.Load(), &p.stats.ndp
	}
	if conn == nil {
		return
	}
	frame, err := probe(p.on.Load(), address)
	if err == nil {
		_, err = conn.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]})
	}
	if err != nil {
		stats.failed.Add(1)
	}
}

func (p *port) close() {
	for _, at := range []*atomic.Pointer[packet.Conn]{&p.arp, &p.nd} {
		if conn := at.Swap(nil); conn != nil {
			_ = conn.Close()
		}
	}
	p.groups.close()
	p.wait.Wait()
}

// explain adds to a refusal what is missing.
func explain(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("the process lacks the capability NET_RAW (securityContext.capabilities.add): %w", err)
	}
	return err
}
