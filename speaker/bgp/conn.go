package bgp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

const (
	// openTimeout is how long the router may take to answer an OPEN. RFC 4271
	// section 8.2.2 proposes minutes; a router that is there answers at once.
	openTimeout = 10 * time.Second
	// sendHold is how many hold times a router may take nothing of what is sent
	// to it (RFC 9687 section 3), and defaultSendHold where there is no hold
	// time.
	sendHold        = 2
	defaultSendHold = 8 * time.Minute
	// lastWords is how long a NOTIFICATION may take.
	lastWords = 500 * time.Millisecond
	// chunkSize is how much is handed to the kernel at once, in bytes.
	chunkSize = 16 << 10
	// refreshPause is the least time between two refreshes.
	refreshPause = 200 * time.Millisecond
)

// conn is one connection of a session. All but abort and listen is called by the
// session's goroutine.
type conn struct {
	session *session
	peer    Peer // as the connection was opened for
	net     net.Conn
	reader  *bufio.Reader
	local   netip.Addr
	router  netip.Addr
	// restarted: it is the first of this process.
	restarted bool

	// What was agreed on.
	peerASN  uint32
	hold     time.Duration
	offered  familySet // by the router
	agreed   familySet // by both
	graceful bool
	extended bool // IPv4 may have IPv6 next hops (RFC 8950)

	encoding  encoding
	addresses []Address // that the next hops follow from
	missing   [2]string // why a family has no next hop
	told      Paths
	refresh   chan struct{}
	garbled   bool // a message was sent in part

	mu      sync.Mutex // guards the following, and the deadlines
	cause   error      // why it was aborted
	aborted chan struct{}
	again   familySet // what the router wants to be told again
}

func newConn(s *session, peer *Peer, connection net.Conn, restarted bool) *conn {
	return &conn{
		session: s, peer: *peer, net: connection, reader: bufio.NewReader(connection), local: localAddress(connection), router: peer.Address,
		restarted: restarted, refresh: make(chan struct{}, 1), aborted: make(chan struct{}),
	}
}

// abort ends the connection, whatever it is doing: reads and writes that wait
// return. The first cause counts.
func (c *conn) abort(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	c.cause = cause
	close(c.aborted)
	_ = c.net.SetDeadline(time.Unix(1, 0))
}

// extend sets a deadline, unless the connection was aborted.
func (c *conn) extend(set func(time.Time) error, limit time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return c.cause
	}
	if limit == 0 {
		return set(time.Time{})
	}
	return set(time.Now().Add(limit))
}

// closed puts the end of the connection into words.
func (c *conn) closed(err error) error {
	c.mu.Lock()
	cause := c.cause
	c.mu.Unlock()
	if cause != nil {
		return cause
	}
	if _, ok := errors.AsType[*notification](err); ok {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the router closed the connection")
	}
	return fmt.Errorf("the connection failed: %w", rootCause(err))
}

// exchange keeps the router up to date until the session ends.
func (c *conn) exchange() error {
	go func() { c.abort(c.session.guard(c.listen)) }()
	defer c.abort(errors.New("the session has ended"))
	if err := c.update(familySet{}, true); err != nil {
		return c.closed(err)
	}
	keepalive := time.NewTimer(c.keepAlive())
	defer keepalive.Stop()
	var refreshed time.Time
	var refreshDue <-chan time.Time
	for {
		var err error
		select {
		case <-c.aborted:
			return c.closed(nil)
		case <-c.session.wake:
			err = c.update(familySet{}, false)
		case <-c.session.retimed:
			keepalive.Reset(c.keepAlive())
		case <-c.refresh:
			// A router that asks and asks is answered now and then.
			if refreshDue == nil {
				refreshDue = time.After(time.Until(refreshed.Add(refreshPause)))
			}
		case <-refreshDue:
			refreshDue, refreshed = nil, time.Now()
			err = c.update(c.takeRefresh(), false)
		case <-keepalive.C:
			if c.hold > 0 {
				err = c.send(wire.NewBGPKeepAliveMessage())
			}
			keepalive.Reset(c.keepAlive())
		}
		if err != nil {
			return c.closed(err)
		}
	}
}

// keepAlive is the time until the next KEEPALIVE, up to a quarter shorter than
// it might be (RFC 4271 section 10).
func (c *conn) keepAlive() time.Duration {
	const third, least = 3, 0.75
	every := c.hold / third
	c.session.mu.Lock()
	if wanted := c.session.peer.KeepAlive; wanted > 0 && wanted < every {
		every = wanted
	}
	c.session.mu.Unlock()
	if every == 0 {
		return time.Hour // nothing is sent then
	}
	return time.Duration(float64(every) * (least + (1-least)*rand.Float64())) //nolint:gosec // no secret
}

func (c *conn) takeRefresh() familySet {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := c.again
	c.again = familySet{}
	return again
}

// listen reads until the session ends. Whatever comes counts as a sign of life.
func (c *conn) listen() error {
	for {
		if err := c.extend(c.net.SetReadDeadline, c.hold); err != nil {
			return err
		}
		kind, body, err := read(c.reader)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return newNotification(wire.BGP_ERROR_HOLD_TIMER_EXPIRED, 0, "hold timer expired: nothing was heard of it for %s", c.hold)
		case err != nil:
			return c.closed(err)
		case kind == wire.BGP_MSG_NOTIFICATION:
			return parseNotification(body)
		case kind == wire.BGP_MSG_OPEN:
			return newNotification(wire.BGP_ERROR_FSM_ERROR, 3, "it sent a second OPEN") //nolint:mnd // RFC 6608
		case kind == wire.BGP_MSG_ROUTE_REFRESH:
			c.noteRefresh(body)
		case kind == wire.BGP_MSG_UPDATE:
			c.session.mu.Lock()
			c.session.status.Heard++
			c.session.mu.Unlock()
		}
	}
}

// noteRefresh takes in a ROUTE-REFRESH (RFC 2918 section 3). Other families
// than those agreed on are ignored (section 4), and so are the markers of RFC
// 7313, which was not offered.
func (c *conn) noteRefresh(body []byte) {
	const size, afi, subtype, safi = 4, 1, 2, 3
	if len(body) != size || body[subtype] != 0 || body[afi-1] != 0 || body[safi] != wire.SAFI_UNICAST {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case body[afi] == wire.AFI_IP && c.agreed[familyIPv4]:
		c.again[familyIPv4] = true
	case body[afi] == wire.AFI_IP6 && c.agreed[familyIPv6]:
		c.again[familyIPv6] = true
	default:
		return
	}
	poke(c.refresh)
}

// update tells the router what it does not know yet, and all of the families
// that it wants again. What is wanted is read once: what is told and what is
// withdrawn follow from the same list.
func (c *conn) update(again familySet, first bool) error {
	moved := c.chooseNextHops()
	for _, f := range families() {
		again[f] = again[f] || moved[f]
	}
	desired, unsent := c.carried(c.session.wants())
	messages, err := c.encoding.difference(c.told, desired, again)
	if err != nil {
		return err
	}
	if first {
		for _, f := range families() {
			if c.agreed[f] {
				messages = append(messages, wire.NewEndOfRib(f.wire()))
			}
		}
	}
	if err := c.send(messages...); err != nil {
		return err
	}
	c.told = desired
	c.session.note(func(st *Status) {
		st.Told, st.Sent, st.Unsent = desired, len(desired), unsent
		st.IPv4, st.IPv6 = c.familyStatus(familyIPv4), c.familyStatus(familyIPv6)
		st.Updates += uint64(len(messages))
	})
	return nil
}

// familyStatus says what becomes of a family.
func (c *conn) familyStatus(f family) FamilyStatus {
	s := FamilyStatus{Wanted: c.peer.carries(f), NextHop: c.encoding.nextHop(f)}
	s.Carried = c.agreed[f] && s.NextHop.IsValid()
	switch {
	case !s.Wanted || s.Carried:
	case !c.offered[f]:
		s.Why = fmt.Sprintf("the router does not offer %s in this session: is the family activated there?", f)
	default:
		s.Why = c.missing[f]
	}
	return s
}

// carried leaves out the families that were not agreed on, or for which this
// node has no next hop, and routes that do not fit into a message, which are
// returned.
func (c *conn) carried(all Paths) (carried Paths, unsent []Unsent) {
	parts := all.split()
	for _, f := range families() {
		if !c.agreed[f] || !c.encoding.nextHop(f).IsValid() {
			parts[f] = nil
		}
		var left []Unsent
		if parts[f], left = c.encoding.fitting(parts[f]); len(left) > 0 {
			unsent = append(unsent, left...)
		}
	}
	unsent = unsent[:min(len(unsent), maxUnsent)]
	switch {
	case len(parts[familyIPv4])+len(parts[familyIPv6]) == len(all):
		return all, nil
	case len(parts[familyIPv6]) == 0:
		return parts[familyIPv4], unsent
	case len(parts[familyIPv4]) == 0:
		return parts[familyIPv6], unsent
	}
	return slices.Concat(parts[familyIPv4], parts[familyIPv6]), unsent
}

// maxUnsent is how many are reported.
const maxUnsent = 64

// send writes messages in chunks.
func (c *conn) send(messages ...*wire.BGPMessage) error {
	var chunk []byte
	for _, m := range messages {
		data, err := m.Serialize()
		if err != nil {
			return fmt.Errorf("encoding a message: %w", err)
		}
		chunk = append(chunk, data...)
		if len(chunk) < chunkSize {
			continue
		}
		if err := c.write(chunk); err != nil {
			return err
		}
		chunk = chunk[:0]
	}
	return c.write(chunk)
}

// write hands bytes to the kernel for as long as the router takes some of them
// now and then (RFC 9687): one that reads slowly is waited for, one that does
// not read is given up.
func (c *conn) write(data []byte) error {
	limit := sendHold * c.hold
	if limit == 0 {
		limit = defaultSendHold
	}
	sent := 0
	for sent < len(data) {
		if err := c.extend(c.net.SetWriteDeadline, limit); err != nil {
			c.garbled = sent > 0
			return err
		}
		n, err := c.net.Write(data[sent:])
		sent += n
		if err == nil || n > 0 && isTimeout(err) {
			continue
		}
		c.garbled = sent > 0
		if isTimeout(err) {
			return newNotification(codeSendHold, 0, "send hold timer expired: it has not taken what is sent to it for %s", limit)
		}
		return err
	}
	return nil
}

// leave says good-bye, as far as there is something to say. Nothing is said
// where the router is to keep its routes over a graceful restart (RFC 4724
// section 4), of the process or of the session.
func (c *conn) leave(err error) {
	n, ours := errors.AsType[*notification](err)
	ours = ours && !n.received
	s := c.session
	s.mu.Lock()
	wanted, using, parting := s.peer, s.using, s.parting
	s.mu.Unlock()
	keeps := c.graceful && wanted.GracefulRestart
	switch {
	case s.ctx.Err() != nil && parting == farewellDeconfigured, errors.Is(err, errRenew) && !wanted.sameRouter(&using):
		n, ours = newNotification(wire.BGP_ERROR_CEASE, wire.BGP_ERROR_SUB_PEER_DECONFIGURED, ""), true
	case s.ctx.Err() != nil:
		n, ours = newNotification(wire.BGP_ERROR_CEASE, wire.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN, ""), !keeps
		n.data = communication("the speaker of node " + s.all.node.Node + " ends")
	case errors.Is(err, errRenew):
		// A router that damps peers counts the NOTIFICATIONs that it gets: with the
		// second in a minute OpenBGPD does not take another session for a minute.
		// Without one it sees the connection fail, and drops the paths all the same,
		// unless it would keep them for a restart that is not wanted any more.
		n, ours = newNotification(wire.BGP_ERROR_CEASE, wire.BGP_ERROR_SUB_OTHER_CONFIGURATION_CHANGE, ""), c.graceful && !keeps
	}
	if !ours || c.garbled {
		return
	}
	data, failed := wire.NewBGPNotificationMessage(n.code, n.subcode, n.data).Serialize()
	if failed != nil || c.net.SetWriteDeadline(time.Now().Add(lastWords)) != nil {
		return
	}
	_, _ = c.net.Write(data)
}
